//! Who could act for the group, and when.
//!
//! From the event logs (docs/event-log.md): authority ends at the earliest of its line `ended`, the last told `until_ns`, and the end
//! of its process. A pause ends nothing. What is extended after it had ended is another reign of the same term.

use serde_json::Value;

use super::facts::{TOLD_LATE, end};
use super::span::Span;
use crate::history::{Entry, History, Ns, ProcessState, What};

/// A time in which one member could act for the group.
#[derive(Clone, Copy, Debug)]
pub struct Reign<'a> {
    /// Who.
    pub member: &'a str,
    /// In which term.
    pub term: u64,
    /// When.
    pub span: Span,
    /// The lines that began it and told its end last.
    pub proof: [&'a Entry; 2],
}

/// Who held authority, by the event logs. `unreadable`: lines about authority that cannot be read.
#[derive(Debug, Default)]
pub struct Authority<'a> {
    /// By their begin.
    pub reigns: Vec<Reign<'a>>,
    /// Lines of authority without a state, a term or an end.
    pub unreadable: Vec<&'a Entry>,
}

/// Reads the event logs.
pub fn authority(history: &History) -> Authority<'_> {
    let end = end(history);
    let mut found = Authority::default();
    let mut open: Vec<Reign<'_>> = Vec::new();
    for entry in &history.entries {
        let (member, line) = match &entry.what {
            What::Event { member, line } => (member.as_str(), Some(line)),
            What::Process { member, program, state: ProcessState::Exited, .. } if program == "sidecar" => {
                (member.as_str(), None)
            }
            _ => continue,
        };
        let event = line.and_then(|line| line.get("event")).and_then(Value::as_str);
        let is_end = line.is_none() || event == Some("start");
        if !is_end && event != Some("authority") {
            continue;
        }
        let now = entry.at_ns;
        let held = open.iter().position(|reign| reign.member == member).map(|index| open.swap_remove(index));
        let told = line.filter(|_| !is_end).and_then(authority_line);
        if told.is_none() && !is_end {
            found.unreadable.push(entry);
        }
        let Some((state, term, until)) = told.filter(|(state, ..)| *state != "ended") else {
            found.reigns.extend(held.map(|reign| closed(reign, now, entry)));
            continue;
        };
        let reign = match held {
            Some(held) if state == "extended" && held.term == term && held.span.until >= now => {
                Reign { span: Span { until, ..held.span }, proof: [held.proof[0], entry], ..held }
            }
            held => {
                found.reigns.extend(held.map(|reign| closed(reign, now, entry)));
                Reign { member, term, span: Span { from: now, until }, proof: [entry, entry] }
            }
        };
        open.push(reign);
    }
    found.reigns.extend(open.into_iter().map(|reign| Reign { span: cut(reign.span, end), ..reign }));
    found.reigns.retain(|reign| !reign.span.is_empty());
    found.reigns.sort_by_key(|reign| (reign.span.from, reign.term));
    found
}

fn closed<'a>(reign: Reign<'a>, now: Ns, by: &'a Entry) -> Reign<'a> {
    // A reign that ended by its own time is proved by the line that told this time.
    let last = if reign.span.until <= now { reign.proof[1] } else { by };
    Reign { span: cut(reign.span, now), proof: [reign.proof[0], last], ..reign }
}

/// Spans of reigns may be the wrong way round: authority that was told when it had ended already.
fn cut(span: Span, now: Ns) -> Span {
    Span::new(span.from, span.until.min(now))
}

/// State, term and end of a line. No end is the end of time.
fn authority_line(line: &Value) -> Option<(&str, u64, Ns)> {
    let state = line.get("state")?.as_str().filter(|state| ["gained", "extended", "ended"].contains(state))?;
    let until = match line.get("until_ns")? {
        Value::Null => Ns::MAX,
        until => until.as_u64()?,
    };
    Some((state, line.get("term")?.as_u64()?, until))
}

/// Who led: by the event logs; without any, by what the members tell (an elector of another kind).
pub fn reigns(history: &History) -> Vec<Reign<'_>> {
    let found = authority(history);
    if !found.reigns.is_empty() {
        return found.reigns;
    }
    let end = end(history);
    let mut reigns = Vec::new();
    let mut open: Vec<Reign<'_>> = Vec::new();
    for entry in &history.entries {
        let (member, leads) = match &entry.what {
            What::Told { member, is_leader, term, .. } => (member.as_str(), is_leader.then_some(*term)),
            What::Process { member, program, state: ProcessState::Exited, .. } if program == "sidecar" => {
                (member.as_str(), None)
            }
            _ => continue,
        };
        let held = open.iter().position(|reign| reign.member == member);
        if let (Some(index), true) = (held, held.is_some_and(|index| leads != Some(open[index].term))) {
            reigns.push(closed(open.swap_remove(index), entry.at_ns, entry));
        }
        if let Some(term) = leads.filter(|_| open.iter().all(|reign| reign.member != member)) {
            let from = entry.at_ns.saturating_sub(TOLD_LATE);
            open.push(Reign { member, term, span: Span { from, until: Ns::MAX }, proof: [entry, entry] });
        }
    }
    reigns.extend(open.into_iter().map(|reign| Reign { span: cut(reign.span, end), ..reign }));
    reigns.sort_by_key(|reign| reign.span.from);
    reigns
}
