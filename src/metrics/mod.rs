//! Metrics: one registry, one struct with every family. Names and labels of REFERENCE.md first.
//!
//! Input: the watch channels of the group and of role control, and the counters that other pieces hold. Output: the
//! exposition of `/_elector/metrics`, in the format that the scraper asked for.
//!
//! Whatever is a state (who leads, is this member eligible, is the configuration in force) is read from the watch
//! channels at the moment of the scrape: there is no second copy that could lag behind. What has happened to leadership is
//! kept by [`Metrics::track_transitions`], the traffic of the group by [`GroupMetrics`].
//!
//! `docs/metrics.md` lists every family; a test holds it against this code.

mod certificates;
mod control;
mod discovery;
mod election;
mod exposition;
mod gate;
mod group;
mod history;
#[cfg(test)]
mod mixin_tests;
mod notifier;
mod pod_label;
mod process;
#[cfg(test)]
mod tests;

use elector_raft::GroupHandle;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

pub use exposition::Format;
pub use gate::GateProbe;
pub use group::GroupMetrics;
pub use notifier::NotifierMetrics;
pub use pod_label::{PodLabelStatus, RequestCounts};

use crate::discovery::LookupStatus;
use crate::raft_files::RaftFilesStatus;
use crate::role::RoleHandle;

/// Every family of the process. Built once; other pieces add theirs through [`Metrics::registry_mut`] before it is
/// shared.
#[derive(Debug)]
pub struct Metrics {
    history: history::History,
    registry: Registry,
}

impl Metrics {
    /// Registers all families of group and role control. `member` becomes the label `member_id`; `role` is `None` for
    /// a witness, which has no Prometheus and none of the families about one.
    pub fn new(member: &str, group: &GroupHandle, role: Option<(&RoleHandle, &NotifierMetrics)>) -> Self {
        let mut registry = Registry::default();
        let history = history::History::default();
        registry.register_collector(Box::new(BuildInfo));
        registry.register_collector(Box::new(election::ElectionCollector::new(member, group)));
        registry.register_collector(Box::new(history.clone()));
        if let Some((role, notifier)) = role {
            registry.register_collector(Box::new(control::ControlCollector::new(role)));
            notifier.register(&mut registry);
        }
        Self { history, registry }
    }

    /// Adds the families about discovery.
    pub fn register_discovery(&mut self, lookups: watch::Receiver<LookupStatus>) {
        self.registry.register_collector(Box::new(discovery::DiscoveryCollector::new(lookups)));
    }

    /// Adds the family about the certificates that this member shows.
    pub(crate) fn register_certificates(&mut self, files: RaftFilesStatus) {
        self.registry.register_collector(Box::new(certificates::CertificateCollector::new(files)));
    }

    /// Adds the families about the label of the own pod.
    pub fn register_pod_label(&mut self, status: watch::Receiver<PodLabelStatus>) {
        self.registry.register_collector(Box::new(pod_label::PodLabelCollector::new(status)));
    }

    /// Adds the families about the remote-write gate.
    pub fn register_gate(&mut self, probe: GateProbe) {
        self.registry.register_collector(Box::new(gate::GateCollector::new(probe)));
    }

    /// Adds the metrics of the process (`--runtime-metrics`).
    pub fn register_process(&mut self) {
        self.registry.register_collector(Box::new(process::ProcessCollector));
    }

    /// The registry, for the families of another piece. Names are written out in full (`prometheus_elector_…`), a
    /// counter's without its `_total`, which the encoder adds.
    pub fn registry_mut(&mut self) -> &mut Registry {
        &mut self.registry
    }

    /// Adds the families about the traffic of the group.
    pub fn register_group(&mut self, group: &GroupMetrics) {
        group.register(&mut self.registry);
    }

    /// Keeps the families about what has happened to leadership. Runs until the group has ended; spawn it once.
    pub fn track_transitions(&self, group: &GroupHandle) -> impl Future<Output = ()> + Send + use<> {
        history::track(group.leadership.clone(), self.history.clone())
    }

    /// The whole exposition.
    pub fn encode(&self, format: Format) -> Result<String, std::fmt::Error> {
        exposition::encode(&self.registry, format)
    }
}

/// `prometheus_elector_build_info{version}`: always 1.
#[derive(Debug)]
struct BuildInfo;

impl Collector for BuildInfo {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let labels = [("version", env!("CARGO_PKG_VERSION"))];
        let name = "prometheus_elector_build_info";
        let mut metric = encoder.encode_descriptor(name, "Version of this sidecar.", None, MetricType::Gauge)?;
        ConstGauge::new(1_i64).encode(metric.encode_family(&labels)?)
    }
}

/// Writes one gauge without labels.
fn gauge<V>(encoder: &mut DescriptorEncoder, name: &str, help: &str, value: V) -> Result<(), std::fmt::Error>
where
    V: EncodeGaugeValue + Copy,
{
    ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}
