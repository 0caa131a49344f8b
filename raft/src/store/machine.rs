//! openraft's state machine around [`GroupData`]: in memory, with a durable snapshot.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::{Stream, StreamExt};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};
use tokio::sync::watch;

use super::disk::encode;
use super::{Write, Writer};
use crate::state::GroupData;
use crate::types::{LogId, Snapshot, SnapshotMeta, StoredMembership, TypeConfig};

/// The state machine; the builder of snapshots is a clone.
#[derive(Clone, Debug)]
pub(crate) struct StateMachine {
    memory: Arc<Mutex<Memory>>,
    published: Arc<watch::Sender<Arc<GroupData>>>,
    writer: Writer,
}

#[derive(Debug, Default)]
struct Memory {
    applied: Option<LogId>,
    membership: StoredMembership,
    data: GroupData,
    snapshot: Option<(SnapshotMeta, GroupData)>,
}

impl StateMachine {
    /// From the stored snapshot; the receiver sees each new state.
    pub(crate) fn new(
        snapshot: Option<(SnapshotMeta, GroupData)>,
        writer: Writer,
    ) -> (Self, watch::Receiver<Arc<GroupData>>) {
        let mut memory = Memory::default();
        if let Some((meta, data)) = &snapshot {
            memory.applied = meta.last_log_id;
            memory.membership = meta.last_membership.clone();
            memory.data = data.clone();
        }
        memory.snapshot = snapshot;
        let (published, receiver) = watch::channel(Arc::new(memory.data.clone()));
        (Self { memory: Arc::new(Mutex::new(memory)), published: Arc::new(published), writer }, receiver)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn persist(&self, meta: &SnapshotMeta, data: &GroupData) -> io::Result<()> {
        self.writer.write(Write::Snapshot(encode(&(meta, data))?)).await?;
        self.memory().snapshot = Some((meta.clone(), data.clone()));
        Ok(())
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = GroupData;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let memory = self.memory();
        Ok((memory.applied, memory.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let mut answers = Vec::new();
        while let Some(item) = entries.next().await {
            let (entry, responder) = item?;
            let mut memory = self.memory();
            memory.applied = Some(entry.log_id);
            match entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Normal(command) => memory.data.apply(&command),
                EntryPayload::Membership(membership) => {
                    memory.membership = StoredMembership::new(Some(entry.log_id), membership);
                }
            }
            answers.extend(responder);
        }
        let data = Arc::new(self.memory().data.clone());
        self.published.send_if_modified(|current| {
            let changed = *current != data;
            *current = data;
            changed
        });
        for responder in answers {
            responder.send(());
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: GroupData) -> Result<(), io::Error> {
        self.persist(meta, &snapshot).await?;
        let mut memory = self.memory();
        memory.applied = meta.last_log_id;
        memory.membership = meta.last_membership.clone();
        memory.data = snapshot;
        self.published.send_replace(Arc::new(memory.data.clone()));
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        Ok(self.memory().snapshot.clone().map(|(meta, data)| Snapshot { meta, snapshot: data }))
    }
}

impl RaftSnapshotBuilder<TypeConfig> for StateMachine {
    type SnapshotData = GroupData;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let (meta, data) = {
            let memory = self.memory();
            let meta = SnapshotMeta { last_log_id: memory.applied, last_membership: memory.membership.clone() };
            (meta, memory.data.clone())
        };
        self.persist(&meta, &data).await?;
        Ok(Snapshot { meta, snapshot: data })
    }
}
