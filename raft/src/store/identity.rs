//! Who this data directory is in the group, and what it has promised.
//!
//! ```text
//!            promise(X)              first vote or append in X
//! Blank ----------------> Promised X ------------------------> Joined X
//!   ^  ^--replaced by Y--'                                        |
//!   '----------------- dismissed, recover: new node id -----------'
//! ```

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{NodeId, rt};

/// Random identity of a group, drawn when it forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClusterId(pub u64);

impl ClusterId {
    /// Draws a new one.
    pub fn random() -> Self {
        Self(rt::random())
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Relation of a data directory to a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// In no group, promised to none.
    #[default]
    Blank,
    /// Promised to this group; has never voted or stored anything in it, so the promise may be replaced.
    Promised(ClusterId),
    /// Has voted or stored something in this group.
    Joined(ClusterId),
}

impl Standing {
    /// The group that this member answers, if any.
    pub fn cluster(self) -> Option<ClusterId> {
        match self {
            Self::Blank => None,
            Self::Promised(cluster) | Self::Joined(cluster) => Some(cluster),
        }
    }

    /// The group that this member has voted or stored something in, if any.
    pub fn joined(self) -> Option<ClusterId> {
        match self {
            Self::Blank | Self::Promised(_) => None,
            Self::Joined(cluster) => Some(cluster),
        }
    }

    /// Whether it may still take part in a formation.
    pub fn is_blank(self) -> bool {
        !matches!(self, Self::Joined(_))
    }
}

/// The durable identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Random, never reused (DESIGN.md, group rule 7).
    pub node_id: NodeId,
    /// Relation to a group.
    pub standing: Standing,
    /// The newest term in which authority was given up for good (group rule 3); 0: none.
    pub latched_term: u64,
    /// The largest set of peers ever seen in one answer of discovery (group rule 9): names, or bare addresses. Peers that
    /// turned out to belong to another election are taken out.
    pub peers_seen: BTreeSet<String>,
    /// It was removed from a group, so there is or was one: it may be added to a group, and founds none.
    #[serde(default)]
    pub was_removed: bool,
}

impl Identity {
    /// A new member: random id, in no group.
    pub fn new() -> Self {
        Self {
            node_id: NodeId(rt::random()),
            standing: Standing::Blank,
            latched_term: 0,
            peers_seen: BTreeSet::new(),
            was_removed: false,
        }
    }
}

impl Default for Identity {
    fn default() -> Self {
        Self::new()
    }
}
