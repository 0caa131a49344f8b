//! Families about the traffic of the group, counted on its thread as it happens.

use std::time::Duration;

use elector_raft::observer::{Outcome, Side};
use elector_raft::{Leadership, Observer};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Calls to other members and delays of heartbeats. Cheap to clone: the clones share their values.
#[derive(Clone, Debug)]
pub struct GroupMetrics {
    /// `prometheus_elector_group_rpc_duration_seconds`.
    rpc_duration: Family<CallLabels, Histogram, fn() -> Histogram>,
    /// `prometheus_elector_group_rpc_errors_total`.
    rpc_errors: Family<ErrorLabels, Counter>,
    /// `prometheus_elector_group_heartbeat_delay_seconds`.
    delays: Family<SideLabels, Histogram, fn() -> Histogram>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    call: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    call: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SideLabels {
    role: &'static str,
}

impl Default for GroupMetrics {
    fn default() -> Self {
        Self {
            // Calls on one network take milliseconds, and most end after the retry period (100 ms).
            rpc_duration: Family::new_with_constructor(|| {
                Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0])
            }),
            rpc_errors: Family::default(),
            // At default timings a leader has 700 ms of authority left when a heartbeat is due.
            delays: Family::new_with_constructor(|| {
                Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.7])
            }),
        }
    }
}

impl GroupMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let name = "prometheus_elector_group_rpc_duration_seconds";
        registry.register(name, "Duration of the calls to other members", self.rpc_duration.clone());
        let name = "prometheus_elector_group_rpc_errors";
        registry.register(name, "Calls to other members that brought no answer", self.rpc_errors.clone());
        let name = "prometheus_elector_group_heartbeat_delay_seconds";
        let help = "How much later than the retry period heartbeats were acknowledged by a majority (leader) or heard (follower)";
        registry.register(name, help, self.delays.clone());
    }
}

impl Observer for GroupMetrics {
    /// Told by the watch as well, which is enough for metrics.
    fn leadership(&self, _: &Leadership) {}

    fn called(&self, call: &'static str, outcome: Outcome, took: Duration) {
        self.rpc_duration.get_or_create(&CallLabels { call }).observe(took.as_secs_f64());
        let reason = match outcome {
            Outcome::Answered => return,
            Outcome::Refused => "refused",
            Outcome::TimedOut => "timed_out",
            Outcome::Unreachable => "unreachable",
        };
        self.rpc_errors.get_or_create(&ErrorLabels { call, reason }).inc();
    }

    fn heartbeat(&self, side: Side, delay: Duration) {
        let role = match side {
            Side::Leader => "leader",
            Side::Follower => "follower",
        };
        self.delays.get_or_create(&SideLabels { role }).observe(delay.as_secs_f64());
    }
}
