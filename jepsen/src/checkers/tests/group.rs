//! Configuration, queries, time without a leader, recovery.

use crate::checkers::leaderless::{hits, percentile};
use crate::checkers::queries::{Judgement, judged};
use crate::checkers::{Outcome, config_matches_role, health, leaderless, queries, recovery};
use crate::history::{History, ProcessState, What};
use crate::story::{Story, good, ns};

/// `c` runs as the leader from 20 s until some time; nobody else is told of.
fn misconfigured(until: f64) -> Story {
    let mut story = Story::new();
    story.0.run.members.retain(|member| member.name == "c");
    story.told(0.0, "c", "b", 1).config(0.0, "c", "follower").config(20.0, "c", "leader").config(until, "c", "follower")
}

#[test]
fn a_configuration_may_lag_for_half_a_minute() {
    assert_eq!(config_matches_role::check(&misconfigured(50.0).end(200.0)).outcome(), Outcome::Pass);
    let verdict = config_matches_role::check(&misconfigured(50.1).end(200.0));
    assert_eq!(verdict.reason(), "c ran as the leader while it was a follower, for 30.1 s");
}

#[test]
fn a_fault_on_the_pod_suspends_that_and_one_on_another_does_not() {
    let disturbed = |target: &str| misconfigured(90.0).fault(1, "cut-off", 45.0, 65.0, &[target], false).end(200.0);
    assert_eq!(config_matches_role::check(&disturbed("c")).outcome(), Outcome::Pass);
    assert_eq!(config_matches_role::check(&disturbed("b")).outcome(), Outcome::Fail);
    let down = misconfigured(90.0).process(45.0, "c", "prometheus", ProcessState::Exited);
    let down = down.process(65.0, "c", "prometheus", ProcessState::Started).end(200.0);
    assert_eq!(config_matches_role::check(&down).outcome(), Outcome::Pass);
}

fn judgements(history: &History) -> Vec<Judgement> {
    judged(history).into_iter().map(|(_, judgement)| judgement).collect()
}

/// `a` leads until 20 s, `b` from 26 s on.
fn served() -> Story {
    Story::new().reign("a", 1, -5.0, 20.0).reign("b", 2, 26.0, 90.0)
}

#[test]
fn a_query_fails_without_a_leader_for_longer_than_the_proxy_waits() {
    let story = served().query_failed(10.0, 19.9, "c").query_failed(19.0, 24.0, "c").query_failed(25.9, 31.0, "c");
    let history = story.query_failed(26.0, 31.0, "c").end(90.0);
    let expected = [Judgement::Unexplained, Judgement::Leaderless, Judgement::Leaderless, Judgement::Unexplained];
    assert_eq!(judgements(&history), expected);
}

#[test]
fn or_until_it_tells_that_it_is_ready() {
    let story =
        || served().reign("b", 3, 90.0, 200.0).told(30.0, "c", "b", 2).fault(1, "disk-lost", 40.0, 42.0, &["c"], false);
    let failed = |story: Story| judgements(&story.query_failed(60.0, 65.0, "c").end(200.0));
    assert_eq!(failed(story()), [Judgement::Unexplained], "it was ready all the time");
    let lost = || story().told(40.1, "c", "", 0);
    assert_eq!(failed(lost().told(70.0, "c", "b", 2)), [Judgement::Faulty]);
    assert_eq!(failed(lost().told(59.0, "c", "b", 2)), [Judgement::Unexplained]);
    // What it told last may be old.
    assert_eq!(failed(story().told(42.5, "c", "", 0).told(70.0, "c", "b", 2)), [Judgement::Faulty]);
    let never = lost().query_failed(131.0, 131.5, "c").query_failed(132.5, 133.0, "c").end(200.0);
    assert_eq!(judgements(&never), [Judgement::Faulty, Judgement::Unexplained], "90 s is the bound of recovery");
}

#[test]
fn a_leader_of_a_moment_was_none() {
    let led =
        |long: f64| Story::new().reign("a", 1, -5.0, 20.0).reign("b", 2, 23.0, 23.0 + long).reign("a", 3, 27.0, 90.0);
    let failed = |story: Story| judgements(&story.query_failed(21.0, 26.0, "c").end(90.0));
    assert_eq!(failed(led(0.9)), [Judgement::Leaderless]);
    assert_eq!(failed(led(1.1)), [Judgement::Unexplained]);
}

#[test]
fn failures_of_one_kind_are_one_finding_until_they_pause() {
    let story = [50.0, 51.0, 53.0, 55.1].into_iter().fold(served(), |story, at| story.query_failed(at, at, "c"));
    let verdict = queries::check(&story.query_failed(51.0, 51.0, "b").end(90.0));
    let words: Vec<_> = verdict.findings.iter().map(|finding| finding.words.as_str()).collect();
    let [c, b] = ["a query through c got 503: no leader", "a query through b got 503: no leader"];
    assert_eq!(words, [&format!("{c}; 3 times"), b, c, "no query was answered at all"]);
}

#[test]
fn what_fails_before_the_deployment_is_settled_does_not_count() {
    assert_eq!(judgements(&served().query_failed(-0.1, 1.0, "c").end(90.0)), []);
}

#[test]
fn a_shorter_time_without_a_leader_explains_nothing() {
    let story = Story::new().reign("a", 1, -5.0, 20.0).reign("b", 2, 24.0, 90.0).query_failed(21.0, 26.0, "c");
    assert_eq!(judgements(&story.end(90.0)), [Judgement::Unexplained]);
}

#[test]
fn a_leader_whose_prometheus_is_down_cannot_answer_either() {
    let down = |member: &str, until| {
        let story = served().process(40.0, member, "prometheus", ProcessState::Exited);
        let story = story.process(until, member, "prometheus", ProcessState::Started).query_failed(41.0, 44.0, "c");
        judgements(&story.end(90.0))
    };
    assert_eq!(down("b", 46.0), [Judgement::Leaderless]);
    assert_eq!(down("b", 44.0), [Judgement::Unexplained], "the proxy waits for it");
    assert_eq!(down("a", 46.0), [Judgement::Unexplained], "it does not lead");
}

#[test]
fn a_fault_on_the_member_asked_explains_it_and_ten_seconds_after() {
    let story = served().fault(1, "cut-off", 40.0, 50.0, &["c"], false).query_failed(39.0, 41.0, "c");
    let story = story.query_failed(41.0, 42.0, "b").query_failed(59.9, 62.0, "c").query_failed(60.1, 62.0, "c");
    let expected = [Judgement::Faulty, Judgement::Unexplained, Judgement::Faulty, Judgement::Unexplained];
    let history = story.end(90.0);
    assert_eq!(judgements(&history), expected);
    // The third finding is that no query was answered.
    let reason = "a query through b got 503: no leader (and 2 more)";
    assert_eq!(queries::check(&history).reason(), reason);
}

#[test]
fn the_next_leader_counts_from_the_begin_of_the_fault() {
    let story = Story::new().reign("a", 1, -5.0, 60.5).reign("b", 2, 61.6, 100.0);
    let story = story.fault(1, "kill", 60.0, 60.2, &["a"], true).fault(2, "loss", 70.0, 75.0, &["b"], true);
    // One that the leader outlived, shortly before.
    let story = story.fault(3, "loss", 58.0, 59.0, &["a"], true);
    let history = story.fault(4, "kill", 80.0, 85.0, &["a"], false).end(100.0);
    let found: Vec<_> = hits(&history).iter().map(|hit| (hit.fault.id, hit.next, hit.nobody)).collect();
    assert_eq!(found, [(3, None, 0), (1, Some((ns(1.6) - ns(0.0), "b")), ns(1.1) - ns(0.0)), (2, None, 0)]);
}

#[test]
fn nobody_leads_for_too_long_only_counts_while_nothing_is_broken() {
    let story = |until| Story::new().reign("a", 1, -5.0, 20.0).fault(1, "split", 20.0, until, &["a", "b"], true);
    assert_eq!(leaderless::check(&story(150.0).end(200.0)).outcome(), Outcome::Pass);
    let verdict = leaderless::check(&story(100.0).end(200.0));
    assert_eq!(verdict.reason(), "nothing was broken and nobody led for 100.0 s");
}

#[test]
fn a_percentile_is_the_nearest_rank() {
    assert_eq!(percentile(&[], 99), 0);
    assert_eq!(percentile(&[7], 50), 7);
    let hundred: Vec<_> = (1..=100).collect();
    assert_eq!([50, 95, 99, 100].map(|percent| percentile(&hundred, percent)), [50, 95, 99, 100]);
    assert_eq!(percentile(&[1, 2, 3], 50), 2);
}

fn recovered(change: impl Fn(&mut History)) -> (Outcome, String) {
    let mut history = good();
    change(&mut history);
    history.in_order();
    let verdict = recovery::check(&history);
    (verdict.outcome(), verdict.reason())
}

#[test]
fn recovery_has_a_bound_and_an_early_end_leaves_it_open() {
    let late = |at: f64| {
        move |history: &mut History| {
            history.entries.extend(Story::new().told(150.0, "c", "", 2).told(at, "c", "b", 2).0.entries);
        }
    };
    assert_eq!(recovered(late(234.0)), (Outcome::Pass, String::new()));
    let reason = "one leader, named by all members: only 91.0 s after healing (and 1 more)";
    assert_eq!(recovered(late(236.0)), (Outcome::Fail, reason.into()));
    let early_end = |history: &mut History| {
        history.entries.retain(|entry| entry.at_ns < ns(190.0));
        history.entries.extend(Story::new().told(150.0, "c", "", 2).add(190.0, What::End {}).0.entries);
    };
    assert_eq!(recovered(early_end).0, Outcome::Unknown);
}

#[test]
fn a_member_that_is_gone_at_the_end_has_not_recovered() {
    let gone = |history: &mut History| {
        history.entries.extend(Story::new().process(200.0, "c", "sidecar", ProcessState::Exited).0.entries);
    };
    assert_eq!(recovered(gone).0, Outcome::Fail);
}

#[test]
fn a_member_that_came_and_went_need_not() {
    let came = |history: &mut History| {
        let story = Story::new().process(70.0, "d", "sidecar", ProcessState::Started);
        history.entries.extend(story.process(90.0, "d", "sidecar", ProcessState::Exited).0.entries);
    };
    assert_eq!(recovered(came), (Outcome::Pass, String::new()));
    let stayed = |history: &mut History| {
        history.entries.extend(Story::new().process(70.0, "d", "sidecar", ProcessState::Started).0.entries);
    };
    assert_eq!(recovered(stayed).0, Outcome::Fail, "it never told anything");
}

#[test]
fn writes_must_go_on_to_the_end() {
    let stopped = |history: &mut History| {
        history.entries.retain(|entry| !matches!(entry.what, What::Write { .. }) || entry.at_ns < ns(224.0));
    };
    assert_eq!(recovered(stopped), (Outcome::Fail, "remote writes accepted: not until the end".into()));
}

#[test]
fn a_query_that_failed_late_is_no_recovery() {
    let failed = |history: &mut History| {
        history.entries.extend(Story::new().query_failed(239.5, 239.9, "b").0.entries);
    };
    assert_eq!(recovered(failed).0, Outcome::Fail);
}

#[test]
fn a_sidecar_without_a_disk_may_end_with_an_error() {
    let ends = |nemesis, target, program: &str, at, how: &str| {
        let story = Story::new().fault(1, nemesis, 10.0, 20.0, &[target], false);
        let mut story = story.process(at, "a", program, ProcessState::Exited);
        if let Some(What::Process { intended, detail, .. }) = story.0.entries.last_mut().map(|entry| &mut entry.what) {
            (*intended, *detail) = (false, how.to_owned());
        }
        let verdict = health::check(&story.end(90.0));
        verdict.findings.iter().filter(|finding| finding.words.contains("crashed")).count()
    };
    let crashes = |nemesis, target, program, at| ends(nemesis, target, program, at, "exit status: 1; no space left");
    assert_eq!((crashes("disk-full", "a", "sidecar", 35.0), crashes("pod-forced", "a", "sidecar", 11.0)), (0, 0));
    assert_eq!(crashes("disk-full", "a", "sidecar", 51.0), 1, "long after");
    assert_eq!(crashes("disk-full", "b", "sidecar", 15.0), 1, "another's disk");
    assert_eq!(crashes("disk-full", "a", "prometheus", 15.0), 1);
    assert_eq!(crashes("pause-both", "a", "sidecar", 15.0), 1);
    for how in ["signal: 11 (SIGSEGV)", "exit status: 101; no space left", "exit status: 139"] {
        assert_eq!(ends("disk-full", "a", "sidecar", 15.0, how), 1, "{how}");
    }
}
