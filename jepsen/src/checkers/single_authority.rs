//! One authority: by the event logs of all members, on the clock that they share, no two of them held authority at once, and each term
//! had one holder. See docs/event-log.md for when authority ends.
//!
//! A missing line could have been the overlap: then it is unknown.

use std::collections::BTreeMap;

use super::authority::{Reign, authority};
use super::facts::{SECOND, end};
use super::single_writer::is_lost;
use super::span::{Span, total, union};
use super::{Verdict, secs};
use crate::history::{Entry, History, Ns, ProcessState, What};

/// A sidecar that lived shorter may have been killed before its first line.
const FIRST_LINE: Ns = 5 * SECOND;

/// Judges.
pub fn check(history: &History) -> Verdict {
    let mut verdict = Verdict::default();
    let found = authority(history);
    overlaps(&found.reigns, &mut verdict);
    holders(&found.reigns, &mut verdict);
    for entry in history.entries.iter().filter(|entry| is_lost(entry)) {
        verdict.unknown(entry.at_ns, format!("lines of the event log of {} are lost", member(entry)), &[entry]);
    }
    for entry in found.unreadable {
        let words = format!("a line about the authority of {} cannot be read", member(entry));
        verdict.unknown(entry.at_ns, words, &[entry]);
    }
    silent_starts(history, &mut verdict);
    if found.reigns.is_empty() {
        verdict.unknown(history.run.start_ns, "no event log tells of any authority", &[]);
    }
    verdict.count("times that authority was gained", found.reigns.len());
    let held = total(&union(found.reigns.iter().map(|reign| reign.span.common(super::facts::whole(history)))));
    verdict.figure("somebody held authority", secs(held), "s");
    verdict
}

/// Each with all that begin before it ends. Rises by begin.
fn overlaps(reigns: &[Reign<'_>], verdict: &mut Verdict) {
    for (index, one) in reigns.iter().enumerate() {
        let later = reigns[index + 1..].iter().take_while(|other| other.span.from < one.span.until);
        for other in later.filter(|other| other.member != one.member) {
            let both = one.span.common(other.span);
            let words = format!(
                "{} (term {}) and {} (term {}) held authority at once for {:.6} s",
                one.member,
                one.term,
                other.member,
                other.term,
                secs(both.len())
            );
            let proof = [one.proof[0], one.proof[1], other.proof[0], other.proof[1]];
            verdict.fail(both.from, words, &proof);
        }
    }
}

fn holders(reigns: &[Reign<'_>], verdict: &mut Verdict) {
    let mut holders: BTreeMap<u64, &Reign<'_>> = BTreeMap::new();
    for reign in reigns {
        let holder = holders.entry(reign.term).or_insert(reign);
        if holder.member != reign.member {
            let words = format!("{} and {} both held authority in term {}", holder.member, reign.member, reign.term);
            verdict.fail(reign.span.from, words, &[holder.proof[0], reign.proof[0]]);
        }
    }
}

/// A sidecar of which no line was read: nothing is known of it.
fn silent_starts(history: &History, verdict: &mut Verdict) {
    let starts: Vec<_> =
        history.entries.iter().filter_map(|entry| sidecar_starts(entry).map(|of| (of, entry))).collect();
    for (of, start) in &starts {
        let over = history.entries.iter().find(|entry| entry.at_ns > start.at_ns && is_sidecar_end(entry, of));
        let life = Span::new(start.at_ns, over.map_or_else(|| end(history), |entry| entry.at_ns));
        // The process may have begun to write before the harness noted that it had started it.
        let heard = life.widened(SECOND, 0);
        let is_heard = history.entries.iter().any(|entry| {
            matches!(&entry.what, What::Event { member, .. } if member == of)
                && (heard.from..heard.until).contains(&entry.at_ns)
        });
        if life.len() > FIRST_LINE && !is_heard {
            verdict.unknown(start.at_ns, format!("the sidecar of {of} ran without a line in its event log"), &[start]);
        }
    }
    for named in &history.run.members {
        if starts.iter().all(|(of, _)| *of != named.name) {
            verdict.unknown(
                history.run.start_ns,
                format!("no start of the sidecar of {} is recorded", named.name),
                &[],
            );
        }
    }
}

fn sidecar_starts(entry: &Entry) -> Option<&str> {
    match &entry.what {
        What::Process { member, program, state: ProcessState::Started, .. } if program == "sidecar" => Some(member),
        _ => None,
    }
}

fn is_sidecar_end(entry: &Entry, of: &str) -> bool {
    matches!(&entry.what, What::Process { member, program, state: ProcessState::Exited, .. }
        if program == "sidecar" && member == of)
}

fn member(entry: &Entry) -> &str {
    match &entry.what {
        What::Event { member, .. } => member,
        _ => "nobody",
    }
}
