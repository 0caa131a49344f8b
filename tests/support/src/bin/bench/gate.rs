//! The gate's part of the benchmark: what it saves and what it costs, in two tables.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use test_support::cluster::{Cluster, Discovery, GateOptions, Options};
use test_support::receiver::Receiver;
use test_support::receiver::behaviour::Behaviour;

use crate::gaps::{self, Cost};
use crate::load::{self, LEAD, TEN_THOUSANDS_PER_SECOND};
use crate::{mebibytes, percentile, print_table, progress, progress_end};

/// Scrape intervals.
const INTERVALS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(15)];

/// What each fault costs in samples, with the gate on and off.
pub(crate) async fn gaps(binary: &Path) -> Result<()> {
    for interval in INTERVALS {
        let mut rows = Vec::new();
        let options = || Ok(Options::new("bench-gaps", binary));
        for (fault, on, off) in gaps::measure(options, interval, progress).await? {
            rows.push(row(fault.name(), "on", &on));
            rows.push(row("", "off", &off));
        }
        progress_end();
        let title = format!("scraped every {} s", interval.as_secs());
        let header = [&title, "gate", "largest gap", "series with a gap", "sent twice", "samples", "late requests"];
        print_table(&header, rows);
    }
    println!(
        "A gap: more than 1.5 scrape intervals, of all series that a real Prometheus has stored. Late requests: begun by a\n\
         former leader when the next one had authority. Both groups suffer the same fault at the same time."
    );
    Ok(())
}

fn row(name: &str, gate: &str, cost: &Cost) -> Vec<String> {
    vec![
        name.into(),
        gate.into(),
        format!("{:.1} s", cost.largest_gap.as_secs_f64()),
        format!("{} of {}", cost.series_with_gap, cost.series),
        cost.sent_twice.to_string(),
        cost.samples.to_string(),
        cost.late.to_string(),
    ]
}

/// What writer and standby cost under load.
pub(crate) async fn load(binary: &Path) -> Result<()> {
    let receiver = Receiver::start((Ipv4Addr::LOCALHOST, 0).into())?;
    let options = Options {
        discovery: Discovery::Static,
        gate: Some(GateOptions::STEADY),
        remote: Some(receiver.address),
        print_logs: false,
        ..Options::new("bench-load", binary)
    };
    let options = options.customize(|_, flags| {
        flags.set("log-level", "info");
    });
    let mut cluster = Cluster::prepare(&options).await?;
    let leader = cluster.start_group(options.start).await?;
    receiver.set(Behaviour::Sink);
    progress("the writer's gate under load");
    let remote = format!("http://{}/api/v1/write", receiver.address);
    let writer = load::run(&cluster, leader, Some(&remote), LEAD).await.context("the writer under load")?;
    progress("a standby's gate under load");
    let standby = load::run(&cluster, cluster.follower(leader)?, None, LEAD).await.context("a standby under load")?;
    progress_end();
    cluster.end();
    let times = |mut times: Vec<Duration>| {
        times.sort();
        [0.50, 0.99, 1.0].map(|share| format!("{:.2} ms", percentile(&times, share).as_secs_f64() * 1_000.0))
    };
    let line = |name: &str, all: Vec<Duration>| {
        let [p50, p99, max] = times(all);
        vec![name.to_owned(), p50, p99, max]
    };
    let single = |name: &str, value: String| vec![name.to_owned(), String::new(), String::new(), value];
    let share = |cpu: f64| format!("{:.1} %", cpu / TEN_THOUSANDS_PER_SECOND);
    let memory = |(before, after)| format!("{} -> {}", mebibytes(before), mebibytes(after));
    let rows = vec![
        line("an answer of the remote itself", writer.direct),
        line("an answer through the writer's gate", writer.through),
        line("an answer of a standby's gate", standby.through),
        single("writer: of a core per 10,000 samples/s", share(writer.cpu_percent)),
        single("standby: of a core per 10,000 samples/s", share(standby.cpu_percent)),
        single("writer: resident memory", memory(writer.resident_bytes)),
        single("standby: resident memory", memory(standby.resident_bytes)),
        single("standby: spool on disk", mebibytes(standby.spool_bytes)),
        single("body of a request of 2,000 samples", format!("{} bytes", writer.body_bytes)),
    ];
    print_table(&["100,000 samples/s", "p50", "p99", "max or value"], rows);
    Ok(())
}
