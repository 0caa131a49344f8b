//! Finds the peers: DNS (SRV, then A/AAAA), or a static list -> [`elector_raft::PeerSet`]; keeps the last good answer.

pub mod host;

use std::net::SocketAddr;
use std::time::Duration;

use elector_raft::Peer;

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
