//! When certificates end, read at the moment of the scrape.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::raft_files::RaftFilesStatus;

pub(super) struct CertificateCollector(RaftFilesStatus);

impl std::fmt::Debug for CertificateCollector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CertificateCollector")
    }
}

impl CertificateCollector {
    pub(super) fn new(files: RaftFilesStatus) -> Self {
        Self(files)
    }
}

impl Collector for CertificateCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let Some(expiry) = self.0.expiry() else { return Ok(()) };
        let name = "prometheus_elector_tls_certificate_expiry_timestamp_seconds";
        let help = "Unix time at which the certificate in use expires.";
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(expiry).encode(metric.encode_family(&[("certificate", "raft")])?)
    }
}
