//! One member: a sidecar and the Prometheus beside it, as the containers of one pod.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::options::{GROUP, Options};
use crate::net::{ADMIN_PORT, API_PORT, Block, RAFT_PORT};
use crate::prometheus::Prometheus;
use crate::secured::Secured;
use crate::sidecar::{Flags, Sidecar};
use crate::source::{GatedSource, SourceFile, SourceSpec};
use crate::wait::eventually;

/// The sidecar renders its first file in milliseconds; this is for a busy machine.
const FIRST_RENDER_MAX: Duration = Duration::from_secs(15);

/// A member of a cluster.
#[derive(Debug)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its sidecar.
    pub sidecar: Sidecar,
    /// Its Prometheus.
    pub prometheus: Prometheus,
    /// What its source file says.
    pub spec: SourceSpec,
    /// Its source file.
    pub source: SourceFile,
    dir: PathBuf,
}

impl Member {
    pub(super) fn new(
        index: usize,
        block: &Block,
        work: &Path,
        options: &Options,
        secured: Option<&Secured>,
    ) -> Result<Self> {
        let name = options.names[index].clone();
        let dir = work.join(&name);
        std::fs::create_dir_all(&dir)?;
        let spec = SourceSpec {
            scrape_interval_ms: u32::try_from(options.scrape_interval.as_millis())?,
            target: if options.self_contained { block.storage() } else { block.target() },
            storage: Some(options.remote.unwrap_or_else(|| block.storage())),
            shipped_by: name.clone(),
            gated: options.gate.map(|gate| GatedSource {
                replica: Some(index),
                parts: gate.parts,
                batch_samples_max: gate.batch_samples_max,
                batch_deadline_ms: gate.batch_deadline_ms,
                shards: gate.shards,
                shards_max: gate.shards,
                is_v2: gate.is_v2,
                more: "",
                other: None,
                only_remote_write: false,
            }),
            extra_jobs: Vec::new(),
        };
        let mount = dir.join("config");
        let text = spec.render();
        let source =
            if options.config_map { SourceFile::config_map(&mount, &text) } else { SourceFile::plain(&mount, &text) }?;
        let output = dir.join("prometheus.yml");
        let mut prometheus =
            Prometheus::new(&format!("{name} Prometheus"), options.kind, block.prometheus(index), &output, &dir)?;
        if let Some(secured) = secured {
            prometheus.secure(secured)?;
        }
        let mut flags = flags(&name, index, block, &prometheus);
        if let Some(secured) = secured {
            flags
                .set("prometheus-ca-file", secured.file("ca.crt").display())
                .set("prometheus-client-cert-file", secured.file("client.crt").display())
                .set("prometheus-client-key-file", secured.file("client.key").display())
                .set("prometheus-basic-auth-file", secured.file("basic").display());
        }
        flags.set("config", source.path().display()).set("output", output.display());
        flags.set("raft-data-dir", dir.join("raft").display());
        if options.gate.is_some() {
            // Rendering points Prometheus at this port of 127.0.0.1: each member needs one of its own.
            flags.set("remote-write-gate", "on").set("admin-listen-address", block.gate(index));
        }
        let api = (block.member_ip(index), API_PORT).into();
        let sidecar = Sidecar::new(&name, &options.binary, api, flags, &dir)?;
        Ok(Self { name, sidecar, prometheus, spec, source, dir })
    }

    /// Where the sidecar writes the Prometheus configuration.
    pub fn output(&self) -> PathBuf {
        self.dir.join("prometheus.yml")
    }

    /// Lease name: members of different ones are different groups.
    pub fn group(&self) -> &str {
        self.sidecar.flags.get("lease-name").unwrap_or(GROUP)
    }

    /// Starts Prometheus, without waiting, once the sidecar has rendered its first file.
    pub async fn spawn_prometheus(&mut self) -> Result<()> {
        let output = self.output();
        let (sidecar, what) = (&mut self.sidecar, format!("{} to be rendered", output.display()));
        // Ends early, with the log, when the sidecar has ended.
        eventually(FIRST_RENDER_MAX, &what, async || match sidecar.check_running() {
            Ok(()) => output.exists().then_some(Ok(())).context("there is no such file"),
            Err(ended) => Ok(Err(ended)),
        })
        .await??;
        self.prometheus.spawn()
    }

    /// Starts both.
    pub async fn start(&mut self) -> Result<()> {
        self.sidecar.start()?;
        self.spawn_prometheus().await?;
        self.prometheus.wait_ready().await
    }

    /// SIGKILL to both at once, as a lost machine.
    pub fn kill(&mut self) -> Result<()> {
        self.sidecar.kill()?;
        self.prometheus.kill()
    }

    /// Removes everything that it keeps on disk, the source file apart. Neither process may run.
    pub fn lose_disk(&mut self) -> Result<()> {
        ensure!(!self.sidecar.started(), "{}: the sidecar still runs", self.name);
        let raft = self.sidecar.flags.get("raft-data-dir").context("no raft-data-dir")?;
        if Path::new(raft).exists() {
            std::fs::remove_dir_all(raft).context("remove the group's state")?;
        }
        if self.output().exists() {
            std::fs::remove_file(self.output())?;
        }
        self.prometheus.lose_data()
    }

    /// Writes the source file anew from `spec`.
    pub fn write_source(&mut self) -> Result<()> {
        self.source.write(&self.spec.render())
    }

    pub(super) fn tails(&self) -> String {
        format!(
            "--- end of {0}'s sidecar log\n{1}\n--- end of {0}'s Prometheus log\n{2}\n",
            self.name,
            self.sidecar.tail(),
            self.prometheus.tail()
        )
    }
}

/// Everything but files and discovery. The lease timings stay at their defaults; checks of Prometheus are faster than
/// by default, so that tests take less time.
fn flags(name: &str, index: usize, block: &Block, prometheus: &Prometheus) -> Flags {
    let ip = block.member_ip(index);
    let mut flags = Flags::default();
    flags
        .set("member-id", name)
        .set("lease-name", GROUP)
        .set("lease-namespace", "mon")
        .set("notify-http-url", prometheus.url("/-/reload"))
        .set("notify-retry-delay", "500ms")
        .set("readiness-http-url", prometheus.url("/-/ready"))
        .set("readiness-poll-period", "200ms")
        .set("healthcheck-http-url", prometheus.url("/-/healthy"))
        .set("healthcheck-period", "500ms")
        .set("healthcheck-timeout", "500ms")
        .set("healthcheck-success-threshold", 2)
        .set("healthcheck-failure-threshold", 2)
        .set("api-listen-address", format!("{ip}:{API_PORT}"))
        .set("api-proxy-enabled", true)
        .set("api-proxy-prometheus-local-port", prometheus.address.port())
        .set("api-proxy-prometheus-remote-port", prometheus.address.port())
        .set("api-proxy-prometheus-service-name", "prom")
        .set("api-shutdown-grace-delay", "5s")
        .set("advertise-prometheus-url", prometheus.url(""))
        .set("advertise-api-url", format!("http://{ip}:{API_PORT}"))
        .set("raft-listen-address", format!("{ip}:{RAFT_PORT}"))
        .set("raft-advertise-address", format!("{ip}:{RAFT_PORT}"))
        .set("admin-listen-address", format!("{ip}:{ADMIN_PORT}"))
        .set("dns-refresh-period", "500ms")
        .set("log-level", "debug");
    flags
}
