//! Recovery: within the bound after the last fault was healed, and from then on to the end, every member is ready and names the same
//! leader, which alone says that it leads; remote writes are accepted; every member answers queries.
//!
//! If the run ends before the bound does and something is not well yet, nobody knows.

use super::facts::{MS, SECOND, downtime, end};
use super::{Verdict, secs};
use crate::history::{Entry, History, Ns, ProcessState, What};

/// Accepted writes come once a scrape interval at the least; so long without one is no interval, however busy the machine.
const STEADY: Ns = 15 * SECOND;

/// Judges.
pub fn check(history: &History) -> Verdict {
    let mut verdict = Verdict::default();
    let Some(healed) = history.entries.iter().find(|entry| entry.what == What::Healed {}) else {
        verdict.unknown(end(history), "the run was broken off before everything was healed", &[]);
        return verdict;
    };
    let members = members(history);
    let end = end(history);
    let bound = healed.at_ns + history.run.bounds.recovery_ms * MS;
    for (what, well) in [
        ("one leader, named by all members", agreed(history, &members)),
        ("all members ready", ready(history, &members)),
        ("remote writes accepted", written(history, healed.at_ns)),
        ("queries answered through every member", answered(history, &members, healed.at_ns)),
    ] {
        let since = well.since.map(|since| since.max(healed.at_ns));
        let took = since.map(|since| secs(since - healed.at_ns));
        if let Some(took) = took {
            verdict.figure(format!("{what}, after"), took, "s");
        }
        let proof: Vec<_> = [Some(healed), well.last_wrong].into_iter().flatten().collect();
        match took {
            Some(_) if since <= Some(bound) => {}
            Some(took) => verdict.fail(bound, format!("{what}: only {took:.1} s after healing"), &proof),
            None if end >= bound => verdict.fail(bound, format!("{what}: not until the end"), &proof),
            None => verdict.unknown(end, format!("{what}: not yet when the run ended, before the bound"), &proof),
        }
    }
    verdict
}

/// Since when something holds to the end of the record, and what spoke against it last.
#[derive(Default)]
struct Well<'a> {
    since: Option<Ns>,
    last_wrong: Option<&'a Entry>,
}

/// Those of the start, and later ones whose sidecar still runs.
fn members(history: &History) -> Vec<&str> {
    let mut members: Vec<_> = history.run.members.iter().map(|member| member.name.as_str()).collect();
    for entry in &history.entries {
        let What::Process { member, program, state: ProcessState::Started, .. } = &entry.what else { continue };
        let runs = || downtime(history, member, "sidecar").iter().all(|down| down.until < Ns::MAX);
        if program == "sidecar" && !members.contains(&member.as_str()) && runs() {
            members.push(member);
        }
    }
    members
}

type Told<'a> = (bool, &'a str, bool);

/// Since when a condition on what all members told last holds.
fn told<'a>(history: &'a History, members: &[&str], holds: impl Fn(&[Option<Told<'a>>]) -> bool) -> Well<'a> {
    let mut last: Vec<Option<Told<'_>>> = vec![None; members.len()];
    let mut well = Well::default();
    for entry in &history.entries {
        let (member, value) = match &entry.what {
            What::Told { member, is_leader, leader, ready, .. } => {
                (member, Some((*is_leader, leader.as_str(), *ready)))
            }
            // What a process has told is void when it is gone.
            What::Process { member, program, state: ProcessState::Exited, .. } if program == "sidecar" => {
                (member, None)
            }
            _ => continue,
        };
        let Some(index) = members.iter().position(|other| other == member) else { continue };
        last[index] = value;
        if holds(&last) {
            well.since = well.since.or(Some(entry.at_ns));
        } else {
            well = Well { since: None, last_wrong: Some(entry) };
        }
    }
    well
}

fn agreed<'a>(history: &'a History, members: &[&str]) -> Well<'a> {
    told(history, members, |last| {
        let leaders: Vec<_> = (0..last.len()).filter(|index| last[*index].is_some_and(|told| told.0)).collect();
        leaders.len() == 1 && last.iter().all(|told| told.is_some_and(|told| told.1 == members[leaders[0]]))
    })
}

fn ready<'a>(history: &'a History, members: &[&str]) -> Well<'a> {
    told(history, members, |last| last.iter().all(|told| told.is_some_and(|told| told.2)))
}

/// From the first accepted write that no pause longer than [`STEADY`] follows.
fn written(history: &History, healed: Ns) -> Well<'_> {
    let mut well = Well::default();
    let mut last = None;
    for entry in history.entries.iter().filter(|entry| entry.at_ns >= healed) {
        if let What::Write { status: Some(200..=299), .. } = entry.what {
            let is_steady = last.is_some_and(|last| entry.at_ns - last <= STEADY);
            well.since = well.since.filter(|_| is_steady).or(Some(entry.at_ns));
            last = Some(entry.at_ns);
        } else if let What::Write { .. } = entry.what {
            well.last_wrong = Some(entry);
        }
    }
    let is_steady = last.is_some_and(|last| end(history) - last <= STEADY);
    Well { since: well.since.filter(|_| is_steady), ..well }
}

/// From the first answered queries of every member after its last failure, the latest of all members.
fn answered<'a>(history: &'a History, members: &[&str], healed: Ns) -> Well<'a> {
    let mut well = Well { since: Some(healed), last_wrong: None };
    for member in members {
        let mut since = None;
        for entry in history.entries.iter().filter(|entry| entry.at_ns >= healed) {
            match &entry.what {
                What::Queries { via, ok: 1.., .. } if via == member => since = since.or(Some(entry.at_ns)),
                What::QueryFailed { via, .. } if via == member => {
                    since = None;
                    well.last_wrong = Some(entry);
                }
                _ => {}
            }
        }
        well.since = well.since.zip(since).map(|(all, this)| all.max(this));
    }
    well
}
