//! Nothing lost: no series has a gap longer than a scrape interval and the slack, from two intervals after the start to two before the
//! end of the run.
//!
//! Of a gap, only this time is excused:
//! 1. when every Prometheus was blind;
//! 2. when the Prometheus of a member was blind that took over after the begin of the gap, and before its end was written: a new writer
//!    cannot send what it never scraped ("cover", docs/gate.md), and tells the others that it has got past it.
//!
//! A Prometheus is blind while it does not run, is paused, or reaches no target (`CUT_OFF`); for `START_UP` and an interval after
//! that; and for `UNSHIPPED` before, the time within which it hands to its gate what it scraped. If its disk is lost
//! (`DISK_LOST`), it is blind for all that was before.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use super::authority::reigns;
use super::facts::{MS, SECOND, downtime, faults, instant, replicas, whole};
use super::span::{Span, intersection, total, union};
use super::{Verdict, secs};
use crate::history::{Entry, History, Ns, What};

/// Prometheus begins to scrape up to five seconds after its start.
const START_UP: Ns = 5 * SECOND;
/// The longest that a sample waits in Prometheus for its batch (`batch_send_deadline`, 5 s) and is on its way, on a busy machine.
const UNSHIPPED: Ns = 10 * SECOND;
/// Nemeses that take the disk of a pod, and with it its spool and its write-ahead log.
const DISK_LOST: [&str; 1] = ["disk-lost"];
/// Nemeses that keep a pod from its targets.
const CUT_OFF: [&str; 1] = ["cut-off"];

/// Samples of a longer time than this are in no one request.
const WRITE_SECONDS_MAX: usize = 3_600;

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

/// What was stored of one series.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    /// Which.
    pub series: &'a str,
    /// Of so many times.
    pub samples: usize,
    /// Of these, so many arrived again.
    pub repeated: u64,
    /// The longest time between two, or between one and an end of what is looked at; excused or not.
    pub longest: Ns,
}

/// Judges.
pub fn check(history: &History) -> Verdict {
    let mut verdict = Verdict::default();
    let limit = limit(history);
    let stored = stored(history);
    if stored.is_empty() {
        verdict.unknown(history.run.start_ns, "no series is recorded", &[]);
    }
    if window(history).is_empty() {
        verdict.unknown(history.run.start_ns, "the run is shorter than four scrape intervals", &[]);
    }
    let gaps = gaps(history);
    for together in together(gaps.iter().filter(|gap| gap.unexcused > limit)) {
        // The least excused one comes first.
        let Some(Gap { series, span, unexcused, by }) = together.first() else { continue };
        let excused = match span.len() - unexcused {
            0 => String::new(),
            excused => format!(" ({:.1} s more are excused)", secs(excused)),
        };
        let others = match together.len() - 1 {
            0 => String::new(),
            others => format!(", and {others} other series too"),
        };
        let (lost, limit) = (secs(*unexcused), secs(limit));
        let words = format!("{series} has a gap of {lost:.1} s{excused}; {limit:.1} s are allowed{others}");
        verdict.fail(span.from, words, &by.iter().copied().collect::<Vec<_>>());
    }
    let repeated = stored.iter().map(|stored| stored.repeated).sum::<u64>();
    verdict.count("series", stored.len());
    verdict.count("samples", stored.iter().map(|stored| stored.samples).sum());
    verdict.count("samples that arrived more than once", usize::try_from(repeated).unwrap_or(usize::MAX));
    let longest = stored.iter().map(|stored| stored.longest).max().unwrap_or(0);
    // A gap that is not longer than allowed needs no excuse.
    let unexcused = gaps.iter().map(|gap| gap.unexcused).max().map_or(longest, |gap| gap.max(allowed(history)));
    verdict.figure("longest gap that nothing excuses", secs(unexcused), "s");
    verdict.figure("longest gap, excused ones included", secs(longest), "s");
    verdict.figure("longest gap allowed", secs(limit), "s");
    verdict.count("longer gaps", gaps.len());
    verdict.count("of these excused", gaps.iter().filter(|gap| gap.unexcused <= limit).count());
    verdict
}

/// Gaps that overlap are told together: one loss is seen in many series.
fn together<'a>(gaps: impl Iterator<Item = &'a Gap<'a>>) -> Vec<Vec<&'a Gap<'a>>> {
    let mut groups: Vec<Vec<&Gap<'_>>> = Vec::new();
    for gap in gaps {
        // Each group is known by its first one.
        match groups.iter_mut().find(|group| group[0].span.overlaps(gap.span)) {
            Some(group) => group.push(gap),
            None => groups.push(vec![gap]),
        }
    }
    groups
}

fn limit(history: &History) -> Ns {
    (history.run.scrape_interval_ms + history.run.bounds.gap_slack_ms) * MS
}

fn interval(history: &History) -> Ns {
    history.run.scrape_interval_ms * MS
}

fn window(history: &History) -> Span {
    let whole = whole(history);
    Span::new(whole.from + 2 * interval(history), whole.until.saturating_sub(2 * interval(history)))
}

/// The longest gap of those that are allowed.
fn allowed(history: &History) -> Ns {
    let limit = limit(history);
    let series = history.entries.iter().filter_map(|entry| match &entry.what {
        What::Series { times_ms, .. } => Some(times_ms),
        _ => None,
    });
    let spaces = series.flat_map(|times_ms| spaces(history, times_ms));
    spaces.map(|(_, span)| span.len()).filter(|gap| *gap <= limit).max().unwrap_or(0)
}

/// What was stored, by the longest gap.
pub fn stored(history: &History) -> Vec<Stored<'_>> {
    let stored = history.entries.iter().filter_map(|entry| {
        let What::Series { series, times_ms, repeated } = &entry.what else { return None };
        let longest = spaces(history, times_ms).map(|(_, span)| span.len()).max().unwrap_or(0);
        Some(Stored { series, samples: times_ms.len(), repeated: *repeated, longest })
    });
    let mut stored: Vec<_> = stored.collect();
    stored.sort_by_key(|stored| std::cmp::Reverse(stored.longest));
    stored
}

/// From each sample, or the begin of what is looked at, to the next one, or the end; with the time of the next one.
fn spaces(history: &History, times_ms: &[i64]) -> impl Iterator<Item = (Option<i64>, Span)> {
    let window = window(history);
    let inside = times_ms.iter().map(|ms| (Some(*ms), instant(history, *ms)));
    let inside = inside.filter(move |(_, at)| (window.from..window.until).contains(at));
    inside.chain([(None, window.until)]).scan(window.from, |before, (ms, at)| {
        let since = std::mem::replace(before, at);
        Some((ms, Span::new(since, at)))
    })
}

/// All gaps that are longer than allowed, excused or not, those that the least excuses first.
pub fn gaps(history: &History) -> Vec<Gap<'_>> {
    let limit = limit(history);
    let blind: Vec<_> = replicas(history).into_iter().map(|member| (member, blind(history, member))).collect();
    let all_blind = blind.iter().map(|(_, spans)| spans.clone()).reduce(|one, other| intersection(&one, &other));
    let (writers, reigns) = (writers(history), reigns(history));
    let mut gaps = Vec::new();
    for entry in &history.entries {
        let What::Series { series, times_ms, .. } = &entry.what else { continue };
        for (by, span) in spaces(history, times_ms).filter(|(_, span)| span.len() > limit) {
            let by = by.and_then(|ms| first_of(&writers, ms));
            let took_over = span.from..by.map_or(Ns::MAX, |write| write.at_ns);
            let leaders = reigns.iter().filter(|reign| took_over.contains(&reign.span.from)).map(|reign| reign.member);
            let leaders: BTreeSet<_> = leaders.collect();
            let of_leaders = blind.iter().filter(|(member, _)| leaders.contains(member)).flat_map(|(_, spans)| spans);
            let excused = union(all_blind.iter().flatten().chain(of_leaders).copied());
            gaps.push(Gap { series, span, unexcused: total(&span.without(&excused)), by });
        }
    }
    gaps.sort_by_key(|gap| std::cmp::Reverse((gap.unexcused, gap.span.len())));
    gaps
}

/// Accepted writes by the seconds of their samples, in order of arrival.
type Writers<'a> = BTreeMap<i64, Vec<(RangeInclusive<i64>, &'a Entry)>>;

fn writers(history: &History) -> Writers<'_> {
    let mut writers = Writers::new();
    for entry in &history.entries {
        let What::Write { status: Some(200..=299), first_ms, last_ms, .. } = &entry.what else { continue };
        let Some((first, last)) = first_ms.zip(*last_ms) else { continue };
        let seconds = first.div_euclid(1_000)..=last.div_euclid(1_000);
        for second in seconds.take(WRITE_SECONDS_MAX) {
            writers.entry(second).or_default().push((first..=last, entry));
        }
    }
    writers
}

/// The first write that may have held a sample of this time.
fn first_of<'a>(writers: &Writers<'a>, ms: i64) -> Option<&'a Entry> {
    let of_second = writers.get(&ms.div_euclid(1_000))?;
    of_second.iter().find(|(times, _)| times.contains(&ms)).map(|(_, entry)| *entry)
}

/// When the Prometheus of a member saw nothing, or what it saw is lost.
fn blind(history: &History, member: &str) -> Vec<Span> {
    let mut blind = downtime(history, member, "prometheus");
    for fault in faults(history).iter().filter(|fault| fault.touched(member)) {
        if CUT_OFF.contains(&fault.nemesis) {
            blind.push(fault.span);
        }
        if DISK_LOST.contains(&fault.nemesis) {
            blind.push(Span::new(0, fault.span.from));
        }
    }
    union(blind.into_iter().map(|span| span.widened(UNSHIPPED, START_UP + interval(history))))
}
