//! Field numbers of the messages, one definition for all that reads or writes them.
//!
//! Source: `prompb/remote.proto`, `prompb/types.proto` and `prompb/io/prometheus/write/v2/types.proto` of Prometheus.

/// `prometheus.WriteRequest`
pub(super) mod v1 {
    pub(in super::super) const TIMESERIES: u32 = 1;
    pub(in super::super) const LABELS: u32 = 1;
    pub(in super::super) const SAMPLES: u32 = 2;
    pub(in super::super) const EXEMPLARS: u32 = 3;
    pub(in super::super) const HISTOGRAMS: u32 = 4;
    pub(in super::super) const LABEL_NAME: u32 = 1;
    pub(in super::super) const LABEL_VALUE: u32 = 2;
    pub(in super::super) const EXEMPLAR_LABELS: u32 = 1;
}

/// `io.prometheus.write.v2.Request`
pub(super) mod v2 {
    pub(in super::super) const SYMBOLS: u32 = 4;
    pub(in super::super) const TIMESERIES: u32 = 5;
    pub(in super::super) const LABELS_REFS: u32 = 1;
    pub(in super::super) const SAMPLES: u32 = 2;
    pub(in super::super) const HISTOGRAMS: u32 = 3;
    pub(in super::super) const EXEMPLARS: u32 = 4;
    pub(in super::super) const METADATA: u32 = 5;
    pub(in super::super) const EXEMPLAR_LABELS_REFS: u32 = 1;
    pub(in super::super) const METADATA_HELP_REF: u32 = 3;
    pub(in super::super) const METADATA_UNIT_REF: u32 = 4;
}
