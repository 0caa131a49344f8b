//! Two Prometheus, a remote that is stuck for a while, a writer that dies: what is missing in the remote afterwards.
//!
//! Each replica scrapes 200 targets every 15 s at phases of its own, in four shards by series; a shard sends what has
//! piled up every 5 s, one batch at a time, and repeats a refused one every 5 s. Steps of half a second. The standby
//! drops by the watermark as it was two seconds ago, with the margin of the design: interval + deadline + period.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;

const STEP_MS: i64 = 500;
const INTERVAL_MS: i64 = 15_000;
const DEADLINE_MS: i64 = 5_000;
const PERIOD_MS: i64 = 1_000;
const LATE_MS: i64 = 2_000;
const MARGIN_MS: i64 = INTERVAL_MS + DEADLINE_MS + PERIOD_MS;
const SERIES: usize = 200;
const SHARDS: usize = 4;

/// The rule that the writer publishes by.
#[derive(Clone, Copy, PartialEq)]
enum Rule {
    /// The highest timestamp finished.
    Maximum,
    /// The watermark, but floors end with their batch.
    WithoutLingering,
    /// The watermark.
    Watermark,
}

/// A series and the timestamp of a sample.
type Sample = (usize, i64);

#[derive(Default)]
struct Shard {
    waiting: Vec<Sample>,
    in_hand: Vec<Sample>,
    next_at: i64,
}

impl Shard {
    /// The batch to send at this time, a new one or the one that was refused.
    fn batch(&mut self, now_ms: i64) -> Option<Vec<Sample>> {
        if now_ms < self.next_at {
            return None;
        }
        self.next_at = now_ms + DEADLINE_MS;
        if self.in_hand.is_empty() {
            self.in_hand = std::mem::take(&mut self.waiting);
        }
        (!self.in_hand.is_empty()).then(|| self.in_hand.clone())
    }
}

struct Replica {
    shards: [Shard; SHARDS],
    seed: i64,
}

impl Replica {
    fn new(seed: i64) -> Self {
        let shards =
            std::array::from_fn(|shard| Shard { next_at: 1_000 * i64::try_from(shard).unwrap(), ..Shard::default() });
        Self { shards, seed }
    }

    fn scrape(&mut self, now_ms: i64) {
        for series in 0..SERIES {
            let phase = (i64::try_from(series).unwrap() * 7_919 * self.seed + self.seed * 1_234) % INTERVAL_MS
                / STEP_MS
                * STEP_MS;
            if now_ms % INTERVAL_MS == phase {
                self.shards[series % SHARDS].waiting.push((series, now_ms));
            }
        }
    }
}

fn range(batch: &[Sample]) -> TimeRange {
    let times = || batch.iter().map(|sample| sample.1);
    TimeRange { min_ms: times().min().unwrap(), max_ms: times().max().unwrap() }
}

/// Runs until the writer dies at `dies_ms` and the standby has sent what it holds; shard 0 is stuck from 100 s to 140 s.
/// Returns the largest gap of each series in the remote, in milliseconds.
fn gaps(rule: Rule, margin_ms: i64, dies_ms: i64) -> Vec<i64> {
    let second = |ms: i64| Duration::from_millis(ms.try_into().unwrap());
    let start = Instant::now();
    let lingering = if rule == Rule::Watermark { second(DEADLINE_MS) } else { Duration::ZERO };
    let period = if rule == Rule::Watermark { second(PERIOD_MS) } else { Duration::ZERO };
    let timing = Timing { batch_send_deadline: lingering, max_backoff: second(5_000), period };
    let mut watermark = Watermark::new(timing, start);
    let mut publisher = Publisher::new("u", second(PERIOD_MS), None);
    let (mut writer, mut standby) = (Replica::new(1), Replica::new(2));
    let mut stored: Vec<Vec<i64>> = vec![Vec::new(); SERIES];
    let mut spool: VecDeque<(Vec<Sample>, i64)> = VecDeque::new();
    let (mut received_ms, mut finished_ms) = (i64::MIN, None);
    let mut told: VecDeque<(i64, String)> = VecDeque::new();
    for now_ms in (0..dies_ms).step_by(500) {
        let now = start + second(now_ms);
        writer.scrape(now_ms);
        standby.scrape(now_ms);
        for (number, shard) in writer.shards.iter_mut().enumerate() {
            let Some(batch) = shard.batch(now_ms) else { continue };
            let key = BatchKey::of(format!("{batch:?}").as_bytes());
            assert!(watermark.begin(key, range(&batch)));
            if number == 0 && (100_000..140_000).contains(&now_ms) {
                watermark.end(key, Outcome::of(503, None), now);
                continue;
            }
            watermark.end(key, Outcome::of(204, None), now);
            finished_ms = finished_ms.max(Some(range(&batch).max_ms));
            for (series, time) in batch {
                stored[series].push(time);
            }
            shard.in_hand.clear();
        }
        for shard in &mut standby.shards {
            let Some(batch) = shard.batch(now_ms) else { continue };
            received_ms = received_ms.max(range(&batch).max_ms);
            spool.push_back((batch, received_ms));
            shard.in_hand.clear();
        }
        watermark.expire(now);
        let value = if rule == Rule::Maximum { finished_ms } else { watermark.value(now) };
        if let Some(value) = publisher.due(value, now) {
            publisher.published(&value);
            told.push_back((now_ms, value));
        }
        let known = told.iter().rev().find(|(at, _)| at + LATE_MS <= now_ms);
        if let Some(watermark_ms) = known.and_then(|(_, value)| usable(value, "u", now_ms)) {
            while spool.front().is_some_and(|(_, received_ms)| received_ms + margin_ms <= watermark_ms) {
                spool.pop_front();
            }
        }
    }
    let kept = spool.into_iter().flat_map(|(batch, _)| batch);
    let rest = standby.shards.into_iter().flat_map(|shard| shard.waiting);
    for (series, time) in kept.chain(rest) {
        stored[series].push(time);
    }
    let gap = |times: &mut Vec<i64>| {
        times.sort_unstable();
        times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(i64::MAX)
    };
    stored.iter_mut().map(gap).collect()
}

fn series_with_gaps(gaps: &[i64]) -> usize {
    gaps.iter().filter(|&&gap| gap > INTERVAL_MS).count()
}

#[test]
fn one_stuck_shard_of_four_loses_nothing_where_a_plain_maximum_loses_its_series() {
    let maximum = gaps(Rule::Maximum, MARGIN_MS, 140_000);
    assert_eq!(series_with_gaps(&maximum), SERIES / SHARDS);
    assert!(maximum.iter().max() > Some(&30_000), "{:?}", maximum.iter().max());
    assert_eq!(series_with_gaps(&gaps(Rule::Watermark, MARGIN_MS, 140_000)), 0);
}

#[test]
fn a_writer_that_dies_between_the_stuck_batch_and_what_piled_up_behind_it_loses_nothing() {
    // From 140 s, when the stuck batch ends, to 145 s, when the rest of the shard follows.
    let without = gaps(Rule::WithoutLingering, MARGIN_MS, 144_500);
    assert_eq!(series_with_gaps(&without), SERIES / SHARDS, "{:?}", without.iter().max());
    for dies_ms in (138_000..160_000).step_by(500) {
        assert_eq!(series_with_gaps(&gaps(Rule::Watermark, MARGIN_MS, dies_ms)), 0, "dies at {dies_ms} ms");
    }
}

#[test]
fn a_writer_that_dies_in_quiet_times_leaves_no_gap_and_would_with_a_margin_without_the_interval() {
    let mut without = 0;
    for dies_ms in (60_000..100_000).step_by(1_500) {
        assert_eq!(series_with_gaps(&gaps(Rule::Watermark, MARGIN_MS, dies_ms)), 0, "dies at {dies_ms} ms");
        assert_eq!(series_with_gaps(&gaps(Rule::WithoutLingering, MARGIN_MS, dies_ms)), 0, "dies at {dies_ms} ms");
        without += series_with_gaps(&gaps(Rule::WithoutLingering, MARGIN_MS - INTERVAL_MS, dies_ms));
    }
    assert!(without > 0);
}
