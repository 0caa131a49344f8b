//! Calls to the reload endpoint of Prometheus.

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

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

impl NotifierMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let name = "prometheus_elector_notifier_calls";
        registry.register(name, "Calls to the reload endpoint of Prometheus", self.calls.clone());
        let name = "prometheus_elector_notifier_calls_errors";
        registry.register(name, "Calls to the reload endpoint that failed", PlainCounter(self.errors.clone()));
        let name = "prometheus_elector_notifier_calls_duration_seconds";
        registry.register(name, "Duration of the calls to the reload endpoint", self.duration.clone());
    }
}

/// A counter whose name users know without `_total`. `OpenMetrics` has no counter of such a name, so its type there is
/// `unknown`; [`super::exposition`] makes it a counter again in the Prometheus format.
#[derive(Debug)]
struct PlainCounter(Counter);

impl EncodeMetric for PlainCounter {
    fn encode(&self, encoder: MetricEncoder) -> Result<(), std::fmt::Error> {
        // As a gauge, because the encoder would add `_total` to a counter.
        ConstGauge::new(self.0.get()).encode(encoder)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Unknown
    }
}
