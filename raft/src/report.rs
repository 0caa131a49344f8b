//! The group's status, made from what an instance knows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use openraft::ServerState;

use crate::contacts::Contacts;
use crate::instance::Instance;
use crate::network::Transport;
use crate::store::Standing;
use crate::types::LogId;
use crate::view::RaftView;
use crate::{Authority, GroupState, GroupStatus, Leadership, LogStatus, MemberKind, MemberStatus, NodeId, Now};

/// What of a status is published at once when it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gist {
    term: u64,
    leader: Option<NodeId>,
    acts: bool,
    reason: String,
    membership: Option<LogId>,
    membership_committed: bool,
    applied_index: u64,
    committed_index: u64,
}

impl Gist {
    pub(crate) fn new<T: Transport>(instance: &Instance<T>, view: &RaftView, leadership: &Leadership) -> Self {
        Self {
            term: view.term,
            leader: leadership.leader.as_ref().map(|leader| leader.id),
            acts: leadership.authority != Authority::None,
            reason: instance.reason.clone(),
            membership: view.membership_log_id,
            membership_committed: view.membership_committed,
            applied_index: view.applied_index,
            committed_index: view.committed_index,
        }
    }
}

/// Publishes the status if it changed.
pub(crate) fn publish<T: Transport>(instance: &Instance<T>, view: &RaftView, leadership: &Leadership, now: Now) {
    let status = Arc::new(status(instance, view, leadership, now));
    instance.parts.status.send_if_modified(|current| {
        let changed = *current != status;
        *current = status;
        changed
    });
}

fn status<T: Transport>(instance: &Instance<T>, view: &RaftView, leadership: &Leadership, now: Now) -> GroupStatus {
    let shared = &instance.parts.shared;
    let identity = shared.identity();
    let contacts = shared.contacts();
    let state = state(view, identity.standing, shared.in_quarantine());
    let authority = leadership.holds_authority(now);
    let left = leadership.authority_deadline().map(|at| at.saturating_duration_since(now.instant));
    GroupStatus {
        cluster_id: identity.standing.joined().map(|cluster| cluster.to_string()),
        node_id: identity.node_id,
        state,
        reason: instance.reason.clone(),
        term: view.term,
        leader: leadership.leader.as_ref().map(|leader| leader.member.name.clone()),
        authority,
        authority_left_ms: left.filter(|_| authority).map(millis),
        settled: !shared.in_quarantine() && is_settled(view, leadership, &shared.member().name),
        members: members(instance, view, leadership, &contacts, now.instant),
        log: LogStatus {
            last_index: view.last_log_index,
            committed_index: view.committed_index,
            applied_index: view.applied_index,
        },
        ledger: instance.data().ledger.iter().cloned().collect(),
        warnings: warnings(instance, view, &contacts, now.instant),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn state(view: &RaftView, standing: Standing, quarantined: bool) -> GroupState {
    if standing.is_blank() {
        return GroupState::Waiting;
    }
    match view.state {
        ServerState::Leader => GroupState::Leader,
        _ if quarantined => GroupState::Quarantined,
        ServerState::Follower => GroupState::Follower,
        ServerState::Candidate => GroupState::Candidate,
        ServerState::Learner | ServerState::Shutdown => GroupState::Learner,
    }
}

/// Group rule 15: a caught-up voter or witness of a committed, uniform membership without an old id of this member. The
/// caller sees to it that it votes again after its start: else a rolling update that goes on to the next member leaves
/// nobody to elect a leader.
fn is_settled(view: &RaftView, leadership: &Leadership, own_name: &str) -> bool {
    let only_this_id = view.ids_named(own_name).eq([view.id]);
    let caught_up = view.committed_index > 0 && view.applied_index >= view.committed_index;
    let attached = leadership.leader.is_some();
    view.membership_committed && !view.is_joint() && view.is_voter(view.id) && only_this_id && caught_up && attached
}

fn members<T: Transport>(
    instance: &Instance<T>,
    view: &RaftView,
    leadership: &Leadership,
    contacts: &Contacts,
    now: Instant,
) -> Vec<MemberStatus> {
    let own = instance.parts.shared.hello();
    let freshness = instance.parts.shared.timing().hello_freshness();
    let leader = leadership.leader.as_ref().map(|leader| leader.id);
    let mut all: BTreeMap<(String, NodeId), MemberStatus> = BTreeMap::new();
    let mut put = |id: NodeId, member: &crate::Member, kind: MemberKind| {
        let this = id == own.node_id;
        let contact = contacts.by_id(id);
        let word = if this { Some(&own) } else { contact.map(|contact| &contact.hello) };
        let silence = || "not heard of since this process started".into();
        let status = MemberStatus {
            name: member.name.clone(),
            id,
            kind,
            leader: leader == Some(id),
            this,
            raft_address: member.raft_address.clone(),
            api_url: member.api_url.clone(),
            prometheus_url: member.prometheus_url.clone(),
            eligible: word.map(|hello| hello.eligible),
            prepared: word.map(|hello| hello.prepared),
            eligibility_reason: word.map_or_else(silence, |hello| hello.eligibility_reason.clone()),
            silent: !this && is_silent(contacts, id, freshness, now),
            digest: word.map(|hello| hello.digest.clone()).unwrap_or_default(),
            last_contact_ms: if this { Some(0) } else { contact.map(|contact| millis(contact.age(now))) },
        };
        all.insert((member.name.clone(), id), status);
    };
    for (id, member) in view.nodes.iter() {
        let kind = match (view.is_voter(*id), member.witness) {
            (false, _) => MemberKind::Learner,
            (true, true) => MemberKind::Witness,
            (true, false) => MemberKind::Voter,
        };
        put(*id, member, kind);
    }
    if !view.nodes.contains_key(&own.node_id) {
        put(own.node_id, &own.member, MemberKind::Candidate);
    }
    let listed = instance.roster.names();
    for contact in contacts.iter() {
        let hello = &contact.hello;
        if !view.nodes.contains_key(&hello.node_id) && listed.contains(&hello.member.name) {
            put(hello.node_id, &hello.member, MemberKind::Candidate);
        }
    }
    all.into_values().collect()
}

fn is_silent(contacts: &Contacts, id: NodeId, freshness: Duration, now: Instant) -> bool {
    contacts.by_id(id).is_none_or(|contact| contact.age(now) >= freshness)
}

fn warnings<T: Transport>(instance: &Instance<T>, view: &RaftView, contacts: &Contacts, now: Instant) -> Vec<String> {
    let mut warnings = Vec::new();
    let shared = &instance.parts.shared;
    let voters = view.voters().len();
    match voters {
        1 => warnings.push("1 voter tolerates no failure: run 3 members, or 2 and a witness".into()),
        2 => warnings.push("2 voters tolerate no failure: add a witness or a third replica".into()),
        _ => {}
    }
    let freshness = shared.timing().hello_freshness();
    let silent: Vec<&str> = view
        .nodes
        .iter()
        .filter(|(id, _)| **id != view.id)
        .filter(|(id, _)| is_silent(contacts, **id, freshness, now))
        .map(|(_, member)| member.name.as_str())
        .collect();
    if !silent.is_empty() {
        let failures = instance.roster.failures();
        let why = if failures.is_empty() { String::new() } else { format!(" ({failures})") };
        warnings.push(format!("no word from {}{why}", silent.join(", ")));
    }
    warnings.extend(shared.refusals(|refusals, now| refusals.warnings(now)));
    let cluster = shared.identity().standing.cluster();
    for other in contacts.iter().filter(|contact| contact.age(now) < freshness) {
        if let Standing::Joined(theirs) = other.hello.standing
            && cluster.is_some_and(|ours| ours != theirs)
        {
            let name = &other.hello.member.name;
            warnings.push(format!(
                "{name} is in another group ({theirs}) of the same name: run `prometheus-elector recover --yes` on the members of the one that should go"
            ));
        }
    }
    let own = &shared.member().name;
    if contacts.by_name(own).is_some_and(|other| other.age(now) < freshness) {
        warnings.push(format!("another process uses the member name {own}: names must be unique"));
    }
    if !shared.identity().standing.is_blank() && !instance.data().formed && view.applied_index > 0 {
        warnings.push("the group is not confirmed: every founding member must be up once before it may act".into());
    }
    warnings
}

impl<T: Transport> Instance<T> {
    /// Publishes why this member is as it is; logged when it changes.
    pub(crate) fn set_reason(&mut self, reason: String) {
        if self.reason != reason {
            tracing::info!(%reason, "group");
            self.reason = reason;
        }
    }

    /// The sentence for a member of a group.
    pub(crate) fn reason_for(&mut self, view: &RaftView, leadership: &Leadership) {
        let shared = &self.parts.shared;
        if shared.identity().standing.is_blank() {
            return; // formation has said it
        }
        let term = view.term;
        let reason = match (&leadership.leader, view.state) {
            (Some(leader), _) if leader.is_self => format!("leads term {term}"),
            (_, ServerState::Leader) if shared.identity().latched_term >= term => {
                format!("leads term {term}, and has given authority up in it")
            }
            (_, ServerState::Leader) if shared.member().witness => {
                format!("leads term {term} as a witness until a replica can")
            }
            (_, ServerState::Leader) => format!("leads term {term}, without a majority that acknowledges it"),
            (Some(leader), _) => format!("follows {} in term {term}", leader.member.name),
            (None, _) if shared.in_quarantine() => {
                format!("started less than {:?} ago: it neither votes nor leads yet", shared.timing().quarantine())
            }
            (None, _) if !view.is_voter(view.id) => "waiting for the leader: it has no vote yet".into(),
            (None, _) => format!("no leader is known in term {term}: electing, or cut off from the majority"),
        };
        self.set_reason(reason);
    }
}
