//! One authority: when an interval begins and ends.

use serde_json::json;

use crate::checkers::authority::{authority, reigns};
use crate::checkers::{Outcome, single_authority};
use crate::history::{History, ProcessState};
use crate::story::{Story, ns};

/// Who held authority from when to when, in seconds of the run.
fn spans(history: &History) -> Vec<(&str, u64, f64, f64)> {
    let second = |at| crate::checkers::secs(at - ns(0.0));
    let found = authority(history).reigns.into_iter();
    found.map(|reign| (reign.member, reign.term, second(reign.span.from), second(reign.span.until))).collect()
}

fn words(history: &History) -> Vec<String> {
    single_authority::check(history).findings.into_iter().map(|finding| finding.words).collect()
}

/// All three sidecars run and say so.
fn alive() -> Story {
    let mut story = Story::new();
    for member in ["a", "b", "c"] {
        story = story.process(0.0, member, "sidecar", ProcessState::Started);
        story = story.event(0.1, member, json!({ "event": "start", "pid": 1, "version": "x" }));
    }
    story
}

#[test]
fn authority_ends_at_the_last_until_told() {
    let story = Story::new().gained(1.0, "a", 1, 1.8).authority(1.5, "a", "extended", 1, 2.3);
    assert_eq!(spans(&story.end(9.0)), [("a", 1, 1.0, 2.3)]);
}

#[test]
fn or_at_its_end_if_that_is_earlier() {
    let story = Story::new().gained(1.0, "a", 1, 1.8).authority(1.5, "a", "ended", 1, 1.8);
    assert_eq!(spans(&story.end(9.0)), [("a", 1, 1.0, 1.5)]);
    let story = Story::new().gained(1.0, "a", 1, 1.8).authority(3.0, "a", "ended", 1, 1.8);
    assert_eq!(spans(&story.end(9.0)), [("a", 1, 1.0, 1.8)]);
}

#[test]
fn a_killed_process_has_none_but_a_paused_one_keeps_it() {
    let killed = Story::new().gained(1.0, "a", 1, 1.8).process(1.2, "a", "sidecar", ProcessState::Exited);
    assert_eq!(spans(&killed.end(9.0)), [("a", 1, 1.0, 1.2)]);
    let paused = Story::new().gained(1.0, "a", 1, 1.8).process(1.2, "a", "sidecar", ProcessState::Paused);
    assert_eq!(spans(&paused.end(9.0)), [("a", 1, 1.0, 1.8)]);
    let other = Story::new().gained(1.0, "a", 1, 1.8).process(1.2, "a", "prometheus", ProcessState::Exited);
    assert_eq!(spans(&other.end(9.0)), [("a", 1, 1.0, 1.8)]);
}

#[test]
fn a_sole_voters_ends_with_its_process_or_the_record() {
    let gained = json!({ "event": "authority", "state": "gained", "term": 1, "until_ns": null });
    let story = || Story::new().event(1.0, "a", gained.clone());
    assert_eq!(spans(&story().end(9.0)), [("a", 1, 1.0, 9.0)]);
    assert_eq!(spans(&story().process(4.0, "a", "sidecar", ProcessState::Exited).end(9.0)), [("a", 1, 1.0, 4.0)]);
    // Nobody saw the process end, but another one of its name has begun.
    assert_eq!(spans(&story().event(5.0, "a", json!({ "event": "start" })).end(9.0)), [("a", 1, 1.0, 5.0)]);
}

#[test]
fn what_is_extended_after_its_end_is_another_interval() {
    let story = Story::new().gained(1.0, "a", 1, 1.8).authority(5.0, "a", "extended", 1, 5.8);
    assert_eq!(spans(&story.end(9.0)), [("a", 1, 1.0, 1.8), ("a", 1, 5.0, 5.8)]);
}

#[test]
fn what_had_ended_before_it_was_told_was_never_held() {
    assert_eq!(spans(&Story::new().gained(5.0, "a", 1, 1.8).end(9.0)), []);
}

#[test]
fn intervals_that_touch_do_not_overlap_and_one_nanosecond_is_too_much() {
    let story = || alive().gained(1.0, "a", 1, 2.0);
    assert_eq!(words(&story().gained(2.0, "b", 2, 2.8).end(9.0)), [""; 0]);
    let mut history = story().gained(2.0, "b", 2, 2.8).end(9.0);
    let gained = history.entries.iter_mut().find(|entry| entry.at_ns == ns(2.0)).unwrap();
    gained.at_ns -= 1;
    assert_eq!(words(&history), ["a (term 1) and b (term 2) held authority at once for 0.000000 s"]);
}

#[test]
fn a_long_interval_is_compared_with_all_within_it() {
    let story = alive().reign("a", 1, 1.0, 8.0).gained(3.0, "b", 2, 3.5).gained(6.0, "c", 3, 6.5);
    assert_eq!(words(&story.end(9.0)).len(), 2);
}

#[test]
fn a_member_may_follow_itself() {
    let story = alive().gained(1.0, "a", 1, 3.0).gained(2.0, "a", 2, 3.0);
    assert_eq!(words(&story.end(9.0)), [""; 0]);
}

#[test]
fn a_term_has_one_holder() {
    let story = alive().gained(1.0, "a", 1, 2.0).gained(5.0, "b", 1, 6.0);
    assert_eq!(words(&story.end(9.0)), ["a and b both held authority in term 1"]);
}

#[test]
fn a_sidecar_that_says_nothing_leaves_it_open() {
    let story = alive().gained(1.0, "a", 1, 2.0).process(10.0, "c", "sidecar", ProcessState::Exited);
    let story = story.process(11.0, "c", "sidecar", ProcessState::Started);
    // Killed before it could have said anything.
    assert_eq!(words(&Story(story.0.clone()).process(12.0, "c", "sidecar", ProcessState::Exited).end(30.0)), [""; 0]);
    let history = story.end(30.0);
    assert_eq!(words(&history), ["the sidecar of c ran without a line in its event log"]);
    assert_eq!(single_authority::check(&history).outcome(), Outcome::Unknown);
}

#[test]
fn a_lost_line_does_not_hide_an_overlap() {
    let story = alive().gained(1.0, "a", 1, 3.0).gained(2.0, "b", 2, 2.8);
    let history = story.event(2.5, "c", json!({ "event": "lost", "lines": 1 })).end(9.0);
    assert_eq!(single_authority::check(&history).outcome(), Outcome::Fail);
}

#[test]
fn without_event_logs_who_led_is_what_members_tell() {
    let history = Story::new().told(2.0, "a", "a", 1).told(5.0, "a", "", 1).told(6.0, "b", "b", 2).end(9.0);
    let told: Vec<_> = reigns(&history).iter().map(|reign| (reign.member, reign.span.from, reign.span.until)).collect();
    assert_eq!(told, [("a", ns(1.0), ns(5.0)), ("b", ns(5.0), ns(9.0))]);
    assert_eq!(single_authority::check(&history).outcome(), Outcome::Unknown);
}
