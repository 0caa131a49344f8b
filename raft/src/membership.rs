//! Membership: the leader's next change, one at a time. Pure (DESIGN.md, group rules 4, 7, 8, 10).
//!
//! In order of urgency: finish a joint membership left by a predecessor; confirm the founding members; tell removed
//! members so; replace a member that lost its disk; note a changed address; add; promote; remove in two steps.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use crate::contacts::{Contact, Contacts};
use crate::rules::{Rule, holds};
use crate::store::{ClusterId, Standing};
use crate::timing::Timing;
use crate::view::RaftView;
use crate::{Member, NodeId};

/// A member is caught up when it lacks no more than this many entries.
const LAG_ENTRIES_MAX: u64 = 8;

/// One step of the reconciliation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Leave a joint membership for its newer half.
    FinishJoint(BTreeSet<NodeId>),
    /// Every founding member has joined.
    ConfirmFormed,
    /// Tell a member that it is none any more.
    Dismiss(NodeId, Member),
    /// Have it promise itself to the group, then add it as a learner.
    AddLearner(NodeId, Member),
    /// Replace what the membership says of it.
    UpdateNode(NodeId, Member),
    /// Give a learner a vote.
    Promote(NodeId),
    /// The same member with a new disk: its new id for its old one, in one change.
    Swap {
        /// The lost one.
        old: NodeId,
        /// Its successor, a caught-up learner.
        new: NodeId,
    },
    /// Make a voter a learner, the first step of removal.
    Demote(NodeId),
    /// Remove a learner.
    Drop(NodeId),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FinishJoint(_) => write!(f, "leave the joint membership"),
            Self::ConfirmFormed => write!(f, "confirm the group"),
            Self::Dismiss(id, member) => write!(f, "tell {} ({id}) that it is no member", member.name),
            Self::AddLearner(id, member) => write!(f, "add {} ({id}) as a learner", member.name),
            Self::UpdateNode(id, member) => write!(f, "note the addresses of {} ({id})", member.name),
            Self::Promote(id) => write!(f, "give {id} a vote"),
            Self::Swap { old, new } => write!(f, "give the vote of {old} to {new}"),
            Self::Demote(id) => write!(f, "take the vote of {id}"),
            Self::Drop(id) => write!(f, "remove {id}"),
        }
    }
}

/// What the leader knows.
pub(crate) struct Situation<'a> {
    pub(crate) view: &'a RaftView,
    pub(crate) contacts: &'a Contacts,
    pub(crate) cluster: ClusterId,
    pub(crate) own_name: &'a str,
    pub(crate) formed: bool,
    /// Since when every founding member is known to have joined.
    pub(crate) all_joined: Option<Instant>,
    /// Processes kept out by hand.
    pub(crate) barred: &'a BTreeMap<String, u64>,
    /// For how long a name has been missing from successful answers of discovery.
    pub(crate) absent: &'a BTreeMap<String, Duration>,
    pub(crate) timing: &'a Timing,
    /// Older words are no reason to change anything.
    pub(crate) freshness: Duration,
    pub(crate) now: Instant,
}

/// The next change and the reason for it, for the log; `None`: all is as it should be.
pub(crate) fn next(s: &Situation<'_>) -> Option<(Change, String)> {
    if s.view.is_joint() {
        let newest = s.view.configs.last().cloned().unwrap_or_default();
        let finish = Change::FinishJoint(newest);
        return holds(Rule::FinishJoint).then(|| (finish, "a predecessor left the membership joint".into()));
    }
    if !s.view.membership_committed {
        return None;
    }
    if !s.formed {
        let joined = s.all_joined?;
        // All at the same time: one that has given its node id up answers no heartbeat sent after that.
        let still = |id: &NodeId| *id == s.view.id || s.view.acked.get(id).is_some_and(|acked| *acked > joined);
        let founded = s.view.voters().iter().all(still) || !holds(Rule::ConfirmTogether);
        return founded.then(|| (Change::ConfirmFormed, "every founding member has joined".into()));
    }
    s.fresh_contacts().find_map(|contact| s.admit(contact)).or_else(|| s.remove())
}

/// Whether every voter has stored an entry of the group.
pub(crate) fn all_joined(view: &RaftView) -> bool {
    view.voters().iter().all(|id| *id == view.id || view.matched.contains_key(id))
}

fn is_acked(view: &RaftView, id: NodeId, timing: &Timing, now: Instant) -> bool {
    view.acked.get(&id).is_some_and(|at| now.saturating_duration_since(*at) < timing.contact_freshness())
}

/// Whether the voters that remain without `gone` have a majority that acknowledges this leader; otherwise those that do
/// not: a membership whose majority is silent cannot be changed any more.
pub(crate) fn silent_without(
    view: &RaftView,
    gone: NodeId,
    timing: &Timing,
    now: Instant,
) -> Result<(), BTreeSet<NodeId>> {
    let remaining: BTreeSet<NodeId> = view.voters().into_iter().filter(|id| *id != gone).collect();
    let silent: BTreeSet<NodeId> =
        remaining.iter().copied().filter(|id| *id != view.id && !is_acked(view, *id, timing, now)).collect();
    if silent.len() * 2 < remaining.len() { Ok(()) } else { Err(silent) }
}

impl Situation<'_> {
    /// Contacts with a fresh word, without this member.
    fn fresh_contacts(&self) -> impl Iterator<Item = &Contact> {
        self.contacts
            .iter()
            .filter(|contact| contact.age(self.now) < self.freshness && contact.hello.member.name != self.own_name)
    }

    /// What a member that is there needs.
    fn admit(&self, contact: &Contact) -> Option<(Change, String)> {
        let hello = &contact.hello;
        let (id, name) = (hello.node_id, hello.member.name.as_str());
        match self.view.nodes.get(&id) {
            None => self.admit_stranger(contact),
            Some(known) if *known != hello.member => {
                Some((Change::UpdateNode(id, hello.member.clone()), format!("{name} has other addresses now")))
            }
            // It was added, but had stored nothing yet when it lost the promise.
            Some(_) if hello.standing.cluster() != Some(self.cluster) && !self.view.matched.contains_key(&id) => {
                Some((Change::AddLearner(id, hello.member.clone()), format!("{name} has to promise itself again")))
            }
            Some(_) if self.view.is_voter(id) || !self.is_caught_up(id) => None,
            Some(_) => {
                let predecessor = self.view.ids_named(name).find(|other| *other != id && self.view.is_voter(*other));
                Some(match predecessor {
                    Some(old) => (Change::Swap { old, new: id }, format!("{name} is back with a new disk")),
                    None => (Change::Promote(id), format!("{name} has caught up")),
                })
            }
        }
    }

    fn admit_stranger(&self, contact: &Contact) -> Option<(Change, String)> {
        let hello = &contact.hello;
        let name = hello.member.name.as_str();
        match hello.standing {
            Standing::Joined(cluster) if cluster == self.cluster => {
                Some((Change::Dismiss(hello.node_id, hello.member.clone()), format!("{name} was removed")))
            }
            Standing::Joined(_) => None,
            Standing::Blank | Standing::Promised(_) => {
                let barred = self.barred.get(name) == Some(&hello.incarnation);
                let why = || format!("{name} is new");
                (!barred).then(|| (Change::AddLearner(hello.node_id, hello.member.clone()), why()))
            }
        }
    }

    /// Whoever should go, first learners, then voters.
    fn remove(&self) -> Option<(Change, String)> {
        let others = || self.view.nodes.iter().filter(|(id, _)| **id != self.view.id);
        for (id, member) in others().filter(|(id, _)| !self.view.is_voter(**id)) {
            if self.is_replaced(*id, &member.name) || self.is_gone(*id, &member.name) {
                return Some((Change::Drop(*id), format!("{} with id {id} is gone", member.name)));
            }
        }
        for (id, member) in others().filter(|(id, _)| self.view.is_voter(**id)) {
            if self.is_gone(*id, &member.name) && self.majority_lives_without(*id) {
                let delay = self.timing.member_removal_delay;
                return Some((
                    Change::Demote(*id),
                    format!("{} is absent from discovery and silent for {delay:?}", member.name),
                ));
            }
        }
        None
    }

    /// Its process is there with a new disk, and votes under the new node id.
    fn is_replaced(&self, id: NodeId, name: &str) -> bool {
        let now = || self.contacts.by_name(name).map(|contact| contact.hello.node_id);
        let successor = if name == self.own_name { Some(self.view.id) } else { now() };
        successor.is_some_and(|successor| successor != id && self.view.is_voter(successor))
    }

    /// Absent from successful answers AND silent, both for the whole delay.
    fn is_gone(&self, id: NodeId, name: &str) -> bool {
        let delay = self.timing.member_removal_delay;
        let absent = self.absent.get(name).is_some_and(|time| *time >= delay);
        let heard = self.contacts.by_name(name).map(|contact| contact.heard_at);
        let last_word = heard.max(self.view.acked.get(&id).copied());
        absent
            && (!holds(Rule::RemovalNeedsBoth)
                || last_word.is_none_or(|at| self.now.saturating_duration_since(at) >= delay))
    }

    fn majority_lives_without(&self, gone: NodeId) -> bool {
        silent_without(self.view, gone, self.timing, self.now).is_ok()
    }

    fn is_acked(&self, id: NodeId) -> bool {
        is_acked(self.view, id, self.timing, self.now)
    }

    /// openraft reports success for learners that lag and for voters out of reach, so this is looked at here.
    fn is_caught_up(&self, id: NodeId) -> bool {
        let matched = self.view.matched.get(&id);
        !holds(Rule::SwapCaughtUp)
            || self.is_acked(id) && matched.is_some_and(|index| index + LAG_ENTRIES_MAX >= self.view.last_log_index)
    }
}
