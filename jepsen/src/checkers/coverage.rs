//! Coverage: whether the run proves anything. The record is whole; every nemesis of the plan was in force at least once; the leader was
//! hit; another member took over; and in every minute without a fault, writes and queries went through. What is missing here is
//! unknown, not failed: the promises were not put to the test.

use std::collections::BTreeSet;

use super::Verdict;
use super::authority::reigns;
use super::facts::{SECOND, end, faults, whole};
use super::span::{Span, union};
use crate::history::{History, Ns, Outcome, What};

/// Looked at one by one.
const MINUTE: Ns = 60 * SECOND;

/// Judges.
pub fn check(history: &History) -> Verdict {
    let mut verdict = Verdict::default();
    let begin = history.run.start_ns;
    if history.entries.last().is_none_or(|entry| entry.what != What::End {}) {
        verdict.unknown(end(history), "the record has no end: the run was broken off", &[]);
    }
    let faults = faults(history);
    let planned: BTreeSet<_> =
        history.run.plan.iter().map(String::as_str).chain(faults.iter().map(|fault| fault.nemesis)).collect();
    let installed: Vec<_> = faults.iter().filter(|fault| fault.outcome == Outcome::Installed).collect();
    let mut covered = 0;
    for nemesis in &planned {
        if installed.iter().any(|fault| fault.nemesis == *nemesis) {
            covered += 1;
            continue;
        }
        let tries: Vec<_> = faults.iter().filter(|fault| fault.nemesis == *nemesis).collect();
        let why = tries.last().map_or("never tried", |fault| fault.detail);
        let proof: Vec<_> = tries.iter().flat_map(|fault| fault.proof.iter().copied()).take(4).collect();
        verdict.unknown(begin, format!("nemesis {nemesis} was never in force: {why}"), &proof);
    }
    if installed.is_empty() {
        verdict.unknown(begin, "no fault was ever in force", &[]);
    }
    let hits = installed.iter().filter(|fault| fault.hit_leader).count();
    if hits == 0 {
        verdict.unknown(begin, "no fault ever hit the leader", &[]);
    }
    let reigns = reigns(history);
    let changes = reigns.windows(2).filter(|pair| pair[0].member != pair[1].member && pair[1].span.from >= begin);
    let takeovers = changes.count();
    if takeovers == 0 {
        verdict.unknown(begin, "no member ever took over from another", &[]);
    }
    let minutes = minutes(history, &mut verdict);
    verdict.count("nemeses planned", planned.len());
    verdict.count("nemeses in force at least once", covered);
    verdict.count("faults in force", installed.len());
    verdict.count("faults skipped", faults.iter().filter(|fault| !fault.was_in_force()).count());
    verdict.count(
        "faults of which the outcome is not known",
        faults.iter().filter(|fault| fault.outcome == Outcome::Indeterminate).count(),
    );
    verdict.count("faults that hit the leader", hits);
    verdict.count("takeovers", takeovers);
    verdict.count("minutes without a fault", minutes);
    verdict
}

/// Whole minutes without a fault; each must have writes and queries.
fn minutes(history: &History, verdict: &mut Verdict) -> usize {
    let broken = union(faults(history).iter().filter(|fault| fault.was_in_force()).map(|fault| fault.span));
    let instants = |is: fn(&What) -> bool| -> BTreeSet<Ns> {
        history.entries.iter().filter(|entry| is(&entry.what)).map(|entry| entry.at_ns).collect()
    };
    let writes = instants(|what| matches!(what, What::Write { status: Some(200..=299), .. }));
    let queries = instants(|what| matches!(what, What::Queries { ok: 1.., .. }));
    let mut minutes = 0;
    for calm in whole(history).without(&broken) {
        let mut minute = Span::new(calm.from, calm.from + MINUTE);
        while minute.until <= calm.until {
            minutes += 1;
            for (name, seen) in [("remote write was accepted", &writes), ("query was answered", &queries)] {
                if seen.range(minute.from..minute.until).next().is_none() {
                    verdict.unknown(minute.from, format!("no {name} in a minute without a fault"), &[]);
                }
            }
            minute = Span::new(minute.until, minute.until + MINUTE);
        }
    }
    minutes
}
