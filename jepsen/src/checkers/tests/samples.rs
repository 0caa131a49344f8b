//! Nothing lost: what excuses a gap.

use std::ops::Range;

use crate::checkers::{Outcome, Verdict, samples};
use crate::history::ProcessState::{Exited, Paused, Resumed, Started};
use crate::story::Story;

/// A minute and a half: `a` writes, from 41 s on `b`. The series lacks the samples of one range.
fn story(without: Range<f64>) -> Story {
    let mut story = Story::new().series(88.0, &[without]).reign("a", 1, -30.0, 40.1).reign("b", 2, 40.9, 99.0);
    for member in ["a", "b", "c"] {
        story = story.process(-30.0, member, "prometheus", Started);
    }
    for second in -5..88_i32 {
        let at = f64::from(second);
        story = story.write(at, at, if second < 41 { "a" } else { "b" }, if second < 41 { 1 } else { 2 });
    }
    story
}

fn check(story: Story) -> Verdict {
    samples::check(&story.end(90.0))
}

fn figure(verdict: &Verdict, name: &str) -> Option<f64> {
    verdict.figures.iter().find(|figure| figure.name == name).map(|figure| figure.value)
}

#[test]
fn a_gap_of_an_interval_and_the_slack_is_allowed() {
    let verdict = check(story(38.0..41.0));
    assert_eq!(verdict.outcome(), Outcome::Pass);
    assert_eq!(figure(&verdict, "samples that arrived more than once"), Some(3.0));
    let verdict = check(story(38.0..42.0));
    assert_eq!(verdict.reason(), "up{instance=\"x\"} has a gap of 5.0 s; 4.0 s are allowed");
}

#[test]
fn one_loss_in_many_series_is_one_finding() {
    let verdict = check(story(38.0..42.0).series(88.0, &[38.0..43.0, 60.0..70.0]));
    let words: Vec<_> = verdict.findings.iter().map(|finding| finding.words.as_str()).collect();
    let [first, other] = [
        "up{instance=\"x\"} has a gap of 11.0 s; 4.0 s are allowed",
        "up{instance=\"x\"} has a gap of 6.0 s; 4.0 s are allowed, and 1 other series too",
    ];
    assert_eq!(words, [first, other]);
}

#[test]
fn begin_and_end_of_the_run_count() {
    assert_eq!(check(story(-9.0..10.0)).reason(), "up{instance=\"x\"} has a gap of 8.0 s; 4.0 s are allowed");
    assert_eq!(check(story(80.0..99.0)).reason(), "up{instance=\"x\"} has a gap of 9.0 s; 4.0 s are allowed");
    // The first and the last two intervals do not.
    assert_eq!(check(story(85.0..99.0)).outcome(), Outcome::Pass);
}

/// `program` of a member is away from one time to another.
fn away(story: Story, member: &str, from: f64, until: f64) -> Story {
    story.process(from, member, "prometheus", Exited).process(until, member, "prometheus", Started)
}

#[test]
fn one_prometheus_that_ran_excuses_nothing() {
    let verdict = check(away(away(story(20.0..30.0), "a", 20.0, 28.0), "b", 20.0, 28.0));
    assert_eq!(verdict.reason(), "up{instance=\"x\"} has a gap of 11.0 s; 4.0 s are allowed");
}

#[test]
fn no_prometheus_at_all_excuses_what_is_around_it() {
    let all = |story| ["a", "b", "c"].into_iter().fold(story, |story, member| away(story, member, 20.0, 24.0));
    // Blind from 10 s (not yet shipped) to 30 s (start-up and an interval).
    let verdict = check(all(story(10.0..31.0)));
    assert_eq!(verdict.outcome(), Outcome::Pass);
    assert_eq!(figure(&verdict, "longest gap that nothing excuses"), Some(2.0), "from 30 s on");
    let verdict = check(all(story(10.0..36.0)));
    assert_eq!(verdict.reason(), "up{instance=\"x\"} has a gap of 7.0 s (20.0 s more are excused); 4.0 s are allowed");
    assert_eq!(figure(&verdict, "longest gap, excused ones included"), Some(27.0));
    assert_eq!(figure(&verdict, "longest gap that nothing excuses"), Some(7.0));
}

#[test]
fn a_paused_one_is_blind_like_one_that_is_gone() {
    let story = story(20.0..30.0).process(19.0, "a", "prometheus", Paused).process(28.0, "a", "prometheus", Resumed);
    assert_eq!(check(away(away(story, "b", 20.0, 28.0), "c", 20.0, 28.0)).outcome(), Outcome::Pass);
}

#[test]
fn a_new_writer_cannot_send_what_it_never_scraped() {
    // `b` takes over at 41 s.
    assert_eq!(check(away(story(30.0..41.0), "b", 25.0, 36.0)).outcome(), Outcome::Pass);
    // Had it seen the end of the gap, that had to be there.
    assert_eq!(check(away(story(30.0..45.0), "b", 25.0, 32.0)).outcome(), Outcome::Fail);
    // Who led before and after the gap, and never took over, had to hand over.
    assert_eq!(check(away(story(20.0..31.0), "a", 15.0, 26.0)).outcome(), Outcome::Fail);
}

#[test]
fn nor_can_one_that_led_in_between() {
    let story = || away(story(45.0..58.0), "c", 44.0, 50.0);
    assert_eq!(check(story()).outcome(), Outcome::Fail);
    // `c` has told that it is past what it never saw, and `b` has dropped that from its spool.
    assert_eq!(check(story().reign("c", 3, 52.0, 54.0).reign("b", 4, 55.0, 99.0)).outcome(), Outcome::Pass);
    // That it led later is no excuse.
    assert_eq!(check(story().reign("c", 3, 62.0, 64.0)).outcome(), Outcome::Fail);
}

#[test]
fn a_lost_disk_takes_what_was_on_it() {
    let story = || away(story(20.0..41.0), "b", 36.0, 37.0);
    assert_eq!(check(story()).outcome(), Outcome::Fail);
    let lost = story().fault(1, "disk-lost", 36.0, 37.0, &["b"], false);
    assert_eq!(check(lost).outcome(), Outcome::Pass);
    let of_another = story().fault(1, "disk-lost", 36.0, 37.0, &["c"], false);
    assert_eq!(check(of_another).outcome(), Outcome::Fail);
}

#[test]
fn a_pod_that_is_cut_off_scrapes_nothing() {
    let fault = |nemesis| story(30.0..41.0).fault(1, nemesis, 25.0, 36.0, &["b"], false);
    assert_eq!(check(fault("cut-off")).outcome(), Outcome::Pass);
    assert_eq!(check(fault("isolate-leader")).outcome(), Outcome::Fail);
}

#[test]
fn without_a_series_or_time_nothing_is_known() {
    assert_eq!(samples::check(&Story::new().end(90.0)).outcome(), Outcome::Unknown);
    assert_eq!(samples::check(&Story::new().series(3.0, &[]).end(4.0)).outcome(), Outcome::Unknown);
}
