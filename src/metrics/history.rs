//! What has happened to leadership since this process started: the only families about it that no state tells.
//!
//! ```text
//! watch of leadership, its deadline -> track -> History -> collector, at the moment of the scrape
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use elector_raft::{Authority, Leadership, Now};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use tokio::sync::watch;
use tokio::time::Instant;

use super::gauge;

/// Kept by [`track`]. Clones share the values.
#[derive(Clone, Debug, Default)]
pub(super) struct History(Arc<Mutex<Events>>);

#[derive(Debug, Default)]
struct Events {
    transitions: BTreeMap<Transition, u64>,
    last_transition: Option<SystemTime>,
    /// Terms that have begun after the first one that was heard of.
    elections: u64,
    /// Without a known leader, up to `leaderless_since`.
    leaderless: Duration,
    leaderless_since: Option<Instant>,
}

/// A change of this member's right to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Transition {
    /// A majority has elected it, or it is the only voter.
    Elected,
    /// It gave it up: a handover.
    HandedOver,
    /// A newer term was heard of.
    Superseded,
    /// No majority acknowledged heartbeats in time.
    Expired,
    /// The machine was suspended.
    Suspended,
}

impl Transition {
    const ALL: [Self; 5] = [Self::Elected, Self::HandedOver, Self::Superseded, Self::Expired, Self::Suspended];

    fn labels(self) -> [(&'static str, &'static str); 2] {
        let (to, reason) = match self {
            Self::Elected => ("leader", "elected"),
            Self::HandedOver => ("follower", "handed_over"),
            Self::Superseded => ("follower", "superseded"),
            Self::Expired => ("follower", "expired"),
            Self::Suspended => ("follower", "suspended"),
        };
        [("to", to), ("reason", reason)]
    }

    /// Why authority that was held as `before` says is not held `after`.
    fn lost(before: &Leadership, after: &Leadership, now: Now) -> Self {
        match before.authority {
            Authority::Until { suspended, .. } if now.slept_since(suspended) => Self::Suspended,
            Authority::Until { deadline, .. } if now.instant >= deadline => Self::Expired,
            _ if after.term > before.term => Self::Superseded,
            _ => Self::HandedOver,
        }
    }
}

impl Events {
    fn leaderless(&self) -> Duration {
        self.leaderless + self.leaderless_since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

impl History {
    fn events(&self) -> MutexGuard<'_, Events> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn transition(&self, transition: Transition) {
        let mut events = self.events();
        *events.transitions.entry(transition).or_default() += 1;
        events.last_transition = Some(SystemTime::now());
    }

    /// Notes what one look at leadership shows beside authority.
    fn look(&self, before: &Leadership, after: &Leadership, now: Instant) {
        let mut events = self.events();
        // The first term that is heard of may have begun long before this process.
        if before.term > 0 {
            events.elections += after.term.saturating_sub(before.term);
        }
        if let Some(since) = events.leaderless_since.take() {
            events.leaderless += now - since;
        }
        events.leaderless_since = after.leader.is_none().then_some(now);
    }
}

impl Collector for History {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let events = self.events();
        let name = "prometheus_elector_election_last_transition_time_seconds";
        let help = "Unix time at which this member gained or lost the right to act as the leader, 0 before.";
        let at = events.last_transition.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        gauge(&mut encoder, name, help, at.as_secs_f64())?;

        let name = "prometheus_elector_election_transitions";
        let help = "How often this member gained or lost the right to act as the leader, by reason.";
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for transition in Transition::ALL {
            let count = events.transitions.get(&transition).copied().unwrap_or(0);
            ConstCounter::new(count).encode(metric.encode_family(&transition.labels())?)?;
        }

        let name = "prometheus_elector_group_elections";
        let help = "Terms of the group that have begun since this process heard of its first one: elections, successful or not.";
        let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(events.elections).encode(metric)?;

        let name = "prometheus_elector_election_leaderless_seconds";
        let help = "Time for which this member knew no leader since this process started.";
        let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(events.leaderless().as_secs_f64()).encode(metric)
    }
}

/// Notes each flip of authority, also one that happens because a deadline passes without news. Ends with the group,
/// once its last authority has run out.
pub(super) async fn track(mut leadership: watch::Receiver<Leadership>, history: History) {
    let (mut before, mut held, mut group_runs) = (Leadership::default(), false, true);
    loop {
        let now = Now::read();
        let after = leadership.borrow_and_update().clone();
        let holds = after.holds_authority(now);
        if holds != held {
            held = holds;
            history.transition(if holds { Transition::Elected } else { Transition::lost(&before, &after, now) });
        }
        history.look(&before, &after, Instant::now());
        before = after;
        let deadline = before.authority_deadline().filter(|_| holds);
        if !group_runs && deadline.is_none() {
            return;
        }
        let expiry = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = leadership.changed(), if group_runs => group_runs = changed.is_ok(),
            () = expiry => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::time::{advance, timeout};

    use super::*;

    fn until(term: u64, left: Duration) -> Leadership {
        let now = Now::read();
        let authority = Authority::Until { deadline: now.instant + left, suspended: now.suspended };
        Leadership { term, leader: None, authority }
    }

    const MS: Duration = Duration::from_millis(1);

    async fn settle() {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    fn transitions(history: &History) -> Vec<(Transition, u64)> {
        history.events().transitions.iter().map(|(transition, count)| (*transition, *count)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn transitions_are_noted_when_authority_comes_and_when_its_deadline_passes_in_silence() {
        let (group, ends) = elector_raft::GroupHandle::new();
        let history = History::default();
        let task = tokio::spawn(track(group.leadership.clone(), history.clone()));
        settle().await;
        assert_eq!(transitions(&history), [], "a member that never held authority made no transition");
        assert_eq!(history.events().last_transition, None);

        ends.leadership.send_replace(until(3, 800 * MS));
        settle().await;
        assert_eq!(transitions(&history), [(Transition::Elected, 1)]);
        assert!(history.events().last_transition.is_some());

        advance(700 * MS).await;
        ends.leadership.send_replace(until(3, 800 * MS));
        advance(700 * MS).await;
        settle().await;
        assert_eq!(transitions(&history), [(Transition::Elected, 1)], "a renewal is no transition");

        advance(101 * MS).await;
        settle().await;
        assert_eq!(
            transitions(&history),
            [(Transition::Elected, 1), (Transition::Expired, 1)],
            "the deadline passed and nobody said so"
        );
        assert_eq!(history.events().elections, 0, "term 3 may be old");
        ends.leadership.send_replace(until(5, 800 * MS));
        settle().await;
        assert_eq!(history.events().elections, 2);

        drop(ends);
        timeout(Duration::from_secs(1), task).await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_authority_of_a_group_that_has_ended_is_seen_to_run_out() {
        let (group, ends) = elector_raft::GroupHandle::new();
        let history = History::default();
        ends.leadership.send_replace(until(3, 800 * MS));
        let task = tokio::spawn(track(group.leadership.clone(), history.clone()));
        drop(ends);
        settle().await;
        timeout(Duration::from_secs(1), task).await.unwrap().unwrap();
        assert_eq!(transitions(&history), [(Transition::Elected, 1), (Transition::Expired, 1)]);
    }

    #[tokio::test(start_paused = true)]
    async fn authority_is_lost_for_the_reason_that_comes_first() {
        let held = until(3, 800 * MS);
        let without = |term| Leadership { term, leader: None, authority: Authority::None };
        let lost = |after: &Leadership| Transition::lost(&held, after, Now::read());
        assert_eq!(lost(&without(3)), Transition::HandedOver);
        assert_eq!(lost(&without(4)), Transition::Superseded);
        advance(800 * MS).await;
        assert_eq!(lost(&without(3)), Transition::Expired);
        assert_eq!(lost(&without(4)), Transition::Expired, "it had run out before the newer term was heard of");
        let mut now = Now::read();
        now.suspended += Duration::from_secs(3);
        assert_eq!(Transition::lost(&held, &without(4), now), Transition::Suspended);
    }

    #[tokio::test(start_paused = true)]
    async fn time_without_a_leader_adds_up_also_while_it_lasts() {
        let history = History::default();
        let nobody = Leadership::default();
        let somebody = {
            let leader = elector_raft::Leader {
                id: elector_raft::NodeId(2),
                is_self: false,
                member: <_>::default(),
                found_at: None,
            };
            Leadership { leader: Some(Arc::new(leader)), ..Leadership::default() }
        };
        let total = || history.events().leaderless();
        history.look(&nobody, &nobody, Instant::now());
        advance(300 * MS).await;
        assert_eq!(total(), 300 * MS);
        history.look(&nobody, &somebody, Instant::now());
        advance(500 * MS).await;
        assert_eq!(total(), 300 * MS);
        history.look(&somebody, &nobody, Instant::now());
        advance(20 * MS).await;
        assert_eq!(total(), 320 * MS);
    }
}
