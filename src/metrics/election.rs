//! Families about the election, read from the group at the moment of the scrape.

use std::collections::BTreeMap;
use std::time::Duration;

use elector_raft::{Authority, GroupHandle, GroupStatus, Leadership, MemberKind, Now};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

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
        for kind in [MemberKind::Voter, MemberKind::Learner, MemberKind::Witness, MemberKind::Candidate] {
            let count = status.members.iter().filter(|member| member.kind == kind).count();
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            ConstGauge::new(count).encode(metric.encode_family(&[("kind", label(kind))])?)?;
        }
        let name = "prometheus_elector_group_settled";
        let help = "Whether this member is a caught-up voter or witness of a committed membership.";
        gauge(&mut encoder, name, help, i64::from(status.settled))?;
        let name = "prometheus_elector_group_warnings";
        let help = "Conditions of the group that an operator should know, listed in /_elector/status.";
        gauge(&mut encoder, name, help, i64::try_from(status.warnings.len()).unwrap_or(i64::MAX))?;

        let log = status.log;
        let name = "prometheus_elector_group_applied_index";
        gauge(&mut encoder, name, "Newest entry of the replicated log that has taken effect here.", log.applied_index)?;
        let name = "prometheus_elector_group_commit_lag_entries";
        let help = "Entries of the replicated log here that are not known to be on a majority.";
        gauge(&mut encoder, name, help, log.last_index.saturating_sub(log.committed_index))?;
        encode_last_contacts(&mut encoder, &status)
    }
}

fn label(kind: MemberKind) -> &'static str {
    match kind {
        MemberKind::Voter => "voter",
        MemberKind::Learner => "learner",
        MemberKind::Witness => "witness",
        MemberKind::Candidate => "candidate",
    }
}

fn encode_last_contacts(encoder: &mut DescriptorEncoder, status: &GroupStatus) -> Result<(), std::fmt::Error> {
    let name = "prometheus_elector_group_member_last_contact_seconds";
    let help = "Time since another member was heard of, +Inf if never since this process started.";
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    // A lost disk that is being replaced has two node ids under one name.
    let mut ages: BTreeMap<(&str, &str), f64> = BTreeMap::new();
    for member in status.members.iter().filter(|member| !member.this) {
        let age = member.last_contact_ms.map_or(f64::INFINITY, |ms| Duration::from_millis(ms).as_secs_f64());
        let least = ages.entry((&member.name, label(member.kind))).or_insert(age);
        *least = least.min(age);
    }
    for ((member, kind), age) in ages {
        ConstGauge::new(age).encode(metric.encode_family(&[("member", member), ("kind", kind)])?)?;
    }
    Ok(())
}

fn authority_left_seconds(leadership: &Leadership, now: Now) -> f64 {
    match leadership.authority {
        _ if !leadership.holds_authority(now) => 0.0,
        Authority::Until { deadline, .. } => deadline.saturating_duration_since(now.instant).as_secs_f64(),
        Authority::SoleVoter => f64::INFINITY,
        Authority::None => 0.0,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp)]
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn authority_left_is_zero_without_and_infinite_without_end() {
        let left = |leadership: &Leadership| authority_left_seconds(leadership, Now::read());
        assert_eq!(left(&Leadership::default()), 0.0);
        assert_eq!(left(&Leadership { authority: Authority::SoleVoter, ..Leadership::default() }), f64::INFINITY);
        let now = Now::read();
        let deadline = now.instant + Duration::from_millis(800);
        let authority = Authority::Until { deadline, suspended: now.suspended };
        let leadership = Leadership { authority, ..Leadership::default() };
        advance(Duration::from_millis(300)).await;
        assert!((left(&leadership) - 0.5).abs() < 1e-6);
        advance(Duration::from_millis(500)).await;
        assert_eq!(left(&leadership), 0.0);
    }
}
