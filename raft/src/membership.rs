//! Membership: the leader's next change, one at a time. Pure (DESIGN.md, group rules 4, 7, 8, 10).
//!
//! In order of urgency: finish a joint membership left by a predecessor; confirm the founding members; tell removed
//! members so; replace a member that lost its disk; note a changed address; add; promote; remove in two steps.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use crate::contacts::{Contact, Contacts};
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
        return Some((Change::FinishJoint(newest), "a predecessor left the membership joint".into()));
    }
    if !s.view.membership_committed {
        return None;
    }
    if !s.formed {
        let founded = s.view.voters().iter().all(|id| *id == s.view.id || s.view.matched.contains_key(id));
        return founded.then(|| (Change::ConfirmFormed, "every founding member has joined".into()));
    }
    s.fresh_contacts().find_map(|contact| s.admit(contact)).or_else(|| s.remove())
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
            let replaced = self
                .contacts
                .by_name(&member.name)
                .is_some_and(|contact| contact.hello.node_id != *id && self.view.is_voter(contact.hello.node_id));
            if replaced || self.is_gone(*id, &member.name) {
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

    /// Absent from successful answers AND silent, both for the whole delay.
    fn is_gone(&self, id: NodeId, name: &str) -> bool {
        let delay = self.timing.member_removal_delay;
        let absent = self.absent.get(name).is_some_and(|time| *time >= delay);
        let heard = self.contacts.by_name(name).map(|contact| contact.heard_at);
        let last_word = heard.max(self.view.acked.get(&id).copied());
        absent && last_word.is_none_or(|at| self.now.saturating_duration_since(at) >= delay)
    }

    /// Whether the voters that remain have a majority that acknowledges this leader.
    pub(crate) fn majority_lives_without(&self, gone: NodeId) -> bool {
        let remaining: Vec<NodeId> = self.view.voters().into_iter().filter(|id| *id != gone).collect();
        let live = remaining.iter().filter(|id| **id == self.view.id || self.is_acked(**id)).count();
        live > remaining.len() / 2
    }

    fn is_acked(&self, id: NodeId) -> bool {
        let acked = self.view.acked.get(&id);
        acked.is_some_and(|at| self.now.saturating_duration_since(*at) < self.timing.contact_freshness())
    }

    /// openraft reports success for learners that lag and for voters out of reach, so this is looked at here.
    fn is_caught_up(&self, id: NodeId) -> bool {
        let matched = self.view.matched.get(&id);
        self.is_acked(id) && matched.is_some_and(|index| index + LAG_ENTRIES_MAX >= self.view.last_log_index)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unchecked_time_subtraction)]
    use openraft::ServerState;

    use super::*;
    use crate::network::Hello;
    use crate::testing::{contacts, hello, id, member, view};

    const X: ClusterId = ClusterId(7);

    /// A formed group of the voters 1..=3 as its leader, member 1, sees it; all well.
    struct World {
        view: RaftView,
        hellos: Vec<Hello>,
        heard_at: Instant,
        now: Instant,
        formed: bool,
        barred: BTreeMap<String, u64>,
        absent: BTreeMap<String, Duration>,
    }

    impl World {
        fn new() -> Self {
            let now = Instant::now() + Duration::from_secs(3600);
            let mut view = view(&[1, 2, 3]);
            view.state = ServerState::Leader;
            let mut world = Self {
                view,
                hellos: vec![hello(2, Standing::Joined(X)), hello(3, Standing::Joined(X))],
                heard_at: now,
                now,
                formed: true,
                barred: BTreeMap::new(),
                absent: BTreeMap::new(),
            };
            world.replicates(2, 10);
            world.replicates(3, 10);
            world
        }

        fn replicates(&mut self, number: u64, matched: u64) {
            self.view.matched.insert(id(number), matched);
            self.view.acked.insert(id(number), self.now);
        }

        fn learner(&mut self, number: u64, matched: u64) {
            self.view.nodes.insert(id(number), member(number));
            self.replicates(number, matched);
            self.hellos.push(hello(number, Standing::Joined(X)));
        }

        /// Member `number` stopped `ago` and left discovery then.
        fn vanished(&mut self, number: u64, ago: Duration) {
            self.hellos.retain(|hello| hello.node_id != id(number));
            self.view.acked.insert(id(number), self.now - ago);
            self.absent.insert(format!("prom-{number}"), ago);
        }

        fn next(&self) -> Option<Change> {
            let timing = Timing {
                lease_duration: Duration::from_secs(1),
                renew_deadline: Duration::from_millis(800),
                retry_period: Duration::from_millis(100),
                member_removal_delay: Duration::from_secs(300),
            };
            next(&Situation {
                view: &self.view,
                contacts: &contacts(self.hellos.clone(), self.heard_at),
                cluster: X,
                own_name: "prom-1",
                formed: self.formed,
                barred: &self.barred,
                absent: &self.absent,
                timing: &timing,
                freshness: Duration::from_secs(3),
                now: self.now,
            })
            .map(|(change, _)| change)
        }
    }

    const DELAY: Duration = Duration::from_secs(300);

    #[test]
    fn nothing_to_do_when_all_is_well() {
        assert_eq!(World::new().next(), None);
    }

    #[test]
    fn a_joint_membership_is_finished_before_anything_else() {
        let mut world = World::new();
        let newest = BTreeSet::from([id(1), id(2)]);
        world.view.configs.push(newest.clone());
        world.formed = false;
        assert_eq!(world.next(), Some(Change::FinishJoint(newest)));
    }

    #[test]
    fn nothing_is_proposed_on_top_of_an_uncommitted_membership() {
        let mut world = World::new();
        world.hellos.push(hello(4, Standing::Blank));
        world.view.membership_committed = false;
        assert_eq!(world.next(), None);
    }

    #[test]
    fn formation_is_confirmed_only_when_every_founder_has_stored_something() {
        let mut world = World::new();
        world.formed = false;
        world.view.matched.remove(&id(3));
        world.hellos.push(hello(4, Standing::Blank));
        assert_eq!(world.next(), None, "and until then nobody is added");
        world.replicates(3, 1);
        assert_eq!(world.next(), Some(Change::ConfirmFormed));
    }

    #[test]
    fn a_new_member_becomes_a_learner_then_a_voter() {
        let mut world = World::new();
        world.hellos.push(hello(4, Standing::Blank));
        assert_eq!(world.next(), Some(Change::AddLearner(id(4), member(4))));
        world.hellos.pop();
        world.learner(4, 1);
        assert_eq!(world.next(), None, "not before it has caught up");
        world.replicates(4, 3);
        assert_eq!(world.next(), Some(Change::Promote(id(4))));
    }

    #[test]
    fn a_learner_that_stopped_acknowledging_is_not_promoted() {
        let mut world = World::new();
        world.learner(4, 10);
        world.view.acked.insert(id(4), world.now - Duration::from_secs(1));
        assert_eq!(world.next(), None);
    }

    #[test]
    fn a_promise_lost_before_the_first_entry_is_renewed() {
        let mut world = World::new();
        world.learner(4, 0);
        world.view.matched.remove(&id(4));
        world.hellos.pop();
        world.hellos.push(hello(4, Standing::Promised(ClusterId(8))));
        assert_eq!(world.next(), Some(Change::AddLearner(id(4), member(4))));
    }

    #[test]
    fn an_old_word_changes_nothing() {
        let mut world = World::new();
        world.hellos.push(hello(4, Standing::Blank));
        world.heard_at = world.now - Duration::from_secs(3);
        assert_eq!(world.next(), None);
    }

    #[test]
    fn a_lost_disk_is_replaced_in_one_change_and_the_old_id_dropped() {
        let mut world = World::new();
        let mut reborn = hello(33, Standing::Blank);
        reborn.member = member(3);
        world.hellos[1] = reborn.clone();
        assert_eq!(world.next(), Some(Change::AddLearner(id(33), member(3))));
        world.view.nodes.insert(id(33), member(3));
        reborn.standing = Standing::Joined(X);
        world.hellos[1] = reborn;
        assert_eq!(world.next(), None);
        world.replicates(33, 10);
        assert_eq!(world.next(), Some(Change::Swap { old: id(3), new: id(33) }));
        world.view.configs = vec![BTreeSet::from([id(1), id(2), id(33)])];
        assert_eq!(world.next(), Some(Change::Drop(id(3))), "left as a learner by the swap");
    }

    #[test]
    fn a_member_of_another_group_is_left_alone() {
        let mut world = World::new();
        world.hellos.push(hello(4, Standing::Joined(ClusterId(8))));
        assert_eq!(world.next(), None);
    }

    #[test]
    fn a_removed_member_that_returns_is_told_so() {
        let mut world = World::new();
        world.hellos.push(hello(4, Standing::Joined(X)));
        assert_eq!(world.next(), Some(Change::Dismiss(id(4), member(4))));
    }

    #[test]
    fn a_member_removed_by_hand_stays_out_until_it_restarts() {
        let mut world = World::new();
        world.hellos.push(hello(4, Standing::Blank));
        world.barred.insert("prom-4".into(), 4);
        assert_eq!(world.next(), None);
        world.hellos[2].incarnation = 5;
        assert_eq!(world.next(), Some(Change::AddLearner(id(4), member(4))));
    }

    #[test]
    fn other_addresses_are_noted() {
        let mut world = World::new();
        world.hellos[0].member.raft_address = "10.0.0.9:9096".into();
        let moved = world.hellos[0].member.clone();
        assert_eq!(world.next(), Some(Change::UpdateNode(id(2), moved)));
    }

    #[test]
    fn removal_needs_absence_and_silence_for_the_whole_delay() {
        let mut world = World::new();
        world.vanished(3, DELAY);
        assert_eq!(world.next(), Some(Change::Demote(id(3))));
        world.view.configs = vec![BTreeSet::from([id(1), id(2)])];
        assert_eq!(world.next(), Some(Change::Drop(id(3))));

        let mut listed = World::new();
        listed.vanished(3, DELAY);
        listed.absent.clear();
        assert_eq!(listed.next(), None, "silent, but still listed");
        let mut speaks = World::new();
        speaks.absent.insert("prom-3".into(), DELAY);
        assert_eq!(speaks.next(), None, "absent, but still speaking");
        let mut recent = World::new();
        recent.vanished(3, DELAY - Duration::from_secs(1));
        assert_eq!(recent.next(), None, "not for long enough");
    }

    #[test]
    fn a_removal_never_leaves_a_majority_that_is_not_alive() {
        let mut world = World::new();
        world.view.nodes.insert(id(4), member(4));
        world.view.configs = vec![BTreeSet::from([id(1), id(2), id(3), id(4)])];
        world.vanished(3, DELAY);
        world.vanished(4, Duration::from_secs(10));
        world.vanished(2, Duration::from_secs(10));
        assert_eq!(world.next(), None, "of 1, 2 and 4 only 1 is alive");
        world.replicates(2, 10);
        assert_eq!(world.next(), Some(Change::Demote(id(3))));
    }
}
