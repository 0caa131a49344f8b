//! openraft's own suite for storage, and what must survive a restart.

#![allow(clippy::unwrap_used)]

use openraft::storage::{RaftLogReader, RaftLogStorage, RaftStateMachine};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::vote::RaftLeaderId;
use openraft::{EntryPayload, StorageError};
use tempfile::TempDir;

use super::*;
use crate::state::Command;
use crate::types::{Entry, LogId, TypeConfig, Vote};

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().unwrap();
        let (log, machine, _) = start(dir.path());
        Ok((dir, log, machine))
    }
}

fn start(dir: &Path) -> (LogStore, StateMachine, tokio::sync::oneshot::Receiver<()>) {
    let (disk, mut loaded) = open(dir).unwrap();
    let (writer, closed) = Writer::start(disk).unwrap();
    let (machine, _) = StateMachine::new(loaded.snapshot.take(), writer.clone());
    (LogStore::new(&mut loaded, writer), machine, closed)
}

#[test]
fn openraft_is_content_with_the_storage() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(Suite::<_, _, _, _, TempDir>::test_all(Builder)).unwrap();
}

fn log_id(term: u64, index: u64) -> LogId {
    let leader = openraft::impls::leader_id_std::LeaderId { term, voted_for: crate::NodeId(1) };
    LogId::new(leader.to_committed(), index)
}

fn entry(index: u64) -> Entry {
    Entry { log_id: log_id(1, index), payload: EntryPayload::Normal(Command::Formed) }
}

async fn append(log: &mut LogStore, entries: Vec<Entry>) {
    log.append(entries, openraft::storage::IOFlushed::noop()).await.unwrap();
    // The writer keeps the order, so a vote that is on the disk is behind the entries.
    let vote = log.read_vote().await.unwrap().unwrap();
    log.save_vote(&vote).await.unwrap();
}

#[tokio::test]
async fn vote_log_identity_and_snapshot_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let vote = Vote::new(7, crate::NodeId(3));
    {
        let (mut log, mut machine, closed) = start(dir.path());
        log.save_vote(&vote).await.unwrap();
        append(&mut log, (0..10).map(entry).collect()).await;
        log.truncate_after(Some(log_id(1, 7))).await.unwrap();
        log.purge(log_id(1, 2)).await.unwrap();
        let mut builder = machine.get_snapshot_builder().await;
        openraft::storage::RaftSnapshotBuilder::build_snapshot(&mut builder).await.unwrap();
        drop((log, machine, builder));
        closed.await.unwrap();
    }
    let (mut log, mut machine, _) = start(dir.path());
    assert_eq!(log.read_vote().await.unwrap(), Some(vote));
    let state = log.get_log_state().await.unwrap();
    assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(log_id(1, 2)), Some(log_id(1, 7))));
    let indexes: Vec<u64> = log.try_get_log_entries(..).await.unwrap().iter().map(|entry| entry.log_id.index).collect();
    assert_eq!(indexes, [3, 4, 5, 6, 7]);
    assert!(machine.get_current_snapshot().await.unwrap().is_some());
}

#[test]
fn a_reset_leaves_nothing_but_a_new_identity() {
    let dir = tempfile::tempdir().unwrap();
    let (mut disk, loaded) = open(dir.path()).unwrap();
    let entry = serde_json::to_vec(&entry(0)).unwrap();
    disk.commit([&Write::Vote(Vote::new(7, crate::NodeId(3))), &Write::Append(vec![(0, entry)])]).unwrap();
    let fresh = Identity::new();
    assert_ne!(fresh.node_id, loaded.identity.node_id);
    disk.commit([&Write::Reset(fresh.clone())]).unwrap();
    drop(disk);
    let (_, loaded) = open(dir.path()).unwrap();
    assert!(loaded.holds_nothing());
    assert_eq!(loaded.identity, fresh);
}
