//! A refused request of a catch-up in pieces, for a receiver that stores nothing of a request for one sample of it that it
//! has already, and does not say which.
//!
//! ```text
//! refused -> series whose newest sample there is known -> one request, sure to be taken
//!         -> the rest, what was scraped together by itself, several at once:
//!              oldest timestamp -> taken   -> the next ones, four times as many
//!                               -> refused -> single series, several at once -> those are known from here on
//! ```
//!
//! Samples of one scrape are not all new or all old: the old writer's shards share the series of a target out, and one that
//! was stuck, or had not got to the rest of a scrape, leaves a part of them unwritten.
//!
//! Invariants: the samples of one series go out in time order, one request after the other; requests that are on their way
//! together have no series in common. A series is known once the receiver has taken a sample of it in this tenure, since
//! nobody else writes. Bounded: each timestamp of a target is refused once, and single series are tried [`TRIES_MAX`] times a
//! takeover. The more of these are gone, the fewer series of a refused timestamp are tried; one that is not counts as old.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::sync::Semaphore;

use super::lock;
use super::wire::{Pieces, Sample};

/// Single series that are tried in one takeover: some seconds of a receiver's time.
const TRIES_MAX: u32 = 16_384;
/// Requests on their way at once.
const IN_FLIGHT_MAX: usize = 16;
/// Series of a refused timestamp that are tried by themselves.
const TRIED_MAX: usize = 32;
/// Of what is left, such a part may be spent on one timestamp.
const SHARE: u32 = 64;
/// Series that are kept in mind: a few MiB.
const KNOWN_MAX: usize = 1 << 18;

/// Sends a piece until there is an answer that settles it; whether it was taken.
pub(super) type Sending<'a> = Pin<Box<dyn Future<Output = bool> + Send + 'a>>;

/// What one takeover has learnt about the receiver.
pub(super) struct Learnt {
    /// Newest sample of each series, in Unix milliseconds.
    newest: Mutex<HashMap<u64, i64>>,
    tries_left: AtomicU32,
    in_flight: Semaphore,
}

impl Default for Learnt {
    fn default() -> Self {
        Self::with_tries(TRIES_MAX)
    }
}

impl Learnt {
    fn with_tries(tries: u32) -> Self {
        Self { newest: Mutex::default(), tries_left: AtomicU32::new(tries), in_flight: Semaphore::new(IN_FLIGHT_MAX) }
    }

    /// The receiver has taken these samples.
    fn taken(&self, pieces: &Pieces, places: &[usize]) {
        let mut newest = lock(&self.newest);
        for sample in places.iter().filter_map(|&place| pieces.samples().get(place)) {
            let is_full = newest.len() >= KNOWN_MAX;
            match newest.get_mut(&sample.series) {
                Some(known) => *known = sample.at_ms.max(*known),
                None if is_full => {}
                None => drop(newest.insert(sample.series, sample.at_ms)),
            }
        }
    }

    /// The receiver has taken a whole request: of use only where others are refused.
    pub(super) fn has_taken(&self, body: &[u8]) {
        if let Ok(pieces) = Pieces::read(body) {
            self.taken(&pieces, &(0..pieces.samples().len()).collect::<Vec<_>>());
        }
    }

    /// How many of so many series of a refused timestamp may be tried; they count as tried.
    fn tries(&self, wanted: usize) -> usize {
        let wanted = u32::try_from(wanted.min(TRIED_MAX)).unwrap_or(u32::MAX);
        let share = |left: u32| wanted.min(left / SHARE);
        let taken = |left: u32| Some(left - share(left));
        self.tries_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).map_or(0, share) as usize
    }
}

/// One refused request.
pub(super) struct Apart<'a> {
    pieces: &'a Pieces,
    learnt: &'a Learnt,
    sender: &'a (dyn Fn(Bytes) -> Sending<'a> + Sync),
    has_lost: AtomicBool,
}

impl<'a> Apart<'a> {
    /// Sends all of it that the receiver takes; whether something was refused.
    pub(super) async fn send(
        pieces: &'a Pieces,
        learnt: &'a Learnt,
        sender: &'a (dyn Fn(Bytes) -> Sending<'a> + Sync),
    ) -> bool {
        let apart = Self { pieces, learnt, sender, has_lost: AtomicBool::new(false) };
        let (known, mut rest) = apart.part((0..pieces.samples().len()).collect());
        if !apart.offer(&known).await {
            rest.extend(known);
            rest.sort_unstable();
        }
        let all = scraped_together(pieces.samples(), &rest).into_iter().map(|places| apart.in_order(places));
        // What is on its way is bounded in `offer`; this bounds what waits for it.
        stream::iter(all).buffer_unordered(IN_FLIGHT_MAX).collect::<()>().await;
        if let Some(Ok(beside)) = pieces.beside() {
            (apart.sender)(beside.into()).await;
        }
        apart.has_lost.load(Ordering::Relaxed)
    }

    fn at(&self, place: usize) -> i64 {
        self.pieces.samples()[place].at_ms
    }

    /// Those that the receiver is known to take, and the rest.
    fn part(&self, places: Vec<usize>) -> (Vec<usize>, Vec<usize>) {
        let newest = lock(&self.learnt.newest);
        places.into_iter().partition(|&place| {
            let sample = &self.pieces.samples()[place];
            newest.get(&sample.series).is_some_and(|&known| known < sample.at_ms)
        })
    }

    /// Offers some samples; whether they were taken.
    async fn offer(&self, places: &[usize]) -> bool {
        if places.is_empty() {
            return true;
        }
        let Ok(body) = self.pieces.body(places) else { return false };
        let Ok(_permit) = self.learnt.in_flight.acquire().await else { return false };
        let is_taken = (self.sender)(body.into()).await;
        if is_taken {
            self.learnt.taken(self.pieces, places);
        }
        is_taken
    }

    /// Sends samples that were scraped together, the oldest first.
    async fn in_order(&self, mut left: Vec<usize>) {
        let mut timestamps = 1;
        while let Some(&first) = left.first() {
            let end = self.end(&left, timestamps);
            if self.offer(&left[..end]).await {
                left.drain(..end);
                timestamps *= 4;
                continue;
            }
            if self.at(first) != self.at(left[end - 1]) {
                timestamps = 1;
                continue;
            }
            let refused: Vec<usize> = left.drain(..end).collect();
            if self.series(refused).await {
                let (known, rest) = self.part(left);
                left = rest;
                if !self.offer(&known).await {
                    left.extend(known);
                    left.sort_unstable();
                }
            }
        }
    }

    /// Where so many timestamps end.
    fn end(&self, places: &[usize], mut timestamps: usize) -> usize {
        for (index, pair) in places.windows(2).enumerate() {
            if self.at(pair[0]) != self.at(pair[1]) {
                timestamps -= 1;
                if timestamps == 0 {
                    return index + 1;
                }
            }
        }
        places.len()
    }

    /// Sends what is new of a refused timestamp; whether something is. Evenly spread series are tried by themselves; if one
    /// is new the stretches between them are.
    fn series(&self, refused: Vec<usize>) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(async move {
            self.has_lost.store(true, Ordering::Relaxed);
            let tries = if refused.len() < 2 { 0 } else { self.learnt.tries(refused.len()) };
            if tries == 0 {
                return false;
            }
            let step = refused.len().div_ceil(tries);
            let (spread, between): (Vec<usize>, Vec<Vec<usize>>) =
                refused.chunks(step).map(|stretch| (stretch[0], stretch[1..].to_vec())).unzip();
            let alone = spread.into_iter().map(|place| async move { self.offer(&[place]).await });
            let taken: Vec<bool> = stream::iter(alone).buffer_unordered(IN_FLIGHT_MAX).collect().await;
            if !taken.contains(&true) {
                return false;
            }
            let between = between.into_iter().map(|stretch| async move {
                if !self.offer(&stretch).await {
                    self.series(stretch).await;
                }
            });
            stream::iter(between).buffer_unordered(IN_FLIGHT_MAX).collect::<()>().await;
            true
        })
    }
}

/// Parts `places` so that samples of one series, and samples of one target and timestamp, stay together. Labels alone do not
/// tell all targets apart, the moments at which they are scraped do.
fn scraped_together(samples: &[Sample], places: &[usize]) -> Vec<Vec<usize>> {
    let (mut of_series, mut of_scrape) = (HashMap::new(), HashMap::new());
    let mut groups = Groups(Vec::new());
    for &place in places {
        let sample = &samples[place];
        let series = *of_series.entry(sample.series).or_insert_with(|| groups.add());
        let scrape = *of_scrape.entry((sample.target, sample.at_ms)).or_insert(series);
        groups.unite(series, scrape);
    }
    let mut parts: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for &place in places {
        parts.entry(groups.of(of_series[&samples[place].series])).or_default().push(place);
    }
    parts.into_values().collect()
}

/// Disjoint sets: the parent of each element, itself if it stands for its set.
struct Groups(Vec<usize>);

impl Groups {
    fn add(&mut self) -> usize {
        self.0.push(self.0.len());
        self.0.len() - 1
    }

    fn of(&mut self, mut element: usize) -> usize {
        while self.0[element] != element {
            self.0[element] = self.0[self.0[element]];
            element = self.0[element];
        }
        element
    }

    fn unite(&mut self, one: usize, other: usize) {
        let (one, other) = (self.of(one), self.of(other));
        self.0[one.max(other)] = one.min(other);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::sync::atomic::AtomicUsize;

    use super::super::wire::testing::{body, v1};
    use super::*;

    /// Time between two scrapes of one target, in milliseconds.
    const INTERVAL: i64 = 1_000;

    /// Targets that share job and instance, each with a phase of its own.
    struct Case {
        targets: i64,
        series: i64,
        scrapes: i64,
    }

    impl Case {
        fn pieces(&self) -> Pieces {
            let label = |name: &str, value: String| v1::Label { name: name.into(), value };
            let series = |target: i64, series: i64| v1::TimeSeries {
                labels: vec![
                    label("__name__", format!("metric_{series}")),
                    label("instance", "a:1".into()),
                    label("part", target.to_string()),
                ],
                samples: (0..self.scrapes)
                    .map(|scrape| v1::Sample { value: 1.0, timestamp: at(target, scrape) })
                    .collect(),
                ..Default::default()
            };
            let all = (0..self.targets).flat_map(|target| (0..self.series).map(move |number| series(target, number)));
            Pieces::read(&body(&v1::WriteRequest { timeseries: all.collect(), metadata: Vec::new() })).unwrap()
        }
    }

    fn at(target: i64, scrape: i64) -> i64 {
        scrape * INTERVAL + target
    }

    /// Takes a request only if each of its samples is newer than what it has of the series.
    #[derive(Default)]
    struct Strict {
        newest: Mutex<HashMap<u64, i64>>,
        taken: AtomicUsize,
        requests: AtomicUsize,
        open: AtomicUsize,
        most_open: AtomicUsize,
    }

    impl Strict {
        /// One that has so many scrapes of all series but every fifth, and one less of those.
        fn with(pieces: &Pieces, scrapes: i64) -> Self {
            let mut newest = HashMap::new();
            for sample in pieces.samples() {
                let has = scrapes - i64::from(sample.series % 5 == 0);
                if sample.at_ms < has * INTERVAL {
                    newest.insert(sample.series, sample.at_ms);
                }
            }
            Self { newest: Mutex::new(newest), ..Self::default() }
        }

        async fn offer(&self, body: Bytes) -> bool {
            self.requests.fetch_add(1, Ordering::Relaxed);
            self.most_open.fetch_max(self.open.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            self.open.fetch_sub(1, Ordering::Relaxed);
            let pieces = Pieces::read(&body).unwrap();
            let mut all = lock(&self.newest);
            let mut newest = all.clone();
            for sample in pieces.samples() {
                if newest.insert(sample.series, sample.at_ms).is_some_and(|newest| newest >= sample.at_ms) {
                    return false;
                }
            }
            *all = newest;
            self.taken.fetch_add(pieces.samples().len(), Ordering::Relaxed);
            true
        }
    }

    async fn send(pieces: &Pieces, learnt: &Learnt, receiver: &Strict) -> usize {
        let offer = |body| -> Sending<'_> { Box::pin(receiver.offer(body)) };
        Apart::send(pieces, learnt, &offer).await;
        receiver.taken.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn targets_that_share_their_labels_are_told_apart_by_their_phases() {
        let pieces = Case { targets: 50, series: 15, scrapes: 10 }.pieces();
        let receiver = Strict::with(&pieces, 7);
        let old: usize = 50 * 15 * 7 - receiver.newest.lock().unwrap().keys().filter(|key| *key % 5 == 0).count();
        assert_eq!(send(&pieces, &Learnt::default(), &receiver).await, 50 * 15 * 10 - old);
        assert_eq!(receiver.most_open.load(Ordering::Relaxed), IN_FLIGHT_MAX);
    }

    #[tokio::test]
    async fn without_tries_left_new_timestamps_still_go_out() {
        let pieces = Case { targets: 50, series: 15, scrapes: 10 }.pieces();
        let receiver = Strict::with(&pieces, 7);
        assert_eq!(send(&pieces, &Learnt::with_tries(0), &receiver).await, 50 * 15 * 3);
        assert!(receiver.requests.load(Ordering::Relaxed) < 50 * 10);
    }
}
