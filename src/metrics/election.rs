//! Families about the election, read from the group at the moment of the scrape.

use std::sync::atomic::AtomicU64;
use std::time::{SystemTime, UNIX_EPOCH};

use elector_raft::{Authority, GroupHandle, Leadership, MemberKind, Now};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use super::gauge;

#[derive(Debug)]
pub(super) struct ElectionCollector {
    member: String,
    group: GroupHandle,
}

impl ElectionCollector {
    pub(super) fn new(member: &str, group: &GroupHandle) -> Self {
        Self { member: member.to_owned(), group: group.clone() }
    }
}

impl Collector for ElectionCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let now = Now::read();
        let leadership = self.group.leadership.borrow().clone();
        let status = self.group.status.borrow().clone();

        let name = "prometheus_elector_election_is_leader";
        let help = "Whether this member may act as the leader at this moment.";
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        let labels = [("member_id", self.member.as_str())];
        ConstGauge::new(i64::from(leadership.holds_authority(now))).encode(metric.encode_family(&labels)?)?;

        let name = "prometheus_elector_election_term";
        gauge(&mut encoder, name, "Raft term of the group as this member knows it.", leadership.term)?;
        let name = "prometheus_elector_election_leader_known";
        let help = "Whether this member knows who leads the group.";
        gauge(&mut encoder, name, help, i64::from(leadership.leader.is_some()))?;
        let name = "prometheus_elector_election_authority_left_seconds";
        let help = "Time until this member's right to act ends unless it is renewed, 0 without one, +Inf without end.";
        gauge(&mut encoder, name, help, authority_left_seconds(&leadership, now))?;

        let name = "prometheus_elector_group_members";
        let help = "Members of the group by kind, and candidates found but not admitted yet.";
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (label, kind) in [
            ("voter", MemberKind::Voter),
            ("learner", MemberKind::Learner),
            ("witness", MemberKind::Witness),
            ("candidate", MemberKind::Candidate),
        ] {
            let count = status.members.iter().filter(|member| member.kind == kind).count();
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            ConstGauge::new(count).encode(metric.encode_family(&[("kind", label)])?)?;
        }
        let name = "prometheus_elector_group_settled";
        let help = "Whether this member is a caught-up voter or witness of a committed membership.";
        gauge(&mut encoder, name, help, i64::from(status.settled))?;
        let name = "prometheus_elector_group_warnings";
        let help = "Conditions of the group that an operator should know, listed in /_elector/status.";
        gauge(&mut encoder, name, help, i64::try_from(status.warnings.len()).unwrap_or(i64::MAX))
    }
}

fn authority_left_seconds(leadership: &Leadership, now: Now) -> f64 {
    match leadership.authority {
        _ if !leadership.holds_authority(now) => 0.0,
        Authority::Until { deadline, .. } => deadline.saturating_duration_since(now.instant).as_secs_f64(),
        Authority::SoleVoter => f64::INFINITY,
        Authority::None => 0.0,
    }
}

/// `prometheus_elector_election_last_transition_time_seconds`: Unix time at which authority was gained or lost last, 0
/// before the first time. Clones share the value.
#[derive(Clone, Debug, Default)]
pub(super) struct LastTransition(Gauge<f64, AtomicU64>);

impl LastTransition {
    pub(super) fn register(&self, registry: &mut Registry) {
        let name = "prometheus_elector_election_last_transition_time_seconds";
        let help = "Unix time at which this member gained or lost the right to act as the leader, 0 before";
        registry.register(name, help, self.0.clone());
    }

    fn set(&self, time: SystemTime) {
        self.0.set(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64());
    }
}

/// Notes each flip of authority, also one that happens because a deadline passes without news. Ends with the group,
/// once its last authority has run out.
pub(super) async fn track(mut leadership: watch::Receiver<Leadership>, last: LastTransition) {
    let (mut held, mut group_runs) = (false, true);
    loop {
        let (holds, deadline) = {
            let leadership = leadership.borrow_and_update();
            (leadership.holds_authority(Now::read()), leadership.authority_deadline())
        };
        if holds != held {
            held = holds;
            last.set(SystemTime::now());
        }
        let deadline = deadline.filter(|_| holds);
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
    #![allow(clippy::unwrap_used, clippy::float_cmp)]
    use std::time::Duration;

    use tokio::time::{advance, timeout};

    use super::*;

    fn until(left: Duration) -> Leadership {
        let now = Now::read();
        let authority = Authority::Until { deadline: now.instant + left, suspended: now.suspended };
        Leadership { term: 3, leader: None, authority }
    }

    async fn settle() {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn transitions_are_noted_when_authority_comes_and_when_its_deadline_passes_in_silence() {
        let (group, ends) = GroupHandle::new();
        let last = LastTransition::default();
        let task = tokio::spawn(track(group.leadership.clone(), last.clone()));
        settle().await;
        assert_eq!(last.0.get(), 0.0, "a member that never held authority made no transition");

        ends.leadership.send_replace(until(Duration::from_millis(800)));
        settle().await;
        let gained = last.0.get();
        assert!(gained > 1e9, "unix time of the gain: {gained}");

        last.0.set(1.0);
        advance(Duration::from_millis(700)).await;
        ends.leadership.send_replace(until(Duration::from_millis(800)));
        advance(Duration::from_millis(700)).await;
        settle().await;
        assert_eq!(last.0.get(), 1.0, "a renewal is no transition");

        advance(Duration::from_millis(101)).await;
        settle().await;
        assert!(last.0.get() > 1e9, "the deadline passed and nobody said so");

        drop(ends);
        timeout(Duration::from_secs(1), task).await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_authority_of_a_group_that_has_ended_is_seen_to_run_out() {
        let (group, ends) = GroupHandle::new();
        let last = LastTransition::default();
        ends.leadership.send_replace(until(Duration::from_millis(800)));
        let task = tokio::spawn(track(group.leadership.clone(), last.clone()));
        drop(ends);
        settle().await;
        last.0.set(1.0);
        timeout(Duration::from_secs(1), task).await.unwrap().unwrap();
        assert!(last.0.get() > 1e9);
    }

    #[tokio::test(start_paused = true)]
    async fn authority_left_is_zero_without_and_infinite_without_end() {
        let left = |leadership: &Leadership| authority_left_seconds(leadership, Now::read());
        assert_eq!(left(&Leadership::default()), 0.0);
        assert_eq!(left(&Leadership { authority: Authority::SoleVoter, ..Leadership::default() }), f64::INFINITY);
        let leadership = until(Duration::from_millis(800));
        advance(Duration::from_millis(300)).await;
        assert!((left(&leadership) - 0.5).abs() < 1e-6);
        advance(Duration::from_millis(500)).await;
        assert_eq!(left(&leadership), 0.0);
    }
}
