//! Families about the remote-write gate, read at the moment of the scrape.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::gate::status::CountsStatus;
use crate::gate::{GateStatus, RemoteStatus};

/// Asks the gate what it is doing.
pub type GateProbe = Box<dyn Fn() -> GateStatus + Send + Sync>;

pub(super) struct GateCollector(GateProbe);

impl GateCollector {
    pub(super) fn new(probe: GateProbe) -> Self {
        Self(probe)
    }
}

impl fmt::Debug for GateCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GateCollector")
    }
}

impl Collector for GateCollector {
    fn encode(&self, encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let status = (self.0)();
        let mut families = Families { encoder, remotes: &status.remotes };
        families.requests()?;
        families.spool()?;
        families.progress()?;
        let name = "prometheus_elector_gate_ungated_entries";
        let help = "Entries of remote_write that lead past the gate, outside the promise of one writer.";
        super::gauge(&mut families.encoder, name, help, i64::try_from(status.ungated.len()).unwrap_or(i64::MAX))
    }
}

struct Families<'e, 's> {
    encoder: DescriptorEncoder<'e>,
    remotes: &'s [RemoteStatus],
}

impl Families<'_, '_> {
    fn requests(&mut self) -> Result<(), fmt::Error> {
        let name = "prometheus_elector_gate_requests";
        let help = "Requests of the own Prometheus by role at that moment and outcome.";
        let mut metric = self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for remote in self.remotes {
            let counts = remote.counts;
            for (role, outcome, count) in [
                ("standby", "spooled", counts.spooled),
                ("standby", "spool_refused", counts.spool_refused),
                ("writer", "accepted", counts.accepted),
                ("writer", "rejected", counts.rejected),
                ("writer", "deferred", counts.deferred),
                ("writer", "denied", counts.denied),
                ("writer", "unanswered", counts.unanswered),
                ("writer", "cut", counts.cut),
            ] {
                let labels = [("remote", remote.name.as_str()), ("role", role), ("outcome", outcome)];
                ConstCounter::new(count).encode(metric.encode_family(&labels)?)?;
            }
        }
        self.counter("received_bytes", "Bytes of all bodies of the own Prometheus.", |c| c.bytes)?;
        self.counter("unreadable_bodies", "Bodies that could not be read and are kept as they are.", |c| c.unreadable)
    }

    fn spool(&mut self) -> Result<(), fmt::Error> {
        self.gauge("spool_bytes", "Size of the spool on disk.", |remote| Some(remote.spool_bytes))?;
        self.gauge("spool_limit_bytes", "Largest size of the spool.", |remote| Some(remote.spool_bytes_max))?;
        self.gauge("spool_batches", "Batches in the spool.", |remote| Some(remote.spool_batches))?;
        let age = |remote: &RemoteStatus| Some(seconds(remote.spool_oldest_age_ms.unwrap_or(0)));
        self.gauge("spool_oldest_age_seconds", "Age of the oldest batch in the spool, 0 when it is empty.", age)?;
        let help = "Batches dropped from the spool because the writer had finished them, or for their age.";
        self.counter("spool_dropped_batches", help, |counts| counts.retained_dropped)
    }

    fn progress(&mut self) -> Result<(), fmt::Error> {
        let help = "Unix time up to which the group has finished everything for the remote.";
        self.gauge("watermark_timestamp_seconds", help, |remote| Some(signed_seconds(remote.watermark_ms?)))?;
        let help = "How far the watermark is behind the clock.";
        self.gauge("watermark_age_seconds", help, |remote| Some(signed_seconds(remote.watermark_age_ms?)))?;
        let help = "Whether this member could take over without a gap.";
        self.gauge("covered", help, |remote| Some(i64::from(remote.covered)))?;
        let help = "Time since the remote has last taken something from this process, +Inf before the first time.";
        let age = |remote: &RemoteStatus| Some(remote.last_accepted_age_ms.map_or(f64::INFINITY, seconds));
        self.gauge("last_accepted_age_seconds", help, age)?;
        let help = "1 while this member leads and nothing has got to the remote for a minute or more, else 0.";
        self.gauge("not_shipping", help, |remote| Some(i64::from(remote.not_shipping.is_some())))?;
        let help = "How long the remote has been refusing this replica (401, 403, 404, ...), 0 while it does not.";
        self.gauge("refused_seconds", help, |remote| Some(seconds(remote.refused_for_ms.unwrap_or(0))))?;
        let help = "Batches of the spool that are left to send in a takeover, 0 while there is none.";
        let left = |remote: &RemoteStatus| Some(remote.catch_up.map_or(0, |catch_up| catch_up.batches_left));
        self.gauge("catch_up_batches", help, left)?;
        let help = "Batches of the spool that were sent in takeovers.";
        self.counter("catch_up_sent_batches", help, |counts| counts.caught_up)?;
        self.counter("catch_up_requests", "Requests that this has taken.", |counts| counts.catch_up_requests)?;
        let help = "Requests of a takeover of which the remote has refused a part for good.";
        self.counter("catch_up_refused_requests", help, |counts| counts.catch_up_lost)
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Fn(CountsStatus) -> u64) -> Result<(), fmt::Error> {
        let name = format!("prometheus_elector_gate_{name}");
        let mut metric = self.encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
        for remote in self.remotes {
            let labels = [("remote", remote.name.as_str())];
            ConstCounter::new(value(remote.counts)).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn gauge<V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        value: impl Fn(&RemoteStatus) -> Option<V>,
    ) -> Result<(), fmt::Error> {
        let name = format!("prometheus_elector_gate_{name}");
        let mut metric = self.encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?;
        for remote in self.remotes {
            let Some(value) = value(remote) else { continue };
            let labels = [("remote", remote.name.as_str())];
            ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

fn seconds(ms: u64) -> f64 {
    std::time::Duration::from_millis(ms).as_secs_f64()
}

fn signed_seconds(ms: i64) -> f64 {
    let seconds = seconds(ms.unsigned_abs());
    if ms < 0 { -seconds } else { seconds }
}
