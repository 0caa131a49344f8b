//! The messages, as JSON on the wire.
//!
//! Rolling upgrades (`docs/decisions/wire-format.md`): fields that are not known are ignored, so a new one that older members
//! may ignore needs nothing else. What they may not ignore (a new call, a new command in the log, another meaning) needs a
//! new version, in two releases: the first understands it, the next speaks it. `version`, `group` and `from` of a message,
//! and `text` of a refusal, keep their form in every version: so members that do not understand each other can say why.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::state::GroupData;
use crate::store::{ClusterId, Standing};
use crate::types::{
    AppendRequest, AppendResponse, LogId, SnapshotMeta, SnapshotResponse, TransferRequest, TransferResponse, Vote,
    VoteRequest, VoteResponse,
};
use crate::{Member, NodeId};

/// The version of the wire format that this release speaks.
pub(crate) const SPOKEN: u32 = 1;
/// The versions that it understands.
pub(crate) const UNDERSTOOD: RangeInclusive<u32> = 1..=1;

/// What every version of a message tells: read before the call, which may be of an unknown version.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Head {
    pub(crate) version: u32,
    pub(crate) group: String,
    pub(crate) from: NodeId,
}

/// One call to a member.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Message {
    /// Version of the wire format that the caller speaks.
    pub(crate) version: u32,
    /// Name of the election (`lease-name`): two groups under one Service stay apart.
    pub(crate) group: String,
    /// The caller.
    pub(crate) from: NodeId,
    /// What is asked.
    pub(crate) call: Call,
}

impl Message {
    /// A message in the version that this release speaks.
    pub(crate) fn new(group: &str, from: NodeId, call: Call) -> Self {
        Self { version: SPOKEN, group: group.to_owned(), from, call }
    }

    pub(crate) fn head(&self) -> Head {
        Head { version: self.version, group: self.group.clone(), from: self.from }
    }
}

/// What is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Call {
    /// "This is me; who are you?"
    Hello(Box<Hello>),
    /// "Promise yourself to this group." `founding`: the caller wants to form it with the giver as a first member.
    Promise { cluster: ClusterId, target: NodeId, founding: bool },
    /// "You are no member": the membership in force at `as_of`, a committed entry of the caller's term, does not hold the receiver.
    Dismiss { cluster: ClusterId, target: NodeId, as_of: LogId },
    /// A call of the Raft protocol.
    Raft { cluster: ClusterId, target: NodeId, call: RaftCall },
}

impl Call {
    /// For metrics.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Hello(_) => "hello",
            Self::Promise { .. } => "promise",
            Self::Dismiss { .. } => "dismiss",
            Self::Raft { call, .. } => match call {
                RaftCall::Append(_) => "append",
                RaftCall::Vote(_) => "vote",
                RaftCall::PreVote(_) => "pre_vote",
                RaftCall::Snapshot { .. } => "snapshot",
                RaftCall::Transfer(_) => "transfer",
            },
        }
    }
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
    /// Whether it could take over without losing anything; older members do not say.
    #[serde(default)]
    pub(crate) prepared: bool,
    /// Why it can or cannot.
    pub(crate) eligibility_reason: String,
    /// What else it tells, for people: carried and not read here. Older members tell nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) digest: String,
    /// Where it has found others, by name, for members to whom DNS tells something else. Older members do not say.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) seen: BTreeMap<String, SocketAddr>,
}

/// Why a member did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum Refusal {
    /// Another version of the wire format.
    #[error(
        "the caller speaks version {spoken} of the wire format and the called member understands {oldest} to {newest}: the {} is the older one, update it (one release after the other, docs/operations.md)",
        if spoken > newest { "called member" } else { "caller" }
    )]
    Version {
        /// Of the refused message.
        spoken: u32,
        /// Oldest that the called member understands.
        oldest: u32,
        /// Newest that it understands.
        newest: u32,
    },
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
    /// No correct member says such a thing.
    #[error("it makes no sense: {0}")]
    Malformed(String),
    /// Something failed there.
    #[error("{0}")]
    Failed(String),
    /// The reason of a newer member, in its words.
    #[error("{0}")]
    Other(String),
}

impl Refusal {
    pub(crate) fn version(spoken: u32) -> Self {
        Self::Version { spoken, oldest: *UNDERSTOOD.start(), newest: *UNDERSTOOD.end() }
    }
}

/// A refusal as it is carried: a member that does not know the reason still shows the text.
#[derive(Serialize, Deserialize)]
struct Refused {
    text: String,
    #[serde(default)]
    reason: serde_json::Value,
}

/// The bytes of a reply.
pub(crate) fn write_reply(reply: &Reply) -> serde_json::Result<Vec<u8>> {
    let carried = match reply {
        Ok(answer) => Ok(answer),
        Err(refusal) => Err(Refused { text: refusal.to_string(), reason: serde_json::to_value(refusal)? }),
    };
    serde_json::to_vec(&carried)
}

/// Reads the bytes of a reply.
pub(crate) fn read_reply(bytes: &[u8]) -> serde_json::Result<Reply> {
    let carried: Result<Answer, Refused> = serde_json::from_slice(bytes)?;
    Ok(carried.map_err(|refused| serde_json::from_value(refused.reason).unwrap_or(Refusal::Other(refused.text))))
}
