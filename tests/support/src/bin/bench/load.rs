//! What the gate costs under load: added latency, processor time, memory and disk of writer and standby.
//!
//! Requests of 2,000 samples, 50 a second, as a Prometheus with 100,000 samples a second sends them; here they are made
//! beforehand, so that the machine is not busy with making them. In turn one goes through the writer's gate and one straight
//! to the same remote, which reads and drops it: the difference is what the gate adds.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use test_support::cluster::{Cluster, Member};
use test_support::http;
use test_support::procfs::Usage;
use test_support::receiver::decode::encode;
use tokio::task::JoinSet;

const SAMPLES_PER_REQUEST: u32 = 2_000;
const PERIOD: Duration = Duration::from_millis(20);
const PER_SECOND: u32 = 50;
const REQUESTS: u32 = 10 * PER_SECOND;
/// Requests of [`flood`] at once.
const UNDER_WAY_MAX: usize = 50;
/// Making them takes a while on an idle machine.
pub(crate) const LEAD: Duration = Duration::from_secs(30);
/// Samples a second, in units of ten thousand.
pub(crate) const TEN_THOUSANDS_PER_SECOND: f64 = 10.0;

/// One member under load.
#[derive(Clone, Debug, Default)]
pub(crate) struct Load {
    /// Time to the answer, through the gate.
    pub(crate) through: Vec<Duration>,
    /// Time to the answer of the remote itself.
    pub(crate) direct: Vec<Duration>,
    /// Part of one core, in percent.
    pub(crate) cpu_percent: f64,
    /// Resident memory before and after, in bytes.
    pub(crate) resident_bytes: (u64, u64),
    /// Bytes of spools on disk at the end.
    pub(crate) spool_bytes: u64,
    /// Bytes of a request's body, on average.
    pub(crate) body_bytes: usize,
}

/// Puts load on one member's gate, and the same on the remote where it is given. It is made in the time of `lead`.
pub(crate) async fn run(cluster: &Cluster, index: usize, remote: Option<&str>, lead: Duration) -> Result<Load> {
    let member = &cluster.members[index];
    let url = gate_url(member)?;
    let id = member.sidecar.id().context("not running")?;
    // Made for the times at which they will be sent.
    let (first, start) = (SystemTime::now() + lead, Instant::now() + lead);
    let bodies = tokio::task::spawn_blocking(move || bodies(first, REQUESTS)).await??;
    let body_bytes = bodies.iter().map(Vec::len).sum::<usize>() / bodies.len();
    ensure!(Instant::now() < start, "making the requests took longer than {lead:?}");
    tokio::time::sleep_until(start.into()).await;
    let before = Usage::read(id)?;
    let (through, direct) = send_all(bodies, &url, remote).await?;
    let (elapsed, after) = (start.elapsed(), Usage::read(id)?);
    let cpu = after.cpu.saturating_sub(before.cpu);
    Ok(Load {
        through,
        direct,
        cpu_percent: cpu.as_secs_f64() / elapsed.as_secs_f64() * 100.0,
        resident_bytes: (before.resident_bytes, after.resident_bytes),
        spool_bytes: spool_bytes(member)?,
        body_bytes,
    })
}

/// Keeps one member's gate at work for so long; returns the number of requests. Their times are of the beginning.
pub(crate) async fn flood(cluster: &Cluster, index: usize, duration: Duration) -> Result<u64> {
    let url = gate_url(&cluster.members[index])?;
    let bodies = tokio::task::spawn_blocking(|| bodies(SystemTime::now(), PER_SECOND)).await??;
    let client = http::client(http::TIMEOUT)?;
    let times = Times::default();
    let (end, mut tasks) = (Instant::now() + duration, JoinSet::new());
    let mut period = tokio::time::interval(PERIOD);
    let mut next = bodies.iter().cycle();
    while Instant::now() < end {
        period.tick().await;
        // A gate that lags behind has all that it can take.
        if tasks.len() < UNDER_WAY_MAX {
            let body = next.next().context("no requests")?.clone();
            tasks.spawn(send(client.clone(), url.clone(), body, Arc::clone(&times)));
        }
        while let Some(sent) = tasks.try_join_next() {
            sent??;
        }
    }
    while let Some(sent) = tasks.join_next().await {
        sent??;
    }
    let times = times.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(u64::try_from(times.len())?)
}

fn gate_url(member: &Member) -> Result<String> {
    let gate = member.sidecar.flags.get("admin-listen-address").context("no gate")?;
    Ok(format!("http://{gate}/write/main"))
}

type Times = Arc<Mutex<Vec<Duration>>>;

async fn send_all(bodies: Vec<Vec<u8>>, url: &str, remote: Option<&str>) -> Result<(Vec<Duration>, Vec<Duration>)> {
    let client = http::client(http::TIMEOUT)?;
    let (through, direct): (Times, Times) = Default::default();
    let (start, mut tasks) = (Instant::now(), JoinSet::new());
    for (number, body) in (0..).zip(bodies) {
        let at = start + PERIOD * number;
        tokio::time::sleep_until(at.into()).await;
        tasks.spawn(send(client.clone(), url.to_owned(), body.clone(), Arc::clone(&through)));
        if let Some(remote) = remote {
            tokio::time::sleep_until((at + PERIOD / 2).into()).await;
            tasks.spawn(send(client.clone(), remote.to_owned(), body, Arc::clone(&direct)));
        }
    }
    while let Some(sent) = tasks.join_next().await {
        sent??;
    }
    let take = |times: &Times| std::mem::take(&mut *times.lock().unwrap_or_else(PoisonError::into_inner));
    Ok((take(&through), take(&direct)))
}

async fn send(client: reqwest::Client, url: String, body: Vec<u8>, times: Times) -> Result<()> {
    let start = Instant::now();
    let request = client.post(&url).body(body).header("content-type", "application/x-protobuf");
    let request = request.header("content-encoding", "snappy").header("x-prometheus-remote-write-version", "0.1.0");
    let answer = request.send().await?;
    times.lock().unwrap_or_else(PoisonError::into_inner).push(start.elapsed());
    ensure!(answer.status().is_success(), "{url}: {}", answer.status());
    Ok(())
}

/// Each request has series of its own, so that one second of them is 100,000 series.
fn bodies(first: SystemTime, count: u32) -> Result<Vec<Vec<u8>>> {
    let first_ms = i64::try_from(first.duration_since(SystemTime::UNIX_EPOCH)?.as_millis())?;
    let period_ms = i64::try_from(PERIOD.as_millis())?;
    let body = |number: u32| {
        let time = first_ms + i64::from(number) * period_ms;
        encode((0..SAMPLES_PER_REQUEST).map(|index| (labels(number % PER_SECOND, index), time)), f64::from(number))
    };
    Ok((0..count).map(body).collect())
}

fn labels(request: u32, index: u32) -> Vec<(String, String)> {
    let pod = request * 40 + index / 50;
    let labels = [
        ("__name__", format!("http_requests_{}_total", index % 50)),
        ("cluster", "production".into()),
        ("code", ["200", "404", "500"][(index % 3) as usize].into()),
        ("instance", format!("10.{}.{}.7:8080", pod / 250, pod % 250)),
        ("job", "shop/frontend".into()),
        ("namespace", "shop".into()),
        ("pod", format!("frontend-7d9c6b5f4-{pod:05}")),
        ("route", format!("/api/v1/resource/{}", index % 17)),
    ];
    labels.map(|(name, value)| (name.to_owned(), value)).into()
}

fn spool_bytes(member: &Member) -> Result<u64> {
    let data = member.sidecar.flags.get("raft-data-dir").context("no raft-data-dir")?;
    let mut bytes = 0;
    let mut dirs = vec![Path::new(data).join("gate")];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).with_context(|| format!("read {}", dir.display()))? {
            let entry = entry?;
            // A file that has just been dropped is no error.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() { dirs.push(entry.path()) } else { bytes += metadata.len() }
        }
    }
    Ok(bytes)
}
