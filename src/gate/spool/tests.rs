//! The spool on real files: against a model, cut at every byte, on a full disk.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::process::Command;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::gate::TimeRange;

const ROOMY: u64 = 64 << 20;

fn batch(received_at_ms: i64, max: Option<i64>, body: &[u8]) -> Batch {
    Batch {
        received_at_ms,
        range: max.map(|max_ms| TimeRange { min_ms: max_ms - 3, max_ms }),
        format: Format {
            content_type: "application/x-protobuf".into(),
            content_encoding: "snappy".into(),
            version: "0.1.0".into(),
        },
        body: body.to_vec(),
    }
}

fn open(dir: &TempDir, bytes_max: u64) -> (Spool, Recovered) {
    Spool::open(&dir.path().join("spool"), bytes_max).unwrap()
}

fn drain(spool: &mut Spool) -> Vec<Batch> {
    let mut batches = Vec::new();
    while let Some(batch) = spool.front().unwrap().cloned() {
        batches.push(batch);
        assert_eq!(spool.pop_front().unwrap(), Dropped { batches: 1 });
    }
    assert_eq!((spool.len(), spool.bytes()), (0, 0));
    batches
}

fn files(dir: &TempDir) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(dir.path().join("spool")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn batches_come_out_as_they_went_in_also_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let all = [
        batch(10, Some(7), b"one"),
        batch(11, None, b""),
        Batch { format: Format::default(), ..batch(-5, Some(i64::MIN + 3), &[0; 5000]) },
    ];
    let (mut spool, recovered) = open(&dir, ROOMY);
    assert_eq!(recovered, Recovered::default());
    for batch in &all {
        spool.append(batch).unwrap();
    }
    assert_eq!(spool.len(), 3);
    let bytes = spool.bytes();
    drop(spool);
    let (mut spool, recovered) = open(&dir, ROOMY);
    assert_eq!(recovered, Recovered { batches: 3, bytes, damaged_bytes: 0 });
    assert_eq!(drain(&mut spool), all);
    assert_eq!(files(&dir), Vec::<PathBuf>::new(), "what is taken leaves nothing behind");
}

#[test]
fn what_is_received_while_the_oldest_is_taken_comes_last() {
    let dir = TempDir::new().unwrap();
    let (mut spool, _) = open(&dir, ROOMY);
    spool.append(&batch(1, Some(1), b"a")).unwrap();
    spool.append(&batch(2, Some(2), b"b")).unwrap();
    assert_eq!(spool.front().unwrap().unwrap().body, b"a");
    spool.pop_front().unwrap();
    spool.append(&batch(3, Some(3), b"c")).unwrap();
    let bodies: Vec<Vec<u8>> = drain(&mut spool).into_iter().map(|batch| batch.body).collect();
    assert_eq!(bodies, [b"b", b"c"]);
}

#[test]
fn a_batch_is_retained_by_the_highest_timestamp_received_up_to_it() {
    let dir = TempDir::new().unwrap();
    let (mut spool, _) = open(&dir, ROOMY);
    // The second holds only old timestamps, the third none: what came before them and when decides.
    for (received, max) in [(100, Some(100)), (101, Some(50)), (130, None), (131, Some(120))] {
        spool.append(&batch(received, max, b"x")).unwrap();
    }
    let mut dropped = |bound| spool.drop_until(bound).unwrap().batches;
    assert_eq!([dropped(50), dropped(99), dropped(100), dropped(129), dropped(130)], [0, 0, 2, 0, 2]);
    // The running maximum survives the batches that made it.
    spool.append(&batch(132, Some(60), b"x")).unwrap();
    assert_eq!(spool.drop_until(129).unwrap().batches, 0);
    drop(spool);
    let (mut spool, _) = open(&dir, ROOMY);
    assert_eq!(spool.drop_until(129).unwrap().batches, 0);
    assert_eq!(spool.drop_until(130).unwrap().batches, 1);
}

#[test]
fn a_full_spool_refuses_and_takes_again_once_something_is_gone() {
    let dir = TempDir::new().unwrap();
    let (mut spool, _) = open(&dir, 10_000);
    let mut stored = 0;
    let refused = loop {
        match spool.append(&batch(stored, Some(stored), &[7; 300])) {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(stored > 20 && spool.bytes() <= 10_000, "{stored} batches, {} bytes", spool.bytes());
    assert!(spool.bytes() > 9_600);
    assert_eq!(refused.to_string().split_once(" of ").unwrap().1.split_once(')').unwrap().0, "10000 bytes");
    assert_eq!(u64::try_from(stored).unwrap(), spool.len());
    spool.drop_until(2).unwrap();
    spool.append(&batch(stored, Some(stored), &[7; 300])).unwrap();
    let on_disk: u64 = files(&dir).iter().map(|file| fs::metadata(file).unwrap().len()).sum();
    assert_eq!(spool.bytes(), on_disk);
    let error = spool.append(&batch(1, None, &[0; 10_000])).unwrap_err();
    assert!(matches!(error, SpoolError::TooLarge { .. }), "{error}");
}

#[test]
fn old_batches_go_by_their_arrival() {
    let dir = TempDir::new().unwrap();
    let (mut spool, _) = open(&dir, 10_000);
    for received in 0..20 {
        spool.append(&batch(received, Some(1_000), &[7; 300])).unwrap();
    }
    assert_eq!(spool.drop_received_before(0).unwrap().batches, 0);
    assert_eq!(spool.drop_received_before(13).unwrap().batches, 13);
    assert_eq!(spool.front().unwrap().unwrap().received_at_ms, 13);
    assert_eq!(spool.drop_received_before(i64::MAX).unwrap().batches, 7);
    assert_eq!(spool.bytes(), 0);
}

#[test]
fn a_header_that_no_sender_sets_is_refused() {
    let dir = TempDir::new().unwrap();
    let (mut spool, _) = open(&dir, ROOMY);
    let mut odd = batch(1, None, b"");
    odd.format.version = "x".repeat(256);
    let message = spool.append(&odd).unwrap_err().to_string();
    assert_eq!(message, "the header `version` has 256 bytes, more than the 255 that a spooled batch keeps");
    assert!(spool.is_empty());
}

#[test]
fn a_crash_at_any_byte_of_the_tail_costs_the_last_batch_only() {
    let dir = TempDir::new().unwrap();
    let (mut spool, _) = open(&dir, ROOMY);
    let all = [batch(1, Some(1), b"first"), batch(2, Some(2), b"second"), batch(3, Some(3), b"third")];
    let mut ends = Vec::new();
    for batch in &all {
        spool.append(batch).unwrap();
        ends.push(usize::try_from(spool.bytes()).unwrap());
    }
    drop(spool);
    let file = files(&dir).remove(0);
    let whole = fs::read(&file).unwrap();
    for cut in 0..=whole.len() {
        for garbage in [&b""[..], &[0; 40], b"\xff\xff\xff\xff\xff\xff\xff\xff\xff"] {
            fs::write(&file, [&whole[..cut], garbage].concat()).unwrap();
            let complete = ends.iter().filter(|&&end| end <= cut).count();
            let (mut spool, recovered) = open(&dir, ROOMY);
            let kept = if complete == 0 { 0 } else { ends[complete - 1] };
            assert_eq!((recovered.batches, recovered.bytes), (complete as u64, kept as u64), "cut at {cut}");
            if complete > 0 {
                assert_eq!(recovered.damaged_bytes, (cut + garbage.len() - kept) as u64, "cut at {cut}");
            }
            // Another batch goes behind what is left, and both are read by the next process.
            spool.append(&batch(9, Some(9), b"after")).unwrap();
            drop(spool);
            let (mut spool, recovered) = open(&dir, ROOMY);
            assert_eq!(recovered.damaged_bytes, 0);
            let mut expected = all[..complete].to_vec();
            expected.push(batch(9, Some(9), b"after"));
            assert_eq!(drain(&mut spool), expected);
        }
    }
}

#[test]
fn a_flipped_bit_costs_the_rest_of_its_segment_and_no_other() {
    let dir = TempDir::new().unwrap();
    let fill = |spool: &mut Spool| (0..12).for_each(|i| spool.append(&batch(i, Some(i), &[7; 300])).unwrap());
    let (mut spool, _) = open(&dir, 16_000);
    fill(&mut spool);
    let whole: Vec<(PathBuf, Vec<u8>)> =
        files(&dir).into_iter().map(|file| (file.clone(), fs::read(file).unwrap())).collect();
    assert_eq!(whole.len(), 6, "two to a segment");
    // While it is open: found when it is read.
    let mut damaged = whole[1].1.clone();
    let middle = damaged.len() * 3 / 4;
    damaged[middle] ^= 1;
    fs::write(&whole[1].0, &damaged).unwrap();
    let times: Vec<i64> = drain(&mut spool).iter().map(|batch| batch.received_at_ms).collect();
    assert_eq!(times, [0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11]);
    assert!(spool.damaged_bytes() > 300);
    drop(spool);
    // Before it is opened: found by recovery.
    for (file, bytes) in &whole {
        fs::write(file, bytes).unwrap();
    }
    damaged[25] ^= 1;
    fs::write(&whole[1].0, &damaged).unwrap();
    let (mut spool, recovered) = open(&dir, 16_000);
    assert_eq!((recovered.batches, recovered.damaged_bytes), (10, damaged.len() as u64 - 20));
    assert_eq!(drain(&mut spool).len(), 10);
}

/// What a spool must do, on a plain list.
#[derive(Default)]
struct Model {
    batches: Vec<(Batch, i64)>,
    running_max: Option<i64>,
}

#[derive(Clone, Debug)]
enum Step {
    Append(i64, Option<i64>, usize),
    Pop,
    DropUntil(i64),
    DropReceivedBefore(i64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..100_i64, proptest::option::of(0..100_i64), 0..600_usize).prop_map(|(at, max, size)| Step::Append(at, max, size)),
        2 => Just(Step::Pop),
        2 => (0..100_i64).prop_map(Step::DropUntil),
        1 => (0..100_i64).prop_map(Step::DropReceivedBefore),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn it_does_what_a_list_would_do(steps in proptest::collection::vec(step(), 1..60)) {
        let dir = TempDir::new().unwrap();
        let (mut spool, _) = open(&dir, 12_000);
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Append(at, max, size) => {
                    let batch = batch(at, max, &vec![9; size]);
                    if spool.append(&batch).is_ok() {
                        let running_max = model.running_max.unwrap_or(i64::MIN).max(max.unwrap_or(at));
                        model.running_max = Some(running_max);
                        model.batches.push((batch, running_max));
                    } else {
                        prop_assert!(spool.bytes() + 700 > 12_000);
                    }
                }
                Step::Pop => {
                    let expected = if model.batches.is_empty() { None } else { Some(model.batches.remove(0).0) };
                    prop_assert_eq!(spool.front().unwrap().cloned(), expected);
                    spool.pop_front().unwrap();
                }
                Step::DropUntil(bound) => {
                    let kept = model.batches.iter().position(|(_, max)| *max > bound).unwrap_or(model.batches.len());
                    prop_assert_eq!(spool.drop_until(bound).unwrap().batches, kept as u64);
                    model.batches.drain(..kept);
                }
                Step::DropReceivedBefore(limit) => {
                    let recent = |(batch, _): &(Batch, i64)| batch.received_at_ms >= limit;
                    let kept = model.batches.iter().position(recent).unwrap_or(model.batches.len());
                    prop_assert_eq!(spool.drop_received_before(limit).unwrap().batches, kept as u64);
                    model.batches.drain(..kept);
                }
                Step::Restart => {
                    // What was taken of the oldest segment comes back: at least all that the model holds.
                    drop(spool);
                    spool = open(&dir, 12_000).0;
                    while spool.len() > model.batches.len() as u64 {
                        spool.pop_front().unwrap();
                    }
                    if spool.is_empty() {
                        // Without a file nobody remembers what was received before.
                        model.running_max = None;
                    }
                }
            }
            prop_assert_eq!(spool.len(), model.batches.len() as u64);
            prop_assert!(spool.bytes() <= 12_000);
        }
        let expected: Vec<Batch> = model.batches.into_iter().map(|(batch, _)| batch).collect();
        prop_assert_eq!(drain(&mut spool), expected);
    }
}

/// Names this test for the child below, and tells it where to write.
const CHILD: &str = "SPOOL_TEST_DIRECTORY";

/// A limit on the size of files makes a write end in the middle of a record, as a full disk does, without being root.
#[test]
fn a_disk_that_takes_only_a_part_of_a_batch_leaves_the_spool_as_it_was() {
    if let Some(dir) = std::env::var_os(CHILD) {
        return fill_the_disk(Path::new(&dir));
    }
    let dir = TempDir::new().unwrap();
    let name = "gate::spool::tests::a_disk_that_takes_only_a_part_of_a_batch_leaves_the_spool_as_it_was";
    let script = "trap '' XFSZ; ulimit -f 32; exec \"$@\"";
    let child = Command::new("bash")
        .args(["-c", script, "bash"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, dir.path())
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && output.contains("refused and survived"), "{output}\n{child:?}");
}

fn fill_the_disk(dir: &Path) {
    let (mut spool, _) = Spool::open(dir, ROOMY).unwrap();
    let mut stored = 0;
    let error = loop {
        match spool.append(&batch(stored, Some(stored), &[7; 1000])) {
            Ok(()) => stored += 1,
            Err(error) => break error.to_string(),
        }
    };
    assert!(stored > 20 && error.contains("cannot write"), "{stored}: {error}");
    let bytes = spool.bytes();
    let on_disk = || fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum::<u64>();
    assert_eq!(on_disk(), bytes, "the part is cut off");
    assert!(spool.append(&batch(stored, Some(stored), &[7; 1000])).is_err());
    // What still fits is taken, and everything can be read.
    spool.append(&batch(stored, Some(stored), b"")).unwrap();
    // A segment of its own that cannot hold its first batch is gone again.
    spool.open = None;
    assert!(spool.append(&batch(0, None, &vec![7; 40_000])).is_err());
    assert_eq!(spool.segments.len(), 1);
    drop(spool);
    let (mut spool, recovered) = Spool::open(dir, ROOMY).unwrap();
    assert_eq!((recovered.batches, recovered.damaged_bytes), (u64::try_from(stored).unwrap() + 1, 0));
    assert_eq!(drain(&mut spool).len(), usize::try_from(stored).unwrap() + 1);
    println!("refused and survived");
}
