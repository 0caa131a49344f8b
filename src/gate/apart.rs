//! A refused request of a catch-up in pieces, for a receiver that stores nothing of a request for one sample of it that it
//! has already, and does not say which.
//!
//! ```text
//! refused -> series whose newest sample there is known -> one request, sure to be taken
//!         -> the rest, each target by itself, several at once:
//!              oldest timestamp -> taken   -> the next ones, four times as many
//!                               -> refused -> single series, several at once -> those are known from here on
//! ```
//!
//! Samples of one scrape are not all new or all old: the old writer's shards share the series of a target out, and one that
//! was stuck, or had not got to the rest of a scrape, leaves a part of them unwritten.
//!
//! Invariants: the samples of one series go out in time order, one request after the other; requests that are on their way
//! together have no series in common. A series is known once the receiver has taken a sample of it in this tenure, since
//! nobody else writes. Bounded: [`REQUESTS_MAX`] a takeover. The more of them are gone, the fewer series of a refused
//! timestamp are tried; one that is not counts as old.

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
use super::wire::Pieces;

/// Requests that pieces may cost in one takeover.
const REQUESTS_MAX: u32 = 4096;
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
    requests_left: AtomicU32,
    in_flight: Semaphore,
}

impl Learnt {
    pub(super) fn new() -> Self {
        Self {
            newest: Mutex::default(),
            requests_left: AtomicU32::new(REQUESTS_MAX),
            in_flight: Semaphore::new(IN_FLIGHT_MAX),
        }
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

    /// Takes a request from the bound.
    fn may_send(&self) -> bool {
        let less = |left: u32| left.checked_sub(1);
        self.requests_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    /// Series of one refused timestamp that may be tried.
    fn tries(&self) -> usize {
        (self.requests_left.load(Ordering::Relaxed) / SHARE) as usize
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
        let mut targets: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for place in rest {
            targets.entry(pieces.samples()[place].target).or_default().push(place);
        }
        let all = targets.into_values().map(|target| apart.target(target));
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
        let is_taken = self.learnt.may_send() && (self.sender)(body.into()).await;
        if is_taken {
            self.learnt.taken(self.pieces, places);
        }
        is_taken
    }

    /// Sends the samples of one target, the oldest first.
    async fn target(&self, mut left: Vec<usize>) {
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
            let tries = refused.len().min(TRIED_MAX).min(self.learnt.tries());
            if refused.len() < 2 || tries == 0 {
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
