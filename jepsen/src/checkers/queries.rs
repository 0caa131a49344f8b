//! Queries: what reaches a member is answered, and by the leader's Prometheus.
//!
//! A failed query is excused if the member could not be reached; if a fault hit this member while it was under way, or up to [`SETTLE`]
//! before; or if it was under way while, for longer than [`LEADER_WAIT`], there was no leader whose Prometheus ran. An answer of a
//! wrong replica is never excused.

use std::collections::BTreeMap;

use super::authority::reigns;
use super::facts::{MS, SECOND, downtime, faults, whole};
use super::span::{Span, union};
use super::{Verdict, float, secs};
use crate::history::{Entry, History, Ns, What};

/// How long the proxy holds a request while there is no leader (`proxy-leader-wait`).
pub const LEADER_WAIT: Ns = 5 * SECOND;
/// After a fault on a member, until it must serve like any other: it starts, is found by the others, and hears of the leader.
const SETTLE: Ns = 10 * SECOND;

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
    for (entry, judgement) in judged.iter().filter(|(_, judgement)| judgement.is_violation()) {
        let What::QueryFailed { via, end_ns, status, wrong_replica, detail, .. } = &entry.what else { continue };
        let words = match (wrong_replica, status) {
            (Some(replica), _) if *judgement == Judgement::WrongReplica => {
                format!("a query through {via} was answered by {replica}, which did not lead")
            }
            (_, status) => {
                let answer = status.map_or("nothing".to_owned(), |status| status.to_string());
                let after = secs(end_ns.saturating_sub(entry.at_ns));
                format!("a query through {via} got {answer} after {after:.2} s: {detail}")
            }
        };
        verdict.fail(entry.at_ns, words, &[entry]);
    }
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
    for (name, which) in [
        ("failed: member not reachable", Judgement::Unreachable),
        ("failed: fault on the member asked", Judgement::Faulty),
        ("failed: no leader for longer than the proxy waits", Judgement::Leaderless),
        ("failed: unexplained", Judgement::Unexplained),
        ("answered by a wrong replica", Judgement::WrongReplica),
    ] {
        let count = judged.iter().filter(|(_, judgement)| *judgement == which).count();
        verdict.figure(name, float(count), "");
    }
    verdict
}

/// All failed queries and what is to be thought of them.
pub fn judged(history: &History) -> Vec<(&Entry, Judgement)> {
    let faults = faults(history);
    let reigns = reigns(history);
    let mut downs = BTreeMap::new();
    for reign in &reigns {
        downs.entry(reign.member).or_insert_with(|| downtime(history, reign.member, "prometheus"));
    }
    let served = reigns.iter().flat_map(|reign| reign.span.without(&downs[reign.member]));
    let unserved = whole(history).without(&union(served));
    let unserved: Vec<_> = unserved.into_iter().filter(|span| span.len() > LEADER_WAIT).collect();
    let judge = |entry: &Entry| {
        let What::QueryFailed { via, end_ns, wrong_replica, reachable, .. } = &entry.what else { return None };
        let asked = Span::new(entry.at_ns, end_ns.saturating_add(1));
        let hit = |span: Span| span.widened(0, SETTLE).overlaps(asked);
        Some(if wrong_replica.is_some() {
            Judgement::WrongReplica
        } else if !reachable {
            Judgement::Unreachable
        } else if faults.iter().any(|fault| fault.touched(via) && hit(fault.span)) {
            Judgement::Faulty
        } else if unserved.iter().any(|span| span.overlaps(asked)) {
            Judgement::Leaderless
        } else {
            Judgement::Unexplained
        })
    };
    history.entries.iter().filter_map(|entry| Some((entry, judge(entry)?))).collect()
}
