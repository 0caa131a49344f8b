//! Whether the group feels load: proxies and gates saturated, both cores busy from outside.
//!
//! Every member is asked by wrk over 1,000 connections, the gates of the writer and of a standby take 100,000 samples/s
//! for a part of the time, and as many processes as there are cores do nothing but count. What is looked at is how much of
//! its authority the leader has left whenever it is asked: it is prolonged by each heartbeat that a majority acknowledges.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use test_support::cluster::{Cluster, Discovery, GROUP, GateOptions, Options};
use test_support::process::Process;
use test_support::prometheus::Kind;
use test_support::receiver::Receiver;
use test_support::receiver::behaviour::Behaviour;

use crate::wrk;
use crate::{load, percentile, print_table, progress, progress_end};

const CONNECTIONS: u32 = 1_000;
/// Of each phase.
const PHASE: Duration = Duration::from_mins(2);
/// The gates' requests are made meanwhile.
const LEAD: Duration = Duration::from_secs(100);
/// Time between two looks at the leader's authority.
const PERIOD: Duration = Duration::from_millis(100);
const QUERY: &str = "/api/v1/query?query=up";

/// What was seen in one phase.
struct Phase {
    /// Of the leader's authority, in ascending order.
    left: Vec<Duration>,
    requests: u64,
    failed: u64,
}

/// Prints the table.
pub(crate) async fn measure(binary: &Path) -> Result<()> {
    let receiver = Receiver::start((Ipv4Addr::LOCALHOST, 0).into())?;
    let options = Options {
        kind: Kind::Server,
        discovery: Discovery::Static,
        gate: Some(GateOptions { parts: 1, batch_samples_max: 500, batch_deadline_ms: 500, shards: 1, is_v2: false }),
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
        Ok((0, 0))
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
    let header = ["authority left, of 720 ms", "median", "1 % below", "least", "looks", "requests", "failed"];
    print_table(
        &header,
        vec![idle.row("idle"), loaded.row("proxies and gates saturated"), busy.row("and both cores busy from outside")],
    );
    println!(
        "{} election(s) in all. wrk over {CONNECTIONS} connections to each of 3 members for {} s in each phase, two gates at\n\
         100,000 samples/s for the last ten seconds or so of them.",
        tenures.len(),
        PHASE.as_secs()
    );
    ensure!(tenures.len() == 1, "the leader has changed under load: {tenures:?}");
    Ok(())
}

/// Reads through every member, and writes to two gates.
async fn saturate(cluster: &Cluster, leader: usize) -> Result<(u64, u64)> {
    let urls: Vec<String> = cluster.members.iter().map(|member| member.sidecar.url(QUERY)).collect();
    let ask = async |url| wrk::Load { url, connections: CONNECTIONS }.run(PHASE).await;
    let standby = cluster.follower(leader)?;
    let (first, second, third, writer, standby) = tokio::join!(
        ask(&urls[0]),
        ask(&urls[1]),
        ask(&urls[2]),
        load::run(cluster, leader, None, LEAD),
        load::run(cluster, standby, None, LEAD)
    );
    writer.context("the writer's gate")?;
    standby.context("a standby's gate")?;
    let outcomes = [first?, second?, third?];
    Ok((outcomes.iter().map(|one| one.requests).sum(), outcomes.iter().map(|one| one.failed).sum()))
}

/// Looks at the leader's authority for as long as the load lasts.
async fn watch(cluster: &Cluster, leader: usize, load: impl Future<Output = Result<(u64, u64)>>) -> Result<Phase> {
    let mut load = std::pin::pin!(load);
    let mut left = Vec::new();
    loop {
        let next = Instant::now() + PERIOD;
        tokio::select! {
            outcome = &mut load => {
                let (requests, failed) = outcome?;
                left.sort();
                return Ok(Phase { left, requests, failed });
            }
            page = cluster.members[leader].sidecar.metrics() => {
                let seconds = page?.sum("prometheus_elector_election_authority_left_seconds");
                left.push(Duration::try_from_secs_f64(seconds).unwrap_or_default());
            }
        }
        tokio::time::sleep_until(next.into()).await;
    }
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
            self.requests.to_string(),
            self.failed.to_string(),
        ]
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
