//! What a crash leaves: after every single write that redb has ever asked for, the member starts by itself and has
//! exactly what it acknowledged, or that and the whole of what was under way.
//!
//! Two crashes at each operation: a kill, which leaves all operations before it (the one under way whole, absent, or in
//! part), and a power cut, which leaves any of the writes since the last sync. Sizes are the file system's journal's: they
//! survive in order, and what lies behind the end is not visible.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::recording::{History, Op, Recorder, apply, next_vote};
use super::{Disk, FILE, Loaded, Standing, Write, file};

const POWER_CUTS_PER_OPERATION: usize = 4;
const PAGE: usize = 4096;

/// A file's bytes.
#[derive(Clone, Default, PartialEq)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn apply(&mut self, op: &Op) {
        match op {
            Op::Write { offset, data } => {
                let start = usize::try_from(*offset).unwrap();
                let end = (start + data.len()).min(self.0.len());
                if start < end {
                    self.0[start..end].copy_from_slice(&data[..end - start]);
                }
            }
            Op::Length(len) => self.0.resize(usize::try_from(*len).unwrap(), 0),
            Op::Sync => {}
        }
    }

    /// To a file with holes where the zeroes are.
    fn save(&self, path: &Path) {
        let file = fs::File::create(path).unwrap();
        file.set_len(self.0.len() as u64).unwrap();
        for (page, bytes) in self.0.chunks(PAGE).enumerate() {
            if *bytes != [0; PAGE][..bytes.len()] {
                file.write_all_at(bytes, (page * PAGE) as u64).unwrap();
            }
        }
    }
}

fn torn(op: &Op, random: &mut SmallRng) -> Op {
    match op {
        Op::Write { offset, data } => {
            Op::Write { offset: *offset, data: data[..random.random_range(0..data.len())].to_vec() }
        }
        other => other.clone(),
    }
}

/// Any of the writes since the last sync.
fn power_cut(durable: &Bytes, pending: &[Op], random: &mut SmallRng) -> Bytes {
    let is_length = |op: &&Op| matches!(op, Op::Length(_));
    let mut lengths = random.random_range(0..=pending.iter().filter(is_length).count());
    let share = random.random_range(0.0..=1.0);
    let mut survivors = pending.to_vec();
    survivors.retain(|op| {
        if is_length(&op) {
            let survives = lengths > 0;
            lengths = lengths.saturating_sub(1);
            survives
        } else {
            random.random_bool(share)
        }
    });
    if random.random_bool(0.5) {
        survivors.last_mut().into_iter().for_each(|last| *last = torn(last, random));
    }
    let mut left = durable.clone();
    for op in &survivors {
        left.apply(op);
    }
    left
}

/// The states that may be found: what was acknowledged last, and what was under way.
fn allowed(history: &History, done: usize) -> &[(usize, Loaded)] {
    let acknowledged = history.acknowledged.iter().filter(|(ops, _)| *ops <= done).count();
    let end = (acknowledged + 1).min(history.acknowledged.len());
    &history.acknowledged[acknowledged.saturating_sub(1)..end]
}

/// Starts twice on what a crash has left, with a vote between.
fn restart(path: &Path, is_allowed: impl Fn(&Loaded) -> bool) -> Result<(), String> {
    let start = || file::open_through(path, |file| Recorder::default().wrap(file));
    let (mut disk, mut state) = start().map_err(|error| error.to_string())?;
    if !is_allowed(&state) {
        return Err(format!("it holds what it must not: {state:?}"));
    }
    disk.commit([&next_vote()]).map_err(|error| format!("it cannot write: {error}"))?;
    drop(disk);
    apply(&mut state, &next_vote());
    let (_, again) = start().map_err(|error| format!("at the second start: {error}"))?;
    if again == state { Ok(()) } else { Err(format!("at the second start it holds {again:?}")) }
}

/// One crash after `done` operations. Until the creation has been acknowledged the file has its other name, and the member
/// must start anew by itself; at that very moment it has either.
fn survive(history: &History, done: usize, left: &Bytes) -> Result<(), String> {
    let created = history.acknowledged[0].0;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    if done <= created {
        left.save(&path.with_added_extension("new"));
        restart(&path, |found| found.holds_nothing() && found.identity.standing == Standing::Blank)?;
    }
    if done >= created {
        left.save(&path);
        restart(&path, |found| allowed(history, done).iter().any(|(_, state)| state == found))?;
    }
    Ok(())
}

/// Crashes at each operation until one is not survived, and tells which.
fn first_failure(history: &History, does_sync: bool) -> Option<String> {
    let (mut now, mut durable, mut synced) = (Bytes::default(), Bytes::default(), 0);
    // Between two acknowledgements equal files have equal answers.
    let mut tried: Vec<Bytes> = Vec::new();
    for done in 0..=history.ops.len() {
        let next = history.ops.get(done);
        let mut random = SmallRng::seed_from_u64(done as u64);
        let mut cases = vec![("kill", now.clone())];
        if let Some(op @ Op::Write { .. }) = next {
            let mut left = now.clone();
            left.apply(&torn(op, &mut random));
            cases.push(("kill in the middle of a write", left));
        }
        for _ in 0..POWER_CUTS_PER_OPERATION.min(done - synced) {
            cases.push(("power cut", power_cut(&durable, &history.ops[synced..done], &mut random)));
        }
        if history.acknowledged.iter().any(|(acknowledged, _)| *acknowledged == done) {
            tried.clear();
        }
        for (case, left) in cases {
            if tried.contains(&left) {
                continue;
            }
            if let Err(error) = survive(history, done, &left) {
                return Some(format!("{case} after operation {done} of {}: {error:.600}", history.ops.len()));
            }
            tried.push(left);
        }
        let Some(op) = next else { break };
        now.apply(op);
        if does_sync && matches!(op, Op::Sync) {
            (durable, synced) = (now.clone(), done + 1);
        }
    }
    None
}

fn record(commit: impl Fn(&mut Disk, &[Write])) -> History {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    let history = History::record(&path, commit);
    let mut replayed = Bytes::default();
    history.ops.iter().for_each(|op| replayed.apply(op));
    assert!(replayed.0 == fs::read(path).unwrap(), "the recording is the file");
    assert!(history.ops.iter().filter(|op| matches!(op, Op::Length(_))).count() > 2, "the file grows and shrinks");
    history
}

fn at_once(disk: &mut Disk, batch: &[Write]) {
    disk.commit(batch).unwrap();
}

#[test]
fn a_crash_at_any_write_loses_nothing_acknowledged_and_tears_nothing() {
    assert_eq!(first_failure(&record(at_once), true), None);
}

#[test]
fn the_crashes_find_a_batch_that_is_written_in_parts() {
    let in_parts =
        |disk: &mut Disk, batch: &[Write]| batch.iter().for_each(|write| at_once(disk, std::slice::from_ref(write)));
    let failure = first_failure(&record(in_parts), true).unwrap();
    assert!(failure.contains("it holds what it must not"), "{failure}");
}

#[test]
fn the_crashes_find_what_is_acknowledged_before_it_is_written() {
    let mut history = record(at_once);
    history.acknowledged.iter_mut().skip(1).for_each(|(done, _)| *done -= 2);
    let failure = first_failure(&history, true).unwrap();
    assert!(failure.starts_with("kill") && failure.contains("it holds what it must not"), "{failure}");
}

#[test]
fn the_crashes_find_a_device_that_does_not_sync() {
    let failure = first_failure(&record(at_once), false).unwrap();
    assert!(failure.starts_with("power cut"), "{failure}");
}
