//! A group with the gate on, a receiver that notes everything, and the verdict over a whole test.
//!
//! Its remote is a [`Receiver`] at the place of the storage. Each replica scrapes the same target at a phase of its own, and
//! a header tells the receiver who sends.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::cluster::{Cluster, Discovery, GateOptions, Options, TAKEOVER_MAX};
use crate::prometheus::Executable;
use crate::receiver::Receiver;
use crate::receiver::analysis::{Turn, ensure_none, largest_gap, missing, requests_after, turns};
use crate::receiver::record::Request;
use crate::sampler::Tenure;
use crate::wait::eventually;

/// Time between two scrapes.
pub const SCRAPE_INTERVAL: Duration = Duration::from_millis(500);
/// `watermark-period` of the members.
pub const WATERMARK_PERIOD: Duration = Duration::from_millis(500);

/// `lease-renew-deadline` of the members, which is the default: the longest that authority lasts without a majority.
pub const RENEW_DEADLINE: Duration = Duration::from_millis(800);
/// What the kernel and the receiver's thread hold of a request that was sent in time.
const ON_ITS_WAY_MAX: Duration = Duration::from_millis(200);

/// Such a group.
pub struct Gated {
    /// The group.
    pub cluster: Cluster,
    /// Its remote.
    pub receiver: Receiver,
}

/// Options of a group with the gate on: small batches in two shards. Remote write 2.0 where `is_v2`, and Prometheus speaks it.
pub fn options(label: &'static str, binary: PathBuf, is_v2: bool) -> Result<Options> {
    let is_v2 = is_v2 && !Executable::find()?.version.starts_with("2.");
    let gate = GateOptions { batch_samples_max: 10, shards: 2, is_v2 };
    let options = Options { scrape_interval: SCRAPE_INTERVAL, gate: Some(gate), ..Options::new(label, binary) };
    Ok(options.discovery(Discovery::Relayed).customize(|_, flags| {
        flags.set("watermark-period", format!("{}ms", WATERMARK_PERIOD.as_millis()));
    }))
}

impl Gated {
    /// Starts receiver and group, and waits until the leader writes. Returns the leader's index too.
    pub async fn start(options: &Options) -> Result<(Self, usize)> {
        let mut cluster = Cluster::prepare(options).await?;
        let receiver = Receiver::start(cluster.storage.address)?;
        let leader = cluster.start_group(options.start).await?;
        let gated = Self { cluster, receiver };
        gated.wait_writes(leader).await?;
        Ok((gated, leader))
    }

    /// Waits until a member's own new requests are taken by the receiver.
    pub async fn wait_writes(&self, index: usize) -> Result<()> {
        let name = &self.cluster.members[index].name;
        let before = self.receiver.count();
        eventually(TAKEOVER_MAX, &format!("{name} to write"), async || {
            let requests = self.receiver.requests();
            let is_own = |request: &&Request| {
                request.sender.as_ref() == Some(name) && request.status().is_some_and(|status| status < 300)
            };
            ensure!(requests[before..].iter().any(|request| is_own(&request)), "no request of it was taken");
            Ok(())
        })
        .await
    }

    /// Waits until another member leads than in `old` and writes. Returns its index.
    pub async fn wait_next_writer(&self, old: &Tenure) -> Result<usize> {
        let next = self.cluster.wait_successor(old).await?;
        self.wait_writes(next).await?;
        Ok(next)
    }

    /// Fails if a member began a request after a time, apart from what was on its way.
    pub fn check_silent_after(&self, index: usize, after: Instant) -> Result<()> {
        let name = &self.cluster.members[index].name;
        let late = requests_after(&self.receiver.requests(), name, after + ON_ITS_WAY_MAX);
        ensure!(late == 0, "{name} began {late} requests more than {ON_ITS_WAY_MAX:?} after its authority had ended");
        Ok(())
    }

    /// Waits until the newest scrapes of a member are in the store: all that was spooled before is, too.
    pub async fn wait_shipped(&self, index: usize) -> Result<()> {
        self.wait_writes(index).await?;
        self.wait_writes(index).await
    }

    /// The verdict: no term went backwards, no two replicas wrote in turns or in one term, no sample is missing that its
    /// replica had. Returns the turns.
    pub fn check(&self) -> Result<Vec<Turn>> {
        let turns = turns(&self.receiver.requests())?;
        let stored = self.receiver.store().by_time();
        ensure!(!stored.is_empty(), "nothing was stored");
        let target = self.cluster.target.as_ref().context("a target that notes scrapes")?;
        let own: BTreeMap<_, _> =
            stored.into_iter().filter(|(series, _)| series.contains(crate::target::SCRAPE_METRIC)).collect();
        ensure!(!own.is_empty(), "no series of the target was stored");
        ensure_none(&missing(&own, &target.scrapes()))?;
        let gap = largest_gap(&own).context("no two samples of a series")?;
        eprintln!("largest gap {:?} in {}; turns: {turns:?}", gap.0, gap.1);
        Ok(turns)
    }

    /// [`Gated::check`], and the end of the test.
    pub fn finish(self) -> Result<Vec<Turn>> {
        let turns = self.check()?;
        self.cluster.finish()?;
        Ok(turns)
    }
}
