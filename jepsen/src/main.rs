//! `jepsen check`: judges the record of a run.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use jepsen::checkers::{Outcome, Verdicts, judge, overall};
use jepsen::history::History;
use jepsen::report;

/// Breaks a real deployment of prometheus-elector and judges what happened.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Judges the record of a run. Exit code: 0 pass, 1 fail, 2 unknown or not readable
    Check {
        /// The record, `history.jsonl`
        file: PathBuf,
        /// Write the report to this file
        #[arg(long)]
        html: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let Args { command } = Args::parse();
    let Command::Check { file, html } = command;
    match check(&file, html.as_deref()) {
        Ok(Outcome::Pass) => ExitCode::SUCCESS,
        Ok(Outcome::Fail) => ExitCode::FAILURE,
        Ok(Outcome::Unknown) => ExitCode::from(2),
        Err(error) => {
            eprintln!("jepsen: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn check(file: &Path, html: Option<&Path>) -> Result<Outcome> {
    let mut history = History::read(file)?;
    let verdicts = judge(&mut history);
    print_verdicts(&verdicts);
    if let Some(html) = html {
        let page = report::render(&history, &verdicts);
        std::fs::write(html, page).with_context(|| format!("write {}", html.display()))?;
    }
    Ok(overall(&verdicts))
}

fn print_verdicts(verdicts: &Verdicts) {
    for (checker, verdict) in verdicts {
        let reason = verdict.reason();
        let words = if reason.is_empty() { checker.promise } else { &reason };
        println!("{:<8} {:<17} {words}", verdict.outcome().word(), checker.name);
    }
    println!("{}", overall(verdicts).word());
}
