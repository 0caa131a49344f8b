//! Leadership as one member sees it, and its own right to act.
//!
//! Authority is an expiry time compared with now, never a boolean (DESIGN.md, "The group").

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::{Member, NodeId, Now};

/// Who leads, as this member sees it, and what this member itself may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// Raft term that this view belongs to; 0 before the group has formed.
    pub term: u64,
    /// The leader of `term` while it is heard of. `None`: no leader is known, the group is electing or cut off.
    /// A witness may stand here for the short time until it has handed over.
    pub leader: Option<Arc<Leader>>,
    /// This member's own right to act as the leader.
    pub authority: Authority,
}

/// The leader of a term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Its node id.
    pub id: NodeId,
    /// Whether it is this member itself.
    pub is_self: bool,
    /// Its name and addresses.
    pub member: Member,
}

/// The right to act as the leader of the group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Authority {
    /// None: another member may hold it.
    #[default]
    None,
    /// Held before `deadline`, provided that the machine was not suspended since.
    Until {
        /// Last quorum acknowledgement plus the renew deadline.
        deadline: Instant,
        /// [`Now::suspended`] when the acknowledgement was seen.
        suspended: Duration,
    },
    /// Held without a deadline: this member is the only voter.
    SoleVoter,
}

impl Leadership {
    /// Whether this member may act as the leader at `now`. Ask right before the act.
    pub fn holds_authority(&self, now: Now) -> bool {
        match self.authority {
            Authority::None => false,
            Authority::Until { deadline, suspended } => now.instant < deadline && !now.slept_since(suspended),
            Authority::SoleVoter => true,
        }
    }

    /// When the present authority ends unless it is renewed; `None` if there is none or no end. A consumer waits for
    /// this instant beside the watch.
    pub fn authority_deadline(&self) -> Option<Instant> {
        match self.authority {
            Authority::Until { deadline, .. } => Some(deadline),
            Authority::None | Authority::SoleVoter => None,
        }
    }

    /// Name of the leader, or the empty string.
    pub fn leader_name(&self) -> &str {
        self.leader.as_ref().map_or("", |leader| leader.member.name.as_str())
    }
}
