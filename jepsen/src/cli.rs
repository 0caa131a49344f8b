//! Arguments of the command, and what it does with them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, Parser, Subcommand};
use test_support::prometheus::Executable;
use tokio::signal::unix::{SignalKind, signal};

use crate::checkers::{Outcome, judge, overall};
use crate::deployment::Deployment;
use crate::deployment::options::Options;
use crate::history::History;
use crate::nemesis;
use crate::plan::{Step, plan};
use crate::recorder::Recorder;
use crate::{report, run};

/// Where distributions put the library.
const FAKETIME: [&str; 3] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib64/faketime/libfaketime.so.1",
];

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
}

#[derive(Clone, Debug, Args)]
struct RunArguments {
    /// Faults come for so long.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1440))]
    minutes: u64,
    /// Draws every random choice [default: from the clock].
    #[arg(long)]
    seed: Option<u64>,
    /// Members with a Prometheus.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=7))]
    members: u8,
    /// One more member that only votes.
    #[arg(long)]
    witness: bool,
    /// Only this nemesis; may be given several times [default: all].
    #[arg(long = "nemesis", value_name = "NAME")]
    nemeses: Vec<String>,
    /// The sidecar [default: `PROMETHEUS_ELECTOR_BIN`, else the one beside this program].
    #[arg(long)]
    elector: Option<PathBuf>,
    /// A program that starts an elector of another kind in the place of ours (jepsen/README.md, "Another elector").
    #[arg(long, value_name = "PROGRAM")]
    adapter: Option<PathBuf>,
    /// Path on port 9095 where a member says by 200 that it is ready.
    #[arg(long, value_name = "PATH", default_value = "/_elector/readyz")]
    ready_path: String,
    /// The Prometheus [default: `PROMETHEUS`, else the one in `PATH`].
    #[arg(long)]
    prometheus: Option<PathBuf>,
    /// Whether remote writes go through the gate.
    #[arg(long, value_name = "on|off", default_value = "on", value_parser = ["on", "off"])]
    gate: String,
    /// Prometheus runs as an agent.
    #[arg(long)]
    agent: bool,
    /// Where the record and the logs go; what is there of an earlier run is replaced.
    #[arg(long, value_name = "DIR", default_value = "jepsen-run")]
    out: PathBuf,
}

/// Does what the arguments say. The threads of the runtime must outlive what is started: call it from the main thread.
pub fn main(arguments: Arguments) -> Result<Outcome> {
    match arguments.command {
        Command::List => {
            for known in nemesis::ALL {
                println!("{:<18}{}", known.traits.name, known.sentence);
            }
            Ok(Outcome::Pass)
        }
        Command::Check { file, html } => check(&file, html.as_deref()),
        Command::Run(arguments) => {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            let out = runtime.block_on(run_all(*arguments))?;
            check(&out.join("history.jsonl"), Some(&out.join("report.html")))
        }
    }
}

/// Runs, and tells where the record is.
async fn run_all(arguments: RunArguments) -> Result<PathBuf> {
    let seed = arguments.seed.unwrap_or_else(|| crate::recorder::now_ns() % 1_000_000);
    let (options, plan) = (arguments.options()?, arguments.plan(seed)?);
    let out = options.out.clone();
    println!(
        "seed {seed}: {} faults within {} min; record and logs in {}",
        plan.len(),
        arguments.minutes,
        out.display()
    );
    let recorder = Recorder::create(&out.join("history.jsonl"))?;
    let (mut terminated, mut hung_up) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    let interrupted = async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => "SIGINT",
            _ = terminated.recv() => "SIGTERM",
            _ = hung_up.recv() => "SIGHUP",
        }
    };
    tokio::pin!(interrupted);
    let mut deployment = tokio::select! {
        started = Deployment::start(options, recorder) => started?,
        name = &mut interrupted => bail!("{name}: broken off while the deployment was starting"),
    };
    let done = tokio::select! {
        done = run::run(&mut deployment, seed, &plan) => done,
        name = &mut interrupted => Err(anyhow::anyhow!("{name}: broken off")),
    };
    if done.is_err() {
        // What there is of the record is of use; without `End` it never passes for a whole one.
        deployment.record_remote()?;
    }
    done.map(|()| out)
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

impl RunArguments {
    fn options(&self) -> Result<Options> {
        let elector = match &self.elector {
            Some(path) => absolute(path)?,
            None => absolute(&test_support::sidecar::find_binary(None)?)?,
        };
        ensure!(elector.is_file(), "--elector {}: there is no such file", elector.display());
        let adapter = self.adapter.as_deref().map(absolute).transpose()?;
        if let Some(adapter) = &adapter {
            ensure!(adapter.is_file(), "--adapter {}: there is no such file", adapter.display());
        }
        let prometheus = self.prometheus.clone().map_or_else(Executable::find, Executable::at)?;
        if self.out.join("logs").exists() {
            std::fs::remove_dir_all(self.out.join("logs")).context("remove the logs of an earlier run")?;
        }
        std::fs::create_dir_all(&self.out).with_context(|| format!("--out {}", self.out.display()))?;
        let wants_clock = self.nemeses.is_empty() || self.nemeses.iter().any(|name| name == "clock-jump");
        let faketime = FAKETIME.into_iter().map(PathBuf::from).find(|path| path.exists());
        Ok(Options {
            elector,
            adapter,
            ready_path: self.ready_path.clone(),
            prometheus,
            members: self.members.into(),
            witness: self.witness,
            gate: self.gate == "on",
            agent: self.agent,
            // An adapter starts what it likes.
            faketime: faketime.filter(|_| wants_clock && self.adapter.is_none()),
            out: absolute(&self.out)?,
        })
    }

    fn plan(&self, seed: u64) -> Result<Vec<Step>> {
        let mut chosen = Vec::new();
        for name in &self.nemeses {
            let known = nemesis::find(name);
            chosen.push(
                known
                    .with_context(|| format!("--nemesis {name}: there is none of this name; see `jepsen list`"))?
                    .traits,
            );
        }
        if chosen.is_empty() {
            chosen = nemesis::ALL.iter().map(|known| known.traits).collect();
        }
        let members = usize::from(self.members) + usize::from(self.witness);
        let left_out: Vec<_> =
            chosen.iter().filter(|traits| traits.members_min > members).map(|traits| traits.name).collect();
        if !left_out.is_empty() {
            println!("left out, they need more members: {}", left_out.join(", "));
        }
        let steps = plan(seed, Duration::from_secs(self.minutes * 60), members, &chosen);
        ensure!(!steps.is_empty(), "nothing of this fits into --minutes {}", self.minutes);
        Ok(steps)
    }
}

/// Programs are started elsewhere, so a relative path would lead nowhere.
fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("the path {}", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn run(line: &str) -> Result<RunArguments, clap::Error> {
        let arguments = Arguments::try_parse_from(format!("jepsen run {line}").split_whitespace())?;
        match arguments.command {
            Command::Run(run) => Ok(*run),
            other => panic!("it was `run`: {other:?}"),
        }
    }

    #[test]
    fn by_default_every_nemesis_comes_in_ten_minutes_with_the_gate_on() {
        let run = run("").unwrap();
        assert_eq!((run.minutes, run.members, run.witness, run.gate.as_str()), (10, 3, false, "on"));
        let named: std::collections::BTreeSet<_> = run.plan(1).unwrap().iter().map(|step| step.nemesis).collect();
        let fitting = nemesis::ALL.iter().filter(|known| known.traits.members_min <= 3).count();
        assert_eq!(named.len(), fitting);
    }

    #[test]
    fn only_the_named_ones_come_and_a_wrong_name_is_told() {
        let run = |line| run(line).unwrap().plan(5);
        let steps = run("--nemesis loss --nemesis dns-dead --minutes 5").unwrap();
        assert!(steps.iter().all(|step| ["loss", "dns-dead"].contains(&step.nemesis)), "{steps:?}");
        let error = run("--nemesis rain").unwrap_err().to_string();
        assert!(error.contains("--nemesis rain") && error.contains("jepsen list"), "{error}");
        let error = run("--nemesis ring").unwrap_err().to_string();
        assert!(error.contains("--minutes"), "three members make no ring: {error}");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for line in ["--members 1", "--members 8", "--minutes 0", "--gate maybe", "--seed x"] {
            assert!(run(line).is_err(), "{line}");
        }
    }
}
