//! Runs the simulation: one seed again, many on all cores, or every mutant.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use elector_raft_sim::sim::mutants::{ALL, Mutant};
use elector_raft_sim::sim::{self, Outcome, Story};

/// The simulation allocates all the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The election group under simulation.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs one seed, bit for bit as before.
    Run {
        /// The seed.
        seed: u64,
        /// With a rule switched off.
        #[arg(long)]
        mutant: Option<String>,
        /// Prints the logs of the code under test, with simulated time; e.g. `info`, or `openraft=debug`.
        #[arg(long)]
        log: Option<String>,
    },
    /// Runs many seeds on all cores.
    Soak {
        /// How many.
        #[arg(long, default_value_t = 1_000)]
        seeds: u64,
        /// The first.
        #[arg(long, default_value_t = 1)]
        from: u64,
    },
    /// Switches each rule off and counts the seeds until a checker notices.
    Mutants {
        /// Seeds that each mutant gets at the most.
        #[arg(long, default_value_t = 400)]
        seeds: u64,
        /// Only this one.
        #[arg(long)]
        only: Option<String>,
    },
}

fn main() -> ExitCode {
    match Args::parse().command {
        Command::Run { seed, mutant, log } => run(seed, mutant.as_deref(), log.as_deref()),
        Command::Soak { seeds, from } => soak(from, seeds),
        Command::Mutants { seeds, only } => mutants(seeds, only.as_deref()),
    }
}

/// Simulated time and the member whose task runs, before each line of the log.
struct Moment;

impl tracing_subscriber::fmt::time::FormatTime for Moment {
    fn format_time(&self, w: &mut tracing_subscriber::fmt::format::Writer<'_>) -> std::fmt::Result {
        w.write_str(&sim::moment())
    }
}

fn run(seed: u64, mutant: Option<&str>, log: Option<&str>) -> ExitCode {
    if let Some(filter) = log {
        let filter = tracing_subscriber::EnvFilter::new(filter);
        tracing_subscriber::fmt().with_env_filter(filter).with_timer(Moment).with_ansi(false).init();
    }
    let known = mutant.map(Mutant::named);
    if let (Some(name), Some(None)) = (mutant, known) {
        eprintln!("there is no mutant {name:?}");
        return ExitCode::FAILURE;
    }
    let outcome = sim::run(seed, known.flatten());
    println!("story {:?}, {:.1} simulated s, {} steps", Story::of(seed), seconds(outcome.simulated), outcome.polls);
    println!("trace {:016x}", outcome.trace);
    report(&outcome);
    if outcome.violation.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

#[allow(clippy::cast_precision_loss, reason = "for people")]
fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

fn report(outcome: &Outcome) {
    match &outcome.violation {
        None => println!("no violation"),
        Some(violation) => {
            let seed = outcome.seed;
            println!(
                "VIOLATION of {:?}, seed {seed}, at {:.3} s: {}",
                violation.rule,
                seconds(violation.at),
                violation.what
            );
            println!("  again: cargo run --profile sim -p elector-raft-sim -- run {seed} --log info");
        }
    }
}

/// Calls `work` with one seed after the other on every core, until it answers false.
fn on_all_cores(from: u64, seeds: u64, work: impl Fn(u64) -> bool + Sync) {
    let (next, stop) = (AtomicU64::new(from), AtomicBool::new(false));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + seeds {
                        return;
                    }
                    if !work(seed) {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
}

#[derive(Default)]
struct Totals {
    runs: u64,
    simulated: u64,
    settled_max: u64,
    faults: BTreeMap<&'static str, (u64, u64)>,
    violations: Vec<Outcome>,
}

impl Totals {
    fn add(&mut self, outcome: Outcome) {
        self.runs += 1;
        self.simulated += outcome.simulated;
        self.settled_max = self.settled_max.max(outcome.settled_after.unwrap_or(0));
        for (kind, (installed, skipped)) in &outcome.faults {
            let total = self.faults.entry(kind).or_default();
            total.0 += installed;
            total.1 += skipped;
        }
        if outcome.violation.is_some() {
            report(&outcome);
            self.violations.push(outcome);
        }
    }

    fn hours(&self) -> f64 {
        seconds(self.simulated) / 3_600.0
    }
}

fn soak(from: u64, seeds: u64) -> ExitCode {
    let (start, totals) = (Instant::now(), Mutex::new((Totals::default(), Instant::now())));
    on_all_cores(from, seeds, |seed| {
        let outcome = sim::run(seed, None);
        let Ok(mut guard) = totals.lock() else { return false };
        let (totals, shown) = &mut *guard;
        totals.add(outcome);
        if shown.elapsed() > Duration::from_secs(10) {
            *shown = Instant::now();
            let (runs, hours, found) = (totals.runs, totals.hours(), totals.violations.len());
            println!(
                "{runs} of {seeds} seeds, {hours:.1} simulated hours, {found} violations, {:.0} s",
                start.elapsed().as_secs_f64()
            );
        }
        true
    });
    let Ok((totals, _)) = totals.into_inner() else { return ExitCode::FAILURE };
    println!("\n{:<22} {:>10} {:>10}", "fault", "installed", "skipped");
    for (kind, (installed, skipped)) in &totals.faults {
        println!("{kind:<22} {installed:>10} {skipped:>10}");
    }
    println!(
        "\nseeds {from} to {}: {:.1} simulated hours in {:.0} s; whole again {:.1} s after the last fault at the latest; {} violations",
        from + seeds - 1,
        totals.hours(),
        start.elapsed().as_secs_f64(),
        seconds(totals.settled_max),
        totals.violations.len()
    );
    let seeds: Vec<String> = totals.violations.iter().map(|outcome| outcome.seed.to_string()).collect();
    if seeds.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("failing seeds: {}", seeds.join(" "));
    ExitCode::FAILURE
}

fn mutants(seeds: u64, only: Option<&str>) -> ExitCode {
    let mut survivors = Vec::new();
    println!("| mutant | what is switched off | caught by | seeds | story |");
    println!("|---|---|---|---|---|");
    for mutant in ALL.iter().filter(|mutant| only.is_none_or(|name| name == mutant.name)) {
        let (name, what) = (mutant.name, mutant.what);
        if let Some(outcome) = caught(*mutant, seeds) {
            let rule = outcome.violation.as_ref().map_or("", |violation| violation.rule);
            println!("| {name} | {what} | {rule} | {} | {:?} |", outcome.seed, Story::of(outcome.seed));
        } else {
            println!("| {name} | {what} | SURVIVED | {seeds} | |");
            survivors.push(name);
        }
    }
    if survivors.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("\nsurvived: {}", survivors.join(", "));
    ExitCode::FAILURE
}

/// The lowest seed that catches a mutant.
fn caught(mutant: Mutant, seeds: u64) -> Option<Outcome> {
    let lowest: Mutex<Option<Outcome>> = Mutex::new(None);
    on_all_cores(1, seeds, |seed| {
        let outcome = sim::run(seed, Some(mutant));
        let Ok(mut lowest) = lowest.lock() else { return false };
        if outcome.violation.is_some() && lowest.as_ref().is_none_or(|known| outcome.seed < known.seed) {
            *lowest = Some(outcome);
        }
        lowest.is_none()
    });
    lowest.into_inner().ok().flatten()
}
