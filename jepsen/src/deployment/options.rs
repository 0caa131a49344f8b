//! What a deployment is made of, and the arguments of its programs. Pure but for paths.
//!
//! Timings of the group stay at their defaults. Checks of Prometheus are faster than by default and a member that is gone is
//! removed sooner, so that a run of minutes sees what follows from them.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use test_support::prometheus::Executable;
use test_support::source::{GatedSource, SourceSpec};

use super::pod::{Disk, Pod};
use crate::hub::{API_PORT, PROMETHEUS_PORT, RECEIVER_PORT, SCRAPE_INTERVAL_MS, TARGET_PORT};

/// Headless service of the pods.
pub const SERVICE: &str = "prom";
/// Its domain.
pub const DOMAIN: &str = "mon.svc.cluster.local";
/// Port of the group.
pub const RAFT_PORT: u16 = 9096;

/// Options of a [`super::Deployment`].
#[derive(Clone, Debug)]
pub struct Options {
    /// The sidecar.
    pub elector: PathBuf,
    /// What starts an elector of another kind in its place (jepsen/README.md, "Another elector").
    pub adapter: Option<PathBuf>,
    /// Where on the API's port a member says by 200 that it is ready.
    pub ready_path: String,
    /// The Prometheus.
    pub prometheus: Executable,
    /// Members with a Prometheus at the start.
    pub members: usize,
    /// One more that only votes.
    pub witness: bool,
    /// Remote writes go through the gate.
    pub gate: bool,
    /// Prometheus runs as an agent.
    pub agent: bool,
    /// The library that lies to the sidecars about the wall clock.
    pub faketime: Option<PathBuf>,
    /// Where logs go.
    pub out: PathBuf,
}

impl Options {
    /// Members that vote at the start.
    pub fn voters(&self) -> usize {
        self.members + usize::from(self.witness)
    }

    /// Arguments of the sidecar of a pod whose own files are in `dir`.
    pub fn sidecar(&self, pod: &Pod, dir: &Path, disk: &Disk) -> Vec<String> {
        let mut arguments = vec![
            format!("-raft-data-dir={}", disk.raft().display()),
            format!("-raft-token-file={}", dir.join("token").display()),
            format!("-raft-bootstrap-expect={}", self.voters()),
            format!("-event-log={}", pod.event_log().display()),
            format!("-api-proxy-prometheus-service-name={SERVICE}"),
            format!("-remote-write-gate={}", if self.gate { "on" } else { "off" }),
            "-api-proxy-enabled".into(),
            "-member-removal-delay=20s".into(),
        ];
        if pod.witness {
            arguments.push("-witness".into());
            return arguments;
        }
        arguments.extend(rendering(dir));
        let at = format!("http://127.0.0.1:{PROMETHEUS_PORT}");
        arguments.extend([
            format!("-notify-http-url={at}/-/reload"),
            format!("-readiness-http-url={at}/-/ready"),
            format!("-healthcheck-http-url={at}/-/healthy"),
            "-notify-retry-delay=1s".into(),
            "-readiness-poll-period=1s".into(),
            "-healthcheck-period=1s".into(),
            "-healthcheck-timeout=1s".into(),
        ]);
        arguments
    }

    /// Arguments of the Prometheus beside it.
    pub fn prometheus_arguments(&self, dir: &Path, disk: &Disk) -> Vec<String> {
        let storage = if self.agent { "agent" } else { "tsdb" };
        let mut arguments = vec![
            format!("--config.file={}", dir.join("out/prometheus.yml").display()),
            format!("--storage.{storage}.path={}", disk.tsdb().display()),
            format!("--web.listen-address=0.0.0.0:{PROMETHEUS_PORT}"),
            "--web.enable-lifecycle".into(),
        ];
        if self.agent {
            arguments.push(self.prometheus.agent_flag().into());
        }
        arguments
    }
}

/// What an adapter is told, as environment variables.
pub fn adapted(options: &Options, pod: &Pod, dir: &Path, disk: &Disk, hub: Ipv4Addr) -> Vec<(&'static str, OsString)> {
    vec![
        ("ELECTOR", options.elector.clone().into()),
        ("MEMBER", pod.name.clone().into()),
        ("MEMBERS", options.voters().to_string().into()),
        ("WITNESS", pod.witness.to_string().into()),
        ("ADDRESS", pod.address().to_string().into()),
        ("HUB", hub.to_string().into()),
        ("SERVICE", SERVICE.into()),
        ("API_PORT", API_PORT.to_string().into()),
        ("PROMETHEUS", format!("http://127.0.0.1:{PROMETHEUS_PORT}").into()),
        ("SOURCE", dir.join("config/config.yaml").into()),
        ("OUTPUT", dir.join("out/prometheus.yml").into()),
        ("DATA_DIR", disk.raft().into()),
        ("TOKEN_FILE", dir.join("token").into()),
        ("EVENT_LOG", pod.event_log().into()),
    ]
}

/// Where the source file is and where the configuration goes.
pub fn rendering(dir: &Path) -> [String; 2] {
    [
        format!("-config={}", dir.join("config/config.yaml").display()),
        format!("-output={}", dir.join("out/prometheus.yml").display()),
    ]
}

/// Arguments of `env` that have a program see the wall clock of a file. The monotonic clock stays true, or the event log would be
/// of no use.
pub fn faketime(library: &Path, clock: &Path) -> Vec<OsString> {
    let variable = |name: &str, value: &Path| {
        let mut variable = OsString::from(format!("{name}="));
        variable.push(value);
        variable
    };
    let mut arguments = vec![variable("LD_PRELOAD", library), variable("FAKETIME_TIMESTAMP_FILE", clock)];
    arguments.extend(
        ["FAKETIME_CACHE_DURATION=1", "DONT_FAKE_MONOTONIC=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"].map(Into::into),
    );
    arguments
}

/// What the source file of a replica says.
pub fn source(name: &str, replica: usize, hub: Ipv4Addr) -> SourceSpec {
    SourceSpec {
        scrape_interval_ms: SCRAPE_INTERVAL_MS,
        target: SocketAddr::from((hub, TARGET_PORT)),
        storage: Some(SocketAddr::from((hub, RECEIVER_PORT))),
        shipped_by: name.into(),
        // With the gate off too: labels must be equal on all replicas, or the receiver could not tell gaps.
        gated: Some(GatedSource {
            replica: Some(replica),
            parts: 4,
            batch_samples_max: 500,
            batch_deadline_ms: 500,
            shards: 1,
            shards_max: 1,
            is_v2: false,
            more: "",
            other: None,
            only_remote_write: false,
        }),
        extra_jobs: Vec::new(),
    }
}

/// The source file with a change that Prometheus must load and that changes no sample.
pub fn changed(text: &str, number: u64) -> String {
    text.replacen("  scrape_configs:\n", &format!("  scrape_configs:\n    - {{job_name: changed_{number}}}\n"), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_source_has_one_more_job_for_everybody() {
        let text = source("prom-0", 0, Ipv4Addr::new(10, 231, 0, 1)).render();
        let changed = changed(&text, 7);
        let job = "    - {job_name: changed_7}\n";
        assert_eq!(changed.replacen(job, "", 1), text);
        assert!(changed.find(job).is_some_and(|at| Some(at) < changed.find("leader:")), "{changed}");
        assert!(text.contains("params: {replica: ['0']}"), "clients tell replicas by it: {text}");
    }

    #[test]
    fn only_the_wall_clock_is_false() {
        let arguments = faketime(Path::new("/lib/x.so"), Path::new("/clock"));
        assert!(
            arguments.contains(&"LD_PRELOAD=/lib/x.so".into()) && arguments.contains(&"DONT_FAKE_MONOTONIC=1".into())
        );
    }
}
