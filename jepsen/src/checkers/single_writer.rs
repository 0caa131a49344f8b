//! One writer: at the receiver, by the heads of the requests, terms never go backwards, and a term has one sender.
//!
//! A request of the old writer may still be on the wire when the new one begins (docs/gate.md), but it has begun before. So whichever of
//! two overlapping requests began later must be of the newer term, which is the same rule.
//!
//! With the gate off requests carry no term. Then that of a request is the number of the last takeover by its sender: a replica that
//! still writes when its successor has begun to goes backwards.

use std::collections::BTreeMap;

use super::authority::reigns;
use super::{Verdict, secs};
use crate::history::{Entry, History, Ns, What};

/// Offending requests of one sender and one kind.
struct Offence<'a> {
    first: &'a Entry,
    against: Option<&'a Entry>,
    requests: usize,
    words: String,
}

/// Judges.
pub fn check(history: &History) -> Verdict {
    let mut verdict = Verdict::default();
    let takeovers = if history.run.gate { Vec::new() } else { takeovers(history, &mut verdict) };
    let mut owners: BTreeMap<u64, (&str, &Entry)> = BTreeMap::new();
    let mut offences: BTreeMap<(u8, &str, u64), Offence<'_>> = BTreeMap::new();
    let mut offend = |key, first, against, words: String| {
        let offence = Offence { first, against, requests: 0, words };
        offences.entry(key).or_insert(offence).requests += 1;
    };
    let (mut requests, mut last_end, mut on_the_wire) = (0, BTreeMap::<&str, Ns>::new(), 0);
    for entry in &history.entries {
        let What::Write { end_ns, sender, term, .. } = &entry.what else { continue };
        requests += 1;
        let number = if history.run.gate { *term } else { last_takeover(&takeovers, sender, entry.at_ns) };
        let Some(number) = number else {
            let why = if history.run.gate { "without a term" } else { "without ever having led" };
            offend((0, sender, 0), entry, None, format!("{sender} wrote {why}"));
            continue;
        };
        let newest = owners.last_key_value().map(|(newest, (of, first))| (*newest, *of, *first));
        if let Some((newest, of, first)) = newest.filter(|(newest, ..)| *newest > number) {
            let words = if history.run.gate {
                format!("{sender} began a write of term {number} after {of} had begun one of term {newest}")
            } else {
                format!("{sender} began a write after its successor {of} had begun one")
            };
            offend((1, sender, number), entry, Some(first), words);
        }
        let (owner, first) = *owners.entry(number).or_insert((sender, entry));
        if owner != sender {
            let words = format!("{owner} and {sender} both wrote in term {number}");
            offend((2, sender, number), entry, Some(first), words);
        }
        if newest.is_none_or(|(newest, ..)| newest < number) {
            let others = last_end.iter().filter(|(of, _)| *of != sender).map(|(_, end)| *end).max();
            on_the_wire = on_the_wire.max(others.unwrap_or(0).saturating_sub(entry.at_ns));
        }
        let last = last_end.entry(sender).or_default();
        *last = (*last).max(*end_ns);
    }
    if requests == 0 {
        verdict.unknown(history.run.start_ns, "no remote write arrived at all", &[]);
    }
    report(&mut verdict, offences.into_values().collect());
    verdict.count("remote writes", requests);
    verdict.count("terms that wrote", owners.len());
    verdict.figure("longest that an old writer's request was still on the wire", secs(on_the_wire), "s");
    verdict
}

fn report(verdict: &mut Verdict, mut offences: Vec<Offence<'_>>) {
    offences.sort_by_key(|offence| offence.first.at_ns);
    for Offence { first, against, requests, words } in offences {
        let words = if requests == 1 { words } else { format!("{words}: {requests} requests") };
        let proof: Vec<_> = against.into_iter().chain([first]).collect();
        verdict.fail(first.at_ns, words, &proof);
    }
}

/// Who took over and when, in order. What the record does not tell for sure is said.
fn takeovers<'a>(history: &'a History, verdict: &mut Verdict) -> Vec<(Ns, &'a str)> {
    let lost = history.entries.iter().find(|entry| is_lost(entry));
    if let Some(lost) = lost {
        verdict.unknown(
            lost.at_ns,
            "the gate is off and lines of an event log are lost: who led is not known",
            &[lost],
        );
    }
    let takeovers: Vec<_> = reigns(history).iter().map(|reign| (reign.span.from, reign.member)).collect();
    if takeovers.is_empty() {
        verdict.unknown(history.run.start_ns, "the gate is off and nobody tells who led", &[]);
    }
    takeovers
}

/// A line that says that others are missing.
pub(super) fn is_lost(entry: &Entry) -> bool {
    matches!(&entry.what, What::Event { line, .. } if line.get("event").is_some_and(|event| event == "lost"))
}

fn last_takeover(takeovers: &[(Ns, &str)], sender: &str, at: Ns) -> Option<u64> {
    let index = takeovers.iter().rposition(|(since, member)| *since <= at && *member == sender)?;
    u64::try_from(index).ok()
}
