//! The replicated state: a bounded ledger of leadership terms and a small map of values that the leader publishes.
//!
//! Deterministic: time stands in the commands, never read here. The crate does not know what the values mean
//! (DESIGN.md, group rule 16).

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::LedgerEntry;

/// Terms that the ledger keeps.
pub const LEDGER_MAX: usize = 32;
/// Values that the group keeps; a new key beyond that is refused before it is proposed.
pub const VALUES_MAX: usize = 64;
/// Longest key or value in bytes, likewise.
pub const VALUE_BYTES_MAX: usize = 4096;
/// Members kept out by hand that are remembered.
const BARRED_MAX: usize = 64;
/// Longest free text that enters the group, in bytes: with what the group adds it stays below [`VALUE_BYTES_MAX`].
const TEXT_BYTES_MAX: usize = 1024;

/// Makes a free text fit for the group: one line, not too long.
pub(crate) fn clip(text: &str) -> String {
    let start = &text[..text.floor_char_boundary(TEXT_BYTES_MAX)];
    start.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A change of the replicated state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Every member of the founding majority has taken its place: from here on the group may act and change.
    Formed,
    /// A leader of a term has been established.
    Lead(LedgerEntry),
    /// It gives authority up on purpose.
    Resign {
        /// Its term.
        term: u64,
        /// Unix time in milliseconds.
        until_unix_ms: u64,
        /// Why.
        reason: String,
    },
    /// Sets a value, or takes it away.
    Publish {
        /// Its key.
        key: String,
        /// The value; empty: there shall be none.
        value: String,
    },
    /// A member was removed by hand: this process of it is not admitted again.
    Bar {
        /// Member name.
        name: String,
        /// The process that is kept out; after a restart it is a new one.
        incarnation: u64,
    },
}

impl Command {
    /// Whether its texts are within the bounds.
    pub(crate) fn is_within_bounds(&self) -> bool {
        let fits = |text: &String| text.len() <= VALUE_BYTES_MAX;
        match self {
            Self::Formed => true,
            Self::Lead(entry) => fits(&entry.leader) && fits(&entry.reason),
            Self::Resign { reason, .. } => fits(reason),
            Self::Publish { key, value } => fits(key) && fits(value),
            Self::Bar { name, .. } => fits(name),
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Formed => write!(f, "formed"),
            Self::Lead(entry) => write!(f, "{} leads term {}", entry.leader, entry.term),
            Self::Resign { term, .. } => write!(f, "leader of term {term} resigns"),
            Self::Publish { key, .. } => write!(f, "publish {key}"),
            Self::Bar { name, .. } => write!(f, "bar {name}"),
        }
    }
}

/// The replicated state itself; also what a snapshot holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupData {
    /// Whether [`Command::Formed`] was committed.
    pub formed: bool,
    /// The newest terms, oldest first.
    pub ledger: VecDeque<LedgerEntry>,
    /// Published values.
    pub values: BTreeMap<String, String>,
    /// Processes kept out by hand, by member name.
    pub barred: BTreeMap<String, u64>,
}

impl GroupData {
    /// Applies one committed command.
    pub fn apply(&mut self, command: &Command) {
        match command {
            Command::Formed => self.formed = true,
            Command::Lead(entry) => {
                self.ledger.push_back(entry.clone());
                if self.ledger.len() > LEDGER_MAX {
                    self.ledger.pop_front();
                }
            }
            Command::Resign { term, until_unix_ms, reason } => {
                let open = |entry: &&mut LedgerEntry| entry.term == *term && entry.until_unix_ms.is_none();
                if let Some(entry) = self.ledger.iter_mut().rev().find(open) {
                    entry.until_unix_ms = Some(*until_unix_ms);
                    entry.reason = format!("{}; gave up: {reason}", entry.reason);
                    entry.reason.truncate(entry.reason.floor_char_boundary(VALUE_BYTES_MAX));
                }
            }
            Command::Publish { key, value } => {
                if value.is_empty() {
                    self.values.remove(key);
                } else if self.accepts(key, value) {
                    self.values.insert(key.clone(), value.clone());
                }
            }
            Command::Bar { name, incarnation } => {
                if self.barred.len() >= BARRED_MAX && !self.barred.contains_key(name) {
                    self.barred.pop_first();
                }
                self.barred.insert(name.clone(), *incarnation);
            }
        }
    }

    /// Whether a state that somebody else has made is within the bounds.
    pub(crate) fn is_within_bounds(&self) -> bool {
        let fits = |text: &String| text.len() <= VALUE_BYTES_MAX;
        self.ledger.len() <= LEDGER_MAX
            && self.ledger.iter().all(|entry| fits(&entry.leader) && fits(&entry.reason))
            && self.values.len() <= VALUES_MAX
            && self.values.iter().all(|(key, value)| fits(key) && fits(value))
            && self.barred.len() <= BARRED_MAX
            && self.barred.keys().all(fits)
    }

    /// Whether a value is within the bounds: without control characters, so that its JSON is at most twice as long.
    pub fn accepts(&self, key: &str, value: &str) -> bool {
        let fits = [key, value].iter().all(|text| text.len() <= VALUE_BYTES_MAX && !text.contains(char::is_control));
        fits && (value.is_empty() || self.values.len() < VALUES_MAX || self.values.contains_key(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lead(term: u64) -> Command {
        Command::Lead(LedgerEntry {
            term,
            leader: "a".into(),
            since_unix_ms: term,
            until_unix_ms: None,
            reason: "elected".into(),
        })
    }

    #[test]
    fn the_ledger_keeps_the_newest_terms() {
        let mut data = GroupData::default();
        for term in 0..100 {
            data.apply(&lead(term));
        }
        assert_eq!(data.ledger.len(), LEDGER_MAX);
        assert_eq!(data.ledger.front().map(|e| e.term), Some(100 - LEDGER_MAX as u64));
    }

    #[test]
    fn a_resignation_closes_its_own_term_only() {
        let mut data = GroupData::default();
        data.apply(&lead(1));
        data.apply(&lead(2));
        data.apply(&Command::Resign { term: 1, until_unix_ms: 9, reason: "step-down".into() });
        assert_eq!(data.ledger[0].until_unix_ms, Some(9));
        assert_eq!(data.ledger[0].reason, "elected; gave up: step-down");
        assert_eq!(data.ledger[1].until_unix_ms, None);
    }

    #[test]
    fn a_text_becomes_one_line_of_bounded_length() {
        assert_eq!(clip("disk full\n\u{1b}[31m"), "disk full  [31m");
        assert_eq!(clip(&"é".repeat(2000)).len(), TEXT_BYTES_MAX);
    }

    #[test]
    fn values_are_bounded_in_number_and_size() {
        let mut data = GroupData::default();
        for i in 0..VALUES_MAX + 5 {
            data.apply(&Command::Publish { key: format!("k{i}"), value: "v".into() });
        }
        assert_eq!(data.values.len(), VALUES_MAX);
        data.apply(&Command::Publish { key: "k0".into(), value: "w".into() });
        assert_eq!(data.values["k0"], "w");
        data.apply(&Command::Publish { key: "k0".into(), value: String::new() });
        assert!(data.accepts("new", "v") && !data.values.contains_key("k0"), "an empty value makes room");
        assert!(!data.accepts("k0", &"x".repeat(VALUE_BYTES_MAX + 1)));
    }
}
