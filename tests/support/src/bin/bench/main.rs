//! `make bench`: takeover, footprint and rendering in numbers, beside those of the Lease-based tool; the gate beside none; the
//! proxy beside nginx; the group under load.

mod footprint;
mod gaps;
mod gate;
mod load;
mod parts;
mod proxy;
mod starved;
mod takeover;
mod wrk;

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};
use comfy_table::{CellAlignment, LineStyle, Table, presets};
use test_support::cluster::{Cluster, Discovery, Options};
use test_support::prometheus::Executable;
use test_support::sidecar::find_binary;

use takeover::{Fault, Times};

/// Measures the sidecar on this machine.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Arguments {
    /// Takeovers of each kind
    #[arg(long, default_value_t = 30)]
    runs: usize,
    /// Only this
    #[arg(long)]
    only: Option<Part>,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Takeovers and footprint, without the gate
    Takeover,
    /// What each part of an idle member costs
    Parts,
    /// What faults cost in samples, with the gate on and off
    Gaps,
    /// What the gate costs under load
    Load,
    /// The proxy beside nginx
    Proxy,
    /// Whether the group feels load
    Starved,
}

/// Rows of the final table.
struct Report {
    rows: Vec<[String; 6]>,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = tokio::select! {
        // The signal reaches the members too: first, so that their end is not taken for a failure.
        biased;
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted; everything is cleaned up")),
        outcome = bench(&arguments) => outcome,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nbench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn bench(arguments: &Arguments) -> Result<()> {
    let runs = arguments.runs;
    ensure!(runs > 0, "--runs is at least 1");
    let (binary, prometheus) = (find_binary(None)?, Executable::find()?);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("sidecar      {}", binary.display());
    println!("Prometheus   {} ({})", prometheus.version, prometheus.path.display());
    println!("machine      {cores} cores, 3 members with Prometheus agents and a storage on it, default timings");
    if !binary.components().any(|part| part.as_os_str() == "release") {
        println!("NOTE: {} does not look like a release build: these numbers say little.", binary.display());
    }
    let is_wanted = |part| arguments.only.is_none_or(|only| only == part);
    if is_wanted(Part::Takeover) {
        takeovers(runs, &binary).await?;
    }
    if is_wanted(Part::Parts) {
        parts::measure(&binary).await?;
    }
    if is_wanted(Part::Gaps) {
        gate::gaps(&binary).await?;
    }
    if is_wanted(Part::Load) {
        gate::load(&binary).await?;
    }
    if is_wanted(Part::Proxy) {
        proxy::compare(&binary).await?;
        proxy::takeovers(&binary).await?;
    }
    if is_wanted(Part::Starved) {
        starved::measure(&binary).await?;
    }
    Ok(())
}

async fn takeovers(runs: usize, binary: &Path) -> Result<()> {
    let options = Options {
        discovery: Discovery::Static,
        sample_period: takeover::SAMPLE_PERIOD,
        print_logs: false,
        ..Options::new("bench", binary)
    };
    let options = options.customize(|_, flags| {
        flags.set("log-level", "info");
    });
    let mut cluster = Cluster::start(&options).await?;
    match measure(&mut cluster, runs, binary).await {
        Ok(mut report) => {
            cluster.end();
            report.idle(binary).await?;
            report.print();
            Ok(())
        }
        Err(error) => Err(error.context(format!("all logs are in {}", cluster.keep_files().display()))),
    }
}

async fn measure(cluster: &mut Cluster, runs: usize, binary: &Path) -> Result<Report> {
    let mut report = Report { rows: Vec::new() };
    for (fault, name, aim, lease_based) in [
        (Fault::Kill, "leader's machine lost (SIGKILL to both)", "2 s", "10.5-13.2 s"),
        (Fault::Terminate, "sidecar terminated (SIGTERM)", "500 ms", "two ship, without end"),
        (Fault::TerminatePod, "pod terminated (SIGTERM to both)", "500 ms", "1.0-1.4 s"),
    ] {
        let mut times = Times::default();
        for run in 1..=runs {
            progress(&format!("{name}: {run} of {runs}"));
            takeover::run(cluster, fault, &mut times).await?;
        }
        progress_end();
        report.times(&format!("{name}: nobody leads"), &times.without_leader, aim, lease_based);
        report.times("  until the new leader's Prometheus ships", &times.until_shipping, "", "");
    }
    cluster.wait_settled().await?;
    cluster.sampler.verdict()?;
    progress("rendering 10 MB");
    let rendering = footprint::render(binary, cluster.dir())?;
    progress_end();
    report.times("render 10 MB, start of the process included", &rendering, "500 ms", "");
    report.single("size of the binary", &mebibytes(std::fs::metadata(binary)?.len()), "", "44 MB");
    Ok(report)
}

impl Report {
    fn times(&mut self, name: &str, times: &[Duration], aim: &str, lease_based: &str) {
        let mut sorted = times.to_vec();
        sorted.sort();
        let [p50, p95, max] = [0.50, 0.95, 1.0].map(|share| format!("{} ms", percentile(&sorted, share).as_millis()));
        self.rows.push([name.into(), p50, p95, max, aim.into(), lease_based.into()]);
    }

    fn single(&mut self, name: &str, value: &str, aim: &str, lease_based: &str) {
        self.rows.push([name.into(), String::new(), String::new(), value.into(), aim.into(), lease_based.into()]);
    }

    async fn idle(&mut self, binary: &Path) -> Result<()> {
        progress(&format!("idle members: {} s", footprint::IDLE.as_secs()));
        let idle = footprint::idle(binary).await?;
        progress_end();
        self.single("resident memory, the largest of 3", &mebibytes(idle.resident_bytes), "12 MiB", "35 MiB");
        self.single(
            "processor when idle, the busiest of 3",
            &format!("{:.2} %", idle.cpu_percent),
            "0.5 %",
            "0.15 % *",
        );
        Ok(())
    }

    fn print(self) {
        print_table(
            &["", "p50", "p95", "max", "aim (max)", "Lease-based tool"],
            self.rows.into_iter().map(Vec::from).collect(),
        );
        println!(
            "Times of takeovers are upper bounds: each member is asked every {} ms, the configuration that Prometheus\n\
             runs is looked at every {} ms. Lease-based tool: measured on such a machine with a real kube-apiserver.\n\
             * at one renewal every 2 s, here 10 heartbeats a second.",
            takeover::SAMPLE_PERIOD.as_millis(),
            takeover::CONFIG_PERIOD.as_millis()
        );
    }
}

/// A table with numbers from the second column on.
fn print_table(header: &[&str], rows: Vec<Vec<String>>) {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none()));
    table.set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.add_rows(rows);
    println!("\n{table}");
}

/// The smallest value that is not exceeded by `share` of all (nearest rank).
fn percentile(sorted: &[Duration], share: f64) -> Duration {
    // Counts of runs are small.
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied().unwrap_or_default()
}

fn mebibytes(bytes: u64) -> String {
    // Far below the numbers that a float cannot hold exactly.
    #[expect(clippy::cast_precision_loss)]
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    format!("{mebibytes:.1} MiB")
}

/// One line that is overwritten on a terminal; elsewhere nothing but the last one would help.
fn progress(text: &str) {
    if std::io::stdout().is_terminal() {
        print!("\r\x1b[K{text}");
        // Nothing depends on it: without it the line appears later.
        let _ = std::io::stdout().flush();
    } else {
        println!("{text}");
    }
}

fn progress_end() {
    if std::io::stdout().is_terminal() {
        print!("\r\x1b[K");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let sorted: Vec<Duration> = (1..=30).map(Duration::from_millis).collect();
        let of = |share| percentile(&sorted, share).as_millis();
        assert_eq!((of(0.5), of(0.95), of(1.0)), (15, 29, 30));
        assert_eq!(percentile(&sorted[..1], 0.5), sorted[0]);
    }
}
