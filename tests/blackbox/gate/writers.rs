//! The writer is lost in every way, while its remote stays reachable: nothing more of it arrives, and nothing is lost.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use test_support::gated::{Gated, RENEW_DEADLINE};
use test_support::receiver::behaviour::Behaviour;

use super::{SMALL_BATCHES, options, restart, wait_leads};

/// Long enough for the other side of a fault to show itself: several scrapes, batches and heartbeats.
const A_WHILE: Duration = Duration::from_secs(2);
/// `api-shutdown-grace-delay` of the members, and a bit.
const EXIT_MAX: Duration = Duration::from_secs(7);

#[tokio::test]
async fn a_writer_that_is_killed_or_stopped_writes_no_more_and_nothing_is_lost() -> Result<()> {
    let (mut gated, leader) = Gated::start(&options("gate-killed", SMALL_BATCHES, true)?, Behaviour::Accept).await?;
    let leader = sidecar_killed(&mut gated, leader).await.context("SIGKILL of the sidecar")?;
    gated.check().context("after SIGKILL of the sidecar")?;
    let leader = sidecar_stopped(&mut gated, leader).await.context("SIGSTOP of the sidecar")?;
    gated.check().context("after SIGSTOP of the sidecar")?;
    pod_killed(&mut gated, leader).await.context("SIGKILL of the pod")?;
    gated.check().context("after SIGKILL of the pod")?;
    gated.cluster.finish()
}

/// Its Prometheus lives on, and nobody is there to tell it anything.
async fn sidecar_killed(gated: &mut Gated, leader: usize) -> Result<usize> {
    let old = gated.cluster.tenure()?;
    gated.cluster.members[leader].sidecar.kill()?;
    let killed = Instant::now();
    gated.wait_next_writer(&old).await?;
    tokio::time::sleep(A_WHILE).await;
    gated.check_silent_after(leader, killed)?;
    gated.cluster.members[leader].sidecar.start()?;
    gated.wait_whole().await
}

/// A paused process that wakes up believes for a moment that nothing has happened.
async fn sidecar_stopped(gated: &mut Gated, leader: usize) -> Result<usize> {
    let old = gated.cluster.tenure()?;
    gated.cluster.members[leader].sidecar.signal(Signal::STOP)?;
    let stopped = Instant::now();
    gated.wait_next_writer(&old).await?;
    gated.cluster.members[leader].sidecar.signal(Signal::CONT)?;
    tokio::time::sleep(A_WHILE).await;
    gated.check_silent_after(leader, stopped)?;
    gated.wait_whole().await
}

async fn pod_killed(gated: &mut Gated, leader: usize) -> Result<usize> {
    let old = gated.cluster.tenure()?;
    gated.cluster.members[leader].kill()?;
    let killed = Instant::now();
    gated.wait_next_writer(&old).await?;
    gated.check_silent_after(leader, killed)?;
    restart(gated, leader).await
}

/// The case that a reload cannot solve: Prometheus, remote and sidecar are fine, only the peers are out of reach.
#[tokio::test]
async fn a_writer_that_is_cut_off_from_its_peers_ends_before_the_next_one_begins() -> Result<()> {
    let (mut gated, leader) = Gated::start(&options("gate-isolated", SMALL_BATCHES, false)?, Behaviour::Mimir).await?;
    let old = gated.cluster.tenure()?;
    gated.cluster.links.as_ref().context("relays")?.isolate(leader);
    let cut = Instant::now();
    gated.wait_next_writer(&old).await?;
    tokio::time::sleep(A_WHILE).await;
    gated.check_silent_after(leader, cut + RENEW_DEADLINE)?;
    gated.cluster.links.as_ref().context("relays")?.heal();
    let next = gated.wait_whole().await?;
    gated.check()?;
    standby_cut_off(&mut gated, next).await.context("a standby that was cut off becomes the writer")?;
    gated.check()?;
    gated.cluster.finish()
}

/// It knows nothing of the writer's progress, keeps all of its spool, and takes over right after it is back.
async fn standby_cut_off(gated: &mut Gated, leader: usize) -> Result<()> {
    let standby = gated.cluster.follower(leader)?;
    let third = (0..3).find(|index| ![leader, standby].contains(index)).context("one of three members")?;
    gated.cluster.members[third].sidecar.command(&["cordon"]).await?.ok()?;
    gated.cluster.links.as_ref().context("relays")?.isolate(standby);
    tokio::time::sleep(A_WHILE * 2).await;
    gated.cluster.links.as_ref().context("relays")?.heal();
    ensure!(gated.cluster.wait_settled().await? == leader, "leadership has moved");
    gated.cluster.members[leader].kill()?;
    // A cordoned member may win an election, and hands over.
    wait_leads(gated, standby).await?;
    restart(gated, leader).await?;
    Ok(())
}

/// A planned handover.
#[tokio::test]
async fn on_sigterm_the_writer_hands_over_without_overlap_or_loss() -> Result<()> {
    let (mut gated, leader) =
        Gated::start(&options("gate-sigterm", SMALL_BATCHES, true)?, Behaviour::Prometheus).await?;
    let old = gated.cluster.tenure()?;
    gated.cluster.members[leader].sidecar.signal(Signal::TERM)?;
    gated.wait_next_writer(&old).await?;
    let status = gated.cluster.members[leader].sidecar.wait_exit(EXIT_MAX).await?;
    ensure!(status.code() == Some(0), "it ended with {status}");
    gated.cluster.members[leader].sidecar.start()?;
    let next = gated.wait_whole().await?;
    gated.check().context("after SIGTERM of the sidecar")?;

    let old = gated.cluster.tenure()?;
    let member = &mut gated.cluster.members[next];
    member.sidecar.signal(Signal::TERM)?;
    member.prometheus.signal(Signal::TERM)?;
    gated.wait_next_writer(&old).await?;
    let member = &mut gated.cluster.members[next];
    member.sidecar.wait_exit(EXIT_MAX).await?;
    member.prometheus.wait_exit(EXIT_MAX).await?;
    restart(&mut gated, next).await?;
    gated.check().context("after SIGTERM of the pod")?;
    gated.cluster.finish()
}
