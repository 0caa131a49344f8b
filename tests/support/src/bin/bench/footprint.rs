//! What one member costs: memory, processor time, size; and how long a large configuration takes to render.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use test_support::cluster::{Cluster, Discovery, Options};
use test_support::procfs::Usage;
use test_support::sampler::Sampler;
use test_support::sidecar::Flags;

/// How long an idle member is watched.
pub(crate) const IDLE: Duration = Duration::from_secs(20);
/// Runs of `render`.
pub(crate) const RENDER_RUNS: usize = 5;
/// Size of the source file that is rendered.
const RENDER_BYTES: usize = 10_000_000;

/// The hungriest of all sidecars.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Idle {
    /// Resident memory at the end, in bytes.
    pub(crate) resident_bytes: u64,
    /// Part of one core, in percent.
    pub(crate) cpu_percent: f64,
}

/// Flags that make checks faster in tests than they are by default.
const FASTER_IN_TESTS: [&str; 7] = [
    "readiness-poll-period",
    "healthcheck-period",
    "healthcheck-timeout",
    "healthcheck-success-threshold",
    "healthcheck-failure-threshold",
    "notify-retry-delay",
    "dns-refresh-period",
];

/// The defaults, as most run.
pub(crate) fn by_default(flags: &mut Flags) {
    for name in FASTER_IN_TESTS {
        flags.remove(name);
    }
    flags.set("log-level", "info");
}

/// Lets nothing ask the members: samples would be the largest part of what an idle one does.
pub(crate) fn leave_alone(cluster: &mut Cluster) -> Result<()> {
    cluster.sampler = Sampler::new(Duration::from_secs(1))?;
    Ok(())
}

/// Watches an idle group at default timings.
pub(crate) async fn idle(binary: &Path) -> Result<Idle> {
    let options = Options { discovery: Discovery::Static, print_logs: false, ..Options::new("bench-idle", binary) };
    let mut cluster = Cluster::start(&options.customize(|_, flags| by_default(flags))).await?;
    cluster.wait_settled().await?;
    leave_alone(&mut cluster)?;
    let idle = watch(&cluster).await;
    cluster.end();
    idle
}

async fn watch(cluster: &Cluster) -> Result<Idle> {
    let read =
        || cluster.members.iter().map(|member| Usage::read(member.sidecar.id().context("not running")?)).collect();
    let (start, before): (_, Result<Vec<Usage>>) = (Instant::now(), read());
    let before = before?;
    tokio::time::sleep(IDLE).await;
    let after: Result<Vec<Usage>> = read();
    let elapsed = start.elapsed().as_secs_f64();
    let mut idle = Idle::default();
    for (before, after) in before.into_iter().zip(after?) {
        let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64() / elapsed * 100.0;
        idle.resident_bytes = idle.resident_bytes.max(after.resident_bytes);
        idle.cpu_percent = idle.cpu_percent.max(cpu);
    }
    Ok(idle)
}

/// Renders a large file for the leader again and again; each time includes the start of the process.
pub(crate) fn render(binary: &Path, dir: &Path) -> Result<Vec<Duration>> {
    let source = dir.join("large.yaml");
    std::fs::write(&source, large_source())?;
    let mut times = Vec::new();
    for _ in 0..RENDER_RUNS {
        let start = Instant::now();
        let output = Command::new(binary)
            .args(["render", "--role", "leader"])
            .arg(format!("--config={}", source.display()))
            .stdout(Stdio::null())
            .output()
            .context("run render")?;
        times.push(start.elapsed());
        ensure!(output.status.success(), "render: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(times)
}

/// Many scrape jobs, as service owners write them: targets, labels, relabelling with regular expressions.
fn large_source() -> String {
    let mut text = "follower:\n  global: {scrape_interval: 15s}\n  scrape_configs:\n".to_owned();
    let mut job = 0;
    while text.len() < RENDER_BYTES {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "    - job_name: service-{job}
      metrics_path: /metrics
      static_configs:
        - targets: ['10.{a}.{b}.1:8080', '10.{a}.{b}.2:8080', '10.{a}.{b}.3:8080']
          labels: {{team: team-{b}, tier: \"{a}\"}}
      relabel_configs:
        - source_labels: [__address__]
          regex: '(10\\.{a}\\.{b}\\.[0-9]+):(8080|9090)'
          target_label: instance
          replacement: \"${{1}}\"
        - {{action: labeldrop, regex: 'pod_template_hash|controller_revision_hash'}}
",
            a = job / 250 % 250,
            b = job % 250
        );
        job += 1;
    }
    text + "leader:\n  remote_write:\n    - url: http://127.0.0.1:9/api/v1/write\n"
}
