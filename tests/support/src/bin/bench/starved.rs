//! Whether the group feels load: proxies and gates saturated, both cores busy from outside.
//!
//! Every member is asked by wrk over 1,000 connections, the gates of the writer and of a standby get 100,000 samples/s, and
//! as many processes as there are cores do nothing but count. What is looked at is how late heartbeats are acknowledged, and
//! how much of its authority the leader has left whenever it is asked.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use test_support::cluster::{Cluster, Discovery, GROUP, GateOptions, Options};
use test_support::exposition::Page;
use test_support::process::Process;
use test_support::prometheus::Kind;
use test_support::receiver::Receiver;
use test_support::receiver::behaviour::Behaviour;

use crate::wrk;
use crate::{load, percentile, print_table, progress, progress_end};

const CONNECTIONS: u32 = 1_000;
/// Of each phase.
const PHASE: Duration = Duration::from_mins(2);
/// Time between two looks at the leader's authority.
const PERIOD: Duration = Duration::from_millis(100);
/// Bounds in seconds of the histogram that are looked at.
const LATENESS: [&str; 7] = ["0.005", "0.01", "0.05", "0.1", "0.2", "0.4", "+Inf"];
const QUERY: &str = "/api/v1/query?query=up";

/// What was seen in one phase.
struct Phase {
    /// Of the leader's authority, in ascending order.
    left: Vec<Duration>,
    /// Heartbeats by how late they were acknowledged: more than the bound before, at most this one.
    late: Vec<f64>,
    load: Load,
}

/// What was asked of the members.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    reads: u64,
    failed: u64,
    writes: u64,
}

/// Prints the table.
pub(crate) async fn measure(binary: &Path) -> Result<()> {
    let receiver = Receiver::start((Ipv4Addr::LOCALHOST, 0).into())?;
    let options = Options {
        kind: Kind::Server,
        discovery: Discovery::Static,
        gate: Some(GateOptions::STEADY),
        remote: Some(receiver.address),
        print_logs: false,
        ..Options::new("bench-starved", binary)
    };
    let options = options.customize(|_, flags| {
        flags.set("log-level", "info");
    });
    let mut cluster = Cluster::prepare(&options).await?;
    let leader = cluster.start_group(options.start).await?;
    receiver.set(Behaviour::Sink);
    progress("an idle group");
    let idle = watch(&cluster, leader, async {
        tokio::time::sleep(PHASE / 6).await;
        Ok(Load::default())
    })
    .await?;
    progress("proxies and gates saturated");
    let loaded = watch(&cluster, leader, saturate(&cluster, leader)).await?;
    progress("and both cores busy");
    let spinners = spinners(cluster.dir())?;
    let busy = watch(&cluster, leader, saturate(&cluster, leader)).await?;
    drop(spinners);
    progress_end();
    let tenures = cluster.sampler.tenures(GROUP);
    cluster.sampler.verdict()?;
    cluster.end();
    let phases = [("idle", idle), ("proxies and gates saturated", loaded), ("and both cores busy from outside", busy)];
    let header = ["authority left, of 720 ms", "median", "1 % below", "least", "looks", "reads", "failed", "writes"];
    print_table(&header, phases.iter().map(|(name, phase)| phase.row(name)).collect());
    let header = ["heartbeats acknowledged late by", "<= 5 ms", "10 ms", "50 ms", "100 ms", "200 ms", "400 ms", "more"];
    print_table(&header, phases.iter().map(|(name, phase)| phase.late_row(name)).collect());
    println!(
        "{} election(s) in all. wrk over {CONNECTIONS} connections to each of 3 members, and 50 requests/s of 2,000 samples to\n\
         each of two gates, for {} s in each phase.",
        tenures.len(),
        PHASE.as_secs()
    );
    ensure!(tenures.len() == 1, "the leader has changed under load: {tenures:?}");
    Ok(())
}

/// Reads through every member, and writes to two gates.
async fn saturate(cluster: &Cluster, leader: usize) -> Result<Load> {
    let urls: Vec<String> = cluster.members.iter().map(|member| member.sidecar.url(QUERY)).collect();
    let ask = async |url| wrk::Load { url, connections: CONNECTIONS }.run(PHASE).await;
    let standby = cluster.follower(leader)?;
    let (first, second, third, writer, standby) = tokio::join!(
        ask(&urls[0]),
        ask(&urls[1]),
        ask(&urls[2]),
        load::flood(cluster, leader, PHASE),
        load::flood(cluster, standby, PHASE)
    );
    let outcomes = [first?, second?, third?];
    Ok(Load {
        reads: outcomes.iter().map(|one| one.requests).sum(),
        failed: outcomes.iter().map(|one| one.failed).sum(),
        writes: writer.context("the writer's gate")? + standby.context("a standby's gate")?,
    })
}

/// Looks at the leader's authority for as long as the load lasts.
async fn watch(cluster: &Cluster, leader: usize, load: impl Future<Output = Result<Load>>) -> Result<Phase> {
    let mut load = std::pin::pin!(load);
    let mut left = Vec::new();
    let sidecar = &cluster.members[leader].sidecar;
    let before = lateness(&sidecar.metrics().await?);
    loop {
        let next = Instant::now() + PERIOD;
        tokio::select! {
            outcome = &mut load => {
                let load = outcome?;
                left.sort();
                let after = lateness(&sidecar.metrics().await?);
                let since: Vec<f64> = after.iter().zip(&before).map(|(after, before)| after - before).collect();
                let below = std::iter::once(0.0).chain(since.iter().copied());
                return Ok(Phase { left, late: since.iter().zip(below).map(|(upto, below)| upto - below).collect(), load });
            }
            page = sidecar.metrics() => {
                let seconds = page?.sum("prometheus_elector_election_authority_left_seconds");
                left.push(Duration::try_from_secs_f64(seconds).unwrap_or_default());
            }
        }
        tokio::time::sleep_until(next.into()).await;
    }
}

/// Heartbeats acknowledged at most as late as each of [`LATENESS`].
fn lateness(page: &Page) -> Vec<f64> {
    let bucket = "prometheus_elector_group_heartbeat_delay_seconds_bucket";
    LATENESS.iter().map(|bound| page.sum_with(bucket, &format!("le=\"{bound}\",role=\"leader\""))).collect()
}

impl Phase {
    fn row(&self, name: &str) -> Vec<String> {
        let left = |share| format!("{} ms", percentile(&self.left, share).as_millis());
        vec![
            name.into(),
            left(0.5),
            left(0.01),
            left(0.0),
            self.left.len().to_string(),
            self.load.reads.to_string(),
            self.load.failed.to_string(),
            self.load.writes.to_string(),
        ]
    }

    fn late_row(&self, name: &str) -> Vec<String> {
        std::iter::once(name.to_owned()).chain(self.late.iter().map(|count| format!("{count:.0}"))).collect()
    }
}

/// A process for each core that does nothing but count.
fn spinners(dir: &Path) -> Result<Vec<Process>> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let spin = |number: usize| {
        let mut command = Command::new("sh");
        command.args(["-c", "while :; do :; done"]);
        Process::spawn("spinner", &mut command, &dir.join(format!("spinner-{number}.log")))
    };
    (0..cores).map(spin).collect()
}
