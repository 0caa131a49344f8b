//! Authority is held only with an entry of the term on the disks of a majority.

use std::collections::BTreeSet;

use super::disks::{Configs, Disk, Disks};
use super::{Checker, Event};
use crate::NodeId;
use crate::sim::executor::Nanos;

#[derive(Default)]
pub(super) struct Committed {
    seen: BTreeSet<(NodeId, u64)>,
}

impl Checker for Committed {
    fn rule(&self) -> &'static str {
        "a committed entry of the term"
    }

    fn see(&mut self, _: Nanos, event: &Event<'_>, disks: &Disks) -> Result<(), String> {
        let Event::Authority { identity, term, until: Some(_), .. } = event else { return Ok(()) };
        if !self.seen.insert((identity.node_id, *term)) {
            return Ok(());
        }
        let Some(cluster) = identity.standing.joined() else {
            return Err(format!("{} holds authority in no group", identity.node_id));
        };
        // The leader's own disk may lag behind: a majority may hold the entry without it.
        let members: Vec<&Disk> = disks.of_cluster(cluster).collect();
        let holds = |id: &NodeId, index: u64| {
            members.iter().any(|disk| disk.node_id() == Some(*id) && disk.holds(index, *term))
        };
        let by_majority = |configs: &Configs, index: u64| {
            configs.iter().all(|voters| voters.iter().filter(|id| holds(id, index)).count() > voters.len() / 2)
        };
        let committed = members.iter().filter_map(|disk| disk.first_of(*term)).any(|index| {
            members.iter().any(|disk| disk.memberships().take(3).any(|(_, _, configs)| by_majority(configs, index)))
        });
        if committed {
            Ok(())
        } else {
            Err(format!(
                "{} holds authority in term {term}, of which no entry is on a majority's disks",
                identity.node_id
            ))
        }
    }
}
