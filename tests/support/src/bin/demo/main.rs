//! `make demo`: three members with real Prometheus agents, one storage, and a leader that is killed.

mod keep;
mod screen;
mod view;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use test_support::cluster::{Cluster, Discovery, Options, TAKEOVER_MAX};
use test_support::config_watch::ConfigWatch;
use test_support::load::Load;
use test_support::prometheus::Executable;
use test_support::sidecar::find_binary;

use keep::LABEL;
use screen::{Screen, Style, grouped};
use view::{View, millis};

/// Resolution of the takeover time.
const SAMPLE_PERIOD: Duration = Duration::from_millis(2);
/// How long each act lasts.
const ACT: Duration = Duration::from_secs(8);
const REDRAW_PERIOD: Duration = Duration::from_millis(250);
const QUERIES_PER_SECOND: u32 = 100;
/// What agents can answer: they have no query engine.
const QUERY: &str = "/api/v1/targets";

/// Three Prometheus replicas, one writer: kills the leader and shows what happens.
#[derive(Debug, Parser)]
#[command(name = "demo")]
struct Arguments {
    /// Leave everything running at the end
    #[arg(long)]
    keep: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// End what `--keep` has left running
    Stop {
        /// Directory that the demo printed; without it: all of them
        directory: Option<PathBuf>,
    },
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Some(Command::Stop { directory }) => stop(directory).await,
        None => tokio::select! {
            // The signal reaches the members too: first, so that their end is not taken for a failure. Dropping the run
            // ends and removes everything that it has started.
            biased;
            _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted; everything is cleaned up")),
            outcome = run(arguments.keep) => outcome,
        },
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\n  demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn stop(directory: Option<PathBuf>) -> Result<()> {
    let stopped = keep::stop(directory).await?;
    if stopped.is_empty() {
        println!("no kept demo found");
    }
    for dir in stopped {
        println!("stopped, and removed {}", dir.display());
    }
    Ok(())
}

async fn run(keep: bool) -> Result<()> {
    let mut screen = Screen::new();
    let prometheus = Executable::find()?;
    println!();
    let title = screen.paint(Style::Bold, "prometheus-elector demo");
    screen.line(&title);
    screen.line("Three Prometheus agents scrape the same target, only the leader's ships.");
    screen.line("Then the leader gets kill -9, sidecar and Prometheus, as if its machine were lost.\n");

    let options = Options {
        discovery: Discovery::Static,
        self_contained: true,
        sample_period: SAMPLE_PERIOD,
        print_logs: false,
        ..Options::new(LABEL, find_binary(None)?)
    };
    let mut cluster = Cluster::prepare(&options).await?;
    match play(&mut screen, &mut cluster, &prometheus).await {
        Ok(()) => {}
        Err(error) => {
            screen.keep_block();
            screen.failed(&format!("it did not work; all logs are in {}", cluster.keep_files().display()));
            return Err(error);
        }
    }
    if keep {
        print_kept(&mut screen, cluster)
    } else {
        drop(cluster);
        screen.done("cleaned up: all processes ended, all files removed");
        Ok(())
    }
}

/// The whole play, up to the summary.
async fn play(screen: &mut Screen, cluster: &mut Cluster, prometheus: &Executable) -> Result<()> {
    let leader = form(screen, cluster, prometheus).await?;
    let follower = cluster.follower(leader)?;
    let (leader_name, follower_name) = (cluster.members[leader].name.clone(), cluster.members[follower].name.clone());
    let mut configs = ConfigWatch::new(SAMPLE_PERIOD * 5)?;
    for member in &cluster.members {
        configs.watch(&member.name, &member.prometheus.url(""));
    }
    let load = Load::start(&cluster.members[follower].sidecar.url(QUERY), QUERIES_PER_SECOND)?;
    screen.done(&format!("{QUERIES_PER_SECOND} queries per second through {follower_name}'s proxy: GET {QUERY}"));
    screen.line("  (agents answer no PromQL; the answer comes from the leader's own Prometheus)");

    let start = Instant::now();
    let kill = |left: Duration| format!("kill -9 {leader_name} in {} s", left.as_secs() + 1);
    act(screen, cluster, &load, start, kill).await;

    let old = cluster.tenure()?;
    let killed = Instant::now();
    cluster.members[leader].kill()?;
    screen.failed(&format!("kill -9: {leader_name}'s sidecar and Prometheus are gone"));
    let new = cluster.sampler.successor(test_support::cluster::GROUP, &old, TAKEOVER_MAX).await?;
    let leads_after = new.since.duration_since(killed);
    let ships_after = configs.first_shipping(&new.member, killed, TAKEOVER_MAX).await?.duration_since(killed);
    let (leads_ms, ships_ms) = (grouped(millis(leads_after)), grouped(millis(ships_after)));
    let took = screen.paint(Style::Bold, &format!("{leads_ms} ms"));
    screen.done(&format!("{} took over after {took}; its Prometheus ships after {ships_ms} ms", new.member));
    act(screen, cluster, &load, start, |left| format!("{leader_name} is started again in {} s", left.as_secs() + 1))
        .await;

    cluster.members[leader].start().await?;
    cluster.wait_settled().await?;
    screen.done(&format!("{leader_name} is back, as a follower"));
    act(screen, cluster, &load, start, |left| format!("the end in {} s", left.as_secs() + 1)).await;
    View::take(cluster, load.report(), start).await.draw(screen, "");
    summary(screen, cluster, load).await
}

/// Starts everything and tells about it. Returns the leader.
async fn form(screen: &mut Screen, cluster: &mut Cluster, prometheus: &Executable) -> Result<usize> {
    screen.draw(&["starting the storage …".to_owned()], "starting the storage");
    cluster.storage.start().await?;
    let (version, storage) = (&prometheus.version, cluster.storage.url(""));
    screen.done(&format!("storage: Prometheus {version} that takes remote write, {storage}"));
    screen.draw(&["starting three members …".to_owned()], "starting three members");
    let start = Instant::now();
    cluster.start_members(&[0, 1, 2]).await?;
    for member in &cluster.members {
        screen.done(&format!(
            "{}: sidecar {}, agent {}",
            member.name,
            member.sidecar.url(""),
            member.prometheus.url("")
        ));
    }
    screen.draw(&["the group forms …".to_owned()], "the group forms");
    let leader = cluster.wait_settled().await?;
    let (name, seconds) = (&cluster.members[leader].name, start.elapsed().as_secs_f64());
    screen.done(&format!("the group has formed after {seconds:.1} s, without any API of Kubernetes: {name} leads"));
    Ok(leader)
}

/// Shows the live table for one act.
async fn act(screen: &mut Screen, cluster: &Cluster, load: &Load, start: Instant, next: impl Fn(Duration) -> String) {
    let end = Instant::now() + ACT;
    while Instant::now() < end {
        let tick = Instant::now() + REDRAW_PERIOD;
        let left = end.saturating_duration_since(Instant::now());
        View::take(cluster, load.report(), start).await.draw(screen, &next(left));
        tokio::time::sleep_until(tick.into()).await;
    }
}

/// What came out. An error if a query failed or two members led at once.
async fn summary(screen: &mut Screen, cluster: &Cluster, load: Load) -> Result<()> {
    screen.keep_block();
    let shipped = cluster.shipped().await?;
    let counts =
        cluster.members.iter().zip(shipped).map(|(member, count)| format!("{} {}", member.name, grouped(count)));
    screen.done(&format!("samples shipped: {}", counts.collect::<Vec<_>>().join(", ")));
    screen.line("  (counted by the storage; each replica labels what it ships, for this count only)");
    cluster.sampler.verdict().context("the watch for two leaders")?;
    screen.done("at no moment did two members claim to lead");
    let report = load.stop().await;
    let sent = grouped(report.succeeded + report.failed);
    if report.failed > 0 {
        screen.failed(&format!("queries: {sent} sent, {} failed: {:?}", report.failed, report.failures));
        bail!("{} of {sent} queries failed", report.failed);
    }
    let slowest = grouped(millis(report.slowest));
    screen.done(&format!("queries: {sent} sent, 0 failed; the slowest took {slowest} ms: held while nobody led"));
    Ok(())
}

fn print_kept(screen: &mut Screen, cluster: Cluster) -> Result<()> {
    let mut lines = vec![format!("storage     {}", cluster.storage.url("/graph"))];
    for member in &cluster.members {
        lines.push(format!("{}      {}", member.name, member.sidecar.url("/_elector/status")));
    }
    let dir = keep::leave_running(cluster)?;
    screen.done("left running:");
    for line in lines {
        screen.line(&format!("  {line}"));
    }
    let program = std::env::current_exe()?;
    screen.line(&format!("  files       {}", dir.display()));
    screen.line(&format!("stop it with: {} stop", program.display()));
    Ok(())
}
