//! The judges: each reads a whole record and says whether one promise held.
//!
//! ```text
//! history -> facts (faults, authority, downtime) -> checker -> verdict: findings with their proof, figures
//! ```
//!
//! Pure: the same record gives the same verdict. What a record does not tell is `Unknown`, never a pass. The whole run passes only if
//! every checker passes.

pub mod authority;
pub mod config_matches_role;
pub mod coverage;
pub mod facts;
pub mod health;
pub mod leaderless;
pub mod queries;
pub mod recovery;
pub mod samples;
pub mod single_authority;
pub mod single_writer;
pub mod span;
#[cfg(test)]
mod tests;

use crate::history::{Entry, History, Ns};

/// Kept findings of a verdict; all are counted.
const FINDINGS_MAX: usize = 50;

/// What a checker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// The promise held, and the record shows it.
    Pass,
    /// The record does not tell.
    Unknown,
    /// The promise was broken.
    Fail,
}

impl Outcome {
    /// In one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Unknown => "unknown",
            Self::Fail => "fail",
        }
    }
}

/// Why a verdict is no pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// When.
    pub at_ns: Ns,
    /// `Fail` or `Unknown`.
    pub outcome: Outcome,
    /// In words.
    pub words: String,
    /// Entries that prove it.
    pub proof: Vec<Entry>,
}

/// A measured value, whatever it means for the verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Of what.
    pub name: String,
    /// How much.
    pub value: f64,
    /// Of which unit; empty: a number of things.
    pub unit: &'static str,
}

/// What one checker found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// The first ones, by the order in which they were found.
    pub findings: Vec<Finding>,
    /// All measured values.
    pub figures: Vec<Figure>,
    fails: usize,
    unknowns: usize,
}

impl Verdict {
    /// Follows from the findings.
    pub fn outcome(&self) -> Outcome {
        match (self.fails, self.unknowns) {
            (0, 0) => Outcome::Pass,
            (0, _) => Outcome::Unknown,
            _ => Outcome::Fail,
        }
    }

    /// The gravest finding in one line, and how many more there are; nothing for a pass.
    pub fn reason(&self) -> String {
        let Some(gravest) = self.findings.iter().find(|finding| finding.outcome == self.outcome()) else {
            return String::new();
        };
        // A crash has its log in its words.
        let line = gravest.words.lines().next().unwrap_or_default();
        match self.fails + self.unknowns - 1 {
            0 => line.to_owned(),
            more => format!("{line} (and {more} more)"),
        }
    }

    /// Findings that were counted and not kept.
    pub fn omitted(&self) -> usize {
        self.fails + self.unknowns - self.findings.len()
    }

    fn fail(&mut self, at_ns: Ns, words: impl Into<String>, proof: &[&Entry]) {
        self.fails += 1;
        // A run that is known to be broken must show why, however much is unknown.
        if self.fails == 1 && self.findings.len() == FINDINGS_MAX {
            self.findings.pop();
        }
        self.keep(Finding { at_ns, outcome: Outcome::Fail, words: words.into(), proof: owned(proof) });
    }

    fn unknown(&mut self, at_ns: Ns, words: impl Into<String>, proof: &[&Entry]) {
        self.unknowns += 1;
        self.keep(Finding { at_ns, outcome: Outcome::Unknown, words: words.into(), proof: owned(proof) });
    }

    fn keep(&mut self, finding: Finding) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }

    fn figure(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.figures.push(Figure { name: name.into(), value, unit });
    }

    fn count(&mut self, name: impl Into<String>, value: usize) {
        self.figure(name, float(value), "");
    }
}

fn owned(proof: &[&Entry]) -> Vec<Entry> {
    proof.iter().map(|entry| (*entry).clone()).collect()
}

/// A number of things, for a figure.
#[allow(clippy::cast_precision_loss)]
pub fn float(count: usize) -> f64 {
    count as f64
}

/// Nanoseconds in seconds, for words and figures.
#[allow(clippy::cast_precision_loss)]
pub fn secs(ns: Ns) -> f64 {
    ns as f64 / 1e9
}

/// One promise and who judges it.
pub struct Checker {
    /// Its name in reports.
    pub name: &'static str,
    /// What a pass means.
    pub promise: &'static str,
    /// Judges.
    pub check: fn(&History) -> Verdict,
}

/// All of them, in the order of reports.
pub const CHECKERS: [Checker; 9] = [
    Checker {
        name: "single writer",
        promise: "No replica began a remote write after its successor had begun one",
        check: single_writer::check,
    },
    Checker {
        name: "single authority",
        promise: "No two members held authority at once, and each term had one holder",
        check: single_authority::check,
    },
    Checker { name: "samples", promise: "No series has a gap that somebody could have filled", check: samples::check },
    Checker {
        name: "queries",
        promise: "Every query that reached a member was answered by the leader's Prometheus",
        check: queries::check,
    },
    Checker {
        name: "leaderless",
        promise: "Whenever nothing was broken, somebody led within the bound",
        check: leaderless::check,
    },
    Checker {
        name: "configuration",
        promise: "Every Prometheus ran with the configuration of its member's role",
        check: config_matches_role::check,
    },
    Checker {
        name: "recovery",
        promise: "After the last fault everything became well within the bound",
        check: recovery::check,
    },
    Checker { name: "health", promise: "Nothing crashed, and no memory or descriptors leaked", check: health::check },
    Checker {
        name: "coverage",
        promise: "Every planned fault was there, and the leader was hit and followed",
        check: coverage::check,
    },
];

/// All verdicts on one record.
pub type Verdicts = Vec<(&'static Checker, Verdict)>;

/// Has everybody judge. The record is put in order first, see [`History::in_order`].
pub fn judge(history: &mut History) -> Verdicts {
    history.in_order();
    CHECKERS.iter().map(|checker| (checker, (checker.check)(history))).collect()
}

/// The verdict on the whole run: the gravest of all.
pub fn overall(verdicts: &Verdicts) -> Outcome {
    verdicts.iter().map(|(_, verdict)| verdict.outcome()).max().unwrap_or(Outcome::Unknown)
}
