//! Metrics: one registry, one struct with every family. Names and labels of REFERENCE.md first.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

/// Calls to the reload endpoint. Cheap to clone: the clones share their values.
#[derive(Clone, Debug)]
pub struct NotifierMetrics {
    /// `prometheus_elector_notifier_calls_total`.
    pub calls: Counter,
    /// `prometheus_elector_notifier_calls_errors`.
    pub errors: Counter,
    /// `prometheus_elector_notifier_calls_duration_seconds`.
    pub duration: Histogram,
}

impl Default for NotifierMetrics {
    fn default() -> Self {
        let buckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
        Self { calls: Counter::default(), errors: Counter::default(), duration: Histogram::new(buckets) }
    }
}
