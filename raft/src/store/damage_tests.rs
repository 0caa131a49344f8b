//! What becomes of a damaged file: either it opens with exactly what was acknowledged (the damage is where nothing is), or
//! the member refuses to start and says which file, what was found, and the way out. Never a panic, a wipe, or other content.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use redb::Database;

use super::disk::{LOG, META};
use super::recording::{Recorder, apply, lives};
use super::{Disk, FILE, Loaded, StoreError, file};

/// redb's header: flags, geometry, and the two slots that name the newest transactions.
const HEADER: usize = 320;
/// Damaged bits that are tried: in the header, and in pages that hold something.
const HEADER_FLIPS: usize = 100;
const PAGE_FLIPS: usize = 200;
/// The bit of the header that says which of the two slots is the newest.
const NEWEST_SLOT: (usize, u8) = (9, 0);

/// A file as it lies there after a clean stop, or after a kill.
struct Sample {
    is_stopped: bool,
    bytes: Vec<u8>,
    state: Loaded,
    before_last: Loaded,
}

fn open(path: &Path) -> Result<(Disk, Loaded), StoreError> {
    file::open_through(path, |file| Recorder::default().wrap(file))
}

fn samples() -> [Sample; 2] {
    [true, false].map(|is_stopped| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let (mut disk, mut state) = open(&path).unwrap();
        let mut before_last = state.clone();
        for batch in lives().into_iter().flatten().take(10) {
            disk.commit(&batch).unwrap();
            before_last = state.clone();
            for write in &batch {
                apply(&mut state, write);
            }
        }
        if is_stopped {
            drop(disk);
        }
        Sample { is_stopped, bytes: fs::read(&path).unwrap(), state, before_last }
    })
}

#[derive(Debug, PartialEq)]
enum Outcome {
    Opened(Box<Loaded>),
    Refused(String),
}

/// Opens a file with this content; the error is what must never be.
fn outcome(bytes: &[u8]) -> Result<Outcome, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    fs::write(&path, bytes).unwrap();
    let opened = catch_unwind(AssertUnwindSafe(|| open(&path).map(|(_, found)| found)));
    match opened.map_err(|_| "a panic")? {
        Ok(found) => Ok(Outcome::Opened(Box::new(found))),
        Err(error @ StoreError::Corrupt { .. }) => {
            let says = error.to_string();
            let names_the_file = says.starts_with(path.to_str().unwrap());
            if !names_the_file || !says.contains("is damaged (") || !says.contains("remedy: stop this member") {
                return Err(format!("unclear: {says}"));
            }
            // Only an operator's hand makes it usable again.
            if open(&path).is_ok() { Err("it was wiped".into()) } else { Ok(Outcome::Refused(says)) }
        }
        Err(error) => Err(format!("another error: {error}")),
    }
}

fn refusal(bytes: &[u8]) -> String {
    match outcome(bytes) {
        Ok(Outcome::Refused(says)) => says,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_flipped_bit_is_found_or_harmless() {
    for sample in samples() {
        let mut random = SmallRng::seed_from_u64(1);
        let used: Vec<usize> = (HEADER..sample.bytes.len()).filter(|at| sample.bytes[*at] != 0).collect();
        let in_header = (0..HEADER_FLIPS).map(|_| random.random_range(0..HEADER)).collect::<Vec<_>>();
        let in_pages = (0..PAGE_FLIPS).map(|_| used[random.random_range(0..used.len())]).collect::<Vec<_>>();
        let mut refused = 0;
        for at in in_header.into_iter().chain(in_pages) {
            let bit = random.random_range(0..8);
            if (at, bit) == NEWEST_SLOT {
                continue;
            }
            let mut bytes = sample.bytes.clone();
            bytes[at] ^= 1 << bit;
            match outcome(&bytes) {
                Ok(Outcome::Opened(found)) if *found == sample.state => {}
                Ok(Outcome::Refused(_)) => refused += 1,
                other => panic!("byte {at}, bit {bit}, after a clean stop: {}: {other:.600?}", sample.is_stopped),
            }
        }
        assert!(refused > PAGE_FLIPS / 4, "damage was tried where nothing is: {refused} refused");
    }
}

/// The limit that docs/decisions/group-store.md names: no other bit lets the newest transaction be forgotten.
#[test]
fn one_bit_of_a_killed_members_file_has_no_second() {
    for sample in samples() {
        for bit in 0..8 {
            let mut bytes = sample.bytes.clone();
            bytes[NEWEST_SLOT.0] ^= 1 << bit;
            let is_the_one = bit == NEWEST_SLOT.1 && !sample.is_stopped;
            let expected = if is_the_one { &sample.before_last } else { &sample.state };
            match outcome(&bytes) {
                Ok(Outcome::Opened(found)) => assert_eq!(*found, *expected, "bit {bit}"),
                Ok(Outcome::Refused(_)) => assert!(!is_the_one),
                Err(error) => panic!("bit {bit}: {error}"),
            }
        }
    }
}

#[test]
fn a_truncated_file_is_refused() {
    for Sample { bytes, .. } in samples() {
        let len = bytes.len();
        for cut in [0, 1, 8, 9, 319, 320, 4095, 4096, 8192, len / 3, len / 2, len - 4096, len - 1] {
            refusal(&bytes[..cut]);
        }
    }
}

#[test]
fn a_zeroed_header_is_refused() {
    for Sample { bytes, .. } in samples() {
        for until in [9, 64, HEADER, 4096] {
            let mut bytes = bytes.clone();
            bytes[..until].fill(0);
            refusal(&bytes);
        }
        refusal(&vec![0; bytes.len()]);
    }
}

#[test]
fn another_programs_file_is_refused() {
    refusal(b"not a database");
    refusal(&[b"SQLite format 3\0".as_slice(), &[7; 8192]].concat());
    let mut noise = vec![0; 1 << 20];
    SmallRng::seed_from_u64(1).fill(noise.as_mut_slice());
    refusal(&noise);
    let foreign = changed(None, |_| {});
    assert!(refusal(&foreign).contains("'meta' does not exist"), "{}", refusal(&foreign));
}

/// The content of a file that redb itself has written, but this program never would.
fn changed(bytes: Option<&[u8]>, change: impl FnOnce(&redb::WriteTransaction)) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    fs::write(&path, bytes.unwrap_or_default()).unwrap();
    let database = Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    change(&transaction);
    transaction.commit().unwrap();
    drop(database);
    fs::read(&path).unwrap()
}

#[test]
fn rows_that_this_program_never_wrote_are_refused() {
    let [Sample { bytes, .. }, _] = samples();
    let missing = changed(Some(&bytes), |change| drop(change.open_table(META).unwrap().remove("identity").unwrap()));
    assert!(refusal(&missing).contains("(it holds no identity)"));
    let no_log = changed(Some(&bytes), |change| assert!(change.delete_table(LOG).unwrap()));
    assert!(refusal(&no_log).contains("'log' does not exist"));
    let rows = [
        ("identity", "the identity"),
        ("vote", "the vote"),
        ("purged", "the purged log id"),
        ("snapshot", "the snapshot"),
    ];
    for (key, name) in rows {
        for value in [b"".as_slice(), b"\xff\xfe", b"{}", b"[1,2"] {
            let broken = changed(Some(&bytes), |change| {
                change.open_table(META).unwrap().insert(key, value).unwrap();
            });
            assert!(refusal(&broken).contains(&format!("({name} cannot be read: ")), "{}", refusal(&broken));
        }
    }
    let broken = changed(Some(&bytes), |change| {
        change.open_table(LOG).unwrap().insert(15, b"{".as_slice()).unwrap();
    });
    assert!(refusal(&broken).contains("(a log entry cannot be read: "), "{}", refusal(&broken));
}
