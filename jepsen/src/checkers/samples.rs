//! Nothing lost: no series has a gap longer than a scrape interval and the slack, from two intervals after the start to two before the
//! end of the run.
//!
//! Of a gap, only this time is excused:
//! 1. when every Prometheus was blind. It is blind while it does not run or is paused; for [`START_UP`] and an interval after that; and
//!    for [`UNSHIPPED`] before, the time within which it hands to its gate what it scraped;
//! 2. when the writer after the gap is another than the one before it, the time when that new writer's Prometheus was blind: it cannot
//!    send what it never scraped ("cover", docs/gate.md). If its disk was lost, it is blind for all that was before;
//! 3. while a fault of [`LOSES`] is in force, and for as long around it as around a downtime.

use super::facts::{SECOND, downtime, faults, instant, replicas, whole};
use super::span::{Span, intersection, total, union};
use super::{Verdict, float, secs};
use crate::history::{Entry, History, Ns, What};

/// Prometheus begins to scrape up to five seconds after its start.
const START_UP: Ns = 5 * SECOND;
/// The longest that a sample waits in Prometheus for its batch (`batch_send_deadline`, 5 s) and is on its way, on a busy machine.
const UNSHIPPED: Ns = 10 * SECOND;
/// Nemeses that take the disk of a pod, and with it its spool and its write-ahead log.
const DISK_LOST: [&str; 1] = ["disk-lost"];
/// Nemeses that lose samples by what they are: a sample of a clock that has jumped has another time; a changed entry restarts the
/// queue of every Prometheus at once.
const LOSES: [&str; 2] = ["clock-jump", "config-changed"];

/// A gap of one series that is longer than allowed.
#[derive(Clone, Debug, PartialEq)]
pub struct Gap<'a> {
    /// Whose.
    pub series: &'a str,
    /// From the last sample before it, or the begin of what is looked at, to the first after it, or the end.
    pub span: Span,
    /// Of it, so much is not excused.
    pub unexcused: Ns,
    /// The write that ended it.
    pub by: Option<&'a Entry>,
}

/// Judges.
pub fn check(history: &History) -> Verdict {
    let mut verdict = Verdict::default();
    let limit = limit(history);
    let (mut series, mut samples, mut repeated) = (0, 0, 0);
    for entry in &history.entries {
        let What::Series { times_ms, repeated: again, .. } = &entry.what else { continue };
        (series, samples, repeated) = (series + 1, samples + times_ms.len(), repeated + again);
    }
    if window(history).is_empty() || series == 0 {
        let words = if series == 0 { "no series is recorded" } else { "the run is shorter than four scrape intervals" };
        verdict.unknown(history.run.start_ns, words, &[]);
    }
    let gaps = gaps(history);
    let longest = gaps.iter().map(|gap| gap.span.len()).max().unwrap_or(0);
    let unexcused = gaps.iter().map(|gap| gap.unexcused).max().unwrap_or(0);
    for Gap { series, span, unexcused, by } in gaps.iter().filter(|gap| gap.unexcused > limit) {
        let excused = match span.len() - unexcused {
            0 => String::new(),
            excused => format!(" ({:.1} s more are excused)", secs(excused)),
        };
        let words =
            format!("{series} has a gap of {:.1} s{excused}; {:.1} s are allowed", secs(*unexcused), secs(limit));
        verdict.fail(span.from, words, &by.iter().copied().collect::<Vec<_>>());
    }
    verdict.count("series", series);
    verdict.count("samples", samples);
    verdict.figure("samples that arrived more than once", float(usize::try_from(repeated).unwrap_or(usize::MAX)), "");
    verdict.count("gaps longer than allowed, excused ones included", gaps.len());
    verdict.figure("longest of these", secs(longest), "s");
    verdict.figure("most of a gap that nothing excuses", secs(unexcused), "s");
    verdict
}

fn limit(history: &History) -> Ns {
    (history.run.scrape_interval_ms + history.run.bounds.gap_slack_ms) * super::facts::MS
}

fn interval(history: &History) -> Ns {
    history.run.scrape_interval_ms * super::facts::MS
}

fn window(history: &History) -> Span {
    let whole = whole(history);
    Span::new(whole.from + 2 * interval(history), whole.until.saturating_sub(2 * interval(history)))
}

/// All gaps that are longer than allowed, excused or not, the longest first.
pub fn gaps(history: &History) -> Vec<Gap<'_>> {
    let (window, limit) = (window(history), limit(history));
    let blind: Vec<_> = replicas(history).into_iter().map(|member| (member, blind(history, member))).collect();
    let all_blind = blind.iter().map(|(_, spans)| spans.clone()).reduce(|one, other| intersection(&one, &other));
    let always = union(all_blind.unwrap_or_default().into_iter().chain(losses(history)));
    let mut gaps = Vec::new();
    for entry in &history.entries {
        let What::Series { series, times_ms, .. } = &entry.what else { continue };
        let inside = times_ms.iter().map(|ms| (Some(*ms), instant(history, *ms)));
        let inside = inside.filter(|(_, at)| (window.from..window.until).contains(at));
        let mut before = (None, window.from);
        for after in inside.chain([(None, window.until)]) {
            let span = Span::new(before.1, after.1);
            if span.len() > limit {
                let [from, by] = [before.0, after.0].map(|ms| writer(history, ms?));
                let mut excused = always.clone();
                if let (Some((old, _)), Some((new, _))) = (from, by)
                    && old != new
                    && let Some((_, spans)) = blind.iter().find(|(member, _)| *member == new)
                {
                    excused.extend(spans);
                }
                let unexcused = total(&span.without(&union(excused)));
                gaps.push(Gap { series, span, unexcused, by: by.map(|(_, write)| write) });
            }
            before = after;
        }
    }
    gaps.sort_by_key(|gap| std::cmp::Reverse((gap.unexcused, gap.span.len())));
    gaps
}

/// Who wrote a sample of this time first, as far as requests tell.
fn writer(history: &History, ms: i64) -> Option<(&str, &Entry)> {
    history.entries.iter().find_map(|entry| match &entry.what {
        What::Write { sender, status: Some(200..=299), first_ms: Some(first), last_ms: Some(last), .. }
            if (*first..=*last).contains(&ms) =>
        {
            Some((sender.as_str(), entry))
        }
        _ => None,
    })
}

/// When the Prometheus of a member saw nothing, or what it saw is lost.
fn blind(history: &History, member: &str) -> Vec<Span> {
    let around = |span: Span| span.widened(UNSHIPPED, START_UP + interval(history));
    let downs = downtime(history, member, "prometheus").into_iter().map(around);
    let faults = faults(history);
    let lost = faults.iter().filter(|fault| fault.touched(member) && DISK_LOST.contains(&fault.nemesis));
    let lost = lost.map(|fault| around(Span::new(0, fault.span.from)));
    union(downs.chain(lost).collect::<Vec<_>>())
}

fn losses(history: &History) -> Vec<Span> {
    let around = |span: Span| span.widened(UNSHIPPED, START_UP + interval(history));
    let faults = faults(history);
    faults
        .iter()
        .filter(|fault| fault.was_in_force() && LOSES.contains(&fault.nemesis))
        .map(|fault| around(fault.span))
        .collect()
}
