//! The messages, as JSON on the wire.

use serde::{Deserialize, Serialize};

use crate::state::GroupData;
use crate::store::{ClusterId, Standing};
use crate::types::{
    AppendRequest, AppendResponse, LogId, SnapshotMeta, SnapshotResponse, TransferRequest, TransferResponse, Vote,
    VoteRequest, VoteResponse,
};
use crate::{Member, NodeId};

/// One call to a member.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Message {
    /// Name of the election (`lease-name`): two groups under one Service stay apart.
    pub(crate) group: String,
    /// The caller.
    pub(crate) from: NodeId,
    /// What is asked.
    pub(crate) call: Call,
}

/// What is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Call {
    /// "This is me; who are you?"
    Hello(Box<Hello>),
    /// "Promise yourself to this group." `founding`: the caller wants to form it with the giver as a first member.
    Promise { cluster: ClusterId, founding: bool },
    /// "You are no longer a member": the committed membership at `membership` does not hold the receiver.
    Dismiss { cluster: ClusterId, target: NodeId, membership: LogId },
    /// A call of the Raft protocol.
    Raft { cluster: ClusterId, target: NodeId, call: RaftCall },
}

/// A call of the Raft protocol.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum RaftCall {
    Append(AppendRequest),
    Vote(VoteRequest),
    PreVote(VoteRequest),
    Snapshot { vote: Vote, meta: SnapshotMeta, data: GroupData },
    Transfer(TransferRequest),
}

/// What comes back.
pub(crate) type Reply = Result<Answer, Refusal>;

/// The answer to a [`Call`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Hello(Box<Hello>),
    Done,
    Append(AppendResponse),
    Vote(VoteResponse),
    Snapshot(SnapshotResponse),
    Transfer(TransferResponse),
}

/// How a member introduces itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// Name and addresses.
    pub(crate) member: Member,
    /// Id of its data directory.
    pub(crate) node_id: NodeId,
    /// Random number of this process: tells a restart.
    pub(crate) incarnation: u64,
    /// Relation to a group.
    pub(crate) standing: Standing,
    /// Whether it may be a founding member: not whoever was removed from a group.
    pub(crate) founds: bool,
    /// Milliseconds since it started, or since it became a new member.
    pub(crate) uptime_ms: u64,
    /// Whether it can do the leader's work.
    pub(crate) eligible: bool,
    /// Why it can or cannot.
    pub(crate) eligibility_reason: String,
}

/// Why a member did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum Refusal {
    /// Another election.
    #[error("it belongs to the group named {0:?}: is lease-name equal on all members?")]
    OtherName(String),
    /// Another group of the same name.
    #[error("it belongs to another group ({0})")]
    OtherCluster(String),
    /// Another data directory answers at this address.
    #[error("another member ({0}) answers at this address")]
    OtherTarget(NodeId),
    /// It has just started.
    #[error("it has started less than a lease ago and does not vote yet")]
    Quarantined,
    /// It has no Raft instance now.
    #[error("it is starting or stopping")]
    NotRunning,
    /// Something failed there.
    #[error("{0}")]
    Failed(String),
}
