//! Arguments of the command, and what it does with them.

mod arguments;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use self::arguments::{Place, RunArguments, absolute, described};
use crate::checkers::{Outcome, judge, overall};
use crate::cluster::nemesis::{OF_CLUSTERS, OF_NODES};
use crate::cluster::{Cluster, Plane, values};
use crate::deployment::Deployment;
use crate::history::History;
use crate::nemesis;
use crate::plan::Step;
use crate::recorder::Recorder;
use crate::stage::Stage;
use crate::{report, run};

/// Breaks a real deployment of prometheus-elector and judges what happened.
#[derive(Debug, Parser)]
#[command(name = "jepsen", version)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Starts a deployment, breaks it by a plan, records what happens and judges it (root). Exit code as `check`
    Run(Box<RunArguments>),
    /// Judges the record of a run. Exit code: 0 pass, 1 fail, 2 unknown or not readable
    Check {
        /// The record, `history.jsonl`
        file: PathBuf,
        /// Write the report to this file
        #[arg(long)]
        html: Option<PathBuf>,
    },
    /// Lists the nemeses.
    List,
    /// Prints values of the chart for a release that `run --on cluster` can judge.
    Values {
        /// The address under which pods reach the machine, or pod, where `jepsen run` is going to run
        #[arg(long)]
        hub: Ipv4Addr,
        /// Replicas
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=7))]
        members: u8,
        /// One more member that only votes
        #[arg(long)]
        witness: bool,
    },
}

/// Does what the arguments say. The threads of the runtime must outlive what is started: call it from the main thread.
pub fn main(arguments: Arguments) -> Result<Outcome> {
    match arguments.command {
        Command::List => {
            for (words, known) in [
                ("On namespaces:", described(nemesis::ALL)),
                ("On a control plane and in a cluster:", described(OF_CLUSTERS)),
                ("On a control plane only:", described(OF_NODES)),
            ] {
                println!("{words}");
                for (traits, sentence) in known {
                    println!("  {:<18}{sentence}", traits.name);
                }
            }
            Ok(Outcome::Pass)
        }
        Command::Values { hub, members, witness } => {
            print!("{}", values::yaml(hub, members.into(), witness));
            Ok(Outcome::Pass)
        }
        Command::Check { file, html } => check(&file, html.as_deref()),
        Command::Run(arguments) => {
            arguments.prepare()?;
            // It moves this thread into another network: before there are others.
            let plane = (arguments.on == Place::ControlPlane).then(|| arguments.plane()).transpose()?;
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            let out = runtime.block_on(run_all(*arguments, plane))?;
            check(&out.join("history.jsonl"), Some(&out.join("report.html")))
        }
    }
}

/// Runs, and tells where the record is.
async fn run_all(arguments: RunArguments, plane: Option<Plane>) -> Result<PathBuf> {
    let seed = arguments.seed.unwrap_or_else(|| crate::recorder::now_ns() % 1_000_000);
    let plan = arguments.plan(seed)?;
    let out = absolute(&arguments.out)?;
    println!(
        "seed {seed}: {} faults within {} min; record and logs in {}",
        plan.len(),
        arguments.minutes,
        out.display()
    );
    let recorder = Recorder::create(&out.join("history.jsonl"))?;
    match (plane, arguments.on) {
        (Some(plane), _) => perform(Cluster::install(arguments.release(), plane, recorder), seed, &plan).await?,
        (None, Place::Cluster) => perform(Cluster::join(arguments.release(), recorder), seed, &plan).await?,
        (None, _) => perform(Deployment::start(arguments.options()?, recorder), seed, &plan).await?,
    }
    Ok(out)
}

/// Starts something, breaks it by the plan, and ends it, also when the run is broken off.
async fn perform<S: Stage>(start: impl Future<Output = Result<S>>, seed: u64, plan: &[Step]) -> Result<()> {
    let (mut terminated, mut hung_up) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    let interrupted = async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => "SIGINT",
            _ = terminated.recv() => "SIGTERM",
            _ = hung_up.recv() => "SIGHUP",
        }
    };
    tokio::pin!(interrupted);
    let mut stage = tokio::select! {
        started = start => started?,
        name = &mut interrupted => bail!("{name}: broken off at the start"),
    };
    let done = tokio::select! {
        done = run::run(&mut stage, seed, plan) => done,
        name = &mut interrupted => Err(anyhow::anyhow!("{name}: broken off")),
    };
    if done.is_err() {
        // What there is of the record is of use; without `End` it never passes for a whole one.
        stage.hub().record_remote()?;
    }
    done
}

/// Judges a record, prints the verdicts and writes the report.
fn check(file: &Path, html: Option<&Path>) -> Result<Outcome> {
    let mut history = History::read(file)?;
    let verdicts = judge(&mut history);
    for (checker, verdict) in &verdicts {
        let reason = verdict.reason();
        let words = if reason.is_empty() { checker.promise } else { &reason };
        println!("{:<8} {:<17} {words}", verdict.outcome().word(), checker.name);
    }
    if let Some(html) = html {
        let page = report::render(&history, &verdicts);
        std::fs::write(html, page).with_context(|| format!("write {}", html.display()))?;
    }
    println!("{}", overall(&verdicts).word());
    Ok(overall(&verdicts))
}
