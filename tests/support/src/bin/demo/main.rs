//! `make demo`: three members with real Prometheus agents, one remote, and leaders that are killed.

mod keep;
mod play;
mod screen;
mod view;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{Parser, Subcommand};
use test_support::cluster::{Cluster, Discovery, GateOptions, Options};
use test_support::prometheus::Executable;
use test_support::receiver::Receiver;
use test_support::receiver::behaviour::Behaviour;
use test_support::sidecar::find_binary;

use keep::LABEL;
use play::Play;
use screen::{Screen, Style};

/// Resolution of the takeover time.
const SAMPLE_PERIOD: Duration = Duration::from_millis(2);

/// Three Prometheus replicas, one writer: kills leaders and shows what happens.
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
    screen.line("Three Prometheus agents scrape the same target; the gates of their sidecars let one of them write.");
    screen.line(
        "First the leader's sidecar gets kill -9, and its Prometheus lives on. Then the remote is away for 20 s,",
    );
    screen.line("and meanwhile the leader gets kill -9, sidecar and Prometheus, as if its machine were lost.\n");

    let receiver = Receiver::start((Ipv4Addr::LOCALHOST, 0).into())?;
    receiver.set(Behaviour::Prometheus);
    let options = Options {
        discovery: Discovery::Static,
        self_contained: true,
        sample_period: SAMPLE_PERIOD,
        gate: Some(GateOptions::STEADY),
        remote: Some(receiver.address),
        print_logs: false,
        ..Options::new(LABEL, find_binary(None)?)
    };
    let cluster = Cluster::prepare(&options).await?;
    let mut play = Play { screen, cluster, receiver, start: Instant::now() };
    if let Err(error) = play.run(&prometheus).await {
        play.screen.keep_block();
        let logs = play.cluster.keep_files().display().to_string();
        play.screen.failed(&format!("it did not work; all logs are in {logs}"));
        return Err(error);
    }
    if keep {
        play.keep().await
    } else {
        let mut screen = play.screen;
        drop(play.cluster);
        screen.done("cleaned up: all processes ended, all files removed");
        Ok(())
    }
}

/// Says what is left running, and how to end it.
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
