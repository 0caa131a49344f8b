//! The leader's next change, case by case.

#![allow(clippy::unchecked_time_subtraction)]
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::membership::{Change, Situation, all_joined, next};
use crate::store::{ClusterId, Standing};
use crate::timing::Timing;
use crate::view::RaftView;
use openraft::ServerState;

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
    all_joined: Option<Instant>,
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
            all_joined: None,
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
        Arc::make_mut(&mut self.view.nodes).insert(id(number), member(number));
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
            all_joined: self.all_joined,
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
    assert!(all_joined(&world.view));
    assert_eq!(world.next(), None, "nor before they have all answered since");
    world.all_joined = Some(world.now - Duration::from_millis(1));
    assert_eq!(world.next(), Some(Change::ConfirmFormed));
    world.view.acked.insert(id(2), world.now - Duration::from_millis(1));
    assert_eq!(world.next(), None, "one may have left meanwhile");
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
    Arc::make_mut(&mut world.view.nodes).insert(id(33), member(3));
    reborn.standing = Standing::Joined(X);
    world.hellos[1] = reborn;
    assert_eq!(world.next(), None);
    world.replicates(33, 10);
    assert_eq!(world.next(), Some(Change::Swap { old: id(3), new: id(33) }));
    world.view.configs = vec![BTreeSet::from([id(1), id(2), id(33)])];
    assert_eq!(world.next(), Some(Change::Drop(id(3))), "left as a learner by the swap");
}

#[test]
fn a_leader_drops_the_id_that_it_had_before_it_lost_its_disk() {
    let mut world = World::new();
    Arc::make_mut(&mut world.view.nodes).insert(id(11), member(1));
    assert_eq!(world.next(), Some(Change::Drop(id(11))));
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
    Arc::make_mut(&mut world.view.nodes).insert(id(4), member(4));
    world.view.configs = vec![BTreeSet::from([id(1), id(2), id(3), id(4)])];
    world.vanished(3, DELAY);
    world.vanished(4, Duration::from_secs(10));
    world.vanished(2, Duration::from_secs(10));
    assert_eq!(world.next(), None, "of 1, 2 and 4 only 1 is alive");
    world.replicates(2, 10);
    assert_eq!(world.next(), Some(Change::Demote(id(3))));
}
