//! The remote is away around a takeover: what the old writer had not shipped, the new one ships.

use std::time::Duration;

use anyhow::{Context, Result};
use test_support::cluster::Options;
use test_support::gated::Gated;
use test_support::receiver::behaviour::Behaviour;

use super::{LARGE_BATCHES, SMALL_BATCHES, lose_writer, options, restart};

/// An outage: eight scrapes.
const OUTAGE: Duration = Duration::from_secs(4);

/// A scrape interval above all other times of the group.
const SELDOM: Duration = Duration::from_secs(4);

/// The receiver is the strictest there is: of remote write 1.0 it refuses a whole batch for one old sample.
#[tokio::test]
async fn nothing_is_lost_when_the_remote_is_away_around_a_takeover() -> Result<()> {
    let (mut gated, leader) =
        Gated::start(&options("gate-outage", LARGE_BATCHES, false)?, Behaviour::Prometheus).await?;
    let leader = away_before(&mut gated, leader).await.context("away before the takeover")?;
    gated.check().context("after an outage before the takeover")?;
    let leader = away_during(&mut gated, leader).await.context("away during the takeover")?;
    gated.check().context("after an outage during the takeover")?;
    away_after(&mut gated, leader).await.context("away after the takeover")?;
    gated.check().context("after an outage after the takeover")?;
    gated.cluster.finish()
}

/// The writer dies with all of the outage in its Prometheus; the remote is back when the next one begins.
async fn away_before(gated: &mut Gated, leader: usize) -> Result<usize> {
    gated.receiver.set(Behaviour::Status(503));
    tokio::time::sleep(OUTAGE).await;
    lose_writer(gated, leader).await
}

/// The remote hangs, which is the worst way to be away, and comes back only when somebody else leads.
async fn away_during(gated: &mut Gated, leader: usize) -> Result<usize> {
    gated.receiver.set(Behaviour::Hang);
    tokio::time::sleep(OUTAGE / 2).await;
    let old = gated.cluster.tenure()?;
    gated.cluster.members[leader].kill()?;
    gated.cluster.wait_successor(&old).await?;
    tokio::time::sleep(OUTAGE / 2).await;
    gated.heal_remote();
    gated.wait_next_writer(&old).await?;
    restart(gated, leader).await
}

/// The next writer is in the middle of its catch-up, and the remote wants to be left alone; then that one is killed too. The
/// first one, whose Prometheus has lived on, may be the third writer as well as the one that was a standby all the time.
async fn away_after(gated: &mut Gated, leader: usize) -> Result<usize> {
    gated.receiver.set(Behaviour::Status(503));
    tokio::time::sleep(OUTAGE / 2).await;
    let old = gated.cluster.tenure()?;
    gated.cluster.members[leader].sidecar.kill()?;
    gated.receiver.set(Behaviour::TooMany(Duration::from_secs(1)));
    gated.cluster.wait_successor(&old).await?;
    gated.cluster.members[leader].sidecar.start()?;
    let next = gated.cluster.wait_settled().await?;
    gated.wait_scrapes(leader).await?;
    let old = gated.cluster.tenure()?;
    gated.cluster.members[next].kill()?;
    gated.cluster.wait_successor(&old).await?;
    gated.heal_remote();
    gated.wait_next_writer(&old).await?;
    restart(gated, next).await
}

/// A plain maximum as watermark would make the standbys forget what waits in the stuck shard.
#[tokio::test]
async fn nothing_is_lost_when_one_shard_of_the_writer_was_stuck() -> Result<()> {
    let (mut gated, leader) =
        Gated::start(&options("gate-shard", SMALL_BATCHES, false)?, Behaviour::OldPrometheus).await?;
    gated.receiver.set(Behaviour::Stuck("series=\"7\"".into(), Box::new(Behaviour::OldPrometheus)));
    tokio::time::sleep(OUTAGE).await;
    let old = gated.cluster.tenure()?;
    gated.cluster.members[leader].kill()?;
    gated.heal_remote();
    gated.wait_next_writer(&old).await?;
    restart(&mut gated, leader).await?;
    gated.check()?;
    gated.cluster.finish()
}

/// Each part of the target has a phase of its own on each replica: what the writer has finished of one says nothing of
/// another, and the standbys keep one scrape interval more than the watermark says.
#[tokio::test]
async fn nothing_is_lost_between_the_phases_of_replicas_that_scrape_seldom() -> Result<()> {
    let options = Options { scrape_interval: SELDOM, ..options("gate-phases", SMALL_BATCHES, true)? };
    let (mut gated, mut leader) = Gated::start(&options, Behaviour::Accept).await?;
    for _ in 0..2 {
        // Time for the watermark to rise, and for the standbys to drop what it says.
        tokio::time::sleep(SELDOM * 2).await;
        let old = gated.cluster.tenure()?;
        gated.cluster.members[leader].sidecar.kill()?;
        gated.wait_next_writer(&old).await?;
        gated.cluster.members[leader].sidecar.start()?;
        leader = gated.wait_whole().await?;
        gated.check_writers()?;
    }
    gated.cluster.finish()
}
