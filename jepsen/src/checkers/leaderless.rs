//! How long nobody led. From a fault that hit the leader to the next one that acts: figures, for the promise of two seconds is made for
//! a machine that is not this busy. Only this is a failure: no leader for longer than the bound of recovery while nothing was broken.

use super::authority::{Reign, reigns};
use super::facts::{Fault, SECOND, faults, whole};
use super::span::{Span, union};
use super::{Verdict, secs};
use crate::history::{History, Ns, Outcome};

/// What a fault does to the leader it does by so long after its end: a killed one is restarted at once.
const AFTERMATH: Ns = 10 * SECOND;

/// A fault that hit the leader, and what came of it.
#[derive(Clone, Debug)]
pub struct Hit<'a> {
    /// The fault.
    pub fault: Fault<'a>,
    /// From its begin until a member gained authority, and which; `None`: the leader kept it.
    pub next: Option<(Ns, &'a str)>,
    /// Of that time, so long nobody held authority.
    pub nobody: Ns,
}

/// Judges.
pub fn check(history: &History) -> Verdict {
    let mut verdict = Verdict::default();
    let reigns = reigns(history);
    let gaps = gaps(history, &reigns);
    let broken = union(faults(history).iter().filter(|fault| fault.was_in_force()).map(|fault| fault.span));
    let bound = history.run.bounds.recovery_ms * super::facts::MS;
    for calm in gaps.iter().flat_map(|gap| gap.without(&broken)).filter(|calm| calm.len() > bound) {
        let words = format!("nothing was broken and nobody led for {:.1} s", secs(calm.len()));
        verdict.fail(calm.from, words, &[]);
    }
    if reigns.is_empty() {
        verdict.unknown(history.run.start_ns, "nobody tells of any leader", &[]);
    }
    let hits = hits(history);
    let waits = sorted(hits.iter().filter_map(|hit| Some(hit.next?.0)));
    verdict.count("faults that hit the leader", hits.len());
    verdict.count("of these with a new leader", waits.len());
    for (name, of) in
        [("fault to next leader", &waits), ("without a leader", &sorted(gaps.iter().map(|gap| gap.len())))]
    {
        // Of nothing there is no median.
        for percent in [50, 95, 99, 100].into_iter().filter(|_| !of.is_empty()) {
            let label = if percent == 100 { "max".to_owned() } else { format!("p{percent}") };
            verdict.figure(format!("{name}, {label}"), secs(percentile(of, percent)), "s");
        }
    }
    verdict
}

/// The times of the run in which nobody led.
pub fn gaps(history: &History, reigns: &[Reign<'_>]) -> Vec<Span> {
    whole(history).without(&union(reigns.iter().map(|reign| reign.span)))
}

/// Each fault that hit the leader. Up to the next one, what happened is its doing.
pub fn hits(history: &History) -> Vec<Hit<'_>> {
    let reigns = reigns(history);
    let gaps = gaps(history, &reigns);
    let hitting = |fault: &Fault<'_>| fault.hit_leader && fault.outcome == Outcome::Installed;
    let faults: Vec<_> = faults(history).into_iter().filter(hitting).collect();
    let begins: Vec<_> = faults.iter().map(|fault| fault.span.from).collect();
    let mut hits = Vec::new();
    for fault in faults {
        let begin = fault.span.from;
        let next_fault = begins.iter().copied().find(|other| *other > begin).unwrap_or(Ns::MAX);
        let reach = begin + 1..fault.span.until.saturating_add(AFTERMATH).min(next_fault);
        let next = reigns.iter().find(|reign| reach.contains(&reign.span.from));
        let next = next.map(|reign| (reign.span.from - begin, reign.member));
        let waited = Span::new(begin, begin + next.map_or(0, |(after, _)| after));
        let nobody = gaps.iter().map(|gap| gap.common(waited).len()).sum();
        hits.push(Hit { fault, next, nobody });
    }
    hits
}

/// Rising.
pub fn sorted(values: impl Iterator<Item = Ns>) -> Vec<Ns> {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable();
    values
}

/// The nearest rank: the smallest value that so many percent do not exceed. 0 of none.
pub fn percentile(sorted: &[Ns], percent: usize) -> Ns {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0)
}
