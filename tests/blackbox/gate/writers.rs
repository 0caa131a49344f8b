//! The writer is lost in every way, while its remote stays reachable: nothing more of it arrives, and nothing is lost.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use test_support::gated::{Gated, RENEW_DEADLINE};

use super::options;

/// Long enough for the other side of a fault to show itself: several scrapes, batches and heartbeats.
const A_WHILE: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_writer_that_is_killed_or_stopped_writes_no_more_and_nothing_is_lost() -> Result<()> {
    let (mut gated, leader) = Gated::start(&options("gate-killed", true)?).await?;
    let leader = sidecar_killed(&mut gated, leader).await.context("SIGKILL of the sidecar")?;
    gated.check().context("after SIGKILL of the sidecar")?;
    let leader = sidecar_stopped(&mut gated, leader).await.context("SIGSTOP of the sidecar")?;
    gated.check().context("after SIGSTOP of the sidecar")?;
    pod_killed(&mut gated, leader).await.context("SIGKILL of the pod")?;
    gated.finish()?;
    Ok(())
}

/// The case that a reload cannot solve: its Prometheus lives on and nobody is there to tell it anything.
async fn sidecar_killed(gated: &mut Gated, leader: usize) -> Result<usize> {
    let old = gated.cluster.tenure()?;
    gated.cluster.members[leader].sidecar.kill()?;
    let killed = Instant::now();
    let next = gated.wait_next_writer(&old).await?;
    tokio::time::sleep(A_WHILE).await;
    gated.check_silent_after(leader, killed)?;
    gated.cluster.members[leader].sidecar.start()?;
    ensure!(gated.cluster.wait_settled().await? == next, "leadership went back");
    gated.wait_shipped(next).await?;
    gated.check_silent_after(leader, killed)?;
    Ok(next)
}

/// A paused process that wakes up believes for a moment that nothing has happened.
async fn sidecar_stopped(gated: &mut Gated, leader: usize) -> Result<usize> {
    let old = gated.cluster.tenure()?;
    gated.cluster.members[leader].sidecar.signal(Signal::STOP)?;
    let stopped = Instant::now();
    let next = gated.wait_next_writer(&old).await?;
    gated.cluster.members[leader].sidecar.signal(Signal::CONT)?;
    tokio::time::sleep(A_WHILE).await;
    ensure!(gated.cluster.wait_settled().await? == next, "leadership went back");
    gated.wait_shipped(next).await?;
    gated.check_silent_after(leader, stopped)?;
    Ok(next)
}

async fn pod_killed(gated: &mut Gated, leader: usize) -> Result<usize> {
    let old = gated.cluster.tenure()?;
    gated.cluster.members[leader].kill()?;
    let killed = Instant::now();
    let next = gated.wait_next_writer(&old).await?;
    gated.check_silent_after(leader, killed)?;
    gated.cluster.members[leader].start().await?;
    ensure!(gated.cluster.wait_settled().await? == next, "leadership went back");
    gated.wait_shipped(next).await?;
    Ok(next)
}

/// Its Prometheus, its remote and itself are fine; only its peers are out of reach.
#[tokio::test]
async fn a_writer_that_is_cut_off_from_its_peers_ends_before_the_next_one_begins() -> Result<()> {
    let (mut gated, leader) = Gated::start(&options("gate-isolated", false)?).await?;
    let old = gated.cluster.tenure()?;
    gated.cluster.links.as_ref().context("relays")?.isolate(leader);
    let cut = Instant::now();
    let next = gated.wait_next_writer(&old).await?;
    tokio::time::sleep(A_WHILE).await;
    gated.check_silent_after(leader, cut + RENEW_DEADLINE)?;
    gated.cluster.links.as_ref().context("relays")?.heal();
    ensure!(gated.cluster.wait_settled().await? == next, "leadership went back");
    gated.wait_shipped(next).await?;
    gated.check_silent_after(leader, cut + RENEW_DEADLINE)?;
    gated.finish()?;
    Ok(())
}
