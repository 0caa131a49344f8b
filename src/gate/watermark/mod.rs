//! How far the writer has got with a remote: the timestamp up to which standbys need not keep anything.
//!
//! ```text
//! watermark = min( highest timestamp finished,
//!                  lowest timestamp of any batch without a final answer        - 1,    (open)
//!                  lowest timestamp of any batch finished a short while ago    - 1,    (lingering)
//!                  lowest timestamp of any batch that the remote would not have - 1 )  (frozen)
//! ```
//!
//! Pure: events with their time in, a number out. Each rule has the case that fails without it (`simulation.rs`):
//!
//! - *Open*. A plain maximum is wrong: with one shard of four stuck for 40 s the others lift it, and what waits in the
//!   stuck one is lost when the writer dies. Prometheus repeats a batch as a new request with the same bytes, so a batch is
//!   known by the hash of its body, and any attempt that ends it ends all of it.
//! - *Given up*. Prometheus drops batches without a word: at a restart, at a reload that changes the queue, when resharding
//!   takes too long, after 429 without `retry_on_http_429`; and with `sample_age_limit` it repeats them with other bytes. So
//!   a batch that is not on its way and has not been tried again for [`Timing::give_up_after`] (a minute, or twice the
//!   longest pause that Prometheus or the remote's `Retry-After` asks for) no longer counts. A minute leaves time for the
//!   handover that such a loss calls for; waiting for ever would fill the spools of all standbys.
//! - *Lingering*. A shard that was stuck holds more behind the batch that has just ended; what does not fill a batch enters
//!   only after `batch_send_deadline`. Until then the floor of the finished one holds.
//! - *Frozen*. After 401, 403, 404, 405, 407 or a redirect Prometheus throws the batch away, and the standbys have the only
//!   copies. They are kept while the trouble lasts, and from the first success on for `give_up_after`: time to hand over.
//! - *At the start* nothing is told for one linger and one back-off: what waits in Prometheus for its next attempt has not
//!   been seen yet.
//!
//! Batches without timestamps (metadata alone, unreadable bodies) take no part: they must not lift the watermark above data
//! that waits. Timestamps from the future do not get here (`wire::Summary` leaves them out of the range); a standby
//! ignores a watermark that its own clock makes impossible ([`usable`]).
//!
//! Invariants: no I/O; memory bounded by [`OPEN_MAX`]; a value may fall, what is published never does ([`Publisher`]).

mod outcome;
mod publish;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, VecDeque};
use std::hash::Hasher;
use std::time::{Duration, Instant};

pub use self::outcome::Outcome;
pub use self::publish::{FUTURE_TOLERANCE, Publisher, key, outdated, usable};
use super::TimeRange;

/// Most batches without a final answer. Prometheus has one for each of at most 50 shards by default; the rest is for those
/// that it gave up.
pub const OPEN_MAX: usize = 1024;

/// Shortest time after which a batch that nobody tries again is given up: twelve times Prometheus's `max_backoff`.
const GIVE_UP_MIN: Duration = Duration::from_secs(60);

/// Lingering floors end in steps, so that there are no more of them than this.
const LINGER_STEPS: u32 = 64;

/// Frozen floors are told apart by the first success after them; beyond this many they share one.
const FROZEN_MAX: usize = 64;

/// Settings of the remote's queue that the rules lean on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// `queue_config.batch_send_deadline`.
    pub batch_send_deadline: Duration,
    /// `queue_config.max_backoff`.
    pub max_backoff: Duration,
    /// `watermark-period`.
    pub period: Duration,
}

impl Timing {
    /// How long the floor of a finished batch holds.
    pub fn linger(&self) -> Duration {
        self.batch_send_deadline + self.period
    }

    /// How long a batch is waited for that nobody tries again.
    pub fn give_up_after(&self) -> Duration {
        GIVE_UP_MIN.max(2 * self.max_backoff)
    }
}

/// Identity of a batch: the hash of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BatchKey(u64);

impl BatchKey {
    /// Key of a body as it was received.
    pub fn of(body: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(body);
        Self(hasher.finish())
    }
}

/// A batch without a final answer.
#[derive(Debug)]
struct Open {
    range: TimeRange,
    /// Attempts on their way.
    attempts: u32,
    /// When the last attempt ended, and how long the next one may take to come.
    idle: Option<(Instant, Duration)>,
}

impl Open {
    fn gives_up_at(&self) -> Option<Instant> {
        self.idle.filter(|_| self.attempts == 0).map(|(since, patience)| since + patience)
    }
}

/// What has not been written and will not come again.
#[derive(Debug)]
struct Frozen {
    lowest_ms: i64,
    /// When the remote took something again.
    recovered: Option<Instant>,
}

/// What [`Watermark::expire`] has let go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Batches that Prometheus has given up: their data is in the spools of the standbys only, and will be dropped there.
    pub given_up: usize,
    /// Whether data that the remote refused on account of the replica is no longer held back.
    pub thawed: bool,
}

/// The writer's progress with one remote.
#[derive(Debug)]
pub struct Watermark {
    timing: Timing,
    started: Instant,
    highest_finished_ms: Option<i64>,
    open: HashMap<BatchKey, Open>,
    /// Floors with the time until which they hold; both ascend.
    lingering: VecDeque<(i64, Instant)>,
    frozen: VecDeque<Frozen>,
    refused_since: Option<Instant>,
}

impl Watermark {
    /// A writer that begins.
    pub fn new(timing: Timing, now: Instant) -> Self {
        Self {
            timing,
            started: now,
            highest_finished_ms: None,
            open: HashMap::new(),
            lingering: VecDeque::new(),
            frozen: VecDeque::new(),
            refused_since: None,
        }
    }

    /// An attempt begins. `false`: too many batches are open, the attempt must be refused with 503.
    #[must_use]
    pub fn begin(&mut self, key: BatchKey, range: TimeRange) -> bool {
        if self.open.len() >= OPEN_MAX && !self.open.contains_key(&key) {
            // The one that is waited for longest is the likeliest to be given up.
            let idle = self.open.iter().filter_map(|(key, open)| Some((open.gives_up_at()?, *key)));
            let Some((_, oldest)) = idle.min_by_key(|(at, _)| *at) else { return false };
            self.open.remove(&oldest);
        }
        self.open.entry(key).or_insert(Open { range, attempts: 0, idle: None }).attempts += 1;
        true
    }

    /// An attempt ends.
    pub fn end(&mut self, key: BatchKey, outcome: Outcome, now: Instant) {
        if let Outcome::Final { accepted: true } = outcome {
            self.refused_since = None;
            self.frozen.iter_mut().filter(|frozen| frozen.recovered.is_none()).for_each(|f| f.recovered = Some(now));
        }
        let patience = self.timing.give_up_after();
        match outcome {
            Outcome::Final { .. } => {
                let Some(open) = self.open.remove(&key) else { return };
                self.highest_finished_ms = self.highest_finished_ms.max(Some(open.range.max_ms));
                self.linger(open.range.min_ms, now + self.timing.linger());
            }
            Outcome::Again { retry_after } => {
                let Some(open) = self.open.get_mut(&key) else { return };
                open.attempts = open.attempts.saturating_sub(1);
                open.idle = Some((now, patience.max(2 * retry_after.unwrap_or_default())));
            }
            Outcome::Refused => {
                self.refused_since.get_or_insert(now);
                let Some(open) = self.open.remove(&key) else { return };
                self.freeze(open.range.min_ms);
            }
        }
    }

    fn linger(&mut self, lowest_ms: i64, until: Instant) {
        let step = (self.timing.linger() / LINGER_STEPS).max(Duration::from_millis(1));
        let passed = until.saturating_duration_since(self.started).as_nanos() / step.as_nanos();
        let until = self.started + step * u32::try_from(passed + 1).unwrap_or(u32::MAX);
        // A floor that is no lower and ends no later adds nothing.
        while self.lingering.back().is_some_and(|&(other_ms, _)| other_ms >= lowest_ms) {
            self.lingering.pop_back();
        }
        if self.lingering.back().is_none_or(|&(_, other)| other < until) {
            self.lingering.push_back((lowest_ms, until));
        }
    }

    fn freeze(&mut self, lowest_ms: i64) {
        let is_full = self.frozen.len() >= FROZEN_MAX;
        match self.frozen.back_mut() {
            Some(last) if last.recovered.is_none() || is_full => {
                last.lowest_ms = last.lowest_ms.min(lowest_ms);
                last.recovered = None;
            }
            _ => self.frozen.push_back(Frozen { lowest_ms, recovered: None }),
        }
    }

    /// An attempt was taken back: what it was to send has gone elsewhere, and is counted there.
    pub fn withdraw(&mut self, key: BatchKey) {
        if let Some(open) = self.open.get_mut(&key) {
            open.attempts = open.attempts.saturating_sub(1);
            if open.attempts == 0 && open.idle.is_none() {
                self.open.remove(&key);
            }
        }
    }

    /// Lets go what is waited for in vain; to be called once per `watermark-period`.
    pub fn expire(&mut self, now: Instant) -> Expired {
        let before = self.open.len();
        self.open.retain(|_, open| open.gives_up_at().is_none_or(|at| at > now));
        let given_up = before - self.open.len();
        while self.lingering.front().is_some_and(|&(_, until)| until <= now) {
            self.lingering.pop_front();
        }
        let hold = self.timing.give_up_after();
        let frozen = self.frozen.len();
        self.frozen.retain(|frozen| frozen.recovered.is_none_or(|at| at + hold > now));
        Expired { given_up, thawed: self.frozen.len() < frozen }
    }

    /// The watermark in Unix milliseconds: everything up to it is finished. `None` while nothing is known.
    pub fn value(&self, now: Instant) -> Option<i64> {
        if now < self.started + self.timing.linger() + self.timing.max_backoff {
            return None;
        }
        let open = self.open.values().map(|open| open.range.min_ms);
        let lingering = self.lingering.iter().filter(|(_, until)| *until > now).map(|(lowest_ms, _)| *lowest_ms);
        let frozen = self.frozen.iter().map(|frozen| frozen.lowest_ms);
        let floor = open.chain(lingering).chain(frozen).min();
        let finished = self.highest_finished_ms?;
        Some(floor.map_or(finished, |floor| finished.min(floor.saturating_sub(1))))
    }

    /// Since when the remote refuses this replica without taking anything: to be shown, and after a while a reason to
    /// hand over.
    pub fn refused_since(&self) -> Option<Instant> {
        self.refused_since
    }

    /// Number of batches without a final answer.
    pub fn open(&self) -> usize {
        self.open.len()
    }
}
