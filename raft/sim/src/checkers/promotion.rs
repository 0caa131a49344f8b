//! Nobody is given a vote who holds nothing of the group: a vote that cannot be counted on is worse than none.

use std::collections::BTreeSet;

use super::disks::Disks;
use super::{Checker, Event};
use crate::NodeId;
use crate::sim::executor::Nanos;

#[derive(Default)]
pub(super) struct VotesForHolders {
    voters: BTreeSet<NodeId>,
}

impl Checker for VotesForHolders {
    fn rule(&self) -> &'static str {
        "votes for those who hold the log"
    }

    fn see(&mut self, _: Nanos, event: &Event<'_>, disks: &Disks) -> Result<(), String> {
        let Event::Stored { machine, .. } = event else { return Ok(()) };
        let Some(disk) = disks.of(*machine) else { return Ok(()) };
        let Some((index, _, configs)) = disk.memberships().next() else { return Ok(()) };
        for voter in configs.iter().flatten() {
            // Founding members vote from the first entry on; of a lost disk nothing is known.
            if self.voters.insert(*voter) && index > 0 && !disks.is_retired(*voter) {
                let holds = disks.living(*voter).is_some_and(|disk| !disk.log.is_empty() || disk.snapshot.is_some());
                if !holds {
                    return Err(format!("{voter} is given a vote at {index} and holds nothing of the group"));
                }
            }
        }
        Ok(())
    }
}
