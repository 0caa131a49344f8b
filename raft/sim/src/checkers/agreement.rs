//! What was applied is agreed: one term for each index of a group, and a leader that acts knows all of it.

use std::collections::BTreeMap;

use super::disks::{Disks, term_of};
use super::{Checker, Event};
use crate::sim::executor::Nanos;

#[derive(Default)]
pub(super) struct Agreement {
    /// Cluster, index -> term.
    applied: BTreeMap<(String, u64), u64>,
}

impl Checker for Agreement {
    fn rule(&self) -> &'static str {
        "agreement"
    }

    fn see(&mut self, _: Nanos, event: &Event<'_>, _: &Disks) -> Result<(), String> {
        let Event::Looked { machine, status, applied: Some(applied) } = event else { return Ok(()) };
        let Some(cluster) = status.cluster_id.clone() else { return Ok(()) };
        let term = *self.applied.entry((cluster, applied.index)).or_insert(term_of(*applied));
        if term == term_of(*applied) {
            Ok(())
        } else {
            Err(format!("{machine:?} applied {applied}, where another member applied an entry of term {term}"))
        }
    }
}
