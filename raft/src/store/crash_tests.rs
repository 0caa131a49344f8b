//! What a crash leaves: after every single write that redb has ever asked for, the member starts by itself and has
//! exactly what it acknowledged, or that and the whole of what was under way.
//!
//! Two crashes at each operation: a kill, which leaves all operations before it (the one under way whole, absent, or in
//! part), and a power cut, which leaves any of the writes since the last sync. Sizes are the file system's journal's: they
//! survive in order, and what lies behind the end is not visible.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::Path;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::recording::{History, Op, apply, next_vote};
use super::{FILE, Loaded, Standing, file};

const POWER_CUTS_PER_OPERATION: u64 = 3;

/// A file's bytes.
#[derive(Clone, Default)]
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
        use std::os::unix::fs::FileExt;
        let file = fs::File::create(path).unwrap();
        file.set_len(self.0.len() as u64).unwrap();
        for (page, bytes) in self.0.chunks(4096).enumerate() {
            if bytes.iter().any(|byte| *byte != 0) {
                file.write_all_at(bytes, page as u64 * 4096).unwrap();
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
    let mut left = durable.clone();
    let lengths = pending.iter().filter(|op| matches!(op, Op::Length(_))).count();
    let mut lengths = random.random_range(0..=lengths);
    let share = random.random_range(0.0..=1.0);
    let mut survivors = Vec::new();
    for op in pending {
        let survives = match op {
            Op::Length(_) if lengths == 0 => false,
            Op::Length(_) => {
                lengths -= 1;
                true
            }
            _ => random.random_bool(share),
        };
        if survives {
            survivors.push(op.clone());
        }
    }
    if let Some(last) = survivors.last_mut() {
        if random.random_bool(0.5) {
            *last = torn(last, random);
        }
    }
    survivors.iter().for_each(|op| left.apply(op));
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
    let (mut disk, mut state) = file::open(path).map_err(|error| error.to_string())?;
    if !is_allowed(&state) {
        return Err(format!("holds what nobody wrote: {state:?}"));
    }
    disk.commit([&next_vote()]).map_err(|error| format!("cannot write on: {error}"))?;
    drop(disk);
    apply(&mut state, &next_vote());
    let (_, again) = file::open(path).map_err(|error| format!("at the second start: {error}"))?;
    if again == state { Ok(()) } else { Err(format!("at the second start: {again:?}")) }
}

/// Tries one crash after `done` operations.
fn try_crash(history: &History, done: usize, left: &Bytes) -> Result<(), String> {
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

/// All crashes of a history; the failures.
fn crashes(history: &History) -> Vec<String> {
    let mut failures = Vec::new();
    let (mut now, mut durable, mut synced) = (Bytes::default(), Bytes::default(), 0);
    for done in 0..=history.ops.len() {
        let mut random = SmallRng::seed_from_u64(done as u64);
        let mut cases = vec![("kill", now.clone())];
        if let Some(op @ Op::Write { .. }) = history.ops.get(done) {
            let mut left = now.clone();
            left.apply(&torn(op, &mut random));
            cases.push(("kill in the middle of a write", left));
        }
        for _ in 0..POWER_CUTS_PER_OPERATION.min((done - synced) as u64) {
            cases.push(("power cut", power_cut(&durable, &history.ops[synced..done], &mut random)));
        }
        for (case, left) in cases {
            if let Err(error) = try_crash(history, done, &left) {
                failures.push(format!("{case} after {done} operations: {error:.400}"));
            }
        }
        if let Some(op) = history.ops.get(done) {
            now.apply(op);
            if matches!(op, Op::Sync) {
                (durable, synced) = (now.clone(), done + 1);
            }
        }
    }
    failures
}

#[test]
fn a_crash_at_any_write_loses_nothing_acknowledged_and_tears_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let start = std::time::Instant::now();
    let history = History::record(&dir.path().join(FILE));
    let lengths = history.ops.iter().filter(|op| matches!(op, Op::Length(_))).count();
    let syncs = history.ops.iter().filter(|op| matches!(op, Op::Sync)).count();
    println!("{} ops {lengths} lengths {syncs} syncs {} states {:?}", history.ops.len(), history.acknowledged.len(), start.elapsed());
    let failures = crashes(&history);
    println!("{:?}", start.elapsed());
    assert_eq!(failures, Vec::<String>::new());
}
