//! Who may be a member: what discovery found, and how a member describes itself.

use std::fmt;
use std::str::FromStr;
use std::time::Instant;

use serde::{Deserialize, Serialize};

/// Identity of one data directory in the group: random, never reused, never derived from the member's name
/// (DESIGN.md, group rule 7). Written as 16 hexadecimal digits, because JSON readers lose digits of a large number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl From<u64> for NodeId {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

impl FromStr for NodeId {
    type Err = std::num::ParseIntError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

impl Serialize for NodeId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NodeId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// How a member describes itself; stored in the group's membership.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Member name, unique in the group (the pod's name in a `StatefulSet`).
    pub name: String,
    /// `host:port` of its Raft listener.
    pub raft_address: String,
    /// Base URL of its API, `http://host:port`.
    pub api_url: String,
    /// Base URL of its Prometheus as other members reach it; empty for a witness.
    pub prometheus_url: String,
    /// Votes, but never acts as the leader (DESIGN.md, group rule 11).
    pub witness: bool,
}

impl Member {
    /// The host of its Raft listener: a name without the final dot, or an address without brackets.
    pub fn raft_host(&self) -> &str {
        let host = self.raft_address.rsplit_once(':').map_or(&*self.raft_address, |(host, _)| host);
        host.trim_matches(['[', ']']).trim_end_matches('.')
    }
}

/// One possible member that discovery found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer {
    /// Member name where discovery knows it (SRV records, static peers); `None` for a bare address, whose name only
    /// the identity handshake tells.
    pub name: Option<String>,
    /// `host:port` of its Raft listener. The host may be a name; the group dials through the resolver it was given.
    pub address: String,
}

/// The last good answer of discovery. Every successful lookup publishes a new one, also if it found the same peers;
/// a failed lookup publishes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerSet {
    /// All peers found, sorted, without duplicates; the own member is among them when discovery lists it.
    pub peers: Vec<Peer>,
    /// When the answer came; `None` until the first one.
    pub answered_at: Option<Instant>,
}
