//! What is on the disks, rebuilt from what was stored.

use std::collections::{BTreeMap, BTreeSet};

use openraft::EntryPayload;

use super::Event;
use crate::NodeId;
use crate::sim::world::MachineId;
use crate::state::GroupData;
use crate::store::{ClusterId, Identity, Loaded, Write};
use crate::types::{Entry, LogId, SnapshotMeta, Vote};

/// A set of voters for each half of a membership.
pub(super) type Configs = Vec<BTreeSet<NodeId>>;

/// One data directory.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    pub(super) identity: Option<Identity>,
    pub(super) vote: Option<Vote>,
    /// Index -> term, and the membership if the entry is one.
    pub(super) log: BTreeMap<u64, (u64, Option<Configs>)>,
    /// Index, term and membership of the snapshot.
    pub(super) snapshot: Option<(u64, u64, Configs)>,
}

/// All of them, by machine; retired ones are kept by node id.
#[derive(Debug, Default)]
pub(super) struct Disks {
    now: BTreeMap<MachineId, Disk>,
    last_ids: BTreeMap<MachineId, NodeId>,
    retired: BTreeMap<NodeId, Disk>,
}

pub(super) fn term_of(id: LogId) -> u64 {
    **id.committed_leader_id()
}

impl Disk {
    fn loaded(loaded: &Loaded) -> Self {
        let mut disk = Self { identity: Some(loaded.identity.clone()), vote: loaded.vote, ..Self::default() };
        disk.log = loaded.log.iter().map(|(index, entry)| (*index, summary(entry))).collect();
        if let Some((meta, _)) = &loaded.snapshot {
            disk.take_snapshot(meta);
        }
        disk
    }

    fn take_snapshot(&mut self, meta: &SnapshotMeta) {
        if let Some(last) = meta.last_log_id {
            let configs = meta.last_membership.membership().get_joint_config().clone();
            self.snapshot = Some((last.index, term_of(last), configs));
        }
    }

    fn store(&mut self, write: &Write) {
        match write {
            Write::Identity(identity) => self.identity = Some(identity.clone()),
            Write::Vote(vote) => self.vote = Some(*vote),
            Write::Append(entries) => {
                for (index, bytes) in entries {
                    if let Ok(entry) = serde_json::from_slice::<Entry>(bytes) {
                        self.log.insert(*index, summary(&entry));
                    }
                }
            }
            Write::Truncate { from } => drop(self.log.split_off(from)),
            Write::Purge(upto) => self.log = self.log.split_off(&(upto.index + 1)),
            Write::Snapshot(bytes) => {
                if let Ok((meta, _)) = serde_json::from_slice::<(SnapshotMeta, GroupData)>(bytes) {
                    self.take_snapshot(&meta);
                }
            }
            Write::Reset(identity) => *self = Self { identity: Some(identity.clone()), ..Self::default() },
        }
    }

    pub(super) fn node_id(&self) -> Option<NodeId> {
        self.identity.as_ref().map(|identity| identity.node_id)
    }

    pub(super) fn cluster(&self) -> Option<ClusterId> {
        self.identity.as_ref().and_then(|identity| identity.standing.joined())
    }

    /// Whether it holds this entry, or a snapshot with it.
    pub(super) fn holds(&self, index: u64, term: u64) -> bool {
        self.log.get(&index).is_some_and(|(own, _)| *own == term)
            || self.snapshot.as_ref().is_some_and(|(last, own, _)| *last >= index && *own >= term)
    }

    /// The first entry of a term that it holds.
    pub(super) fn first_of(&self, term: u64) -> Option<u64> {
        let in_log = self.log.iter().find(|(_, (own, _))| *own == term).map(|(index, _)| *index);
        in_log.or_else(|| self.snapshot.as_ref().filter(|(_, own, _)| *own == term).map(|(last, ..)| *last))
    }

    /// Memberships that it holds, the newest first: index, term, voters.
    pub(super) fn memberships(&self) -> impl Iterator<Item = (u64, u64, &Configs)> {
        let in_log = self.log.iter().rev();
        let in_log = in_log.filter_map(|(index, (term, configs))| Some((*index, *term, configs.as_ref()?)));
        in_log.chain(self.snapshot.iter().map(|(index, term, configs)| (*index, *term, configs)))
    }
}

fn summary(entry: &Entry) -> (u64, Option<Configs>) {
    let configs = match &entry.payload {
        EntryPayload::Membership(membership) => Some(membership.get_joint_config().clone()),
        EntryPayload::Blank | EntryPayload::Normal(_) => None,
    };
    (term_of(entry.log_id), configs)
}

impl Disks {
    pub(super) fn see(&mut self, event: &Event<'_>) {
        match event {
            Event::Started { machine, loaded } => {
                self.now.insert(*machine, Disk::loaded(loaded));
                self.last_ids.insert(*machine, loaded.identity.node_id);
            }
            Event::DiskLost { machine } => self.retire(*machine),
            Event::Stored { machine, writes } => {
                for write in *writes {
                    if matches!(write, Write::Reset(_)) {
                        self.retire(*machine);
                    }
                    self.now.entry(*machine).or_default().store(write);
                }
            }
            _ => {}
        }
    }

    fn retire(&mut self, machine: MachineId) {
        if let Some(disk) = self.now.remove(&machine)
            && let Some(id) = disk.node_id()
        {
            self.retired.insert(id, disk);
        }
    }

    pub(super) fn of(&self, machine: MachineId) -> Option<&Disk> {
        self.now.get(&machine)
    }

    pub(super) fn last_id(&self, machine: MachineId) -> Option<NodeId> {
        self.last_ids.get(&machine).copied()
    }

    /// The disk of a node id that is in use.
    pub(super) fn living(&self, id: NodeId) -> Option<&Disk> {
        self.now.values().find(|disk| disk.node_id() == Some(id))
    }

    pub(super) fn is_retired(&self, id: NodeId) -> bool {
        self.retired.contains_key(&id)
    }

    /// Disks of a group, lost ones too.
    pub(super) fn of_cluster(&self, cluster: ClusterId) -> impl Iterator<Item = &Disk> {
        self.now.values().chain(self.retired.values()).filter(move |disk| disk.cluster() == Some(cluster))
    }

    /// Whether these machines hold a majority of every membership that may be in force.
    pub(super) fn carry_the_group(&self, machines: &[MachineId], without: Option<MachineId>, also: &[Configs]) -> bool {
        let joined = |disk: &&Disk| disk.cluster().is_some();
        let ids: BTreeSet<NodeId> =
            machines.iter().filter_map(|id| self.of(*id)).filter(joined).filter_map(Disk::node_id).collect();
        let gone = without.and_then(|id| self.of(id)?.node_id());
        let carries = |voters: &BTreeSet<NodeId>| {
            let left = voters.iter().filter(|id| Some(**id) != gone).count();
            voters.intersection(&ids).count() > left / 2
        };
        let on_disks = self.now.values().filter(joined).flat_map(|disk| disk.memberships().take(2));
        on_disks.flat_map(|(_, _, configs)| configs).all(carries)
            && also.iter().flatten().filter(|voters| !voters.is_empty()).all(carries)
    }
}
