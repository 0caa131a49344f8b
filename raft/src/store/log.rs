//! openraft's log storage: the log in memory, every change also sent to the writer.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use openraft::{EntryPayload, OptionalSend, RaftTypeConfig};

use super::disk::encode;
use super::writer::Done;
use super::{Loaded, Write, Writer};
use crate::rules::{Rule, holds};
use crate::state::Command;
use crate::types::{Entry, LogId, TypeConfig, Vote};

/// The log; its clones share it.
#[derive(Clone, Debug)]
pub(crate) struct LogStore {
    memory: Arc<Mutex<Memory>>,
    writer: Writer,
}

#[derive(Debug)]
struct Memory {
    vote: Option<Vote>,
    purged: Option<LogId>,
    entries: BTreeMap<u64, Entry>,
}

impl LogStore {
    pub(crate) fn new(loaded: &mut Loaded, writer: Writer) -> Self {
        let memory = Memory { vote: loaded.vote, purged: loaded.purged, entries: std::mem::take(&mut loaded.log) };
        Self { memory: Arc::new(Mutex::new(memory)), writer }
    }

    /// Whether an entry confirms the group, committed or not.
    pub(crate) fn holds_confirmation(&self) -> bool {
        let confirms = |entry: &Entry| matches!(entry.payload, EntryPayload::Normal(Command::Formed));
        self.memory().entries.values().any(confirms)
    }

    /// Whether it holds, or has held, an entry.
    pub(crate) fn holds_entries(&self) -> bool {
        let memory = self.memory();
        memory.purged.is_some() || !memory.entries.is_empty()
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        Ok(self.memory().entries.range(range).map(|(_, entry)| entry.clone()).collect())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.memory().vote)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let memory = self.memory();
        let last = memory.entries.last_key_value().map(|(_, entry)| entry.log_id);
        Ok(LogState { last_purged_log_id: memory.purged, last_log_id: last.or(memory.purged) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        if holds(Rule::VoteDurable) {
            self.writer.write(Write::Vote(*vote)).await?;
        } else {
            self.writer.submit(Write::Vote(*vote), Done::Nobody)?;
        }
        self.memory().vote = Some(*vote);
        Ok(())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = <TypeConfig as RaftTypeConfig>::Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut encoded = Vec::new();
        {
            let mut memory = self.memory();
            for entry in entries {
                encoded.push((entry.log_id.index, encode(&entry)?));
                memory.entries.insert(entry.log_id.index, entry);
            }
        }
        if !holds(Rule::AppendDurable) {
            callback.io_completed(Ok(()));
            return self.writer.submit(Write::Append(encoded), Done::Nobody);
        }
        self.writer.submit(Write::Append(encoded), Done::Raft(callback))
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let from = last_log_id.map_or(0, |id| id.index + 1);
        self.memory().entries.split_off(&from);
        self.writer.submit(Write::Truncate { from }, Done::Nobody)
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        {
            let mut memory = self.memory();
            memory.entries = memory.entries.split_off(&(log_id.index + 1));
            memory.purged = Some(log_id);
        }
        self.writer.submit(Write::Purge(log_id), Done::Nobody)
    }
}
