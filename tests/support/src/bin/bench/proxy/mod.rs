//! The proxy beside nginx: throughput, latency, processor time and memory, in turns on one machine.
//!
//! ```text
//! wrk --+--> direct ----------------+--> a real Prometheus: queries
//!       +--> sidecar (its leader) --+--> files (nginx): answers so cheap that the proxy is what limits
//!       `--> nginx, keep-alive -----+
//! ```
//!
//! The sidecar's runtime and nginx have one thread each. A result is the median of its rounds, a ratio is that of two
//! medians.

mod nginx;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use test_support::cluster::{Cluster, Discovery, Options};
use test_support::net::Block;
use test_support::procfs::{Usage, reset_peak};
use test_support::prometheus::Kind;
use test_support::reads::{self, Fault};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use self::nginx::Nginx;
use crate::wrk::{Load, Outcome};
use crate::{mebibytes, print_table, progress, progress_end};

/// Rounds of each load, and how long one lasts.
const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(4);
/// Connections that are kept and say nothing more.
const IDLE_CONNECTIONS: usize = 1_000;
/// Body of a small answer: that of an instant query.
const SMALL: &str = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"up","instance":"a:9100","job":"node"},"value":[1750000000.000,"1"]}]}}"#;
const LARGE_BYTES: usize = 10 << 20;

/// One thing that is asked.
struct Asked {
    name: &'static str,
    path: &'static str,
    connections: u32,
}

const OF_PROMETHEUS: [Asked; 3] = [
    Asked { name: "instant query, 64 connections", path: "/api/v1/query?query=up", connections: 64 },
    Asked { name: "instant query, 1,000 connections", path: "/api/v1/query?query=up", connections: 1_000 },
    Asked {
        name: "/federate, 64 connections",
        path: "/federate?match%5B%5D=%7B__name__%21%3D%22%22%7D",
        connections: 64,
    },
];
const OF_FILES: [Asked; 3] = [
    Asked { name: "small file, 64 connections", path: "/small", connections: 64 },
    Asked { name: "small file, 1,000 connections", path: "/small", connections: 1_000 },
    Asked { name: "10 MB file, 64 connections", path: "/large", connections: 64 },
];

/// One of those that are asked, in the order of the table.
#[derive(Clone, Copy)]
struct Way {
    name: &'static str,
    address: SocketAddr,
    /// `None`: not a proxy.
    id: Option<u32>,
}

/// What a way cost in one round.
#[derive(Clone, Copy, Default)]
struct Round {
    outcome: Outcome,
    cpu: Duration,
    peak_bytes: u64,
}

/// Prints the table.
pub(crate) async fn compare(binary: &Path) -> Result<()> {
    let block = Block::claim()?;
    let dir = tempfile::tempdir()?;
    let files = serve_files(&dir.path().join("files"), block.storage()).await?;
    let mut rows = Vec::new();
    for (asked, is_files) in [(&OF_PROMETHEUS, false), (&OF_FILES, true)] {
        let options =
            Options { kind: Kind::Server, discovery: Discovery::Static, ..Options::new("bench-proxy", binary) };
        let upstream = block.storage();
        let options = options.members(1, 1).customize(move |_, flags| {
            flags.set("log-level", "info").set("raft-bootstrap-expect", 1);
            if is_files {
                flags.set("api-proxy-prometheus-local-port", upstream.port());
            }
        });
        let cluster = Cluster::start(&options).await?;
        let upstream = if is_files { upstream } else { cluster.members[0].prometheus.address };
        let proxy = nginx::proxy(&dir.path().join(upstream.port().to_string()), block.target(), upstream).await?;
        let sidecar = &cluster.members[0].sidecar;
        let ways = [
            Way { name: "direct", address: upstream, id: None },
            Way { name: "sidecar", address: sidecar.api, id: Some(sidecar.id().context("not running")?) },
            Way { name: "nginx", address: block.target(), id: Some(proxy.id()) },
        ];
        // First: what load has left in the heap does not count.
        let idle = if is_files { idle_connections(&ways[1..]).await? } else { Vec::new() };
        for asked in asked {
            rows.extend(side_by_side(asked, &ways).await?);
        }
        rows.extend(idle);
        cluster.finish()?;
        drop(proxy);
    }
    drop(files);
    progress_end();
    let header = ["", "", "requests/s", "p50", "p99", "CPU a request", "peak memory"];
    print_table(&header, rows);
    println!(
        "Medians of {ROUNDS} rounds of {} s, in turns; ratios: sidecar to nginx. wrk, upstream and proxy share the machine. nginx: one\n\
         process, keep-alive to the upstream, no access log, nothing written to disk.",
        ROUND.as_secs()
    );
    Ok(())
}

async fn serve_files(dir: &Path, address: SocketAddr) -> Result<Nginx> {
    std::fs::create_dir_all(dir)?;
    std::fs::write(dir.join("small"), SMALL)?;
    let mut large = std::io::BufWriter::new(std::fs::File::create(dir.join("large"))?);
    let line = "[1750000000.000,\"0.1234567890123\"],\n";
    for _ in 0..LARGE_BYTES / line.len() {
        large.write_all(line.as_bytes())?;
    }
    large.flush()?;
    nginx::files(dir, address).await
}

/// Rows of one load: each way, and the ratio.
async fn side_by_side(asked: &Asked, ways: &[Way; 3]) -> Result<Vec<Vec<String>>> {
    let mut rounds: [Vec<Round>; 3] = Default::default();
    for number in 1..=ROUNDS {
        for (way, rounds) in ways.iter().zip(&mut rounds) {
            progress(&format!("{}: {}, round {number} of {ROUNDS}", asked.name, way.name));
            rounds.push(round(asked, way).await.with_context(|| format!("{}: {}", asked.name, way.name))?);
        }
    }
    let medians = rounds.map(|rounds| Round::median(&rounds));
    let mut rows = Vec::new();
    for (way, median) in ways.iter().zip(&medians) {
        let name = if rows.is_empty() { asked.name } else { "" };
        rows.push(median.row(name, way));
    }
    rows.push(medians[1].ratio(&medians[2]));
    Ok(rows)
}

async fn round(asked: &Asked, way: &Way) -> Result<Round> {
    let url = format!("http://{}{}", way.address, asked.path);
    let load = Load { url: &url, connections: asked.connections };
    // Connections are made and pools are filled before anything is measured.
    load.run(Duration::from_secs(1)).await?;
    let before = way.id.map(|id| reset_peak(id).and_then(|()| Usage::read(id))).transpose()?;
    let outcome = load.run(ROUND).await?;
    ensure!(outcome.failed == 0, "{} requests of {} failed", outcome.failed, outcome.requests);
    let after = way.id.map(Usage::read).transpose()?;
    let (Some(before), Some(after)) = (before, after) else { return Ok(Round { outcome, ..Round::default() }) };
    Ok(Round { outcome, cpu: after.cpu.saturating_sub(before.cpu), peak_bytes: after.peak_bytes })
}

/// What connections cost that have asked something once and are kept.
async fn idle_connections(proxies: &[Way]) -> Result<Vec<Vec<String>>> {
    let request = format!("GET {} HTTP/1.1\r\nhost: bench\r\n\r\n", OF_FILES[0].path);
    let mut rows = Vec::new();
    for way in proxies {
        let id = way.id.context("a proxy")?;
        let before = Usage::read(id)?.resident_bytes;
        let mut connections = Vec::new();
        for _ in 0..IDLE_CONNECTIONS {
            let mut connection = TcpStream::connect(way.address).await?;
            connection.write_all(request.as_bytes()).await?;
            let mut answer = Vec::new();
            while !answer.ends_with(SMALL.as_bytes()) {
                ensure!(connection.read_buf(&mut answer).await? > 0, "{} closes a connection", way.name);
            }
            connections.push(connection);
        }
        let name = if rows.is_empty() { "1,000 idle connections" } else { "" };
        let mut row = vec![String::new(); 7];
        let after = Usage::read(id)?.resident_bytes;
        (row[0], row[1], row[6]) =
            (name.into(), way.name.into(), format!("{} -> {}", mebibytes(before), mebibytes(after)));
        rows.push(row);
    }
    Ok(rows)
}

/// Prints what becomes of reads while the leader goes away.
pub(crate) async fn takeovers(binary: &Path) -> Result<()> {
    let mut rows = Vec::new();
    for fault in Fault::ALL {
        progress(fault.name());
        let options = Options { print_logs: false, ..Options::new("bench-reads", binary) };
        let report = reads::during(options, fault).await.context(fault.name())?;
        let all = report.succeeded + report.failed;
        let longest = format!("{:.1} s", report.slowest.as_secs_f64());
        rows.push(vec![fault.name().into(), all.to_string(), report.failed.to_string(), longest]);
    }
    progress_end();
    print_table(&["200 reads/s through each other member", "reads", "failed", "longest"], rows);
    Ok(())
}

impl Round {
    /// Of each value by itself.
    fn median(rounds: &[Self]) -> Self {
        fn middle<T: Ord + Copy + Default>(rounds: &[Round], value: impl Fn(&Round) -> T) -> T {
            let mut all: Vec<T> = rounds.iter().map(value).collect();
            all.sort();
            all.get(all.len() / 2).copied().unwrap_or_default()
        }
        let outcome = Outcome {
            requests: middle(rounds, |round| round.outcome.requests),
            duration: middle(rounds, |round| round.outcome.duration),
            p50: middle(rounds, |round| round.outcome.p50),
            p99: middle(rounds, |round| round.outcome.p99),
            failed: 0,
        };
        let (cpu, peak_bytes) = (middle(rounds, |round| round.cpu), middle(rounds, |round| round.peak_bytes));
        Self { outcome, cpu, peak_bytes }
    }

    #[expect(clippy::cast_precision_loss, reason = "numbers of requests are small")]
    fn cpu_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.outcome.requests.max(1) as f64
    }

    fn row(&self, name: &str, way: &Way) -> Vec<String> {
        let milliseconds = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1e3);
        let of_proxy = |value: String| way.id.map_or_else(String::new, |_| value);
        vec![
            name.into(),
            way.name.into(),
            format!("{:.0}", self.outcome.per_second()),
            milliseconds(self.outcome.p50),
            milliseconds(self.outcome.p99),
            of_proxy(format!("{:.1} µs", self.cpu_us())),
            of_proxy(mebibytes(self.peak_bytes)),
        ]
    }

    #[expect(clippy::cast_precision_loss, reason = "memory is far below what a float cannot hold")]
    fn ratio(&self, nginx: &Self) -> Vec<String> {
        let times = |a: f64, b: f64| format!("× {:.2}", a / b);
        let of = |time: fn(&Outcome) -> Duration| {
            times(time(&self.outcome).as_secs_f64(), time(&nginx.outcome).as_secs_f64())
        };
        vec![
            String::new(),
            "ratio".into(),
            times(self.outcome.per_second(), nginx.outcome.per_second()),
            of(|outcome| outcome.p50),
            of(|outcome| outcome.p99),
            times(self.cpu_us(), nginx.cpu_us()),
            times(self.peak_bytes as f64, nginx.peak_bytes as f64),
        ]
    }
}
