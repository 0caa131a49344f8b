//! What was applied is agreed: one term for each index of a group, one entry for each index and term on all disks, and
//! one state after each of them.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::disks::{Disk, Disks, term_of};
use super::{Checker, Event};
use crate::sim::executor::Nanos;
use crate::sim::world::MachineId;
use crate::state::GroupData;
use crate::store::{ClusterId, Write};
use crate::types::{Entry, LogId, SnapshotMeta};

/// What stands at an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Entry,
    StateAfter,
}

/// Of a group: index and term.
type Place = (ClusterId, u64, u64, What);

#[derive(Default)]
pub(super) struct Agreement {
    /// Cluster, index -> term.
    applied: BTreeMap<(String, u64), u64>,
    /// Hash of what is stored there, and who stored it first.
    stored: BTreeMap<Place, (u64, MachineId)>,
}

impl Checker for Agreement {
    fn rule(&self) -> &'static str {
        "agreement"
    }

    fn see(&mut self, _: Nanos, event: &Event<'_>, disks: &Disks) -> Result<(), String> {
        match event {
            Event::Looked { machine, status, applied: Some(applied) } => {
                let Some(cluster) = status.cluster_id.clone() else { return Ok(()) };
                let term = *self.applied.entry((cluster, applied.index)).or_insert(term_of(*applied));
                if term == term_of(*applied) {
                    Ok(())
                } else {
                    Err(format!("{machine:?} applied {applied}, where another member applied an entry of term {term}"))
                }
            }
            Event::Stored { machine, writes } => {
                let Some(cluster) = disks.of(*machine).and_then(Disk::cluster) else { return Ok(()) };
                writes.iter().try_for_each(|write| self.store(*machine, cluster, write))
            }
            _ => Ok(()),
        }
    }
}

impl Agreement {
    /// Reads what was written itself: the same batch may have replaced it.
    fn store(&mut self, machine: MachineId, cluster: ClusterId, write: &Write) -> Result<(), String> {
        let place = |id: LogId, what| (cluster, id.index, term_of(id), what);
        match write {
            Write::Append(entries) => entries.iter().try_for_each(|(_, bytes)| {
                let entry = serde_json::from_slice::<Entry>(bytes);
                entry.map_or(Ok(()), |entry| self.compare(machine, place(entry.log_id, What::Entry), bytes))
            }),
            Write::Snapshot(bytes) => {
                let meta = serde_json::from_slice::<(SnapshotMeta, GroupData)>(bytes).map(|(meta, _)| meta.last_log_id);
                let last = meta.unwrap_or_default();
                last.map_or(Ok(()), |last| self.compare(machine, place(last, What::StateAfter), bytes))
            }
            _ => Ok(()),
        }
    }

    fn compare(&mut self, machine: MachineId, place: Place, bytes: &[u8]) -> Result<(), String> {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let hash = hasher.finish();
        let (known, first) = *self.stored.entry(place).or_insert((hash, machine));
        if known == hash {
            Ok(())
        } else {
            let (_, index, term, what) = place;
            Err(format!("{machine:?} stores another {what:?} {index} of term {term} than {first:?} has"))
        }
    }
}
