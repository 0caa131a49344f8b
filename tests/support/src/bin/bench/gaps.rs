//! What a takeover costs in samples, with the gate on and off, side by side: the largest gap of any series, samples sent
//! twice, requests of a writer after the next one had authority.
//!
//! ```text
//! target, in parts with phases of their own <- 3 agents -> receiver that notes senders -> real Prometheus
//! ```
//!
//! Both groups run at the same time on the same machine and suffer the same fault at the same moment.

use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use rustix::process::Signal;
use test_support::cluster::{Cluster, Discovery, GROUP, GateOptions, Options, SETTLE_MAX};
use test_support::receiver::Receiver;
use test_support::receiver::analysis::{largest_gap, sent_twice};
use test_support::receiver::behaviour::Behaviour;
use test_support::receiver::record::Request;
use test_support::sampler::Tenure;
use test_support::target::SCRAPE_METRIC;
use test_support::wait::eventually;

/// How long the remote is dead in [`Fault::Outage`].
const OUTAGE: Duration = Duration::from_secs(60);
/// Grace delay of the members, what a Prometheus without the gate flushes meanwhile, and a bit.
const EXIT_MAX: Duration = Duration::from_secs(90);
/// A Prometheus that has just started scrapes nothing for so long.
const FIRST_SCRAPE: Duration = Duration::from_secs(6);
/// A new leader is asked whether it leads at the latest so long after it has begun to.
const ASKED_WITHIN: Duration = Duration::from_millis(200);
const PARTS: u32 = 50;

/// How the leader goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Sidecar,
    Kill,
    Terminate,
    Rolling,
    Outage,
}

impl Fault {
    pub(crate) const ALL: [Self; 5] = [Self::Sidecar, Self::Kill, Self::Terminate, Self::Rolling, Self::Outage];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sidecar => "SIGKILL of the leader's sidecar",
            Self::Kill => "SIGKILL of the leader's pod",
            Self::Terminate => "SIGTERM of the leader's pod",
            Self::Rolling => "rolling restart of all",
            Self::Outage => "remote dead for 60 s, then SIGKILL",
        }
    }
}

/// What one fault has cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) largest_gap: Duration,
    /// Series whose largest gap is above one and a half intervals.
    pub(crate) series_with_gap: usize,
    pub(crate) series: usize,
    pub(crate) sent_twice: usize,
    pub(crate) samples: usize,
    /// Requests that a former leader began after the next one had authority.
    pub(crate) late: usize,
}

/// One group with its remote.
struct Side {
    cluster: Cluster,
    receiver: Receiver,
    interval: Duration,
}

/// Costs of each fault: with the gate, without it.
pub(crate) async fn measure(
    options: impl Fn() -> Result<Options>,
    interval: Duration,
    mut progress: impl FnMut(&str),
) -> Result<Vec<(Fault, Cost, Cost)>> {
    let (on, off) = tokio::join!(Side::start(options()?, interval, true), Side::start(options()?, interval, false));
    let (mut on, mut off) = (on?, off?);
    let mut costs = Vec::new();
    for fault in Fault::ALL {
        progress(&format!("{} at {} s, gate on and off", fault.name(), interval.as_secs()));
        let (with, without) = tokio::join!(on.suffer(fault), off.suffer(fault));
        let (with, without) = (with.context("gate on")?, without.context("gate off")?);
        costs.push((fault, with, without));
    }
    on.cluster.end();
    off.cluster.end();
    Ok(costs)
}

impl Side {
    async fn start(options: Options, interval: Duration, is_on: bool) -> Result<Self> {
        let receiver = Receiver::start((Ipv4Addr::LOCALHOST, 0).into())?;
        let options = Options {
            discovery: Discovery::Static,
            scrape_interval: interval,
            gate: Some(GateOptions {
                parts: PARTS,
                batch_samples_max: 100,
                batch_deadline_ms: 1_000,
                shards: 4,
                is_v2: false,
            }),
            remote: Some(receiver.address),
            print_logs: false,
            ..options
        };
        let options = options.customize(move |_, flags| {
            flags.set("remote-write-gate", if is_on { "on" } else { "off" }).set("log-level", "info");
        });
        let mut cluster = Cluster::prepare(&options).await?;
        cluster.storage.start().await?;
        receiver.set(Behaviour::Forward(cluster.storage.address));
        cluster.start_group(3).await?;
        let side = Self { cluster, receiver, interval };
        side.calm().await;
        Ok(side)
    }

    /// Until everybody has scraped a few times and standbys have forgotten what they may.
    async fn calm(&self) {
        tokio::time::sleep(FIRST_SCRAPE + self.interval * 2).await;
    }

    async fn suffer(&mut self, fault: Fault) -> Result<Cost> {
        let leader = self.cluster.wait_settled().await?;
        let (requests, start) = (self.receiver.count(), SystemTime::now());
        match fault {
            Fault::Sidecar => {
                let old = self.cluster.tenure()?;
                self.cluster.members[leader].sidecar.kill()?;
                self.cluster.wait_successor(&old).await?;
                self.calm().await;
                self.cluster.members[leader].sidecar.start()?;
            }
            Fault::Kill => self.kill(leader).await?,
            Fault::Terminate => self.terminate(leader).await?,
            Fault::Rolling => {
                for index in (0..self.cluster.members.len()).rev() {
                    self.terminate(index).await?;
                }
            }
            Fault::Outage => {
                self.receiver.set(Behaviour::Status(503));
                tokio::time::sleep(OUTAGE).await;
                self.receiver.set(Behaviour::Forward(self.cluster.storage.address));
                self.kill(leader).await?;
            }
        }
        self.cluster.wait_settled().await?;
        self.calm().await;
        self.cost(requests, start).await
    }

    async fn kill(&mut self, leader: usize) -> Result<()> {
        let old = self.cluster.tenure()?;
        self.cluster.members[leader].kill()?;
        self.cluster.wait_successor(&old).await?;
        self.cluster.members[leader].start().await
    }

    /// A deleted pod that comes back; the next one is deleted when this one is ready.
    async fn terminate(&mut self, index: usize) -> Result<()> {
        let member = &mut self.cluster.members[index];
        member.sidecar.signal(Signal::TERM)?;
        member.prometheus.signal(Signal::TERM)?;
        member.sidecar.wait_exit(EXIT_MAX).await?;
        member.prometheus.wait_exit(EXIT_MAX).await?;
        member.start().await?;
        eventually(SETTLE_MAX, "a restarted member to be ready", async || {
            // Not ready is an error that says why.
            self.cluster.members[index].sidecar.get("/_elector/readyz").await.map(drop)
        })
        .await
    }

    async fn cost(&self, requests: usize, start: SystemTime) -> Result<Cost> {
        let since = start.duration_since(SystemTime::UNIX_EPOCH)?.saturating_sub(self.interval * 2);
        let since_ms = i64::try_from(since.as_millis())?;
        let mut stored = self.cluster.storage.samples(SCRAPE_METRIC).await?;
        for samples in stored.values_mut() {
            samples.retain(|(at_ms, _)| *at_ms >= since_ms);
        }
        let gap = |samples: &[(i64, f64)]| samples.windows(2).map(|pair| pair[1].0 - pair[0].0).max().unwrap_or(0);
        let limit_ms = i64::try_from(self.interval.as_millis() * 3 / 2)?;
        let series_with_gap = stored.values().filter(|samples| gap(samples) > limit_ms).count();
        let all = self.receiver.requests();
        let own = &all[requests..];
        Ok(Cost {
            largest_gap: largest_gap(&stored).map_or(Duration::ZERO, |(gap, _)| gap),
            series_with_gap,
            series: stored.len(),
            sent_twice: sent_twice(own),
            samples: stored.values().map(Vec::len).sum(),
            late: late(own, &self.cluster.sampler.tenures(GROUP)),
        })
    }
}

/// Requests of former leaders that began when another member had authority already.
fn late(requests: &[Request], tenures: &[Tenure]) -> usize {
    let is_late = |request: &&Request| {
        let begun = tenures.iter().filter(|tenure| tenure.since <= request.at).count();
        // The last one that has begun, and one that writes before it was asked whether it leads.
        let mut leaders =
            tenures[begun.saturating_sub(1)..].iter().take_while(|tenure| tenure.since <= request.at + ASKED_WITHIN);
        begun > 0 && !leaders.any(|tenure| request.sender.as_deref() == Some(tenure.member.as_str()))
    };
    requests.iter().filter(is_late).count()
}
