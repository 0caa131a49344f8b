//! Leadership is given up on purpose: no overlap, also not of the configurations that the Prometheus processes run.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use test_support::cluster::{Cluster, GROUP, TAKEOVER_MAX};
use test_support::config_watch::ConfigWatch;
use test_support::sampler::Tenure;
use test_support::wait::{eventually, throughout};

use crate::options;

/// Often enough that an overlap of one reload is seen.
const OFTEN: Duration = Duration::from_millis(5);
/// `api-shutdown-grace-delay` of the members, and a bit.
const EXIT_MAX: Duration = Duration::from_secs(7);

struct Handover {
    cluster: Cluster,
    watch: ConfigWatch,
    leader: usize,
    old: Tenure,
}

impl Handover {
    async fn prepare(label: &'static str) -> Result<Self> {
        let mut options = options(label)?;
        options.sample_period = OFTEN;
        let mut cluster = Cluster::start(&options).await?;
        let leader = cluster.wait_settled().await?;
        cluster.wait_eligible(leader).await?;
        let mut watch = ConfigWatch::new(OFTEN)?;
        for member in &cluster.members {
            watch.watch(&member.name, &member.prometheus.url(""));
        }
        let old = cluster.tenure()?;
        Ok(Self { cluster, watch, leader, old })
    }

    /// Waits for the successor, and fails if the old leader's Prometheus ran the leader configuration at any time
    /// after the successor had begun to lead.
    async fn check(&self) -> Result<usize> {
        let new = self.cluster.sampler.successor(GROUP, &self.old, TAKEOVER_MAX).await?;
        eventually(TAKEOVER_MAX, "a look at the old leader's Prometheus", async || {
            ensure!(self.watch.seen_after(&self.old.member, new.since, false), "none yet");
            Ok(())
        })
        .await?;
        let overlap = self.watch.seen_after(&self.old.member, new.since, true);
        ensure!(!overlap, "{}'s Prometheus shipped while {} led", self.old.member, new.member);
        let next = self.cluster.index_of(&new.member)?;
        self.cluster.wait_ships(next, true).await?;
        Ok(next)
    }
}

#[tokio::test]
async fn on_sigterm_prometheus_is_demoted_before_another_member_leads() -> Result<()> {
    let mut handover = Handover::prepare("sigterm").await?;
    let start = Instant::now();
    handover.cluster.members[handover.leader].sidecar.signal(Signal::TERM)?;
    handover.check().await?;
    let status = handover.cluster.members[handover.leader].sidecar.wait_exit(EXIT_MAX).await?;
    ensure!(status.code() == Some(0), "it ended with {status}");
    ensure!(start.elapsed() < EXIT_MAX, "it took {:?}", start.elapsed());
    let member = &mut handover.cluster.members[handover.leader];
    member.sidecar.start()?;
    handover.cluster.wait_settled().await?;
    handover.cluster.finish()
}

#[tokio::test]
async fn sigterm_to_a_follower_disturbs_nobody() -> Result<()> {
    let mut handover = Handover::prepare("sigterm-follower").await?;
    let follower = handover.cluster.follower(handover.leader)?;
    let sidecar = &mut handover.cluster.members[follower].sidecar;
    sidecar.signal(Signal::TERM)?;
    let status = sidecar.wait_exit(EXIT_MAX).await?;
    ensure!(status.code() == Some(0), "it ended with {status}");
    let still = handover.cluster.tenure()?;
    ensure!(still.term == handover.old.term, "{still:?} follows {:?}", handover.old);
    handover.cluster.members[follower].sidecar.start()?;
    ensure!(handover.cluster.wait_settled().await? == handover.leader, "leadership moved");
    handover.cluster.finish()
}

#[tokio::test]
async fn step_down_hands_over_and_says_to_whom() -> Result<()> {
    let handover = Handover::prepare("step-down").await?;
    let leader = &handover.cluster.members[handover.leader];
    let said = leader.sidecar.command(&["step-down"]).await?.ok()?;
    let next = handover.check().await?;
    let name = &handover.cluster.members[next].name;
    ensure!(said.contains(name.as_str()), "`{said}` does not name {name}");
    let refused = leader.sidecar.command(&["step-down"]).await?;
    ensure!(refused.code != 0, "a follower stepped down: {refused:?}");
    handover.cluster.finish()
}

#[tokio::test]
async fn shutdown_is_a_sigterm_and_the_sigterm_that_follows_it_is_no_second_one() -> Result<()> {
    let mut handover = Handover::prepare("shutdown").await?;
    let start = Instant::now();
    let sidecar = &mut handover.cluster.members[handover.leader].sidecar;
    let said = sidecar.command(&["shutdown"]).await?.ok()?;
    ensure!(said.contains("hands over"), "it said `{said}`");
    sidecar.signal(Signal::TERM)?;
    handover.check().await?;
    let status = handover.cluster.members[handover.leader].sidecar.wait_exit(EXIT_MAX).await?;
    ensure!(status.code() == Some(0), "it ended with {status}");
    ensure!(start.elapsed() < EXIT_MAX, "it took {:?}", start.elapsed());
    handover.cluster.finish()
}

#[tokio::test]
async fn a_cordoned_leader_hands_over_and_does_not_lead_until_uncordoned() -> Result<()> {
    let handover = Handover::prepare("cordon").await?;
    let Handover { cluster, leader, .. } = &handover;
    cluster.members[*leader].sidecar.command(&["cordon"]).await?.ok()?;
    let next = handover.check().await?;
    let third = (0..3).find(|index| index != leader && *index != next).context("one of three members")?;
    cluster.members[third].sidecar.command(&["cordon"]).await?.ok()?;
    // Nobody else can lead now: the present leader keeps leading rather than nobody.
    let tenure = cluster.tenure()?;
    let refused = cluster.members[next].sidecar.command(&["step-down"]).await?;
    ensure!(refused.code != 0, "it stepped down for nobody: {refused:?}");
    throughout(Duration::from_secs(2), "the only member that may lead", async || {
        ensure!(cluster.tenure()?.member == tenure.member, "{:?}", cluster.tenure()?);
        Ok(())
    })
    .await?;
    cluster.members[*leader].sidecar.command(&["uncordon"]).await?.ok()?;
    let back = eventually(TAKEOVER_MAX, "an uncordoned member to lead again", async || {
        cluster.members[next].sidecar.command(&["step-down"]).await?.ok()?;
        Ok(cluster.sampler.successor(GROUP, &tenure, TAKEOVER_MAX).await?.member)
    })
    .await?;
    ensure!(back == cluster.members[*leader].name, "{back} leads although it is cordoned");
    handover.cluster.finish()
}
