//! No joint membership outlives the next leader: whoever acts long enough has finished what a predecessor left.

use super::disks::{Disk, Disks};
use super::{Checker, Event};
use crate::Timing;
use crate::sim::executor::Nanos;
use crate::sim::world::{MachineId, SECOND};

/// The longest time for the change: the code under test gives one attempt 5 s.
const LONG_ENOUGH: Nanos = 15 * SECOND;

pub(super) struct NoOldJoint {
    /// Who acts, in which term, since when, until when.
    acting: Option<(MachineId, u64, Nanos, Nanos)>,
}

impl NoOldJoint {
    pub(super) fn new(_: Timing) -> Self {
        Self { acting: None }
    }
}

impl Checker for NoOldJoint {
    fn rule(&self) -> &'static str {
        "no old joint membership"
    }

    fn see(&mut self, at: Nanos, event: &Event<'_>, disks: &Disks) -> Result<(), String> {
        let Event::Authority { machine, term, until: Some(until), .. } = event else { return Ok(()) };
        let since = match self.acting {
            Some((holder, held, since, end)) if holder == *machine && held == *term && end >= at => since,
            _ => at,
        };
        self.acting = Some((*machine, *term, since, *until));
        if at - since < LONG_ENOUGH {
            return Ok(());
        }
        let newest = disks.of(*machine).and_then(|disk: &Disk| disk.memberships().next());
        match newest {
            Some((index, left_by, configs)) if configs.len() > 1 && left_by < *term => {
                Err(format!("the joint membership at {index} of term {left_by} is still in force in term {term}"))
            }
            _ => Ok(()),
        }
    }
}
