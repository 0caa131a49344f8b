//! The remote is away around a takeover: what the old writer had not shipped, the new one ships.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use test_support::gated::Gated;
use test_support::receiver::behaviour::Behaviour;

use super::options;

/// An outage: ten scrapes.
const OUTAGE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn nothing_is_lost_when_the_remote_is_away_around_a_takeover() -> Result<()> {
    let (mut gated, leader) = Gated::start(&options("gate-outage", false)?).await?;
    let leader = away_before(&mut gated, leader).await.context("away before the takeover")?;
    gated.check().context("after an outage before the takeover")?;
    let leader = away_during(&mut gated, leader).await.context("away during the takeover")?;
    gated.check().context("after an outage during the takeover")?;
    standby_restarts(&mut gated, leader).await.context("a standby restarts during an outage")?;
    gated.finish()?;
    Ok(())
}

/// The writer dies with all of the outage in its Prometheus; the remote is back when the next one begins.
async fn away_before(gated: &mut Gated, leader: usize) -> Result<usize> {
    gated.receiver.set(Behaviour::Status(503));
    tokio::time::sleep(OUTAGE).await;
    let old = gated.cluster.tenure()?;
    gated.cluster.members[leader].kill()?;
    gated.receiver.set(Behaviour::Accept);
    let next = gated.wait_next_writer(&old).await?;
    restart(gated, leader, next).await
}

/// The remote hangs, which is the worst way to be away, and comes back only when somebody else leads.
async fn away_during(gated: &mut Gated, leader: usize) -> Result<usize> {
    gated.receiver.set(Behaviour::Hang);
    tokio::time::sleep(OUTAGE / 2).await;
    let old = gated.cluster.tenure()?;
    gated.cluster.members[leader].kill()?;
    let next = gated.cluster.wait_successor(&old).await?;
    tokio::time::sleep(OUTAGE / 2).await;
    gated.receiver.set(Behaviour::Accept);
    gated.wait_writes(next).await?;
    restart(gated, leader, next).await
}

/// A standby whose sidecar restarts during the outage still has its spool; one whose Prometheus restarts has what came
/// before. Either takes over.
async fn standby_restarts(gated: &mut Gated, leader: usize) -> Result<usize> {
    gated.receiver.set(Behaviour::Status(503));
    tokio::time::sleep(OUTAGE / 2).await;
    let standbys: Vec<usize> = (0..3).filter(|&index| index != leader).collect();
    for &standby in &standbys {
        gated.cluster.members[standby].sidecar.kill()?;
        gated.cluster.members[standby].sidecar.start()?;
        gated.cluster.wait_settled().await?;
    }
    let old = gated.cluster.tenure()?;
    ensure!(old.member == gated.cluster.members[leader].name, "leadership has moved");
    gated.cluster.members[leader].kill()?;
    let next = gated.cluster.wait_successor(&old).await?;
    gated.receiver.set(Behaviour::Accept);
    gated.wait_writes(next).await?;
    restart(gated, leader, next).await
}

async fn restart(gated: &mut Gated, old: usize, next: usize) -> Result<usize> {
    gated.cluster.members[old].start().await?;
    ensure!(gated.cluster.wait_settled().await? == next, "leadership went back");
    gated.wait_shipped(next).await?;
    Ok(next)
}
