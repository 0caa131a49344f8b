//! What the group's thread sees and no state tells: how long calls take, how late heartbeats come, and each change of leadership.
//!
//! A seam for metrics and for the record of a test: nothing is decided by it. Whoever observes runs on the group's thread, so it returns at once.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use crate::Leadership;
use crate::instance::Instance;
use crate::network::Transport;
use crate::view::RaftView;

/// Told of each call and heartbeat.
pub trait Observer: Debug + Send + Sync {
    /// A call to another member has ended. `call` and `outcome` are from small fixed sets, for labels.
    fn called(&self, call: &'static str, outcome: Outcome, took: Duration);

    /// A heartbeat came `delay` later than the retry period asks for.
    fn heartbeat(&self, side: Side, delay: Duration);

    /// This is published now, and nobody has read it yet. Unlike a reader of the watch it misses no value.
    fn leadership(&self, leadership: &Leadership);
}

/// Observes nothing.
impl Observer for () {
    fn called(&self, _: &'static str, _: Outcome, _: Duration) {}
    fn heartbeat(&self, _: Side, _: Duration) {}
    fn leadership(&self, _: &Leadership) {}
}

/// One after the other.
impl<A: Observer, B: Observer> Observer for (A, B) {
    fn called(&self, call: &'static str, outcome: Outcome, took: Duration) {
        self.0.called(call, outcome, took);
        self.1.called(call, outcome, took);
    }

    fn heartbeat(&self, side: Side, delay: Duration) {
        self.0.heartbeat(side, delay);
        self.1.heartbeat(side, delay);
    }

    fn leadership(&self, leadership: &Leadership) {
        self.0.leadership(leadership);
        self.1.leadership(leadership);
    }
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With what was asked for.
    Answered,
    /// The member answered that it will not.
    Refused,
    /// No answer in time.
    TimedOut,
    /// Not delivered, or the answer was no answer.
    Unreachable,
}

/// Whose view of heartbeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A majority has acknowledged one: the delay holds the way there and back.
    Leader,
    /// One was heard.
    Follower,
}

/// How late acknowledgements of a majority come.
#[derive(Debug, Default)]
pub(crate) struct Acknowledged {
    /// Term, and when the newest acknowledged heartbeat was sent.
    newest: Option<(u64, Instant)>,
}

impl Acknowledged {
    /// `sent`: when the newest heartbeat that a majority has acknowledged by `now` was sent. The next one was due a retry period
    /// after the one before: how late it has come, the first time that it is seen.
    pub(crate) fn look(&mut self, term: u64, sent: Instant, now: Instant, retry_period: Duration) -> Option<Duration> {
        let before = self.newest.replace((term, sent));
        let (_, before) = before.filter(|(of, before)| *of == term && *before < sent)?;
        Some(now.saturating_duration_since(before).saturating_sub(retry_period))
    }
}

impl<T: Transport> Instance<T> {
    /// Tells how late the newest acknowledgement of a majority has come.
    pub(crate) fn observe(&mut self, view: &RaftView, now: Instant) {
        let shared = &self.parts.shared;
        if view.is_leader()
            && let Some(sent) = view.last_quorum_acked
            && let Some(delay) = self.acknowledged.look(view.term, sent, now, shared.timing().retry_period)
        {
            shared.observer().heartbeat(Side::Leader, delay);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledgement_is_late_by_what_goes_beyond_the_retry_period_and_counts_once() {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let mut acknowledged = Acknowledged::default();
        let mut look = |term, sent, now| acknowledged.look(term, start + ms(sent), start + ms(now), ms(100));
        assert_eq!(look(3, 0, 1), None, "the first of a term is late for nothing");
        assert_eq!(look(3, 0, 50), None, "seen before");
        assert_eq!(look(3, 100, 102), Some(ms(2)));
        assert_eq!(look(3, 400, 450), Some(ms(250)), "two were lost, or late");
        assert_eq!(look(3, 410, 415), Some(ms(0)), "an entry brings one early");
        assert_eq!(look(4, 900, 901), None);
        assert_eq!(look(4, 1000, 1003), Some(ms(3)));
    }
}
