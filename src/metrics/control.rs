//! Families about role control and the configuration, read at the moment of the scrape.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;

use super::gauge;
use crate::role::RoleHandle;

#[derive(Debug)]
pub(super) struct ControlCollector(RoleHandle);

impl ControlCollector {
    pub(super) fn new(role: &RoleHandle) -> Self {
        Self(role.clone())
    }
}

impl Collector for ControlCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let status = self.0.status.borrow().clone();
        let config = &status.config;

        let name = "prometheus_elector_eligible";
        let help = "Whether this member's Prometheus can do the leader's work.";
        gauge(&mut encoder, name, help, i64::from(status.eligible))?;
        let name = "prometheus_elector_cordoned";
        gauge(&mut encoder, name, "Whether an operator has cordoned this member.", i64::from(status.cordoned))?;

        let name = "prometheus_elector_config_in_force";
        let help = "Whether Prometheus has accepted the configuration that is wanted now.";
        let in_force = config.in_force();
        gauge(&mut encoder, name, help, i64::from(in_force))?;
        let name = "prometheus_elector_config_last_reload_successful";
        let help = "Whether the newest source file and the newest reload were accepted.";
        let successful = config.applied_hash.is_some() && config.last_error.is_none();
        gauge(&mut encoder, name, help, i64::from(successful))?;
        let name = "prometheus_elector_config_last_reload_success_timestamp_seconds";
        let help = "Unix time at which Prometheus accepted a configuration last, 0 before the first time.";
        gauge(&mut encoder, name, help, seconds(config.applied_at_unix_ms.unwrap_or(0)))?;
        let name = "prometheus_elector_config_warnings";
        let help = "Warnings of the source file in use, listed in /_elector/status.";
        gauge(&mut encoder, name, help, i64::try_from(config.warnings.len()).unwrap_or(i64::MAX))?;
        let name = "prometheus_elector_config_hash";
        let help = "Hash of the configuration that Prometheus has accepted last, as a number, 0 before the first time.";
        gauge(&mut encoder, name, help, hash(config.applied_hash.as_deref()))?;
        let name = "prometheus_elector_config_source_errors";
        let help = "Source files that were read and found invalid.";
        let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(config.source_errors).encode(metric)
    }
}

/// The first 12 of its hexadecimal digits: a float holds them exactly.
fn hash(hexadecimal: Option<&str>) -> u64 {
    hexadecimal.and_then(|text| u64::from_str_radix(text.get(..12)?, 16).ok()).unwrap_or(0)
}

fn seconds(unix_ms: u64) -> f64 {
    std::time::Duration::from_millis(unix_ms).as_secs_f64()
}
