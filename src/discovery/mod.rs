//! Finds the peers: DNS (SRV, then A/AAAA), or a static list -> [`elector_raft::PeerSet`]; keeps the last good answer.
//!
//! ```text
//! hosts file, kernel --------> host::read      the own names, for defaults of what this member advertises
//! list or headless service --> Discovery       watch<PeerSet>: who may be a member
//! host name -----------------> DialResolver    addresses for a dial now
//! ```
//!
//! DNS tells where members are; only the group decides who is one. No failure of DNS ends anything here: lookups go on,
//! and what was known stays in use.

mod answer;
mod dial;
mod dns;
mod error;
pub mod host;
mod hosts;
mod journal;
mod peers;
mod service;
mod system;
mod task;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::time::Duration;

use elector_raft::Peer;

pub use self::dial::DialResolver;
pub use self::error::{DiscoveryError, LookupError};
pub use self::journal::LookupStatus;
pub use self::peers::PEERS_MAX;
pub use self::task::Discovery;

/// Where peers come from.
#[derive(Clone, Debug)]
pub struct DiscoverySettings {
    /// The list, or the name to look up.
    pub source: Source,
    /// Name server to ask instead of the system's.
    pub dns_server: Option<SocketAddr>,
    /// Time between two lookups.
    pub refresh_period: Duration,
}

/// Source of the peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The list given with `--peers`.
    Static(Vec<Peer>),
    /// A headless service.
    Dns {
        /// Its name: with a trailing dot as it is, else completed with the system's search domains.
        service: String,
        /// Raft port of every member, used where only A/AAAA records exist.
        raft_port: u16,
    },
}
