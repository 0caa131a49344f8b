//! Each rule of the watermark by itself.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;

use super::*;

const TIMING: Timing = Timing {
    batch_send_deadline: Duration::from_secs(5),
    max_backoff: Duration::from_secs(5),
    period: Duration::from_secs(1),
};
const DONE: Outcome = Outcome::Final { accepted: true };
const VERDICT: Outcome = Outcome::Final { accepted: false };
const AGAIN: Outcome = Outcome::Again { retry_after: None };

/// A writer that has been at work for a minute, its clock in seconds, batches by number.
struct Writer {
    watermark: Watermark,
    start: Instant,
    now: u64,
}

impl Writer {
    fn new() -> Self {
        let start = Instant::now();
        Self { watermark: Watermark::new(TIMING, start), start, now: 60 }
    }

    fn at(&self) -> Instant {
        self.start + Duration::from_secs(self.now)
    }

    fn begin(&mut self, batch: u64, min_ms: i64, max_ms: i64) {
        assert!(self.watermark.begin(BatchKey(batch), TimeRange { min_ms, max_ms }));
    }

    fn end(&mut self, batch: u64, outcome: Outcome) {
        self.watermark.end(BatchKey(batch), outcome, self.at());
    }

    fn pass(&mut self, seconds: u64) -> Expired {
        self.now += seconds;
        self.watermark.expire(self.at())
    }

    fn value(&self) -> Option<i64> {
        self.watermark.value(self.at())
    }
}

#[test]
fn nothing_is_known_before_something_is_finished() {
    let mut writer = Writer::new();
    assert_eq!(writer.value(), None);
    writer.begin(1, 10, 20);
    assert_eq!(writer.value(), None);
    writer.end(1, AGAIN);
    assert_eq!(writer.value(), None);
    writer.begin(1, 10, 20);
    writer.end(1, DONE);
    writer.pass(7);
    assert_eq!(writer.value(), Some(20));
}

#[test]
fn an_open_batch_holds_the_watermark_below_its_lowest_timestamp() {
    let mut writer = Writer::new();
    writer.begin(1, 10, 20);
    writer.begin(2, 15, 90);
    writer.end(2, VERDICT);
    writer.pass(7);
    assert_eq!(writer.value(), Some(9));
    writer.end(1, DONE);
    assert_eq!(writer.value(), Some(9), "lingers");
    writer.pass(7);
    assert_eq!(writer.value(), Some(90));
}

#[test]
fn a_retry_with_the_same_bytes_ends_the_batch() {
    let mut writer = Writer::new();
    writer.begin(1, 10, 20);
    // The connection breaks, but the remote still has the request; the retry is quicker.
    writer.begin(1, 10, 20);
    writer.end(1, DONE);
    writer.end(1, AGAIN);
    writer.pass(7);
    assert_eq!((writer.value(), writer.watermark.open()), (Some(20), 0));
}

#[test]
fn the_floor_of_a_finished_batch_holds_for_the_deadline_of_the_next_one() {
    let mut writer = Writer::new();
    writer.begin(1, 10, 20);
    writer.end(1, DONE);
    writer.begin(2, 80, 90);
    writer.end(2, DONE);
    writer.pass(6);
    assert_eq!(writer.value(), Some(9));
    writer.pass(1);
    assert_eq!(writer.value(), Some(90));
}

#[test]
fn a_batch_that_nobody_tries_again_is_given_up_after_a_minute() {
    let mut writer = Writer::new();
    writer.begin(1, 10, 20);
    writer.begin(2, 80, 90);
    writer.end(2, DONE);
    writer.end(1, AGAIN);
    for _ in 0..5 {
        assert_eq!(writer.pass(30), Expired::default());
        writer.begin(1, 10, 20);
        assert_eq!(writer.pass(100), Expired::default(), "not while it is on its way");
        writer.end(1, AGAIN);
    }
    assert_eq!(writer.pass(59), Expired::default());
    assert_eq!(writer.value(), Some(9));
    assert_eq!(writer.pass(1), Expired { given_up: 1, thawed: false });
    assert_eq!(writer.value(), Some(90));
}

#[test]
fn whoever_is_asked_to_wait_longer_is_waited_for_longer() {
    let mut writer = Writer::new();
    writer.begin(1, 10, 20);
    writer.end(1, Outcome::Again { retry_after: Some(Duration::from_secs(300)) });
    assert_eq!(writer.pass(599), Expired::default());
    assert_eq!(writer.pass(1).given_up, 1);
    let slow = Timing { max_backoff: Duration::from_secs(50), ..TIMING };
    assert_eq!((slow.give_up_after(), TIMING.give_up_after()), (Duration::from_secs(100), Duration::from_secs(60)));
}

#[test]
fn what_the_remote_refuses_is_held_until_a_minute_after_it_takes_something_again() {
    let mut writer = Writer::new();
    writer.begin(1, 70, 75);
    writer.end(1, DONE);
    writer.pass(7);
    for batch in 2..200 {
        writer.begin(batch, i64::try_from(batch).unwrap() * 50, 10_000);
        writer.end(batch, Outcome::Refused);
        assert_eq!(writer.pass(30), Expired::default());
    }
    assert_eq!(writer.value(), Some(75));
    assert_eq!(writer.watermark.refused_since(), Some(writer.start + Duration::from_secs(67)));
    // A verdict on the data says nothing about the replica.
    writer.begin(300, 20_000, 20_000);
    writer.end(300, VERDICT);
    assert!(writer.watermark.refused_since().is_some());
    writer.begin(301, 20_000, 20_001);
    writer.end(301, DONE);
    assert_eq!((writer.watermark.refused_since(), writer.value()), (None, Some(99)));
    // What is refused from now on is held for its own time.
    writer.pass(30);
    writer.begin(302, 19_000, 19_000);
    writer.end(302, Outcome::Refused);
    writer.begin(303, 20_000, 20_002);
    writer.end(303, DONE);
    assert_eq!(writer.pass(29), Expired::default());
    assert_eq!(writer.value(), Some(99));
    assert_eq!(writer.pass(1), Expired { given_up: 0, thawed: true });
    assert_eq!(writer.value(), Some(18_999));
    assert!(writer.pass(30).thawed);
    assert_eq!(writer.value(), Some(20_002));
}

#[test]
fn a_writer_that_begins_tells_nothing_before_what_waits_has_had_time_to_come() {
    let mut writer = Writer::new();
    writer.now = 0;
    writer.begin(1, 10, 20);
    writer.end(1, DONE);
    writer.pass(10);
    assert_eq!(writer.value(), None);
    writer.pass(1);
    assert_eq!(writer.value(), Some(20));
}

#[test]
fn open_batches_are_bounded_and_the_one_that_is_waited_for_longest_goes_first() {
    let mut writer = Writer::new();
    for batch in 0..OPEN_MAX as u64 {
        writer.begin(batch, 100, 100);
    }
    let range = TimeRange { min_ms: 1, max_ms: 1 };
    assert!(!writer.watermark.begin(BatchKey(5000), range), "all are on their way");
    assert!(writer.watermark.begin(BatchKey(5), range), "an attempt of one that is open is no other one");
    for batch in [7, 6] {
        writer.end(batch, AGAIN);
        writer.pass(1);
    }
    writer.begin(5000, 1, 1);
    assert_eq!(writer.watermark.open(), OPEN_MAX);
    assert!(!writer.watermark.open.contains_key(&BatchKey(7)) && writer.watermark.open.contains_key(&BatchKey(6)));
}

#[test]
fn equal_bodies_are_one_batch() {
    assert_eq!(BatchKey::of(b"body"), BatchKey::of(b"body"));
    assert_ne!(BatchKey::of(b"body"), BatchKey::of(b"bodx"));
}

proptest! {
    /// Whatever happens: nothing that is open, nor anything finished within the last linger, lies at or below the watermark.
    #[test]
    fn the_watermark_never_passes_what_is_open_or_has_just_ended(
        steps in proptest::collection::vec((0..6_u64, 0..1000_i64, 0..100_i64, 0..5_u8, 0..3_u64), 1..80),
    ) {
        let mut writer = Writer::new();
        let mut open: HashMap<u64, i64> = HashMap::new();
        let mut ended: Vec<(i64, u64)> = Vec::new();
        for (batch, min_ms, width, what, seconds) in steps {
            match what {
                0..=2 => {
                    writer.begin(batch, min_ms, min_ms + width);
                    open.entry(batch).or_insert(min_ms);
                }
                3 => {
                    writer.end(batch, DONE);
                    ended.extend(open.remove(&batch).map(|min_ms| (min_ms, writer.now)));
                }
                _ => writer.end(batch, AGAIN),
            }
            writer.pass(seconds);
            let recent = ended.iter().filter(|(_, at)| writer.now < at + 6).map(|(min_ms, _)| min_ms);
            if let (Some(floor), Some(value)) = (open.values().chain(recent).min(), writer.value()) {
                prop_assert!(value < *floor, "{} and {}", value, floor);
            }
            prop_assert!(writer.watermark.lingering.len() <= 66);
        }
    }
}
