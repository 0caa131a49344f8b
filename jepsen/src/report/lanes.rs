//! The lanes of the timeline: faults, who leads, each member, writes, queries, findings.

use std::collections::BTreeMap;

use super::clock;
use super::timeline::{BUCKETS_MAX, Lane};
use crate::checkers::authority::reigns;
use crate::checkers::facts::{Fault, MS, SECOND, downtime, faults as faults_of, whole};
use crate::checkers::leaderless::gaps;
use crate::checkers::queries::judged;
use crate::checkers::span::Span;
use crate::checkers::{Outcome as Judged, Verdicts, float, secs};
use crate::history::{History, Ns, Outcome, ProcessState, What};

/// Colours of members there are.
const COLOURS: usize = 8;
/// Rows of faults; what does not fit shares the last one.
const FAULT_ROWS_MAX: usize = 6;
/// Of one of these, in pixels.
const ROW_HEIGHT: usize = 24;

/// All members that a record names, those of the start first.
fn names(history: &History) -> Vec<&str> {
    let mut names: Vec<_> = history.run.members.iter().map(|member| member.name.as_str()).collect();
    for entry in &history.entries {
        let (What::Process { member, .. } | What::Told { member, .. }) = &entry.what else { continue };
        if !names.contains(&member.as_str()) {
            names.push(member);
        }
    }
    names
}

/// The class of a member's colour.
fn colour(names: &[&str], member: &str) -> String {
    let index = names.iter().position(|name| *name == member).unwrap_or(COLOURS - 1);
    format!("m{}", index % COLOURS)
}

fn words(fault: &Fault<'_>, history: &History) -> String {
    let outcome = match fault.outcome {
        Outcome::Installed => "",
        Outcome::Skipped => ", skipped",
        Outcome::Indeterminate => ", not known whether in force",
    };
    let leader = if fault.hit_leader { ", the leader" } else { "" };
    let (at, length) = (clock(history, fault.span.from), secs(fault.span.len()));
    format!(
        "{} at {at} for {length:.1} s{outcome}: {}{leader} {}",
        fault.nemesis,
        fault.targets.join(", "),
        fault.detail
    )
}

/// The row of each fault: the first one that is free. One takes so much of a row that its name can be read.
fn packed(history: &History, faults: &[Fault<'_>]) -> Vec<usize> {
    let room = whole(history).len() / 14;
    let mut free: Vec<Ns> = Vec::new();
    let mut rows = Vec::new();
    for fault in faults {
        let row = free.iter().position(|since| *since <= fault.span.from).unwrap_or(free.len()).min(FAULT_ROWS_MAX - 1);
        if row == free.len() {
            free.push(0);
        }
        free[row] = fault.span.until.max(fault.span.from.saturating_add(room));
        rows.push(row);
    }
    rows
}

/// A bar for each fault, and its name below.
pub(super) fn faults(history: &History) -> String {
    let faults = faults_of(history);
    let rows = packed(history, &faults);
    let height = rows.iter().max().map_or(1, |last| last + 1) * ROW_HEIGHT;
    let mut lane = Lane::new(history, pixels(height));
    for (index, (fault, row)) in faults.iter().zip(&rows).enumerate() {
        let kind = if fault.hit_leader { "hit" } else { "fault" };
        let doubt = match fault.outcome {
            Outcome::Installed => "",
            Outcome::Skipped => " skipped",
            Outcome::Indeterminate => " maybe",
        };
        let top = row * ROW_HEIGHT;
        // One that was skipped lasted no time.
        let span = Span::new(fault.span.from, fault.span.until.max(fault.span.from + 1));
        let class = format!("edge {kind}{doubt}");
        lane.link(&format!("f{}", fault.id), span, float(top) + 1.0, 8.0, &class, &words(fault, history));
        let next = faults[index + 1..].iter().zip(&rows[index + 1..]).find(|(_, other)| *other == row);
        let until = next.map_or(Ns::MAX, |(next, _)| next.span.from);
        lane.write(Span::new(fault.span.from, until), pixels(top + 9), "f", fault.nemesis);
    }
    lane.row("Faults", "")
}

/// Who could act, and the times in which nobody could.
pub(super) fn leader(history: &History) -> String {
    let (names, reigns) = (names(history), reigns(history));
    let mut lane = Lane::new(history, 22);
    for gap in gaps(history, &reigns).into_iter().filter(|gap| gap.len() > MS) {
        let title = format!("nobody led for {:.3} s from {} on", secs(gap.len()), clock(history, gap.from));
        lane.draw(gap, 1.0, 20.0, "edge none", &title);
    }
    for reign in reigns {
        let class = colour(&names, reign.member);
        lane.draw(reign.span, 1.0, 20.0, &class, &reigned(history, reign.member, reign.term, reign.span));
        lane.write(reign.span, 3, "", &format!("{} · {}", reign.member, reign.term));
    }
    lane.row("Leader", "and its term")
}

fn reigned(history: &History, member: &str, term: u64, span: Span) -> String {
    format!("{member} led in term {term} from {} for {:.3} s", clock(history, span.from), secs(span.len()))
}

/// Each member: when it led, when its processes did not run or were paused, and behind that the faults that hit it.
pub(super) fn members(history: &History) -> String {
    let (names, reigns, faults) = (names(history), reigns(history), faults_of(history));
    let mut out = String::new();
    for name in &names {
        let is_witness = history.run.members.iter().any(|member| member.name == *name && member.witness);
        let mut lane = Lane::new(history, 30);
        for fault in faults.iter().filter(|fault| fault.touched(name)) {
            lane.link(&format!("f{}", fault.id), fault.span, 0.0, 30.0, "shade", &words(fault, history));
        }
        for reign in reigns.iter().filter(|reign| reign.member == *name) {
            lane.draw(reign.span, 3.0, 12.0, &colour(&names, name), &reigned(history, name, reign.term, reign.span));
        }
        for (program, y) in [("sidecar", 18.0), ("prometheus", 24.0)] {
            let downs = downtime(history, name, program);
            for pause in pauses(history, name, program) {
                let title = format!(
                    "{program} of {name} paused at {} for {:.1} s",
                    clock(history, pause.from),
                    secs(pause.len())
                );
                lane.draw(pause, y, 4.0, "edge paused", &title);
            }
            let paused = pauses(history, name, program);
            for down in downs.iter().filter(|down| !paused.contains(down)) {
                let title = format!("{program} of {name} did not run from {} on", clock(history, down.from));
                lane.draw(*down, y, 4.0, "edge down", &title);
            }
        }
        out.push_str(&lane.row(name, if is_witness { "witness" } else { "" }));
    }
    out
}

/// Downtimes that are nothing but a pause.
fn pauses(history: &History, member: &str, program: &str) -> Vec<Span> {
    let mut pauses = Vec::new();
    let mut since = None;
    for entry in &history.entries {
        let What::Process { member: of, program: which, state, .. } = &entry.what else { continue };
        if of != member || which != program {
            continue;
        }
        match state {
            ProcessState::Paused => since = Some(entry.at_ns),
            ProcessState::Resumed => pauses.extend(since.take().map(|since| Span::new(since, entry.at_ns))),
            ProcessState::Started | ProcessState::Exited => since = None,
        }
    }
    pauses
}

/// What one sender did in one bucket.
#[derive(Default)]
struct Written {
    requests: u64,
    refused: u64,
    samples: u64,
    term: Option<u64>,
}

/// Requests at the receiver, gathered; one colour a sender.
pub(super) fn writes(history: &History) -> String {
    let names = names(history);
    let mut of: BTreeMap<u64, BTreeMap<&str, Written>> = BTreeMap::new();
    for entry in &history.entries {
        let What::Write { sender, term, status, samples, .. } = &entry.what else { continue };
        let Some(bucket) = bucket(history, entry.at_ns) else { continue };
        let written = of.entry(bucket).or_default().entry(sender).or_default();
        written.requests += 1;
        written.refused += u64::from(!matches!(status, Some(200..=299)));
        written.samples += samples;
        written.term = written.term.max(*term);
    }
    let most =
        of.values().map(|senders| senders.values().map(|written| written.requests).sum::<u64>()).max().unwrap_or(1);
    let mut lane = Lane::new(history, 44);
    for (bucket, senders) in of {
        let mut top = 44.0;
        for (sender, Written { requests, refused, samples, term }) in senders {
            let span = bucket_span(history, bucket);
            let term = term.map_or_else(String::new, |term| format!(" in term {term}"));
            let title = format!(
                "{}: {sender} wrote{term}: {requests} requests, {samples} samples, {refused} not accepted",
                clock(history, span.from)
            );
            for (count, class) in [(requests - refused, colour(&names, sender)), (refused, "refused".to_owned())] {
                let height = share(count, most, 42.0);
                top -= height;
                if count > 0 {
                    lane.draw(span, top, height, &class, &title);
                }
            }
        }
    }
    lane.row("Writes", "by sender")
}

/// Answered, excused and failed queries, gathered.
pub(super) fn queries(history: &History) -> String {
    let mut of: BTreeMap<u64, [u64; 3]> = BTreeMap::new();
    for entry in &history.entries {
        let What::Queries { ok, .. } = &entry.what else { continue };
        if let Some(bucket) = bucket(history, entry.at_ns) {
            of.entry(bucket).or_default()[0] += ok;
        }
    }
    for (entry, judgement) in judged(history) {
        if let Some(bucket) = bucket(history, entry.at_ns) {
            of.entry(bucket).or_default()[if judgement.is_violation() { 2 } else { 1 }] += 1;
        }
    }
    let most = of.values().map(|[ok, ..]| *ok).max().unwrap_or(1).max(1);
    let failed_most = of.values().map(|[_, excused, failed]| excused + failed).max().unwrap_or(1).max(1);
    let mut lane = Lane::new(history, 44);
    for (bucket, [ok, excused, failed]) in of {
        let span = bucket_span(history, bucket);
        let title =
            format!("{}: {ok} answered, {excused} failed and excused, {failed} failed", clock(history, span.from));
        let height = share(ok, most, 22.0);
        lane.draw(span, 44.0 - height, height, "ok", &title);
        let mut top = 20.0;
        for (count, class) in
            [(failed, "edge none"), (excused, "edge excused")].into_iter().filter(|(count, _)| *count > 0)
        {
            let height = share(count, failed_most, 16.0).max(2.0);
            top -= height;
            lane.draw(span, top, height, class, &title);
        }
    }
    lane.row("Queries", "failed above")
}

/// A mark for each finding. Nothing without any.
pub(super) fn findings(history: &History, verdicts: &Verdicts) -> String {
    let mut lane = Lane::new(history, 20);
    let mut is_any = false;
    for (checker, verdict) in verdicts {
        for finding in &verdict.findings {
            is_any = true;
            let class = if finding.outcome == Judged::Fail { "edge none" } else { "edge excused" };
            // What is true of the whole run is marked at its begin, and at its end.
            let at = finding.at_ns.clamp(history.run.start_ns, whole(history).until.saturating_sub(1));
            let title = format!("{}: {}", checker.name, finding.words);
            lane.draw(Span::new(at, at + 1), 2.0, 16.0, class, &title);
        }
    }
    if is_any { lane.row("Findings", "") } else { String::new() }
}

fn bucket_length(history: &History) -> Ns {
    whole(history).len().div_ceil(BUCKETS_MAX).max(SECOND)
}

fn bucket(history: &History, at: Ns) -> Option<u64> {
    let whole = whole(history);
    let into = at.checked_sub(whole.from).filter(|into| *into < whole.len())?;
    Some(into / bucket_length(history))
}

fn bucket_span(history: &History, bucket: u64) -> Span {
    let edge = |bucket| whole(history).from + bucket_length(history) * bucket;
    Span::new(edge(bucket), edge(bucket + 1))
}

/// Part of a height, in tenths of a pixel.
fn share(count: u64, most: u64, height: f64) -> f64 {
    let parts = |count| float(usize::try_from(count).unwrap_or(usize::MAX));
    (parts(count) / parts(most) * height * 10.0).round() / 10.0
}

/// Heights are small.
fn pixels(height: usize) -> u32 {
    u32::try_from(height).unwrap_or(u32::MAX)
}
