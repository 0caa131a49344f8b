//! What several checkers and the report need to know of a record: its span, faults, members, downtime.

use std::collections::BTreeSet;

use super::span::{Span, union};
use crate::history::{Entry, History, Ns, Outcome, Phase, ProcessState, What};

/// Units of [`Ns`].
pub const MS: Ns = 1_000_000;
/// Same.
pub const SECOND: Ns = 1_000 * MS;
/// Members are asked several times a second: what they tell is at most so old.
pub const TOLD_LATE: Ns = SECOND;

/// When the record ends.
pub fn end(history: &History) -> Ns {
    history.entries.last().map_or(history.run.start_ns, |entry| entry.at_ns)
}

/// The run: from the settled deployment to the end of the record.
pub fn whole(history: &History) -> Span {
    Span::new(history.run.start_ns, end(history))
}

/// Instant of a wall-clock time, before any jump of the clock.
pub fn instant(history: &History, unix_ms: i64) -> Ns {
    let start = i128::from(history.run.start_unix_ms);
    let at = i128::from(history.run.start_ns) + (i128::from(unix_ms) - start) * i128::from(MS);
    Ns::try_from(at.max(0)).unwrap_or(Ns::MAX)
}

/// A fault with both of its lines.
#[derive(Clone, Debug)]
pub struct Fault<'a> {
    /// Number.
    pub id: u64,
    /// Name of the nemesis.
    pub nemesis: &'a str,
    /// Whether it came into force.
    pub outcome: Outcome,
    /// Members that it hit.
    pub targets: &'a [String],
    /// It hit the leader.
    pub hit_leader: bool,
    /// In words.
    pub detail: &'a str,
    /// While it was, or may have been, in force: without a line that it has gone, until everything was healed.
    pub span: Span,
    /// Its lines.
    pub proof: Vec<&'a Entry>,
}

impl Fault<'_> {
    /// It may have been in force.
    pub fn was_in_force(&self) -> bool {
        self.outcome != Outcome::Skipped
    }

    /// It hit this member, or may have.
    pub fn touched(&self, member: &str) -> bool {
        self.was_in_force() && self.targets.iter().any(|target| target == member)
    }
}

/// All faults, by their begin.
pub fn faults(history: &History) -> Vec<Fault<'_>> {
    let healed = history.entries.iter().find(|entry| entry.what == What::Healed {}).map(|entry| entry.at_ns);
    let open = healed.unwrap_or_else(|| end(history));
    let mut faults: Vec<Fault<'_>> = Vec::new();
    for entry in &history.entries {
        let What::Fault { id, nemesis, phase, outcome, targets, hit_leader, detail } = &entry.what else { continue };
        match phase {
            Phase::Begin => faults.push(Fault {
                id: *id,
                nemesis,
                outcome: *outcome,
                targets,
                hit_leader: *hit_leader,
                detail,
                span: Span::new(entry.at_ns, open),
                proof: vec![entry],
            }),
            Phase::End => {
                let Some(fault) = faults.iter_mut().find(|fault| fault.id == *id) else { continue };
                fault.proof.push(entry);
                if *outcome != Outcome::Indeterminate {
                    fault.span = Span::new(fault.span.from, entry.at_ns);
                }
            }
        }
    }
    faults
}

/// When a member tells for the first time after an instant that it is ready, or goes on to. One that never tells anything is.
pub fn ready_after(history: &History, member: &str, after: Ns) -> Option<Ns> {
    let told = history.entries.iter().filter_map(|entry| match &entry.what {
        What::Told { member: of, ready, .. } if of == member => Some((entry.at_ns, *ready)),
        _ => None,
    });
    let (before, later): (Vec<_>, Vec<_>) = told.partition(|(at, _)| *at <= after);
    let was_ready = before.last().map_or(later.is_empty(), |(_, ready)| *ready);
    if was_ready { Some(after) } else { later.into_iter().find(|(_, ready)| *ready).map(|(at, _)| at) }
}

/// Names of the members that should have a Prometheus: those of the start, and those that came later.
pub fn replicas(history: &History) -> Vec<&str> {
    let witnesses: Vec<_> = history.run.members.iter().filter(|member| member.witness).collect();
    let mut names: BTreeSet<_> = history.run.members.iter().map(|member| member.name.as_str()).collect();
    names.extend(history.entries.iter().filter_map(|entry| match &entry.what {
        What::Process { member, program, .. } if program == "prometheus" => Some(member.as_str()),
        _ => None,
    }));
    names.into_iter().filter(|name| witnesses.iter().all(|witness| witness.name != *name)).collect()
}

/// The time in which a program of a member did not run, or was paused. One that is first seen starting did not run before.
pub fn downtime(history: &History, member: &str, program: &str) -> Vec<Span> {
    let mut downs = Vec::new();
    let mut down_since = None;
    let mut is_first = true;
    for entry in &history.entries {
        let What::Process { member: of, program: which, state, .. } = &entry.what else { continue };
        if of != member || which != program {
            continue;
        }
        match state {
            ProcessState::Exited | ProcessState::Paused => {
                down_since.get_or_insert(entry.at_ns);
            }
            ProcessState::Started | ProcessState::Resumed => {
                let since = down_since.take().or((is_first && *state == ProcessState::Started).then_some(0));
                downs.extend(since.map(|since| Span::new(since, entry.at_ns)));
            }
        }
        is_first = false;
    }
    downs.extend(down_since.map(|since| Span::new(since, Ns::MAX)));
    union(downs)
}
