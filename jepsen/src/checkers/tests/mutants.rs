//! Each way to spoil a good record, and exactly the checkers that notice.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::checkers::Outcome::{Fail, Unknown};
use crate::checkers::{Outcome, Verdicts, judge, overall};
use crate::history::{self, Entry, History, ProcessState, What};
use crate::story::{good, ns, unix_ms};

/// Checkers that do not pass.
fn noticed(verdicts: &Verdicts) -> Vec<(&'static str, Outcome)> {
    let all = verdicts.iter().map(|(checker, verdict)| (checker.name, verdict.outcome()));
    all.filter(|(_, outcome)| *outcome != Outcome::Pass).collect()
}

fn reasons(verdicts: &Verdicts) -> Vec<String> {
    verdicts.iter().map(|(_, verdict)| verdict.reason()).filter(|reason| !reason.is_empty()).collect()
}

/// The good record, changed so, is noticed by these and nobody else.
fn assert_noticed(change: impl Fn(&mut History), expected: &[(&str, Outcome)]) {
    let mut history = good();
    change(&mut history);
    let verdicts = judge(&mut history);
    assert_eq!(noticed(&verdicts), expected, "{:?}", reasons(&verdicts));
}

fn each(change: impl Fn(&mut Entry)) -> impl Fn(&mut History) {
    move |history| history.entries.iter_mut().for_each(&change)
}

fn without(is: impl Fn(&Entry) -> bool) -> impl Fn(&mut History) {
    move |history| history.entries.retain(|entry| !is(entry))
}

fn with(at: f64, what: What) -> impl Fn(&mut History) {
    move |history| history.entries.push(Entry { at_ns: ns(at), what: what.clone() })
}

fn is_event(entry: &Entry, event: &str) -> bool {
    matches!(&entry.what, What::Event { line, .. } if line["event"] == event)
}

fn event(member: &str, line: Value) -> What {
    What::Event { member: member.into(), line }
}

fn write(sender: &str, term: Option<u64>, end: f64) -> What {
    let sender = sender.to_owned();
    What::Write { end_ns: ns(end), sender, term, status: Some(204), samples: 1, first_ms: None, last_ms: None }
}

fn failed(via: &str, end: f64, wrong_replica: Option<&str>) -> What {
    What::QueryFailed {
        via: via.into(),
        end_ns: ns(end),
        status: Some(if wrong_replica.is_some() { 200 } else { 503 }),
        wrong_replica: wrong_replica.map(str::to_owned),
        reachable: true,
        detail: "spoiled".into(),
    }
}

fn told_by_c(is_leader: bool, ready: bool) -> What {
    let leader = if is_leader { "c" } else { "b" };
    What::Told { member: "c".into(), is_leader, leader: leader.into(), term: 2, ready }
}

#[test]
fn a_good_record_passes() {
    let verdicts = judge(&mut good());
    assert_eq!((overall(&verdicts), reasons(&verdicts)), (Outcome::Pass, vec![]));
}

#[test]
fn a_late_write_of_the_old_writer_and_two_in_a_term_and_one_without() {
    assert_noticed(with(70.0, write("a", Some(1), 70.1)), &[("single writer", Fail)]);
    assert_noticed(with(70.0, write("c", Some(2), 70.1)), &[("single writer", Fail)]);
    assert_noticed(with(70.0, write("b", None, 70.1)), &[("single writer", Fail)]);
}

#[test]
fn no_writes() {
    let change = without(|entry| matches!(entry.what, What::Write { .. }));
    assert_noticed(change, &[("single writer", Unknown), ("recovery", Fail), ("coverage", Unknown)]);
}

#[test]
fn an_interval_that_begins_before_the_other_ends() {
    let change = each(|entry| match &entry.what {
        What::Event { line, .. } if line["state"] == "gained" && line["term"] == 2 => entry.at_ns = ns(59.9),
        _ => {}
    });
    assert_noticed(change, &[("single authority", Fail)]);
}

#[test]
fn two_holders_of_one_term() {
    let change = each(|entry| match &mut entry.what {
        What::Event { line, .. } if line["term"] == 2 => line["term"] = json!(1),
        _ => {}
    });
    assert_noticed(change, &[("single authority", Fail)]);
}

#[test]
fn lines_of_an_event_log_that_are_lost_or_incomplete_or_not_there() {
    let lost = json!({ "event": "lost", "lines": 3 });
    assert_noticed(with(70.0, event("c", lost)), &[("single authority", Unknown)]);
    let endless = json!({ "event": "authority", "state": "gained", "term": 3 });
    assert_noticed(with(70.0, event("c", endless)), &[("single authority", Unknown)]);
    let silent = without(|entry| matches!(&entry.what, What::Event { member, .. } if member == "c"));
    assert_noticed(silent, &[("single authority", Unknown), ("configuration", Unknown)]);
}

#[test]
fn samples_lost_at_the_takeover_and_no_series_at_all() {
    let change = each(|entry| {
        if let What::Series { times_ms, .. } = &mut entry.what {
            times_ms.retain(|ms| !(unix_ms(58.0)..unix_ms(64.0)).contains(ms));
        }
    });
    assert_noticed(change, &[("samples", Fail)]);
    assert_noticed(without(|entry| matches!(entry.what, What::Series { .. })), &[("samples", Unknown)]);
}

#[test]
fn a_failed_query_and_one_answered_by_the_wrong_replica_and_none() {
    assert_noticed(with(100.0, failed("c", 105.0, None)), &[("queries", Fail)]);
    assert_noticed(with(61.0, failed("a", 61.1, Some("a"))), &[("queries", Fail)]);
    let none = without(|entry| matches!(entry.what, What::Queries { .. }));
    assert_noticed(none, &[("queries", Unknown), ("recovery", Fail), ("coverage", Unknown)]);
}

#[test]
fn no_next_leader() {
    let change = without(|entry| is_event(entry, "authority") && entry.at_ns > ns(60.0));
    assert_noticed(change, &[("leaderless", Fail), ("coverage", Unknown)]);
}

#[test]
fn a_follower_with_the_leaders_configuration() {
    let change = each(|entry| match &mut entry.what {
        What::Event { member, line } if member == "c" && line["event"] == "config" => line["role"] = json!("leader"),
        _ => {}
    });
    assert_noticed(change, &[("configuration", Fail)]);
    let seen = What::Config { member: "c".into(), leads: true };
    assert_noticed(with(150.0, seen), &[("configuration", Fail)]);
    assert_noticed(without(|entry| is_event(entry, "config")), &[("configuration", Unknown)]);
}

#[test]
fn two_that_say_that_they_lead_and_one_not_ready_and_never_healed() {
    assert_noticed(with(239.0, told_by_c(true, true)), &[("recovery", Fail)]);
    let too = What::Told { member: "c".into(), is_leader: true, leader: "b".into(), term: 2, ready: true };
    assert_noticed(with(239.0, too), &[("recovery", Fail)]);
    assert_noticed(with(200.0, told_by_c(false, false)), &[("recovery", Fail)]);
    assert_noticed(without(|entry| entry.what == What::Healed {}), &[("recovery", Unknown)]);
}

#[test]
fn a_crash_and_a_panic() {
    let crash = each(|entry| {
        if let What::Process { state: ProcessState::Exited, intended, .. } = &mut entry.what {
            *intended = false;
        }
    });
    assert_noticed(crash, &[("health", Fail)]);
    let panic = each(|entry| {
        if let What::Process { state: ProcessState::Exited, detail, .. } = &mut entry.what {
            "thread 'main' panicked at src/x.rs".clone_into(detail);
        }
    });
    assert_noticed(panic, &[("health", Fail)]);
}

#[test]
fn growth() {
    let memory = each(|entry| {
        if let What::Usage { rss_bytes, .. } = &mut entry.what {
            *rss_bytes += (entry.at_ns - ns(0.0)) / 2_000;
        }
    });
    assert_noticed(memory, &[("health", Fail)]);
    let descriptors = each(|entry| {
        if let What::Usage { descriptors, .. } = &mut entry.what {
            *descriptors += (entry.at_ns - ns(0.0)) / 500_000_000;
        }
    });
    assert_noticed(descriptors, &[("health", Fail)]);
    assert_noticed(without(|entry| matches!(entry.what, What::Usage { .. })), &[("health", Unknown)]);
}

#[test]
fn a_run_that_proves_little() {
    assert_noticed(without(|entry| entry.what == What::End {}), &[("coverage", Unknown)]);
    assert_noticed(|history| history.run.plan.push("disk-full".into()), &[("coverage", Unknown)]);
    let is_early = |entry: &Entry| (ns(0.0)..ns(60.0)).contains(&entry.at_ns);
    let unwritten = without(move |entry| is_early(entry) && matches!(entry.what, What::Write { .. }));
    assert_noticed(unwritten, &[("coverage", Unknown)]);
    let unasked = without(move |entry| is_early(entry) && matches!(entry.what, What::Queries { .. }));
    assert_noticed(unasked, &[("coverage", Unknown)]);
    for instead in [history::Outcome::Skipped, history::Outcome::Indeterminate] {
        let change = each(move |entry| {
            if let What::Fault { id: 2, outcome, .. } = &mut entry.what {
                *outcome = instead;
            }
        });
        assert_noticed(change, &[("coverage", Unknown)]);
    }
    let elsewhere = each(|entry| {
        if let What::Fault { hit_leader, .. } = &mut entry.what {
            *hit_leader = false;
        }
    });
    assert_noticed(elsewhere, &[("coverage", Unknown)]);
}

#[test]
fn what_comes_after_the_end_does_not_count() {
    assert_noticed(with(250.0, write("a", Some(1), 250.1)), &[]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Written in any order, whatever was left out and moved.
    #[test]
    fn reading_what_was_written_gives_the_same_verdict(
        dropped in prop::collection::btree_set(0_usize..2_500, 0..40),
        moved in prop::collection::btree_map(0_usize..2_500, 0_u64..50_000_000_000, 0..40),
        turn in 0_usize..2_500,
    ) {
        let mut history = good();
        for (index, by) in moved {
            if let Some(entry) = history.entries.get_mut(index) {
                entry.at_ns += by;
            }
        }
        let mut index = 0;
        history.entries.retain(|_| { index += 1; !dropped.contains(&(index - 1)) });
        history.in_order();
        let mut written = history.clone();
        // Two at one instant keep their order.
        let is_apart = |at: &usize| written.entries[*at].at_ns > written.entries[at - 1].at_ns;
        let half = (1 + turn % 1_000..written.entries.len()).find(is_apart).unwrap_or(0);
        written.entries.rotate_left(half);
        let file = tempfile::NamedTempFile::new().unwrap();
        written.write(&mut file.reopen().unwrap()).unwrap();
        let mut read = History::read(file.path()).unwrap();
        let [one, other] = [&mut history, &mut read].map(|history| {
            judge(history).into_iter().map(|(_, verdict)| verdict).collect::<Vec<_>>()
        });
        prop_assert_eq!(one, other);
    }
}
