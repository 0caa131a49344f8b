//! openraft's metrics, reduced to what the pure decisions need.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use openraft::ServerState;

use crate::rt::to_std;
use crate::types::{LogId, Metrics, StoredMembership};
use crate::{Member, NodeId};

/// One look at openraft.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RaftView {
    pub(crate) id: NodeId,
    pub(crate) term: u64,
    pub(crate) state: ServerState,
    /// The leader that this member's vote names.
    pub(crate) current_leader: Option<NodeId>,
    /// Whether an entry of the present term is committed.
    pub(crate) committed_own_term: bool,
    /// When the newest heartbeat that a majority acknowledged was sent. Never advances for a sole voter.
    pub(crate) last_quorum_acked: Option<Instant>,
    pub(crate) last_log_index: u64,
    pub(crate) applied_index: u64,
    pub(crate) committed_index: u64,
    /// The newest entry that is committed and in the log here.
    pub(crate) local_committed: Option<LogId>,
    /// The voter sets in force: two while a change is joint.
    pub(crate) configs: Vec<BTreeSet<NodeId>>,
    pub(crate) nodes: Arc<BTreeMap<NodeId, Member>>,
    pub(crate) membership_log_id: Option<LogId>,
    /// Whether that membership is committed.
    pub(crate) membership_committed: bool,
    /// Leader only: highest log index known to be on each member.
    pub(crate) matched: BTreeMap<NodeId, u64>,
    /// Leader only: when the newest heartbeat that each member acknowledged was sent.
    pub(crate) acked: BTreeMap<NodeId, Instant>,
}

/// The nodes of the membership that was looked at last.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    of: Option<Arc<StoredMembership>>,
    nodes: Arc<BTreeMap<NodeId, Member>>,
}

impl Nodes {
    fn of(&mut self, membership: &Arc<StoredMembership>) -> Arc<BTreeMap<NodeId, Member>> {
        if !self.of.as_ref().is_some_and(|known| Arc::ptr_eq(known, membership)) {
            self.nodes = Arc::new(membership.nodes().map(|(id, member)| (*id, member.clone())).collect());
            self.of = Some(membership.clone());
        }
        self.nodes.clone()
    }
}

impl RaftView {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self::with(metrics, &mut Nodes::default())
    }

    /// As [`RaftView::new`], with the nodes of the look before if the membership is the same: looks are frequent.
    pub(crate) fn with(metrics: &Metrics, known: &mut Nodes) -> Self {
        let membership = &metrics.membership_config;
        let nodes = known.of(membership);
        let index = |id: Option<LogId>| id.map_or(0, |id| id.index);
        let committed_term = metrics.local_committed.map(|id| *id.committed_leader_id());
        Self {
            id: metrics.id,
            term: metrics.current_term,
            state: metrics.state,
            current_leader: metrics.current_leader,
            committed_own_term: committed_term.is_some_and(|term| *term == metrics.current_term),
            last_quorum_acked: metrics.last_quorum_acked.map(|at| to_std(at.into_inner())),
            last_log_index: metrics.last_log_index.unwrap_or(0),
            applied_index: index(metrics.last_applied),
            committed_index: index(metrics.cluster_committed),
            local_committed: metrics.local_committed,
            configs: membership.membership().get_joint_config().clone(),
            nodes,
            membership_log_id: *membership.log_id(),
            membership_committed: membership.log_id() == metrics.committed_membership_config.log_id(),
            matched: metrics
                .replication
                .iter()
                .flatten()
                .filter_map(|(id, matched)| Some((*id, matched.as_ref()?.index)))
                .collect(),
            acked: metrics
                .heartbeat
                .iter()
                .flatten()
                .filter_map(|(id, at)| Some((*id, to_std(at.as_ref()?.into_inner()))))
                .collect(),
        }
    }

    pub(crate) fn is_leader(&self) -> bool {
        self.state == ServerState::Leader
    }

    pub(crate) fn is_joint(&self) -> bool {
        self.configs.len() > 1
    }

    pub(crate) fn voters(&self) -> BTreeSet<NodeId> {
        self.configs.iter().flatten().copied().collect()
    }

    pub(crate) fn is_voter(&self, id: NodeId) -> bool {
        self.configs.iter().any(|config| config.contains(&id))
    }

    /// Whether this member alone is the quorum of a committed membership.
    pub(crate) fn is_sole_voter(&self) -> bool {
        self.membership_committed && self.configs.len() == 1 && self.voters() == BTreeSet::from([self.id])
    }

    /// Name of a member of the membership.
    pub(crate) fn name_of(&self, id: NodeId) -> Option<&str> {
        self.nodes.get(&id).map(|member| member.name.as_str())
    }

    /// Node ids under a name: more than one while a lost disk is being replaced.
    pub(crate) fn ids_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = NodeId> + 'a {
        self.nodes.iter().filter(move |(_, member)| member.name == name).map(|(id, _)| *id)
    }
}
