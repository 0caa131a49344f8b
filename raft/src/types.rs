//! openraft, instantiated for the election group.

use openraft::impls::leader_id_std;

use crate::state::{Command, GroupData};
use crate::{Member, NodeId};

openraft::declare_raft_types!(
    /// The group's types: standard leader ids (one leader per term, DESIGN.md group rule 2).
    pub TypeConfig:
        D = Command,
        R = (),
        NodeId = NodeId,
        Node = Member,
        LeaderId = leader_id_std::LeaderId<u64, NodeId>,
        AsyncRuntime = crate::rt::Runtime,
);

pub(crate) type LogId = openraft::alias::LogIdOf<TypeConfig>;
pub(crate) type Vote = openraft::alias::VoteOf<TypeConfig>;
pub(crate) type Entry = openraft::alias::EntryOf<TypeConfig>;
pub(crate) type StoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;
pub(crate) type Snapshot = openraft::alias::SnapshotOf<TypeConfig, GroupData>;
pub(crate) type Metrics = openraft::RaftMetrics<TypeConfig>;
pub(crate) type AppendRequest = openraft::raft::AppendEntriesRequest<TypeConfig>;
pub(crate) type AppendResponse = openraft::raft::AppendEntriesResponse<TypeConfig>;
pub(crate) type VoteRequest = openraft::raft::VoteRequest<TypeConfig>;
pub(crate) type VoteResponse = openraft::raft::VoteResponse<TypeConfig>;
pub(crate) type TransferRequest = openraft::raft::TransferLeaderRequest<TypeConfig>;
pub(crate) type TransferResponse = openraft::raft::TransferLeaderResponse<TypeConfig>;
pub(crate) type SnapshotResponse = openraft::raft::SnapshotResponse<TypeConfig>;
pub(crate) type Raft = openraft::Raft<TypeConfig, crate::store::StateMachine>;
pub(crate) type RaftState = openraft::RaftState<TypeConfig>;
pub(crate) type RaftInstant = openraft::alias::InstantOf<TypeConfig>;
