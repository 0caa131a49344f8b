//! For the tests of crashes and damage: a realistic history of one member's file, and everything that redb asked of the
//! device on the way.
//!
//! ```text
//! production open and commits -> redb -> Recorded (notes each write, length and sync) -> redb's own file backend -> file
//! ```

#![allow(clippy::unwrap_used)]

use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use openraft::EntryPayload;
use openraft::vote::RaftLeaderId;
use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

use super::disk::encode;
use super::{ClusterId, Disk, Identity, Loaded, Standing, Write, file};
use crate::NodeId;
use crate::state::{Command, GroupData, VALUE_BYTES_MAX};
use crate::types::{Entry, LogId, SnapshotMeta, StoredMembership, Vote};

/// What redb asked of the device.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Write { offset: u64, data: Vec<u8> },
    Length(u64),
    Sync,
}

#[derive(Debug, Default)]
struct Notes {
    ops: Vec<Op>,
    /// The process is killed when so many operations have been done.
    killed_at: Option<usize>,
}

/// Notes what redb asks of the files that it wraps. Clones share the notes.
#[derive(Clone, Debug, Default)]
pub(super) struct Recorder(Arc<Mutex<Notes>>);

impl Recorder {
    pub(super) fn wrap(&self, file: FileBackend) -> Recorded {
        Recorded { file, recorder: self.clone() }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap()
    }

    fn done(&self) -> usize {
        self.notes().ops.len()
    }

    fn note(&self, op: Op) -> io::Result<()> {
        let mut notes = self.notes();
        if notes.killed_at == Some(notes.ops.len()) {
            return Err(io::Error::other("killed"));
        }
        notes.ops.push(op);
        Ok(())
    }
}

/// A file under a [`Recorder`]. It is never synced, which would cost two thirds of the time: what a sync means is for the
/// tests to say.
#[derive(Debug)]
pub(super) struct Recorded {
    file: FileBackend,
    recorder: Recorder,
}

impl StorageBackend for Recorded {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.recorder.note(Op::Length(len))?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.recorder.note(Op::Sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.recorder.note(Op::Write { offset, data: data.to_vec() })?;
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}

/// A whole history of one file.
pub(super) struct History {
    pub(super) ops: Vec<Op>,
    /// How many operations had been done when each state was acknowledged, and that state; the first is the creation.
    pub(super) acknowledged: Vec<(usize, Loaded)>,
}

impl History {
    /// Three lives of a member: one stopped, one killed while it wrote, one recovered and stopped.
    pub(super) fn record(path: &Path, commit: impl Fn(&mut Disk, &[Write])) -> Self {
        let recorder = Recorder::default();
        let mut acknowledged: Vec<(usize, Loaded)> = Vec::new();
        for (life, batches) in lives().into_iter().enumerate() {
            let (mut disk, mut state) = file::open_through(path, |file| recorder.wrap(file)).unwrap();
            match acknowledged.last() {
                Some((_, last)) => assert_eq!(last, &state),
                None => acknowledged.push((recorder.done(), state.clone())),
            }
            for batch in batches {
                commit(&mut disk, &batch);
                for write in &batch {
                    apply(&mut state, write);
                }
                acknowledged.push((recorder.done(), state.clone()));
            }
            if life == 1 {
                let killed_at = recorder.done() + 2;
                recorder.notes().killed_at = Some(killed_at);
                disk.commit([&next_vote()]).unwrap_err();
            }
            drop(disk);
            recorder.notes().killed_at = None;
        }
        let ops = std::mem::take(&mut recorder.notes().ops);
        Self { ops, acknowledged }
    }
}

/// What a write means, said once more and without redb.
pub(super) fn apply(state: &mut Loaded, write: &Write) {
    match write {
        Write::Identity(identity) => state.identity = identity.clone(),
        Write::Vote(vote) => state.vote = Some(*vote),
        Write::Append(entries) => {
            state.log.extend(entries.iter().map(|(index, bytes)| (*index, serde_json::from_slice(bytes).unwrap())));
        }
        Write::Truncate { from } => drop(state.log.split_off(from)),
        Write::Purge(upto) => {
            state.log = state.log.split_off(&(upto.index + 1));
            state.purged = Some(*upto);
        }
        Write::Snapshot(bytes) => state.snapshot = Some(serde_json::from_slice(bytes).unwrap()),
        Write::Reset(identity) => *state = Loaded::blank(identity.clone()),
    }
}

fn log_id(term: u64, index: u64) -> LogId {
    let leader = openraft::impls::leader_id_std::LeaderId { term, voted_for: NodeId(1) };
    LogId::new(leader.to_committed(), index)
}

fn entry(term: u64, index: u64, bytes: usize) -> (u64, Vec<u8>) {
    let command = Command::Publish { key: format!("watermark/{index}"), value: "7".repeat(bytes) };
    (index, encode(&Entry { log_id: log_id(term, index), payload: EntryPayload::Normal(command) }).unwrap())
}

fn append(term: u64, indexes: std::ops::Range<u64>, bytes: usize) -> Write {
    Write::Append(indexes.map(|index| entry(term, index, bytes)).collect())
}

fn snapshot(term: u64, index: u64, values: usize) -> Write {
    let meta = SnapshotMeta { last_log_id: Some(log_id(term, index)), last_membership: StoredMembership::default() };
    let mut data = GroupData { formed: true, ..GroupData::default() };
    data.values = (0..values).map(|i| (format!("key {i}"), "v".repeat(VALUE_BYTES_MAX))).collect();
    Write::Snapshot(encode(&(meta, data)).unwrap())
}

/// A vote that no history holds.
pub(super) fn next_vote() -> Write {
    Write::Vote(Vote::new(99, NodeId(42)))
}

/// The transactions of each life, as the writer thread gathers them.
pub(super) fn lives() -> [Vec<Vec<Write>>; 3] {
    let cluster = ClusterId(0x1234_5678_9abc_def0);
    let blank = Identity::new();
    let promised = Identity { standing: Standing::Promised(cluster), ..blank.clone() };
    let joined = Identity {
        standing: Standing::Joined(cluster),
        peers_seen: ["prom-0".to_owned(), "prom-1".to_owned()].into(),
        ..blank
    };
    let latched = Identity { latched_term: 3, ..joined.clone() };
    let reborn = Identity::new();
    let rejoined = Identity { standing: Standing::Joined(cluster), ..reborn.clone() };
    [
        vec![
            vec![Write::Identity(promised)],
            vec![Write::Identity(joined), Write::Vote(Vote::new(1, NodeId(1)))],
            vec![Write::Vote(Vote::new_committed(1, NodeId(1)))],
            vec![append(1, 0..3, 40)],
            vec![append(1, 3..9, 40), Write::Vote(Vote::new(2, NodeId(2)))],
            vec![Write::Truncate { from: 6 }, append(2, 6..20, 40)],
            vec![append(2, 20..24, 3000)],
        ],
        vec![
            vec![Write::Identity(latched), Write::Vote(Vote::new(3, NodeId(3)))],
            vec![snapshot(2, 15, 3), Write::Purge(log_id(2, 12))],
            vec![append(3, 24..60, 60)],
            vec![snapshot(3, 50, 24)],
            vec![Write::Purge(log_id(3, 48)), append(3, 60..62, 40)],
        ],
        vec![
            vec![snapshot(3, 61, 24)],
            vec![Write::Reset(reborn)],
            vec![Write::Identity(rejoined), Write::Vote(Vote::new(4, NodeId(2)))],
            vec![snapshot(4, 70, 1), Write::Purge(log_id(4, 70)), append(4, 71..73, 40)],
        ],
    ]
}
