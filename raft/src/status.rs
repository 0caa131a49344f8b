//! What the group tells about itself: the JSON that `/_elector/status` embeds.

use serde::{Deserialize, Serialize};

use crate::NodeId;

/// One member's view of the group. `D`: a member's digest, opaque here; whoever reads it maps it ([`GroupStatus::map_digests`]).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(deserialize = "D: Default + Deserialize<'de>"))]
pub struct GroupStatus<D = String> {
    /// Random id drawn when the group formed; `None` while this member belongs to none.
    pub cluster_id: Option<String>,
    /// This member's node id.
    pub node_id: NodeId,
    /// What this member is doing in the group.
    pub state: GroupState,
    /// One sentence: why it is in this state, and what it waits for.
    pub reason: String,
    /// Current Raft term.
    pub term: u64,
    /// Name of the leader of that term, while it is heard of.
    pub leader: Option<String>,
    /// Whether this member holds authority.
    pub authority: bool,
    /// Milliseconds of authority left; `None` without authority, or when it has no end (sole voter).
    pub authority_left_ms: Option<u64>,
    /// True once this member is a caught-up voter or witness, past its quarantine, of a committed, uniform membership
    /// that no longer holds an older id of this member (DESIGN.md, group rule 15). Not latched here.
    pub settled: bool,
    /// Members of the group, by name. Before formation: the peers that answered.
    pub members: Vec<MemberStatus<D>>,
    /// How far the replicated log is here.
    #[serde(default)]
    pub log: LogStatus,
    /// The newest leadership terms, oldest first.
    pub ledger: Vec<LedgerEntry>,
    /// Conditions an operator should know, in plain words.
    pub warnings: Vec<String>,
}

/// How far the replicated log is on one member; indices count from 1, 0: nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogStatus {
    /// Newest entry in the log here.
    pub last_index: u64,
    /// Newest entry that is known here to be on a majority.
    pub committed_index: u64,
    /// Newest entry that has taken effect here.
    pub applied_index: u64,
}

impl<D> GroupStatus<D> {
    /// The same with other digests.
    pub fn map_digests<E>(self, mut map: impl FnMut(D) -> E) -> GroupStatus<E> {
        let members = self.members.into_iter().map(|member| member.map_digest(&mut map)).collect();
        GroupStatus {
            members,
            cluster_id: self.cluster_id,
            node_id: self.node_id,
            state: self.state,
            reason: self.reason,
            term: self.term,
            leader: self.leader,
            authority: self.authority,
            authority_left_ms: self.authority_left_ms,
            settled: self.settled,
            log: self.log,
            ledger: self.ledger,
            warnings: self.warnings,
        }
    }
}

/// State of this member in the group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupState {
    /// Looking for its peers; no group yet, or not admitted to it yet.
    #[default]
    Waiting,
    /// Started less than one lease ago: it neither votes nor stands for election yet.
    Quarantined,
    /// Replicates, without a vote yet.
    Learner,
    /// Follows a leader.
    Follower,
    /// Electing.
    Candidate,
    /// Leads the Raft group (whether it may act is `authority`).
    Leader,
    /// The group thread ended with an error; `reason` says which.
    Failed,
}

/// One member as seen from here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberStatus<D = String> {
    /// Member name.
    pub name: String,
    /// Node id in the membership.
    pub id: NodeId,
    /// Voter, learner, witness, or not yet a member.
    pub kind: MemberKind,
    /// Leads the present term.
    pub leader: bool,
    /// Is this member itself.
    pub this: bool,
    /// `host:port` of its Raft listener.
    pub raft_address: String,
    /// Base URL of its API.
    pub api_url: String,
    /// Base URL of its Prometheus; empty for a witness.
    pub prometheus_url: String,
    /// Whether it can do the leader's work, as it said last; `None` if it has not answered yet.
    pub eligible: Option<bool>,
    /// Whether it could take over without losing anything, as it said last; `None` if it has not answered yet.
    #[serde(default)]
    pub prepared: Option<bool>,
    /// One sentence from it: why it is or is not eligible.
    pub eligibility_reason: String,
    /// Milliseconds since it was last heard; `None` if never since this process started, 0 for this member.
    pub last_contact_ms: Option<u64>,
    /// That is longer ago than lost words explain: what it said says nothing of now.
    #[serde(default)]
    pub silent: bool,
    /// What else it told of itself with that ([`crate::GroupHandle::set_digest`]); empty if nothing.
    #[serde(default)]
    pub digest: D,
}

impl<D> MemberStatus<D> {
    fn map_digest<E>(self, map: impl FnOnce(D) -> E) -> MemberStatus<E> {
        MemberStatus {
            digest: map(self.digest),
            name: self.name,
            id: self.id,
            kind: self.kind,
            leader: self.leader,
            this: self.this,
            raft_address: self.raft_address,
            api_url: self.api_url,
            prometheus_url: self.prometheus_url,
            eligible: self.eligible,
            prepared: self.prepared,
            eligibility_reason: self.eligibility_reason,
            last_contact_ms: self.last_contact_ms,
            silent: self.silent,
        }
    }
}

/// Kind of a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberKind {
    /// Data replica with a vote.
    Voter,
    /// Data replica or witness that replicates without a vote yet.
    Learner,
    /// Votes, never acts.
    Witness,
    /// Found by discovery, not in the membership.
    #[default]
    Candidate,
}

impl MemberKind {
    /// Whether it has a vote.
    pub fn votes(self) -> bool {
        matches!(self, Self::Voter | Self::Witness)
    }
}

/// One leadership term in the replicated history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// Raft term.
    pub term: u64,
    /// Member name of its leader.
    pub leader: String,
    /// Unix time in milliseconds when it was established, by the leader's clock.
    pub since_unix_ms: u64,
    /// Unix time in milliseconds when it gave authority up on purpose; `None`: in force, or it was lost.
    pub until_unix_ms: Option<u64>,
    /// One sentence: how it came to lead, and why it stopped if it says so.
    pub reason: String,
}
