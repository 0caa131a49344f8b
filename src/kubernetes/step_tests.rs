//! The rules, action by action. Time is a number of milliseconds since the start.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use elector_raft::{Authority, Leader, Leadership, Member, NodeId, Now};

use super::state::{Action, Elected, Failure, Input, Label, State};
use super::step::{step, wake_at};
use crate::metrics::{PodLabelStatus, RequestCounts};

const LEASE_MS: u64 = 700;

struct Bench {
    start: Instant,
    state: State,
}

fn leadership(term: u64, leader: Option<(&str, bool)>, authority: Authority) -> Leadership {
    let leader = leader.map(|(name, is_self)| {
        let member = Member { name: name.to_owned(), witness: name.starts_with('w'), ..Member::default() };
        Arc::new(Leader { id: NodeId(1), is_self, member, found_at: None })
    });
    Leadership { term, leader, authority }
}

fn follows(term: u64, leader: &str) -> Input {
    Input::Leadership(leadership(term, Some((leader, false)), Authority::None))
}

fn failure(forbidden: bool) -> Failure {
    Failure { forbidden, error: "no".into() }
}

fn accepted() -> Input {
    Input::Labelled(Ok(Some("uid".into())))
}

fn says(label: &str) -> Action {
    Action::Info(format!("the pod's label prometheus-elector/role says {label}"))
}

fn record(term: u64, note: &str) -> Action {
    Action::Record(Elected { term, note: note.into() }, Some("uid".into()))
}

impl Bench {
    fn new(witness: bool) -> Self {
        Self { start: Instant::now(), state: State::new(witness) }
    }

    /// A follower of pod-1 whose label says so at 0 ms.
    fn follower() -> Self {
        let mut bench = Self::new(false);
        assert_eq!(bench.at(0, follows(1, "pod-1")), [Action::Label(Label::Follower)]);
        assert_eq!(bench.at(0, accepted()), [says("follower")]);
        bench
    }

    /// A leader of term 2 whose label says so, and whose Event is written, at 0 ms.
    fn leader() -> Self {
        let mut bench = Self::follower();
        assert_eq!(bench.lead(0, 2), [Action::Label(Label::Leader)]);
        assert_eq!(bench.at(0, accepted()), [says("leader"), record(2, "pod-0 leads in term 2, after pod-1")]);
        assert_eq!(bench.lead(0, 2), [], "one Event at a time");
        assert_eq!(bench.at(0, Input::Recorded(Ok(()))), []);
        bench
    }

    fn instant(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    fn at(&mut self, ms: u64, input: Input) -> Vec<Action> {
        let now = Now { instant: self.instant(ms), suspended: Duration::ZERO };
        let (state, actions) = step(self.state.clone(), input, now);
        self.state = state;
        actions
    }

    /// Authority for a lease from `ms` on.
    fn lead(&mut self, ms: u64, term: u64) -> Vec<Action> {
        let deadline = self.instant(ms + LEASE_MS);
        let authority = Authority::Until { deadline, suspended: Duration::ZERO };
        self.at(ms, Input::Leadership(leadership(term, Some(("pod-0", true)), authority)))
    }

    fn wakes_at(&self) -> Option<u128> {
        wake_at(&self.state).map(|at| (at - self.start).as_millis())
    }
}

#[test]
fn before_a_leader_is_known_the_label_says_follower() {
    let mut bench = Bench::new(false);
    assert_eq!(bench.at(0, Input::Leadership(Leadership::default())), [Action::Label(Label::Follower)]);
    assert_eq!(bench.at(1, follows(1, "pod-1")), [], "one patch at a time");
    assert_eq!(bench.at(2, accepted()), [says("follower")]);
    assert_eq!(bench.at(3, follows(1, "pod-1")), []);
}

#[test]
fn a_witness_says_witness_whatever_it_is_told() {
    let mut bench = Bench::new(true);
    assert_eq!(bench.lead(0, 2), [Action::Label(Label::Witness)]);
    assert_eq!(bench.at(0, accepted()), [says("witness")], "and no Event");
    assert_eq!(bench.at(1, follows(3, "pod-1")), []);
    assert_eq!(bench.at(2, Input::Shutdown), [Action::Finish]);
}

#[test]
fn authority_makes_a_leader_and_its_end_a_follower_also_when_nobody_says_so() {
    let mut bench = Bench::leader();
    assert_eq!(bench.lead(300, 2), [], "a renewal");
    assert_eq!(bench.wakes_at(), Some(300 + u128::from(LEASE_MS)));
    assert_eq!(bench.at(999, Input::Tick), []);
    assert_eq!(bench.at(1_000, Input::Tick), [Action::Label(Label::Follower)]);
    assert_eq!(bench.at(1_010, accepted()), [says("follower")]);
}

#[test]
fn the_newest_wins_and_waits_for_the_patch_in_flight() {
    let mut bench = Bench::follower();
    assert_eq!(bench.lead(0, 2), [Action::Label(Label::Leader)]);
    assert_eq!(bench.at(100, follows(3, "pod-1")), []);
    assert_eq!(bench.at(200, accepted()), [says("leader"), Action::Label(Label::Follower)], "and no Event");
    assert_eq!(bench.at(300, accepted()), [says("follower")]);
}

#[test]
fn a_failed_patch_that_is_out_of_date_is_not_paused_for() {
    let mut bench = Bench::follower();
    assert_eq!(bench.lead(0, 2), [Action::Label(Label::Leader)]);
    bench.at(100, follows(3, "pod-1"));
    let actions = bench.at(5_000, Input::Labelled(Err(failure(false))));
    assert_eq!(actions[1..], [Action::Label(Label::Follower)], "it may have been carried out");
}

#[test]
fn a_failure_is_tried_again_with_growing_pauses_for_ever_and_warned_about_once() {
    let mut bench = Bench::new(false);
    bench.at(0, follows(1, "pod-1"));
    let mut now = 0;
    for (attempt, pause) in [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000].into_iter().enumerate() {
        let next = Duration::from_millis(pause);
        let text = format!(
            "cannot set the pod's label prometheus-elector/role to follower: no; tried again in {next:?}; the election is \
             not affected"
        );
        let said = if attempt == 0 { Action::Warn(text) } else { Action::Debug(text) };
        assert_eq!(bench.at(now, Input::Labelled(Err(failure(false)))), [said]);
        assert_eq!(bench.wakes_at(), Some(u128::from(now + pause)));
        assert_eq!(bench.at(now + pause - 1, Input::Tick), []);
        now += pause;
        assert_eq!(bench.at(now, Input::Tick), [Action::Label(Label::Follower)]);
    }
    assert_eq!(bench.at(now, accepted()), [says("follower")]);
    bench.lead(now, 2);
    let again = bench.at(now, Input::Labelled(Err(failure(false))));
    assert!(matches!(&again[..], [Action::Warn(text)] if text.contains("in 500ms")), "{again:?}");
}

#[test]
fn a_403_is_warned_about_once_until_it_has_succeeded_again() {
    let mut bench = Bench::new(false);
    bench.at(0, follows(1, "pod-1"));
    let text = "cannot set the pod's label prometheus-elector/role to follower: no; give the pod's service account the verb \
                patch on its pod (the chart's podLeaderLabel.enabled=true); the election is not affected";
    let refused = || Input::Labelled(Err(failure(true)));
    assert_eq!(bench.at(0, refused()), [Action::Warn(text.into())]);
    assert_eq!(bench.at(500, Input::Tick), [Action::Label(Label::Follower)]);
    assert_eq!(bench.at(500, refused()), [Action::Debug(text.into())]);
    assert_eq!(bench.at(1_500, Input::Tick), [Action::Label(Label::Follower)]);
    let other = bench.at(1_500, Input::Labelled(Err(failure(false))));
    assert!(matches!(&other[..], [Action::Warn(_)]), "another trouble: {other:?}");
    assert_eq!(bench.at(3_500, Input::Tick), [Action::Label(Label::Follower)]);
    assert_eq!(bench.at(3_500, refused()), [Action::Debug(text.into())]);
    assert_eq!(bench.at(7_500, Input::Tick), [Action::Label(Label::Follower)]);
    assert_eq!(bench.at(7_500, accepted()), [says("follower")]);
    assert_eq!(bench.lead(8_000, 2), [Action::Label(Label::Leader)]);
    let again = bench.at(8_000, refused());
    assert!(matches!(&again[..], [Action::Warn(_)]), "{again:?}");
}

#[test]
fn a_change_of_role_does_not_wait_for_the_pause() {
    let mut bench = Bench::new(false);
    bench.at(0, follows(1, "pod-1"));
    bench.at(0, Input::Labelled(Err(failure(false))));
    assert_eq!(bench.lead(1, 2), [Action::Label(Label::Leader)]);
}

#[test]
fn the_label_is_said_again_each_minute_and_not_told_again() {
    let mut bench = Bench::follower();
    assert_eq!(bench.wakes_at(), Some(60_000));
    assert_eq!(bench.at(59_999, Input::Tick), []);
    assert_eq!(bench.at(60_000, Input::Tick), [Action::Label(Label::Follower)]);
    assert_eq!(bench.at(60_001, accepted()), []);
    assert_eq!(bench.wakes_at(), Some(120_001));
}

#[test]
fn each_term_that_is_led_has_one_event_with_the_leader_before() {
    let mut bench = Bench::leader();
    bench.at(100, Input::Leadership(leadership(2, None, Authority::None)));
    bench.at(100, accepted());
    assert_eq!(bench.lead(200, 2), [Action::Label(Label::Leader)]);
    assert_eq!(bench.at(200, accepted()), [says("leader")], "the same term");
    assert_eq!(bench.lead(300, 3), [record(3, "pod-0 leads again, in term 3")]);
    bench.at(300, Input::Recorded(Ok(())));
    bench.at(400, follows(4, "witness-0"));
    bench.at(400, accepted());
    bench.lead(500, 5);
    let actions = bench.at(500, accepted());
    assert_eq!(actions[1..], [record(5, "pod-0 leads again, in term 5")], "a witness leads only to hand over");
    assert_eq!(bench.lead(600, 6), [], "the one before is still on its way");
    let actions = bench.at(700, Input::Recorded(Err(failure(false))));
    assert!(matches!(&actions[0], Action::Warn(text) if text.contains("; given up; ")), "{actions:?}");
    assert_eq!(actions[1..], [record(6, "pod-0 leads again, in term 6")]);
    let mut first = Bench::new(false);
    first.lead(0, 1);
    let actions = first.at(0, accepted());
    assert_eq!(actions[1..], [record(1, "pod-0 leads in term 1")]);
}

#[test]
fn an_event_is_given_up_after_three_failures_or_one_403() {
    let mut bench = Bench::follower();
    bench.lead(0, 2);
    let elected = || record(2, "pod-0 leads in term 2, after pod-1");
    assert_eq!(bench.at(0, accepted()), [says("leader"), elected()]);
    let failed = || Input::Recorded(Err(failure(false)));
    let text = |next: &str| {
        format!("cannot write the Event about the pod's election: no; {next}; the election is not affected")
    };
    assert_eq!(bench.at(0, failed()), [Action::Warn(text("tried again in 500ms"))]);
    assert_eq!(bench.wakes_at(), Some(500));
    assert_eq!(bench.at(500, Input::Tick), [elected()]);
    assert_eq!(bench.at(500, failed()), [Action::Debug(text("tried again in 1s"))]);
    bench.lead(1_000, 2);
    assert_eq!(bench.at(1_500, Input::Tick), [elected()]);
    assert_eq!(bench.at(1_500, failed()), [Action::Debug(text("given up"))]);

    assert_eq!(bench.lead(1_600, 3), [record(3, "pod-0 leads again, in term 3")], "another Event waits for no pause");
    let refused = bench.at(1_600, Input::Recorded(Err(failure(true))));
    assert!(matches!(&refused[..], [Action::Warn(text)] if text.contains("events.k8s.io")), "{refused:?}");
    assert_eq!(bench.wakes_at(), Some(1_600 + u128::from(LEASE_MS)), "only for its authority");
}

#[test]
fn without_the_right_to_patch_no_event_is_tried() {
    let mut bench = Bench::follower();
    bench.lead(0, 2);
    let refused = bench.at(0, Input::Labelled(Err(failure(true))));
    assert!(matches!(&refused[..], [Action::Warn(_)]), "{refused:?}");
    bench.lead(400, 2);
    assert_eq!(bench.at(500, Input::Tick), [Action::Label(Label::Leader)]);
    assert!(matches!(&bench.at(500, Input::Labelled(Err(failure(true))))[..], [Action::Debug(_)]));
    assert_eq!(bench.state.status.event, RequestCounts::default());
}

#[test]
fn a_member_that_ends_says_follower_within_a_second() {
    let mut bench = Bench::leader();
    assert_eq!(bench.at(0, Input::Shutdown), [Action::Label(Label::Follower)], "it may still hold authority");
    assert_eq!(bench.lead(10, 2), []);
    assert_eq!(bench.at(20, accepted()), [says("follower"), Action::Finish]);

    let mut silent = Bench::leader();
    silent.at(100, Input::Shutdown);
    assert_eq!(silent.wakes_at(), Some(1_100));
    assert_eq!(silent.at(1_099, Input::Tick), []);
    assert_eq!(silent.at(1_100, Input::Tick), [Action::Finish]);

    let mut follower = Bench::follower();
    assert_eq!(follower.at(100, Input::Shutdown), [Action::Finish], "nothing to say");
}

#[test]
fn requests_are_counted_by_outcome_and_the_label_is_in_force_while_it_says_what_it_should() {
    let mut bench = Bench::leader();
    assert!(bench.state.status.in_force);
    bench.at(700, Input::Tick);
    assert!(!bench.state.status.in_force);
    bench.at(700, Input::Labelled(Err(failure(true))));
    bench.at(1_200, Input::Tick);
    bench.at(1_200, Input::Labelled(Err(failure(false))));
    let label = RequestCounts { ok: 2, forbidden: 1, error: 1 };
    let event = RequestCounts { ok: 1, ..RequestCounts::default() };
    assert_eq!(bench.state.status, PodLabelStatus { in_force: false, label, event });
}
