//! Families about discovery, read at the moment of the scrape.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use tokio::sync::watch;

use super::gauge;
use crate::discovery::LookupStatus;

#[derive(Debug)]
pub(super) struct DiscoveryCollector(watch::Receiver<LookupStatus>);

impl DiscoveryCollector {
    pub(super) fn new(lookups: watch::Receiver<LookupStatus>) -> Self {
        Self(lookups)
    }
}

impl Collector for DiscoveryCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let status = self.0.borrow().clone();
        let name = "prometheus_elector_discovery_lookups";
        let mut lookups =
            encoder.encode_descriptor(name, "Lookups of the peers by outcome.", None, MetricType::Counter)?;
        for (outcome, count) in
            [("answered", status.answered), ("not_found", status.not_found), ("failed", status.failed)]
        {
            ConstCounter::new(count).encode(lookups.encode_family(&[("outcome", outcome)])?)?;
        }
        let name = "prometheus_elector_discovery_answer_age_seconds";
        let help = "Age of the last good answer, +Inf before the first one.";
        let age = status.age(tokio::time::Instant::now().into_std());
        gauge(&mut encoder, name, help, age.map_or(f64::INFINITY, |age| age.as_secs_f64()))
    }
}
