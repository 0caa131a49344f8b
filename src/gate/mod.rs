//! The remote-write gate: one writer by fencing, and nothing lost in a takeover.
//!
//! ```text
//! own Prometheus -> listener -> Gate -> Remote (forward) -> spool                                (standby)
//!                                                       `-> client -> fence -> the true URL      (writer)
//!                        leadership -> tenures -> drain: the spool first, then requests pass     (taking over)
//!                        every period: writer publishes its watermark, standbys drop what is below
//! ```
//!
//! - [`wire`]: what a remote-write request holds, several as one, one in pieces, and 1.0 as 2.0, without building objects
//! - [`spool`]: what a standby has received, on disk and bounded
//! - [`watermark`]: how far the writer has got, so that standbys can forget what it has finished
//! - [`margin`]: what they keep beyond that
//! - [`fence`]: a span of authority, and connections that carry nothing outside it
//! - [`remote`]: where the writer sends to: what rendering takes out of a `remote_write` entry
//! - [`runtime`]: the gate of a process, which holds all of it together

mod answer;
mod apart;
mod attempt;
mod chores;
mod client;
mod cover;
mod dial;
mod drain;
pub mod fence;
mod forward;
mod handover;
mod headers;
pub mod listener;
pub mod margin;
mod orphans;
mod prometheus;
mod received;
mod refusal;
pub mod remote;
pub mod runtime;
pub mod spool;
mod standby;
pub mod status;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod tls;
pub mod watermark;
pub mod wire;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

pub use self::prometheus::GateCover;
pub use self::runtime::{Gate, GateError, GateSettings, Routes};
pub use self::status::{GateStatus, RemoteStatus, UngatedStatus};

/// Lowest and highest timestamp of a batch, both inclusive, in Unix milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// The lowest.
    pub min_ms: i64,
    /// The highest.
    pub max_ms: i64,
}

/// The host's clock, in Unix milliseconds.
fn wall_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

/// Locks what is held for a few instructions only.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
