//! The leader, or a part of it, is lost without a warning.

use std::time::Instant;

use anyhow::{Result, ensure};
use rustix::process::Signal;
use test_support::cluster::{Cluster, SETTLE_MAX, TAKEOVER_MAX};
use test_support::config_watch::ConfigWatch;
use test_support::wait::eventually;

use crate::options;

#[tokio::test]
async fn another_member_takes_over_when_the_leaders_machine_is_lost() -> Result<()> {
    let mut cluster = Cluster::start(&options("machine-lost")?).await?;
    let leader = cluster.wait_settled().await?;
    let old = cluster.tenure()?;
    cluster.members[leader].kill()?;
    let next = cluster.wait_successor(&old).await?;
    let before = cluster.shipped().await?[next];
    eventually(TAKEOVER_MAX, "samples of the new leader in the storage", async || {
        let shipped = cluster.shipped().await?[next];
        ensure!(shipped > before, "still {shipped}");
        Ok(())
    })
    .await?;
    cluster.members[leader].start().await?;
    ensure!(cluster.wait_settled().await? == next, "the old leader took leadership back");
    cluster.check_only_one_ships(next).await?;
    cluster.finish()
}

/// Without the gate nobody can tell Prometheus to stop while its sidecar is dead; what the sidecar can do is to take
/// the stale configuration back before it does anything else.
#[tokio::test]
async fn a_restarted_leader_drops_its_stale_configuration_before_anything_else() -> Result<()> {
    let mut cluster = Cluster::start(&options("sidecar-lost")?).await?;
    let leader = cluster.wait_settled().await?;
    let old = cluster.tenure()?;
    cluster.members[leader].sidecar.kill()?;
    let next = cluster.wait_successor(&old).await?;
    let member = &mut cluster.members[leader];
    ensure!(member.prometheus.ships().await?, "the test is about a stale leader configuration: there is none");
    let mut watch = ConfigWatch::new(std::time::Duration::from_millis(5))?;
    watch.watch(&member.name, &member.prometheus.url(""));
    member.sidecar.start()?;
    let ready = eventually(SETTLE_MAX, "the restarted member to be ready", async || {
        let asked = Instant::now();
        ensure!(member.sidecar.get_status("/_elector/readyz").await? == 200, "not ready");
        Ok(asked)
    })
    .await?;
    eventually(TAKEOVER_MAX, "a look at its Prometheus after that", async || {
        ensure!(watch.seen_after(&member.name, ready, false), "none yet");
        Ok(())
    })
    .await?;
    ensure!(!watch.seen_after(&member.name, ready, true), "it was ready with the stale leader configuration in force");
    ensure!(cluster.wait_settled().await? == next, "leadership went back");
    cluster.check_only_one_ships(next).await?;
    cluster.finish()
}

#[tokio::test]
async fn a_leader_whose_sidecar_restarts_at_once_starts_as_a_follower() -> Result<()> {
    let mut cluster = Cluster::start(&options("sidecar-restart")?).await?;
    let leader = cluster.wait_settled().await?;
    let member = &mut cluster.members[leader];
    let mut watch = ConfigWatch::new(std::time::Duration::from_millis(5))?;
    watch.watch(&member.name, &member.prometheus.url(""));
    member.sidecar.kill()?;
    let killed = Instant::now();
    member.sidecar.start()?;
    eventually(TAKEOVER_MAX, "its Prometheus to run the follower configuration", async || {
        ensure!(watch.seen_after(&member.name, killed, false), "not yet");
        Ok(())
    })
    .await?;
    let leader = cluster.wait_settled().await?;
    cluster.check_only_one_ships(leader).await?;
    cluster.finish()
}

#[tokio::test]
async fn a_leader_whose_prometheus_crashed_hands_over() -> Result<()> {
    let mut cluster = Cluster::start(&options("prometheus-lost")?).await?;
    let leader = cluster.wait_settled().await?;
    let old = cluster.tenure()?;
    cluster.members[leader].prometheus.kill()?;
    let next = cluster.wait_successor(&old).await?;
    // What a supervisor restarts must not find the leader configuration on disk.
    cluster.members[leader].prometheus.start().await?;
    ensure!(!cluster.members[leader].prometheus.ships().await?, "it came back with the leader configuration");
    ensure!(cluster.wait_settled().await? == next, "leadership went back");
    cluster.check_only_one_ships(next).await?;
    eventually(TAKEOVER_MAX, "the old leader to be eligible again", async || {
        ensure!(cluster.members[leader].sidecar.status().await?.eligible(), "not yet");
        Ok(())
    })
    .await?;
    cluster.finish()
}

#[tokio::test]
async fn a_leader_whose_prometheus_hangs_hands_over() -> Result<()> {
    let mut cluster = Cluster::start(&options("prometheus-hangs")?).await?;
    let leader = cluster.wait_settled().await?;
    let old = cluster.tenure()?;
    cluster.members[leader].prometheus.signal(Signal::STOP)?;
    let next = cluster.wait_successor(&old).await?;
    cluster.members[leader].prometheus.signal(Signal::CONT)?;
    cluster.wait_ships(leader, false).await?;
    ensure!(cluster.wait_settled().await? == next, "leadership went back");
    cluster.check_only_one_ships(next).await?;
    cluster.finish()
}

#[tokio::test]
async fn a_paused_leader_never_acts_again_after_the_pause() -> Result<()> {
    let mut cluster = Cluster::start(&options("sidecar-paused")?).await?;
    let leader = cluster.wait_settled().await?;
    let old = cluster.tenure()?;
    cluster.members[leader].sidecar.signal(Signal::STOP)?;
    let next = cluster.wait_successor(&old).await?;
    cluster.members[leader].sidecar.signal(Signal::CONT)?;
    cluster.wait_ships(leader, false).await?;
    ensure!(cluster.wait_settled().await? == next, "leadership went back");
    cluster.check_only_one_ships(next).await?;
    cluster.finish()
}
