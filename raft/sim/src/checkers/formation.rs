//! A group forms once: a second one may act only after a majority of the first one's disks was lost.

use std::collections::BTreeSet;

use super::disks::Disks;
use super::{Checker, Event};
use crate::sim::executor::Nanos;
use crate::store::ClusterId;

#[derive(Default)]
pub(super) struct FormedOnce {
    acted: BTreeSet<ClusterId>,
}

impl Checker for FormedOnce {
    fn rule(&self) -> &'static str {
        "formation happens once"
    }

    fn see(&mut self, _: Nanos, event: &Event<'_>, disks: &Disks) -> Result<(), String> {
        let Event::Authority { identity, until: Some(_), .. } = event else { return Ok(()) };
        let Some(cluster) = identity.standing.joined() else { return Ok(()) };
        if !self.acted.insert(cluster) {
            return Ok(());
        }
        for earlier in self.acted.iter().filter(|earlier| **earlier != cluster) {
            // Lives as long as some membership that may be in force keeps a majority of disks.
            let lives = disks.of_cluster(*earlier).any(|disk| {
                disk.memberships().take(1).any(|(_, _, configs)| {
                    configs.iter().all(|voters| {
                        let living = voters
                            .iter()
                            .filter(|id| disks.living(**id).is_some_and(|disk| disk.cluster() == Some(*earlier)));
                        living.count() > voters.len() / 2
                    })
                })
            });
            if lives {
                return Err(format!("group {cluster} acts although a majority of group {earlier} has its disks"));
            }
        }
        Ok(())
    }
}
