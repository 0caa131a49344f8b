//! For the tests of crashes and damage: a realistic history of one member's file, and everything that redb asked of the
//! device on the way.
//!
//! ```text
//! production open and commits -> redb -> Recorded (notes each write, length and sync) -> redb's own file backend -> file
//! ```

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
    is_dead: bool,
}

#[derive(Clone, Debug, Default)]
struct Recorder(Arc<Mutex<Notes>>);

impl Recorder {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap()
    }

    /// Until it is alive again, nothing reaches the file: what a killed process leaves.
    fn set_dead(&self, is_dead: bool) {
        self.notes().is_dead = is_dead;
    }

    fn note(&self, op: Op) -> io::Result<()> {
        let mut notes = self.notes();
        if notes.is_dead {
            return Err(io::Error::other("the process is dead"));
        }
        notes.ops.push(op);
        Ok(())
    }
}

#[derive(Debug)]
struct Recorded {
    file: FileBackend,
    recorder: Recorder,
}

type Range = (Bound<u64>, Bound<u64>);

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
        self.recorder.note(Op::Sync)?;
        self.file.sync_data()
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
    /// Three lives of a member: one stopped, one killed, one recovered and stopped.
    pub(super) fn record(path: &Path) -> Self {
        let recorder = Recorder::default();
        let mut acknowledged: Vec<(usize, Loaded)> = Vec::new();
        let [first, second, third] = lives();
        for (batches, is_killed) in [(first, false), (second, true), (third, false)] {
            let wrap = |file| Recorded { file, recorder: recorder.clone() };
            let (mut disk, mut state) = file::open_through(path, wrap).unwrap();
            match acknowledged.last() {
                Some((_, last)) => assert_eq!(last, &state),
                None => acknowledged.push((recorder.notes().ops.len(), state.clone())),
            }
            for batch in batches {
                disk.commit(&batch).unwrap();
                batch.iter().for_each(|write| apply(&mut state, write));
                acknowledged.push((recorder.notes().ops.len(), state.clone()));
            }
            recorder.set_dead(is_killed);
            drop(disk);
            recorder.set_dead(false);
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

/// A vote that is asked for, and never given in the histories above.
pub(super) fn next_vote() -> Write {
    Write::Vote(Vote::new(99, NodeId(42)))
}

/// The transactions of each life, as the writer thread gathers them.
fn lives() -> [Vec<Vec<Write>>; 3] {
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
            vec![snapshot(3, 50, 64)],
            vec![Write::Purge(log_id(3, 48)), append(3, 60..62, 40)],
        ],
        vec![
            vec![snapshot(3, 61, 64)],
            vec![Write::Reset(reborn)],
            vec![Write::Identity(rejoined), Write::Vote(Vote::new(4, NodeId(2)))],
            vec![snapshot(4, 70, 1), Write::Purge(log_id(4, 70)), append(4, 71..73, 40)],
        ],
    ]
}

/// Opens the file as production does, and commits one more vote.
pub(super) fn reopen(path: &Path) -> Result<(Loaded, Disk), String> {
    file::open(path).map(|(disk, loaded)| (loaded, disk)).map_err(|error| error.to_string())
}
