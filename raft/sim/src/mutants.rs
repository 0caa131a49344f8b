//! The harness is proven too: with a rule switched off, a checker must notice.

use super::rules::Rule;

/// A rule, or several that cover for each other, switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// One rule of the code under test.
    One(Rule),
    /// A machine that has lost its disk comes back under its old node id (rule 7).
    SameNodeId,
}

impl Mutant {
    pub(super) fn rules(self) -> Vec<Rule> {
        match self {
            Self::One(rule) => vec![rule],
            Self::SameNodeId => Vec::new(),
        }
    }
}
