//! Metrics of the proxy.

use http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Counters and gauges of the proxy. Cheap to clone: the clones share their values.
#[derive(Clone, Debug, Default)]
pub struct ProxyMetrics {
    /// `prometheus_elector_proxy_requests_total`.
    requests: Family<RequestLabels, Counter>,
    /// `prometheus_elector_proxy_held_requests`.
    pub(super) held_now: Gauge,
    /// `prometheus_elector_proxy_holds_total`.
    pub(super) holds: Counter,
    /// `prometheus_elector_proxy_retries_total`.
    pub(super) retries: Counter,
    /// `prometheus_elector_proxy_cut_responses_total`.
    pub(super) cut: Counter,
}

/// Who answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// The own Prometheus: this member leads.
    Local,
    /// The Prometheus of another member.
    Leader,
    /// The proxy itself, with an error.
    Proxy,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    target: &'static str,
    code: &'static str,
}

impl ProxyMetrics {
    /// Adds all families to `registry`, under their full names.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "prometheus_elector_proxy_requests",
            "Answered requests, by who answered (local: own Prometheus, leader: another member's, none: the proxy itself) and class of the status",
            self.requests.clone(),
        );
        registry.register(
            "prometheus_elector_proxy_held_requests",
            "Requests held now until a leader answers",
            self.held_now.clone(),
        );
        registry.register(
            "prometheus_elector_proxy_holds",
            "Requests that were held until a leader answered, or in vain",
            self.holds.clone(),
        );
        registry.register(
            "prometheus_elector_proxy_retries",
            "Further attempts for a request that was not sent or is a read",
            self.retries.clone(),
        );
        registry.register(
            "prometheus_elector_proxy_cut_responses",
            "Responses that broke off at Prometheus and were cut at the client",
            self.cut.clone(),
        );
    }

    pub(crate) fn answered(&self, by: Answered, status: StatusCode) {
        let target = match by {
            Answered::Local => "local",
            Answered::Leader => "leader",
            Answered::Proxy => "none",
        };
        let code = match status.as_u16() / 100 {
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        };
        self.requests.get_or_create(&RequestLabels { target, code }).inc();
    }
}
