//! Queries: what reaches a member is answered, and by the leader's Prometheus.
//!
//! A failed query is excused if the member could not be reached; if a fault hit this member while it was under way, or before and the
//! member has not told since that it is ready (at least `SETTLE`, at most the bound of recovery); or if it was under way while, for
//! longer than [`LEADER_WAIT`], there was no leader whose Prometheus ran. One that led for less than `HEARD` was none. An answer of
//! a wrong replica is never excused.

use std::collections::BTreeMap;

use super::authority::reigns;
use super::facts::{MS, SECOND, TOLD_LATE, downtime, faults, ready_after, whole};
use super::span::{Span, union};
use super::{Verdict, secs};
use crate::history::{Entry, History, Ns, What};

/// How long the proxy holds a request while there is no leader (`proxy-leader-wait`).
pub const LEADER_WAIT: Ns = 5 * SECOND;
/// After a fault on a member, until it must serve like any other: it is found by the others, and hears of the leader.
const SETTLE: Ns = 10 * SECOND;
/// Until the others have heard of a new leader and tried it.
const HEARD: Ns = SECOND;

/// Failures of one kind that are no further apart are told as one.
const TOGETHER: Ns = 2 * SECOND;

/// How a failed query is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The member could not be reached.
    Unreachable,
    /// A fault hit the member asked.
    Faulty,
    /// Nobody could have answered.
    Leaderless,
    /// Nothing excuses it.
    Unexplained,
    /// Another replica's Prometheus answered than the leader's.
    WrongReplica,
}

impl Judgement {
    /// It breaks the promise.
    pub fn is_violation(self) -> bool {
        matches!(self, Self::Unexplained | Self::WrongReplica)
    }
}

/// Judges.
pub fn check(history: &History) -> Verdict {
    let mut verdict = Verdict::default();
    let judged = judged(history);
    violations(&judged, &mut verdict);
    let seconds = history.entries.iter().filter_map(|entry| match entry.what {
        What::Queries { ok, longest_ms, .. } => Some((ok, longest_ms)),
        _ => None,
    });
    let (ok, longest) = seconds.fold((0, 0), |(ok, longest), second| (ok + second.0, longest.max(second.1)));
    if ok == 0 {
        verdict.unknown(history.run.start_ns, "no query was answered at all", &[]);
    }
    verdict.count("answered queries", usize::try_from(ok).unwrap_or(usize::MAX));
    verdict.figure("longest answered query", secs(longest * MS), "s");
    let violations = judged.iter().filter(|(_, judgement)| judgement.is_violation()).count();
    verdict.count("failed without excuse", violations);
    for (name, which) in [
        ("failed: member not reachable", Judgement::Unreachable),
        ("failed: fault on the member asked", Judgement::Faulty),
        ("failed: no leader for longer than the proxy waits", Judgement::Leaderless),
        ("failed: nothing explains it", Judgement::Unexplained),
        ("failed: answered by a wrong replica", Judgement::WrongReplica),
    ] {
        verdict.count(name, judged.iter().filter(|(_, judgement)| *judgement == which).count());
    }
    verdict
}

/// One finding for all of one kind through one member that follow each other closely.
fn violations(judged: &[(&Entry, Judgement)], verdict: &mut Verdict) {
    let mut kinds: Vec<(String, &Entry, &Entry, usize)> = Vec::new();
    for (entry, judgement) in judged.iter().filter(|(_, judgement)| judgement.is_violation()) {
        let What::QueryFailed { via, status, wrong_replica, detail, .. } = &entry.what else { continue };
        let words = if let (Judgement::WrongReplica, Some(replica)) = (judgement, wrong_replica) {
            format!("a query through {via} was answered by {replica}: {detail}")
        } else {
            let answer = status.map_or("no answer".to_owned(), |status| status.to_string());
            format!("a query through {via} got {answer}: {detail}")
        };
        let same = kinds
            .iter_mut()
            .rev()
            .find(|(other, _, last, _)| *other == words && entry.at_ns.saturating_sub(last.at_ns) <= TOGETHER);
        match same {
            Some((_, _, last, count)) => (*last, *count) = (entry, *count + 1),
            None => kinds.push((words, entry, entry, 1)),
        }
    }
    for (words, first, last, count) in kinds {
        match count {
            1 => verdict.fail(first.at_ns, words, &[first]),
            _ => verdict.fail(first.at_ns, format!("{words}; {count} times"), &[first, last]),
        }
    }
}

/// All failed queries since the deployment was settled, and what is to be thought of them.
pub fn judged(history: &History) -> Vec<(&Entry, Judgement)> {
    let reigns = reigns(history);
    let mut downs = BTreeMap::new();
    for reign in &reigns {
        downs.entry(reign.member).or_insert_with(|| downtime(history, reign.member, "prometheus"));
    }
    let served = reigns.iter().flat_map(|reign| reign.span.without(&downs[reign.member]));
    let served = served.filter(|span| span.len() >= HEARD);
    let unserved = whole(history).without(&union(served));
    let unserved: Vec<_> = unserved.into_iter().filter(|span| span.len() > LEADER_WAIT).collect();
    let hits = hits(history);
    let judge = |entry: &Entry| {
        let What::QueryFailed { via, end_ns, wrong_replica, reachable, .. } = &entry.what else { return None };
        let asked = Span::new(entry.at_ns, end_ns.saturating_add(1));
        Some(if wrong_replica.is_some() {
            Judgement::WrongReplica
        } else if !reachable {
            Judgement::Unreachable
        } else if hits.iter().any(|(member, span)| member == via && span.overlaps(asked)) {
            Judgement::Faulty
        } else if unserved.iter().any(|span| span.overlaps(asked)) {
            Judgement::Leaderless
        } else {
            Judgement::Unexplained
        })
    };
    let settled = history.entries.iter().filter(|entry| entry.at_ns >= history.run.start_ns);
    settled.filter_map(|entry| Some((entry, judge(entry)?))).collect()
}

/// Members and the times in which a fault excuses them.
fn hits(history: &History) -> Vec<(&str, Span)> {
    let most = history.run.bounds.recovery_ms * MS;
    let mut hits = Vec::new();
    for fault in faults(history).iter().filter(|fault| fault.was_in_force()) {
        for member in fault.targets {
            let until = fault.span.until;
            let ready = ready_after(history, member, until.saturating_add(TOLD_LATE)).unwrap_or(Ns::MAX);
            let settled = ready.clamp(until.saturating_add(SETTLE), until.saturating_add(most.max(SETTLE)));
            hits.push((member.as_str(), Span::new(fault.span.from, settled)));
        }
    }
    hits
}
