//! Families about the label of the own pod, read at the moment of the scrape.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use tokio::sync::watch;

use super::gauge;

/// What has become of the label and of the requests for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PodLabelStatus {
    /// The API server has accepted the label that is wanted now.
    pub in_force: bool,
    /// Requests that set the label.
    pub label: RequestCounts,
    /// Requests that write an Event.
    pub event: RequestCounts,
}

/// Requests to the Kubernetes API by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestCounts {
    /// Accepted.
    pub ok: u64,
    /// Refused for want of a right (403).
    pub forbidden: u64,
    /// Failed otherwise.
    pub error: u64,
}

#[derive(Debug)]
pub(super) struct PodLabelCollector(watch::Receiver<PodLabelStatus>);

impl PodLabelCollector {
    pub(super) fn new(status: watch::Receiver<PodLabelStatus>) -> Self {
        Self(status)
    }
}

impl Collector for PodLabelCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let status = *self.0.borrow();
        let name = "prometheus_elector_kubernetes_label_in_force";
        let help = "Whether the API server has accepted the label of the own pod that is wanted now.";
        gauge(&mut encoder, name, help, i64::from(status.in_force))?;
        let name = "prometheus_elector_kubernetes_requests";
        let help = "Requests to the Kubernetes API by outcome.";
        let mut requests = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (request, RequestCounts { ok, forbidden, error }) in [("label", status.label), ("event", status.event)] {
            for (outcome, count) in [("ok", ok), ("forbidden", forbidden), ("error", error)] {
                let labels = [("request", request), ("outcome", outcome)];
                ConstCounter::new(count).encode(requests.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
