//! Configuration follows role: what a member tells (`Told`) and what its Prometheus runs with (its event log's `config` lines, and
//! `Config` where it was asked itself) differ for at most `BOUND` of undisturbed time. Undisturbed: no fault touches this pod, its
//! sidecar and its Prometheus run.

use super::facts::{Fault, SECOND, downtime, end, faults, replicas};
use super::span::{Span, union};
use super::{Verdict, secs};
use crate::history::{Entry, History, Ns, What};

/// A reload of a small Prometheus takes a second; a failed one is repeated after at most a quarter of a minute.
const BOUND: Ns = 30 * SECOND;

/// A change of a yes or no, and the entry that tells it.
type Change<'a> = (bool, &'a Entry);

/// Judges.
pub fn check(history: &History) -> Verdict {
    let mut verdict = Verdict::default();
    let faults = faults(history);
    let (mut changes, mut longest) = (0, 0);
    for member in replicas(history) {
        let role = series(history, |entry| told(entry, member));
        let logged = series(history, |entry| logged(entry, member));
        let seen = series(history, |entry| seen(entry, member));
        changes += logged.len().max(seen.len());
        let is_of_the_start = history.run.members.iter().any(|other| other.name == member);
        if is_of_the_start && (role.is_empty() || logged.is_empty() && seen.is_empty()) {
            let words = format!("nobody tells which role or which configuration {member} had");
            verdict.unknown(history.run.start_ns, words, &[]);
        }
        let disturbed = disturbed(history, &faults, member);
        for config in [logged, seen] {
            for (span, role, config) in differences(&role, &config, end(history)) {
                let calm = span.without(&disturbed).into_iter().max_by_key(|span| span.len());
                let Some(calm) = calm else { continue };
                longest = longest.max(calm.len());
                if calm.len() > BOUND {
                    let [has, is] = [config.0, role.0].map(|leads| if leads { "the leader" } else { "a follower" });
                    let words = format!("{member} ran as {has} while it was {is}, for {:.1} s", secs(calm.len()));
                    verdict.fail(calm.from, words, &[role.1, config.1]);
                }
            }
        }
    }
    verdict.count("changes of configuration", changes);
    verdict.figure("longest undisturbed difference of role and configuration", secs(longest), "s");
    verdict
}

fn disturbed(history: &History, faults: &[Fault<'_>], member: &str) -> Vec<Span> {
    let touching = faults.iter().filter(|fault| fault.touched(member)).map(|fault| fault.span);
    let downs = ["sidecar", "prometheus"].map(|program| downtime(history, member, program));
    union(touching.chain(downs.into_iter().flatten()))
}

fn series<'a>(history: &'a History, value: impl Fn(&Entry) -> Option<bool>) -> Vec<Change<'a>> {
    let mut changes: Vec<Change<'a>> = Vec::new();
    for entry in &history.entries {
        let Some(value) = value(entry) else { continue };
        if changes.last().is_none_or(|(last, _)| *last != value) {
            changes.push((value, entry));
        }
    }
    changes
}

fn told(entry: &Entry, of: &str) -> Option<bool> {
    match &entry.what {
        What::Told { member, is_leader, .. } if member == of => Some(*is_leader),
        _ => None,
    }
}

fn logged(entry: &Entry, of: &str) -> Option<bool> {
    let What::Event { member, line } = &entry.what else { return None };
    let is = |key: &str, value: &str| line.get(key).is_some_and(|found| found == value);
    (member == of && is("event", "config") && is("state", "in_force")).then(|| is("role", "leader"))
}

fn seen(entry: &Entry, of: &str) -> Option<bool> {
    match &entry.what {
        What::Config { member, leads } if member == of => Some(*leads),
        _ => None,
    }
}

/// Where both are known and differ, with the changes that made it so.
fn differences<'a>(role: &[Change<'a>], config: &[Change<'a>], end: Ns) -> Vec<(Span, Change<'a>, Change<'a>)> {
    let mut instants: Vec<_> = role.iter().chain(config).map(|(_, entry)| entry.at_ns).chain([end]).collect();
    instants.sort_unstable();
    instants.dedup();
    let at = |changes: &[Change<'a>], now| changes.iter().rev().find(|(_, entry)| entry.at_ns <= now).copied();
    let spans = instants.windows(2).filter_map(|pair| {
        let (role, config) = (at(role, pair[0])?, at(config, pair[0])?);
        (role.0 != config.0).then(|| (Span::new(pair[0], pair[1]), role, config))
    });
    spans.collect()
}
