//! Which rules of the group are switched off on this thread: none, unless a mutant runs.

use std::cell::RefCell;

pub use crate::rules::Rule;

thread_local! {
    static OFF: RefCell<Vec<Rule>> = const { RefCell::new(Vec::new()) };
}

/// Whether a rule is in force.
pub(crate) fn holds(rule: Rule) -> bool {
    OFF.with_borrow(|off| !off.contains(&rule))
}

/// Switches these rules off, and the others on.
pub(crate) fn switch_off(rules: Vec<Rule>) {
    OFF.set(rules);
}
