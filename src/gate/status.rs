//! What the gate tells about itself, for `/_elector/status` and the metrics.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::cover::{Reach, cover};
use super::forward::Remote;
use super::standby::Phase;
use super::{lock, wall_ms};

/// A leader through whose gate nothing has got to a remote for so long is one that does not ship.
const QUIET_MIN: Duration = Duration::from_secs(60);

/// The whole gate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateStatus {
    /// The gated entries, by name.
    pub remotes: Vec<RemoteStatus>,
    /// Entries that are written by rewriting the configuration, outside the promise of one writer.
    pub ungated: Vec<UngatedStatus>,
    /// What an operator should know of the whole.
    pub warnings: Vec<String>,
}

impl GateStatus {
    /// Everything that an operator should know.
    pub fn warnings(&self) -> impl Iterator<Item = String> + '_ {
        let silent = self.remotes.iter().filter_map(|remote| {
            let what = remote.not_shipping.as_ref()?;
            Some(format!("remote_write `{}` is not shipping: {what}", remote.name))
        });
        silent.chain(self.warnings.iter().cloned())
    }
}

/// An entry outside the gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UngatedStatus {
    /// Its `name`, else its URL without secrets.
    pub label: String,
    /// Why.
    pub reason: String,
    /// Line in the source file, from 1.
    pub line: usize,
}

/// Where a remote's requests go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RemotePhase {
    /// Into the spool: another member writes, or nobody.
    #[default]
    Standby,
    /// Into the spool or to the remote behind it, which goes out first.
    CatchingUp,
    /// To the remote.
    Writer,
    /// Into the spool again: this member is handing over.
    HandingOver,
}

impl RemotePhase {
    /// Its name in status and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Standby => "standby",
            Self::CatchingUp => "catching_up",
            Self::Writer => "writer",
            Self::HandingOver => "handing_over",
        }
    }
}

/// One remote. Times are Unix milliseconds, ages and durations are milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RemoteStatus {
    /// The entry's name.
    pub name: String,
    /// The true URL, without secrets.
    pub url: String,
    /// Where its requests go.
    pub phase: RemotePhase,
    /// Why nothing gets to the remote although this member leads; `None`: it does, or another one leads.
    pub not_shipping: Option<String>,
    /// Since the remote has last taken something from this process; `None`: not yet.
    pub last_accepted_age_ms: Option<u64>,
    /// The remote's last answer that was no success, or why there was none; `None` after a success.
    pub last_error: Option<String>,
    /// How long the remote has been refusing this replica (401, 403, 404, …) without taking anything.
    pub refused_for_ms: Option<u64>,
    /// The group's watermark: what standbys need not keep.
    pub watermark_ms: Option<i64>,
    /// How far it is behind the clock.
    pub watermark_age_ms: Option<i64>,
    /// Whether this member could take over without a gap.
    pub covered: bool,
    /// Why it could not.
    pub not_covered_reason: Option<String>,
    /// Since when its Prometheus keeps what it has not sent.
    pub covered_since_ms: Option<i64>,
    /// Batches in the spool.
    pub spool_batches: u64,
    /// Its bytes on disk.
    pub spool_bytes: u64,
    /// Their bound.
    pub spool_bytes_max: u64,
    /// Age of its oldest batch.
    pub spool_oldest_age_ms: Option<u64>,
    /// The catch-up under way.
    pub catch_up: Option<CatchUpStatus>,
    /// Requests on their way to the remote.
    pub in_flight: usize,
    /// What has happened since the process began.
    pub counts: CountsStatus,
}

/// A catch-up under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatchUpStatus {
    /// How long it has taken so far.
    pub for_ms: u64,
    /// Batches that have gone out in it.
    pub batches_sent: u64,
    /// Batches that are left; new ones enter behind them.
    pub batches_left: u64,
}

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters of one remote since the process began.
        #[derive(Debug, Default)]
        pub(super) struct Counts {
            $(pub(super) $name: AtomicU64,)*
        }

        /// Their values.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct CountsStatus {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counts {
            pub(super) fn read(&self) -> CountsStatus {
                CountsStatus { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counts! {
    /// Bytes of all bodies of the own Prometheus.
    bytes,
    /// Bodies that could not be read; they are kept and sent as they are.
    unreadable,
    /// Standby: requests acknowledged into the spool.
    spooled,
    /// Standby: requests that a full spool or disk has refused.
    spool_refused,
    /// Writer: requests that the remote has taken (2xx).
    accepted,
    /// Writer: requests that it has refused for their data (400, 409, 413, 422).
    rejected,
    /// Writer: requests that it has put off (429, 5xx).
    deferred,
    /// Writer: requests that it has refused for the replica's sake (401, 403, 404, …).
    denied,
    /// Writer: requests without an answer.
    unanswered,
    /// Writer: requests that were cut when authority ended, and decided anew.
    cut,
    /// Batches of the spool that were sent in takeovers.
    caught_up,
    /// Requests that this has taken.
    catch_up_requests,
    /// Batches of which the remote has refused a part for good.
    catch_up_lost,
    /// Batches that were dropped because the writer had finished them, or for their age.
    retained_dropped,
}

impl Counts {
    /// Counts an answer of the remote.
    pub(super) fn answered(&self, status: StatusCode) {
        count(match status.as_u16() {
            200..=299 => &self.accepted,
            400 | 409 | 413 | 422 => &self.rejected,
            429 | 500..=599 => &self.deferred,
            _ => &self.denied,
        });
    }
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What [`not_shipping`] judges. Durations are ages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shipping<'a> {
    /// How long this member has led.
    pub(super) led: Duration,
    /// Since the remote has taken something.
    pub(super) accepted: Option<Duration>,
    /// Since the own Prometheus has sent something.
    pub(super) received: Option<Duration>,
    /// Whether batches wait in the spool.
    pub(super) has_spool: bool,
    /// How long a sender may be silent: two longest intervals.
    pub(super) patience: Duration,
    /// What was wrong last.
    pub(super) error: Option<&'a str>,
}

/// Why a leader does not ship, in words.
pub(super) fn not_shipping(shipping: Shipping<'_>) -> Option<String> {
    let Shipping { led, accepted, received, has_spool, patience, error } = shipping;
    let quiet = accepted.unwrap_or(led).min(led);
    let limit = QUIET_MIN.max(patience);
    if quiet < limit {
        return None;
    }
    let seconds = quiet.as_secs();
    if !has_spool && received.is_none_or(|age| age >= limit) {
        return Some(format!(
            "its Prometheus has sent nothing for {seconds} s; does its configuration in force point at this gate?"
        ));
    }
    let cause = error.map(|error| format!(": {error}")).unwrap_or_default();
    Some(format!("the remote has taken nothing for {seconds} s{cause}"))
}

impl Remote {
    /// What it is doing. `values`: the group's.
    pub(super) fn status(&self, values: &BTreeMap<String, String>, spool_bytes_max: u64) -> RemoteStatus {
        let settings = self.settings();
        let (now, now_ms) = (Instant::now(), wall_ms());
        let size = self.shelf.size();
        let reach = self.reach(values);
        let Reach { since_ms, watermark_ms, margin_ms, .. } = reach;
        let cover = cover(reach);
        let seen = lock(&self.seen).clone();
        let ago = |at: Instant| now.saturating_duration_since(at);
        let mut status = RemoteStatus {
            url: settings.url.to_string(),
            last_accepted_age_ms: seen.accepted.map(|at| millis(ago(at))),
            watermark_ms,
            watermark_age_ms: watermark_ms.map(|watermark_ms| now_ms.saturating_sub(watermark_ms)),
            covered: cover.is_ok(),
            not_covered_reason: cover.err(),
            covered_since_ms: since_ms,
            spool_batches: size.batches,
            spool_bytes: size.bytes,
            spool_bytes_max,
            spool_oldest_age_ms: size.oldest_ms.map(|at| u64::try_from(now_ms.saturating_sub(at)).unwrap_or(0)),
            in_flight: self.in_flight(),
            counts: self.counts.read(),
            name: settings.name.clone(),
            ..RemoteStatus::default()
        };
        let progress = lock(&self.progress);
        if let Some(progress) = progress.as_ref().filter(|progress| progress.tenure.holds()) {
            let led = ago(progress.since);
            status.phase = match self.shelf.phase() {
                Phase::Standby => RemotePhase::HandingOver,
                Phase::CatchingUp { .. } => RemotePhase::CatchingUp,
                Phase::Writer(_) => RemotePhase::Writer,
            };
            status.refused_for_ms = progress.watermark.refused_since().map(|since| millis(ago(since)));
            status.not_shipping = not_shipping(Shipping {
                led,
                accepted: seen.accepted.map(ago),
                received: seen.received.map(ago),
                has_spool: size.batches > 0,
                patience: Duration::from_millis(margin_ms.unsigned_abs()).saturating_mul(2),
                error: seen.error.as_deref(),
            });
            if status.phase == RemotePhase::CatchingUp {
                let (batches_sent, batches_left) = (progress.caught_up, size.batches);
                status.catch_up = Some(CatchUpStatus { for_ms: millis(led), batches_sent, batches_left });
            }
        }
        status.last_error = seen.error;
        status
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_without_a_success_for_a_minute_does_not_ship_and_says_whose_fault_it_is() {
        let seconds = Duration::from_secs;
        let fine = Shipping {
            led: seconds(600),
            accepted: Some(seconds(59)),
            received: Some(seconds(1)),
            has_spool: false,
            patience: seconds(30),
            error: Some("503 try later"),
        };
        assert_eq!(not_shipping(fine), None);
        let stuck = Shipping { accepted: Some(seconds(60)), ..fine };
        let words = "the remote has taken nothing for 60 s: 503 try later";
        assert_eq!(not_shipping(stuck).as_deref(), Some(words));
        assert_eq!(not_shipping(Shipping { patience: seconds(61), ..stuck }), None, "a slow sender");
        assert_eq!(not_shipping(Shipping { led: seconds(59), ..stuck }), None, "it has only just begun");
        let never = Shipping { accepted: None, received: Some(seconds(70)), error: None, ..fine };
        let words = "its Prometheus has sent nothing for 600 s; does its configuration in force point at this gate?";
        assert_eq!(not_shipping(never).as_deref(), Some(words));
        let catching_up = Shipping { has_spool: true, ..never };
        assert_eq!(not_shipping(catching_up).as_deref(), Some("the remote has taken nothing for 600 s"));
    }

    #[test]
    fn every_answer_is_counted_as_one_outcome() {
        let counts = Counts::default();
        for status in [200, 204, 400, 409, 413, 422, 429, 500, 503, 301, 401, 403, 404] {
            counts.answered(StatusCode::from_u16(status).unwrap_or_default());
        }
        let CountsStatus { accepted, rejected, deferred, denied, .. } = counts.read();
        assert_eq!((accepted, rejected, deferred, denied), (2, 4, 3, 4));
    }
}
