//! One writer.

use serde_json::json;

use crate::checkers::{Outcome, single_writer};
use crate::history::History;
use crate::story::Story;

fn judged(history: &History) -> (Outcome, String) {
    let verdict = single_writer::check(history);
    (verdict.outcome(), verdict.reason())
}

fn pass() -> (Outcome, String) {
    (Outcome::Pass, String::new())
}

fn fail(reason: &str) -> (Outcome, String) {
    (Outcome::Fail, reason.into())
}

#[test]
fn a_request_of_the_old_writer_may_still_be_on_the_wire() {
    let story = Story::new().write(1.0, 9.0, "a", 1).write(5.0, 5.1, "b", 2).write(6.0, 6.1, "b", 2);
    let history = story.end(10.0);
    assert_eq!(judged(&history), pass());
    let on_the_wire = single_writer::check(&history).figures.pop().unwrap();
    assert_eq!((on_the_wire.value, on_the_wire.unit), (4.0, "s"));
}

#[test]
fn it_may_not_begin_after_the_new_one_has() {
    let story = Story::new().write(1.0, 1.1, "a", 1).write(5.0, 8.0, "b", 2).write(6.0, 6.1, "a", 1);
    let history = story.write(7.0, 7.1, "a", 1).end(10.0);
    let reason = "a began a write of term 1 after b had begun one of term 2: 2 requests";
    assert_eq!(judged(&history), fail(reason));
    let proof: Vec<_> = single_writer::check(&history).findings[0].proof.iter().map(|entry| entry.at_ns).collect();
    assert_eq!(proof, [1_005_000_000_000, 1_006_000_000_000]);
}

#[test]
fn a_term_has_one_sender() {
    let history = Story::new().write(1.0, 1.1, "a", 1).write(5.0, 5.1, "b", 1).end(10.0);
    assert_eq!(judged(&history), fail("a and b both wrote in term 1"));
}

#[test]
fn one_sender_may_write_in_many_terms_but_not_backwards() {
    let history = Story::new().write(1.0, 1.1, "a", 1).write(5.0, 5.1, "a", 4).end(10.0);
    assert_eq!(judged(&history), pass());
    let history = Story::new().write(1.0, 1.1, "a", 4).write(5.0, 5.1, "a", 1).end(10.0);
    assert_eq!(judged(&history), fail("a began a write of term 1 after a had begun one of term 4"));
}

#[test]
fn without_writes_nothing_is_known() {
    assert_eq!(judged(&Story::new().end(10.0)), (Outcome::Unknown, "no remote write arrived at all".into()));
}

fn ungated() -> Story {
    let mut story = Story::new();
    story.0.run.gate = false;
    story.reign("a", 1, -5.0, 20.0).reign("b", 2, 21.0, 40.0)
}

#[test]
fn without_the_gate_a_takeover_gives_the_right_to_write() {
    let story = ungated().reign("a", 3, 41.0, 60.0).write(1.0, 1.1, "a", None).write(22.0, 22.1, "b", None);
    assert_eq!(judged(&story.write(42.0, 42.1, "a", None).end(60.0)), pass());
}

#[test]
fn without_the_gate_the_old_writer_may_write_until_the_new_one_does() {
    let story = ungated().write(1.0, 1.1, "a", None).write(21.5, 21.6, "a", None).write(22.0, 22.1, "b", None);
    assert_eq!(judged(&story.end(60.0)), pass());
    let story = ungated().write(1.0, 1.1, "a", None).write(22.0, 22.1, "b", None).write(23.0, 23.1, "a", None);
    assert_eq!(judged(&story.end(60.0)), fail("a began a write after its successor b had begun one"));
}

#[test]
fn without_the_gate_who_never_led_never_writes() {
    let story = ungated().write(1.0, 1.1, "c", None);
    assert_eq!(judged(&story.end(60.0)), fail("c wrote without ever having led"));
}

#[test]
fn without_the_gate_lost_lines_leave_it_open() {
    let story = ungated().write(1.0, 1.1, "a", None).event(30.0, "a", json!({ "event": "lost", "lines": 1 }));
    assert_eq!(judged(&story.end(60.0)).0, Outcome::Unknown);
}

#[test]
fn an_elector_without_an_event_log_is_judged_by_what_it_tells() {
    let mut story = Story::new().told(-5.0, "a", "a", 1).told(20.0, "a", "b", 2).told(20.1, "b", "b", 2);
    story.0.run.gate = false;
    // `b` may have led for a while before it was asked.
    story = story.write(1.0, 1.1, "a", None).write(19.5, 19.6, "b", None);
    assert_eq!(judged(&Story(story.0.clone()).end(60.0)), pass());
    assert_eq!(judged(&story.write(21.0, 21.1, "a", None).end(60.0)).0, Outcome::Fail);
}
