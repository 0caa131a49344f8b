//! Health: no process ended that nobody ended, no log tells of a panic, and no sidecar grew.
//!
//! A sidecar that cannot use its disk (`WITHOUT_DISK`) ends with an error (1), as it should: it could not vote.
//!
//! Growth: the median of the last fifth of a process's life against that of the first fifth, if it was looked at often enough.

use std::collections::BTreeMap;

use super::facts::{Fault, SECOND, faults};
use super::{Verdict, float};
use crate::history::{Entry, History, Ns, ProcessState, What};

/// What Rust and Go write when they give up.
const PANICS: [&str; 5] = ["panicked at", "panic:", "fatal error:", "stack overflow", "memory allocation of"];
/// Nemeses that take the disk away from a sidecar: it is full, or the pod before still runs on it.
const WITHOUT_DISK: [&str; 2] = ["disk-full", "pod-forced"];
/// How the end of a process is told that has given up, and said why.
const AN_ERROR: &str = "exit status: 1";
/// It ends in order, so long after: `api-shutdown-grace-delay` and what its Prometheus takes.
const ENDS_WITHIN: Ns = 30 * SECOND;
/// Fewer looks at a process tell nothing of its growth.
const LOOKS_MIN: usize = 10;

/// Judges.
pub fn check(history: &History) -> Verdict {
    let mut verdict = Verdict::default();
    let faults = faults(history);
    let mut crashes = 0;
    for entry in &history.entries {
        let What::Process { member, program, state, intended, detail } = &entry.what else { continue };
        let gives_up = program == "sidecar" && detail.split(';').next() == Some(AN_ERROR);
        let is_excused = gives_up && faults.iter().any(|fault| takes_disk(fault, member, entry.at_ns));
        let is_crash = *state == ProcessState::Exited && !intended && !is_excused;
        let panic = PANICS.iter().find(|words| detail.contains(**words));
        if is_crash || panic.is_some() {
            crashes += 1;
            let how = if is_crash { "crashed" } else { "tells of a panic" };
            verdict.fail(entry.at_ns, format!("{program} of {member} {how}: {detail}"), &[entry]);
        }
    }
    verdict.count("crashes", crashes);
    growth(history, &mut verdict);
    verdict
}

fn takes_disk(fault: &Fault<'_>, member: &str, at: Ns) -> bool {
    let span = fault.span.widened(0, ENDS_WITHIN);
    WITHOUT_DISK.contains(&fault.nemesis) && fault.touched(member) && (span.from..span.until).contains(&at)
}

/// Looks at one process: resident bytes, descriptors.
type Looks<'a> = Vec<(u64, u64, &'a Entry)>;

fn growth(history: &History, verdict: &mut Verdict) {
    let mut processes: BTreeMap<(&str, u32), Looks<'_>> = BTreeMap::new();
    for entry in &history.entries {
        let What::Usage { member, pid, rss_bytes, descriptors } = &entry.what else { continue };
        processes.entry((member, *pid)).or_default().push((*rss_bytes, *descriptors, entry));
    }
    for member in &history.run.members {
        if processes.keys().all(|(of, _)| *of != member.name) {
            let words = format!("memory and descriptors of {} were never looked at", member.name);
            verdict.unknown(history.run.start_ns, words, &[]);
        }
    }
    let bounds = &history.run.bounds;
    for (name, unit, scale, bound, of) in [
        (
            "resident memory",
            "MiB",
            1 << 20,
            bounds.memory_growth_bytes,
            (|look| look.0) as fn(&(u64, u64, &Entry)) -> u64,
        ),
        ("descriptors", "", 1, bounds.descriptors_growth, |look| look.1),
    ] {
        let (mut most, mut peak) = (0, 0);
        for ((member, pid), looks) in &processes {
            peak = peak.max(looks.iter().map(of).max().unwrap_or(0));
            if looks.len() < LOOKS_MIN {
                continue;
            }
            let fifth = looks.len() / 5;
            let (first, last) = (&looks[..fifth], &looks[looks.len() - fifth..]);
            let grown = median(first, of).map_or(0, |begin| median(last, of).unwrap_or(0).saturating_sub(begin));
            most = most.max(grown);
            if grown > bound {
                let words = format!(
                    "{name} of {member} (process {pid}) grew by {}, more than {}",
                    words_of(grown / scale, unit),
                    words_of(bound / scale, unit)
                );
                verdict.fail(last[0].2.at_ns, words, &[first[0].2, last[last.len() - 1].2]);
            }
        }
        verdict.figure(format!("{name}, most growth of a sidecar"), scaled(most, scale), unit);
        verdict.figure(format!("{name}, most of a sidecar"), scaled(peak, scale), unit);
    }
}

fn words_of(value: u64, unit: &str) -> String {
    if unit.is_empty() { value.to_string() } else { format!("{value} {unit}") }
}

fn scaled(value: u64, scale: u64) -> f64 {
    float(usize::try_from(value / scale).unwrap_or(usize::MAX))
}

fn median(looks: &[(u64, u64, &Entry)], of: fn(&(u64, u64, &Entry)) -> u64) -> Option<u64> {
    let mut values: Vec<_> = looks.iter().map(of).collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}
