//! Standbys restart and configurations change while the remote is away, and then the writer is lost.

use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use test_support::cluster::Options;
use test_support::gated::Gated;
use test_support::prometheus::Kind;
use test_support::receiver::behaviour::Behaviour;

use super::{SCRAPE_MAX_MS, SMALL_BATCHES, lose_writer, options, restart, wait_leads, wall_ms};

/// Five scrapes.
const PART_OF_OUTAGE: Duration = Duration::from_millis(2_500);
/// Longer than Prometheus takes to flush to a gate that takes everything.
const EXIT_MAX: Duration = Duration::from_secs(15);

#[tokio::test]
async fn restarts_and_changes_during_an_outage_lose_nothing() -> Result<()> {
    let options = Options { kind: Kind::Server, ..options("gate-restarts", SMALL_BATCHES, true)? };
    let (mut gated, leader) = Gated::start(&options, Behaviour::Prometheus).await?;
    let leader = sidecars_restart(&mut gated, leader).await.context("sidecars of the standbys restart")?;
    gated.check().context("after restarts of sidecars")?;
    let leader = configuration_changes(&mut gated, leader).await.context("the configuration changes")?;
    gated.check().context("after a change of the configuration")?;
    let ended_ms = prometheus_restarts(&mut gated, leader).await.context("a standby's Prometheus restarts")?;
    // A Prometheus that does not run does not scrape: nothing that it had may be missing, but a gap there is.
    gated.check_writers_except(&[ended_ms]).context("after a restart of Prometheus")?;
    gated.cluster.finish()
}

/// The spool outlives its process.
async fn sidecars_restart(gated: &mut Gated, leader: usize) -> Result<usize> {
    gated.receiver.set(Behaviour::Status(503));
    tokio::time::sleep(PART_OF_OUTAGE).await;
    for standby in (0..3).filter(|&index| index != leader) {
        gated.cluster.members[standby].sidecar.kill()?;
        gated.cluster.members[standby].sidecar.start()?;
        ensure!(gated.cluster.wait_settled().await? == leader, "leadership has moved");
    }
    lose_writer(gated, leader).await
}

/// Every Prometheus is reloaded; its queue, which has not changed, goes on.
async fn configuration_changes(gated: &mut Gated, leader: usize) -> Result<usize> {
    gated.receiver.set(Behaviour::Status(503));
    tokio::time::sleep(PART_OF_OUTAGE).await;
    for member in &mut gated.cluster.members {
        member.spec.extra_jobs.push("another".into());
        member.write_source()?;
    }
    tokio::time::sleep(PART_OF_OUTAGE).await;
    ensure!(gated.cluster.wait_settled().await? == leader, "leadership has moved");
    lose_writer(gated, leader).await
}

/// What its queue had given to the gate before is in the spool. Returns when it ended, in Unix milliseconds.
async fn prometheus_restarts(gated: &mut Gated, leader: usize) -> Result<RangeInclusive<u64>> {
    let standby = gated.cluster.follower(leader)?;
    let third = (0..3).find(|index| ![leader, standby].contains(index)).context("one of three members")?;
    gated.cluster.members[third].sidecar.command(&["cordon"]).await?.ok()?;
    gated.receiver.set(Behaviour::Status(503));
    tokio::time::sleep(PART_OF_OUTAGE).await;
    let ends_ms = wall_ms()?;
    gated.cluster.members[standby].prometheus.terminate(EXIT_MAX).await?;
    let ended_ms = ends_ms.saturating_sub(SCRAPE_MAX_MS)..=wall_ms()?;
    gated.cluster.members[standby].prometheus.start().await?;
    gated.wait_scrapes(standby).await?;
    ensure!(gated.cluster.wait_settled().await? == leader, "leadership has moved");
    gated.cluster.members[leader].kill()?;
    gated.heal_remote();
    // A cordoned member may win an election, and hands over.
    wait_leads(gated, standby).await?;
    restart(gated, leader).await?;
    Ok(ended_ms)
}
