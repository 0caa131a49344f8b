//! A group with the gate on, a receiver that notes everything, and the verdict over a whole test.
//!
//! Its remote is a [`Receiver`] at the place of the storage. Each replica scrapes the same target at a phase of its own, and
//! the request's user tells the receiver who sends.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::cluster::{Cluster, Discovery, GateOptions, Options, TAKEOVER_MAX, TARGET_SERIES};
use crate::prometheus::Executable;
use crate::receiver::Receiver;
use crate::receiver::analysis::{
    Missing, SCRAPERS_MAX, Scrapes, Stored, Turn, ensure_none, largest_gap, missing, requests_after, turns,
};
use crate::receiver::behaviour::Behaviour;
use crate::receiver::record::Request;
use crate::sampler::Tenure;
use crate::target::SCRAPE_METRIC;
use crate::wait::eventually;

/// Time between two scrapes.
pub const SCRAPE_INTERVAL: Duration = Duration::from_millis(500);
/// `watermark-period` of the members.
pub const WATERMARK_PERIOD: Duration = Duration::from_millis(500);

/// `lease-renew-deadline` of the members, which is the default: the longest that authority lasts without a majority.
pub const RENEW_DEADLINE: Duration = Duration::from_millis(720);
/// What the kernel and the receiver's thread hold of a request that was sent in time.
const ON_ITS_WAY_MAX: Duration = Duration::from_millis(200);

/// Parts of the target, each with a phase of its own.
const PARTS: u32 = 4;
/// Largest gap that is left to a busy machine where nothing is lost. Every fault of the tests lasts longer.
const GAP_MAX: Duration = Duration::from_millis(2_000);
/// A Prometheus that has just started scrapes nothing for five seconds.
const SCRAPES_MAX: Duration = Duration::from_secs(20);

/// Such a group.
pub struct Gated {
    /// The group.
    pub cluster: Cluster,
    /// Its remote.
    pub receiver: Receiver,
    /// How the remote behaves when it is well.
    well: Behaviour,
}

/// Options of a group with the gate on: two shards, and batches that wait for so long and are small otherwise. Remote write 2.0 where `is_v2`, and Prometheus speaks it.
pub fn options(label: &'static str, binary: PathBuf, batch_deadline_ms: u32, is_v2: bool) -> Result<Options> {
    let is_v2 = is_v2 && !Executable::find()?.version.starts_with("2.");
    let interval_ms = u32::try_from(SCRAPE_INTERVAL.as_millis())?;
    let batch_samples_max = if batch_deadline_ms > interval_ms { 500 } else { 10 };
    let gate = GateOptions { parts: PARTS, batch_samples_max, batch_deadline_ms, shards: 2, is_v2 };
    let options = Options { scrape_interval: SCRAPE_INTERVAL, gate: Some(gate), ..Options::new(label, binary) };
    Ok(options.discovery(Discovery::Relayed).customize(|_, flags| {
        flags.set("watermark-period", format!("{}ms", WATERMARK_PERIOD.as_millis()));
    }))
}

impl Gated {
    /// Starts receiver and group, and waits until the leader writes and everybody scrapes. Returns the leader's index too.
    pub async fn start(options: &Options, well: Behaviour) -> Result<(Self, usize)> {
        let mut gated = Self::prepare(options, well).await?;
        let leader = gated.start_group(options.start).await?;
        Ok((gated, leader))
    }

    /// Starts the receiver and prepares the group, whose members a test may change before their first start.
    pub async fn prepare(options: &Options, well: Behaviour) -> Result<Self> {
        let cluster = Cluster::prepare(options).await?;
        let receiver = Receiver::start(cluster.storage.address)?;
        receiver.set(well.clone());
        Ok(Self { cluster, receiver, well })
    }

    /// Starts the first `count` members, and waits until the leader writes and everybody scrapes. Returns the leader.
    pub async fn start_group(&mut self, count: usize) -> Result<usize> {
        let leader = self.cluster.start_group(count).await?;
        for index in 0..count {
            self.wait_scrapes(index).await?;
        }
        self.wait_writes(leader).await?;
        Ok(leader)
    }

    /// The remote is well again.
    pub fn heal_remote(&self) {
        self.receiver.set(self.well.clone());
    }

    /// Waits until a member's Prometheus has scraped twice more.
    pub async fn wait_scrapes(&self, index: usize) -> Result<()> {
        wait_scrapes(&self.cluster, index).await
    }

    /// Waits until a member's new requests are taken by the remote.
    pub async fn wait_writes(&self, index: usize) -> Result<()> {
        let name = &self.cluster.members[index].name;
        let before = self.receiver.count();
        eventually(TAKEOVER_MAX, &format!("{name} to write"), async || {
            let requests = self.receiver.requests();
            let new = &requests[before..];
            let is_taken = |request: &Request| {
                request.sender.as_ref() == Some(name) && request.status().is_some_and(|status| status < 300)
            };
            let last = new.last().map(|request| (request.who(), request.points.len(), request.end));
            let count = new.len();
            ensure!(new.iter().any(is_taken), "of {count} requests none was its and taken: {last:?}");
            Ok(())
        })
        .await
    }

    /// Waits until another member than in `old` has written in a later term. Returns its index.
    pub async fn wait_next_writer(&self, old: &Tenure) -> Result<usize> {
        let what = format!("another writer than {}", old.member);
        let taken = eventually(TAKEOVER_MAX, &what, async || {
            self.receiver.read(|requests, _| {
                let is_next = |request: &&Request| {
                    request.term.is_some_and(|term| term > old.term)
                        && request.sender.as_ref().is_some_and(|sender| *sender != old.member)
                        && request.status().is_some_and(|status| status < 300)
                };
                let sender = requests.iter().rev().find(is_next).and_then(|request| request.sender.clone());
                sender.context("no request of another member was taken")
            })
        });
        self.cluster.index_of(&taken.await?)
    }

    /// Waits until the group is whole again, everybody scrapes, and what the leader has scraped by now is in the store. Returns
    /// the leader.
    pub async fn wait_whole(&mut self) -> Result<usize> {
        let leader = self.cluster.wait_settled().await?;
        for index in self.cluster.started() {
            self.wait_scrapes(index).await?;
        }
        self.wait_stored(leader).await?;
        Ok(leader)
    }

    /// Waits until what a member has scraped by now is in the store.
    pub async fn wait_stored(&self, index: usize) -> Result<()> {
        let scrapes = scrapes(&self.cluster)?;
        let newest = scrapes.of_replica(index).filter_map(|part| part.last().copied()).min();
        let newest = newest.context("it has never scraped")?;
        eventually(TAKEOVER_MAX, "the newest scrapes in the store", async || {
            let stored = scraped(self.receiver.store().by_time());
            let is_there = |samples: &Vec<(i64, f64)>| samples.iter().any(|(_, value)| *value >= value_of(newest));
            let (count, all) = (stored.values().filter(|samples| is_there(samples)).count(), series(&self.cluster));
            ensure!(count == all, "they are there for {count} of {all} series");
            Ok(())
        })
        .await
    }

    /// Fails if a member began a request after a time, apart from what was on its way.
    pub fn check_silent_after(&self, index: usize, after: Instant) -> Result<()> {
        let name = &self.cluster.members[index].name;
        let late = requests_after(&self.receiver.requests(), name, after + ON_ITS_WAY_MAX);
        ensure!(late == 0, "{name} began {late} requests more than {ON_ITS_WAY_MAX:?} after its authority had ended");
        Ok(())
    }

    /// The verdict so far: no term went backwards, no two replicas wrote in turns or in one term, no sample is missing that its
    /// replica had. Returns the turns.
    pub fn check_writers(&self) -> Result<Vec<Turn>> {
        self.check_writers_except(&[])
    }

    /// [`Gated::check_writers`], apart from scrapes within spans of Unix milliseconds: a Prometheus that ends does not keep
    /// what it is scraping at that moment.
    pub fn check_writers_except(&self, spans_ms: &[RangeInclusive<u64>]) -> Result<Vec<Turn>> {
        check_receiver(&self.cluster, &self.receiver, spans_ms)
    }

    /// [`Gated::check_writers`], and there is no gap either.
    pub fn check(&self) -> Result<Vec<Turn>> {
        let turns = self.check_writers()?;
        check_gaps(self.receiver.store().by_time())?;
        Ok(turns)
    }
}

/// Waits until a member's Prometheus has scraped twice more.
pub async fn wait_scrapes(cluster: &Cluster, index: usize) -> Result<()> {
    // The part that has been scraped least: all of them are scraped.
    let least = || Ok::<_, anyhow::Error>(scrapes(cluster)?.of_replica(index).map(<[u64]>::len).min().unwrap_or(0));
    let before = least()?;
    eventually(SCRAPES_MAX, &format!("two more scrapes of {}", cluster.members[index].name), async || {
        let count = least()?;
        ensure!(count >= before + 2, "{before} before, {count} now");
        Ok(())
    })
    .await
}

/// [`Gated::check_writers_except`] for any receiver of the group.
pub fn check_receiver(cluster: &Cluster, receiver: &Receiver, spans_ms: &[RangeInclusive<u64>]) -> Result<Vec<Turn>> {
    let requests = receiver.requests();
    let turns = turns(&requests)?;
    let stored = receiver.store().by_time();
    let mut lost = lost(cluster, stored.clone())?;
    lost.retain(|missing| !spans_ms.iter().any(|span_ms| span_ms.contains(&missing.at_ms)));
    let tell = |one| format!("{}; {}", history(&requests, one), failed_scrapes(&stored));
    ensure_none(&lost).with_context(|| lost.first().map_or_else(String::new, tell))?;
    Ok(turns)
}

/// Fails if the store lacks a scrape that its replica had (`receiver::analysis`).
pub fn check_missing(cluster: &Cluster, stored: Stored) -> Result<()> {
    ensure_none(&lost(cluster, stored)?)
}

fn lost(cluster: &Cluster, stored: Stored) -> Result<Vec<Missing>> {
    let stored = scraped(stored);
    ensure!(
        stored.len() == series(cluster),
        "{} of {} series of the target were stored",
        stored.len(),
        series(cluster)
    );
    Ok(missing(&stored, &scrapes(cluster)?))
}

/// What became of a missing sample: the requests that held it.
fn history(requests: &[Request], missing: &Missing) -> String {
    let value = value_of(missing.at_ms * SCRAPERS_MAX + missing.scraper);
    let holds = |request: &&Request| {
        request.points.iter().any(|point| point.series == missing.series && point.value.to_bits() == value.to_bits())
    };
    let tell = |request: &Request| {
        let mut times: Vec<i64> = request.points.iter().map(|point| point.timestamp_ms).collect();
        times.sort_unstable();
        times.dedup();
        let (count, end) = (request.points.len(), request.end.map(|(_, end)| end));
        format!("{}, {:?}, {count} samples of {times:?}: {end:?}", request.who(), request.version)
    };
    let all: Vec<String> = requests.iter().filter(holds).map(tell).collect();
    format!("requests with the first missing sample: {all:#?}")
}

/// Scrapes that the target has noted and Prometheus has given up, on a machine that is too busy.
fn failed_scrapes(stored: &Stored) -> String {
    let ups = stored.iter().filter(|(series, _)| series.contains("__name__=\"up\""));
    let failed = ups.flat_map(|(series, samples)| {
        samples.iter().filter(|(_, value)| *value == 0.0).map(move |(at_ms, _)| format!("{series} at {at_ms}"))
    });
    format!("failed scrapes: {:?}", failed.collect::<Vec<_>>())
}

/// Fails if there is a gap of several scrapes.
pub fn check_gaps(stored: Stored) -> Result<()> {
    let (gap, series) = largest_gap(&scraped(stored)).context("no two samples of a series")?;
    ensure!(gap <= GAP_MAX, "a gap of {gap:?} in {series}, at a scrape interval of {SCRAPE_INTERVAL:?}");
    Ok(())
}

/// The series whose values tell who scraped when.
fn scraped(stored: Stored) -> Stored {
    stored.into_iter().filter(|(series, _)| series.contains(SCRAPE_METRIC)).collect()
}

fn scrapes(cluster: &Cluster) -> Result<Scrapes> {
    Ok(cluster.target.as_ref().context("a target that notes scrapes")?.scrapes())
}

/// Number of series of the target, all parts together.
fn series(cluster: &Cluster) -> usize {
    let parts = cluster.members.first().and_then(|member| member.spec.gated.as_ref()).map_or(0, |gated| gated.parts);
    TARGET_SERIES * usize::try_from(parts).unwrap_or(0)
}

// Values are far below what a float cannot hold exactly.
#[expect(clippy::cast_precision_loss)]
fn value_of(scrape: u64) -> f64 {
    scrape as f64
}
