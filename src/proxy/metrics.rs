//! Metrics of the proxy.

use std::sync::OnceLock;
use std::time::Duration;

use http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Counters and gauges of the proxy. Cheap to clone: the clones share their values.
#[derive(Clone, Debug)]
pub struct ProxyMetrics {
    /// `prometheus_elector_proxy_requests_total`.
    requests: Family<RequestLabels, Counter>,
    /// `prometheus_elector_proxy_request_duration_seconds`.
    duration: Histogram,
    /// Members of `requests`, by [`Answered`] and class of the status: looked up once.
    answered: [[OnceLock<Counter>; CLASSES.len()]; TARGETS.len()],
    /// `prometheus_elector_proxy_held_requests`.
    pub(super) held_now: Gauge,
    /// `prometheus_elector_proxy_queued_requests`.
    pub(super) queued_now: Gauge,
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

/// Values of `target`, in the order of [`Answered`].
const TARGETS: [&str; 3] = ["local", "leader", "none"];
/// Values of `code`: the classes of a status, from 100 on.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

impl Default for ProxyMetrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            duration: Histogram::new([0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]),
            answered: Default::default(),
            held_now: Gauge::default(),
            queued_now: Gauge::default(),
            holds: Counter::default(),
            retries: Counter::default(),
            cut: Counter::default(),
        }
    }
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
            "prometheus_elector_proxy_request_duration_seconds",
            "Time until a response began, waiting for a leader or a place included",
            self.duration.clone(),
        );
        registry.register(
            "prometheus_elector_proxy_held_requests",
            "Requests held now until a leader answers",
            self.held_now.clone(),
        );
        registry.register(
            "prometheus_elector_proxy_queued_requests",
            "Requests that wait now because as many as may be are under way to the leader's Prometheus",
            self.queued_now.clone(),
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

    pub(crate) fn answered(&self, by: Answered, status: StatusCode, took: Duration) {
        self.duration.observe(took.as_secs_f64());
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1;
        let labels = RequestLabels { target: TARGETS[by as usize], code: CLASSES[class] };
        self.answered[by as usize][class].get_or_init(|| self.requests.get_or_create_owned(&labels)).inc();
    }
}
