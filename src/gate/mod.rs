//! The remote-write gate: one writer by fencing, and nothing lost in a takeover.
//!
//! - [`wire`]: what a remote-write request holds, its halves, and 1.0 as 2.0, read and written without building objects
//! - [`spool`]: what a standby has received, on disk and bounded
//! - [`watermark`]: how far the writer has got, so that standbys can forget what it has finished
//! - [`margin`]: what they keep beyond that
//! - [`fence`]: a span of authority, and connections that carry nothing outside it
//! - [`remote`]: where the writer sends to: what rendering takes out of a `remote_write` entry

mod client;
mod dial;
pub mod fence;
mod headers;
pub mod margin;
pub mod remote;
pub mod spool;
#[cfg(test)]
mod testing;
mod tls;
pub mod watermark;
pub mod wire;

/// Lowest and highest timestamp of a batch, both inclusive, in Unix milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// The lowest.
    pub min_ms: i64,
    /// The highest.
    pub max_ms: i64,
}
