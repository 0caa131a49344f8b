//! openraft's own suite for storage, what must survive a restart, and who may open the directory.

#![allow(clippy::unwrap_used)]

use std::io::BufRead;

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

/// Set in the process that the test below starts: the directory that it is to hold.
const HELD: &str = "ELECTOR_TEST_HELD_DIRECTORY";

#[test]
fn a_second_process_is_refused_until_the_first_is_dead() {
    if let Some(dir) = std::env::var_os(HELD) {
        let _held = open(Path::new(&dir)).unwrap();
        println!("\nheld");
        // Until the test kills this process, or has ended itself.
        let _ = std::io::stdin().read_line(&mut String::new());
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut holder = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::tests::a_second_process_is_refused_until_the_first_is_dead", "--nocapture"])
        .env(HELD, dir.path())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let says = std::io::BufReader::new(holder.stdout.take().unwrap());
    assert!(says.lines().map_while(Result::ok).any(|line| line == "held"), "the holder has ended");
    let file = dir.path().join(FILE);
    let refused = open(dir.path()).unwrap_err();
    assert!(matches!(&refused, StoreError::Locked { file: named } if *named == file), "{refused:?}");
    assert!(refused.to_string().starts_with(&format!("{} is in use by another process", file.display())), "{refused}");
    holder.kill().unwrap();
    holder.wait().unwrap();
    open(dir.path()).unwrap();
}

#[test]
fn of_several_first_starts_in_one_directory_one_wins() {
    for _ in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let at_once = std::sync::Barrier::new(4);
        let start = || {
            at_once.wait();
            open(dir.path())
        };
        let starts: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let (won, refused): (Vec<_>, Vec<_>) = starts.into_iter().partition(Result::is_ok);
        assert!(refused.iter().all(|start| matches!(start, Err(StoreError::Locked { .. }))), "{refused:?}");
        let winner = won.into_iter().map(Result::unwrap).map(|(_, loaded)| loaded).collect::<Vec<_>>();
        assert_eq!(winner.len(), 1);
        assert_eq!(open(dir.path()).unwrap().1, winner[0], "the file of the winner is the one that stays");
    }
}
