//! Formation, and who belongs to a group.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use test_support::cluster::{Cluster, Discovery, GROUP, TAKEOVER_MAX};
use test_support::dns::Mode;
use test_support::wait::{eventually, throughout};

use crate::options;

#[tokio::test]
async fn srv_records_are_enough_and_exactly_one_member_ships() -> Result<()> {
    let mut cluster = Cluster::start(&options("srv")?).await?;
    let leader = cluster.wait_settled().await?;
    cluster.check_only_one_ships(leader).await?;
    eventually(TAKEOVER_MAX, "samples of the leader in the storage", async || {
        let shipped = cluster.shipped().await?;
        ensure!(shipped[leader] > 0, "{shipped:?}");
        Ok(())
    })
    .await?;
    let shipped = cluster.shipped().await?;
    ensure!(shipped.iter().filter(|count| **count > 0).count() == 1, "only the leader ships: {shipped:?}");
    cluster.finish()
}

#[tokio::test]
async fn address_records_alone_are_enough() -> Result<()> {
    let mut cluster = Cluster::start(&options("addresses")?.discovery(Discovery::Addresses)).await?;
    let leader = cluster.wait_settled().await?;
    cluster.check_only_one_ships(leader).await?;
    cluster.finish()
}

#[tokio::test]
async fn static_peers_are_enough_and_endpoints_tell_the_role() -> Result<()> {
    let mut cluster = Cluster::start(&options("static")?.discovery(Discovery::Static)).await?;
    let leader = cluster.wait_settled().await?;
    cluster.check_only_one_ships(leader).await?;
    for (index, member) in cluster.members.iter().enumerate() {
        let sidecar = &member.sidecar;
        let (as_leader, as_follower) = if index == leader { (200, 503) } else { (503, 200) };
        ensure!(sidecar.get_status("/_elector/role/leader").await? == as_leader, "{}", member.name);
        ensure!(sidecar.get_status("/_elector/role/follower").await? == as_follower, "{}", member.name);
        ensure!(sidecar.get("/_elector/healthz").await?.is_empty(), "healthz has an empty body");
        let metrics = sidecar.get("/_elector/metrics").await?;
        let value = u8::from(index == leader);
        let line = format!("prometheus_elector_election_is_leader{{member_id=\"{}\"}} {value}", member.name);
        ensure!(metrics.lines().any(|found| found == line), "no line `{line}` in:\n{metrics}");
    }
    cluster.finish()
}

#[tokio::test]
async fn two_groups_under_one_service_stay_apart() -> Result<()> {
    let options = options("two-groups")?.members(6, 6).customize(|member, flags| {
        if member >= 3 {
            flags.set("lease-name", "other");
        }
    });
    let mut cluster = Cluster::prepare(&options).await?;
    cluster.storage.start().await?;
    let all: Vec<usize> = (0..6).collect();
    cluster.publish(&all);
    cluster.start_members(&all).await?;
    let (one, other) = (cluster.wait_group(&all[..3]).await?, cluster.wait_group(&all[3..]).await?);
    ensure!(one < 3 && other >= 3, "leaders {one} and {other}");
    let id = async |index: usize| cluster.members[index].sidecar.status().await.map(|status| status.cluster_id());
    ensure!(id(0).await? != id(3).await?, "each group has an id of its own");
    cluster.finish()
}

#[tokio::test]
async fn a_member_with_a_wrong_token_is_refused() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (right, wrong) = (dir.path().join("right"), dir.path().join("wrong"));
    std::fs::write(&right, "correct-horse-battery-staple\n")?;
    std::fs::write(&wrong, "something-else-altogether\n")?;
    let options = options("token")?.members(4, 4).customize(move |member, flags| {
        flags.set("raft-token-file", if member == 3 { &wrong } else { &right }.display());
    });
    let mut cluster = Cluster::prepare(&options).await?;
    cluster.storage.start().await?;
    cluster.publish(&[0, 1, 2, 3]);
    cluster.start_members(&[0, 1, 2, 3]).await?;
    cluster.wait_group(&[0, 1, 2]).await?;
    throughout(Duration::from_secs(3), "a member with a wrong token stays outside", async || {
        let outside = &cluster.members[3].sidecar;
        ensure!(outside.get_status("/_elector/readyz").await? == 503, "it is ready");
        ensure!(!cluster.members[3].prometheus.ships().await?, "it ships");
        Ok(())
    })
    .await?;
    let voters = cluster.members[0].sidecar.status().await?.voters()?;
    ensure!(voters == ["prom-0", "prom-1", "prom-2"], "{voters:?}");
    for member in &cluster.members {
        let log = std::fs::read_to_string(cluster.dir().join(&member.name).join("sidecar.log"))?;
        ensure!(!log.contains("horse") && !log.contains("altogether"), "a token in the log of {}", member.name);
    }
    cluster.finish()
}

#[tokio::test]
async fn a_dns_outage_disturbs_nobody_and_takeover_works_without_it() -> Result<()> {
    let mut cluster = Cluster::start(&options("dns-outage")?).await?;
    let leader = cluster.wait_settled().await?;
    let before = cluster.tenure()?;
    for mode in [Mode::ServFail, Mode::Drop] {
        cluster.dns.as_ref().context("this cluster uses DNS")?.set_mode(mode);
        throughout(Duration::from_secs(3), "the leader stays", async || {
            let now = cluster.tenure()?;
            ensure!(now.term == before.term, "{now:?} follows {before:?}");
            ensure!(cluster.agreed_leader(&[0, 1, 2]).await? == leader, "another leader");
            Ok(())
        })
        .await?;
    }
    cluster.members[leader].kill()?;
    let next = cluster.wait_successor(&before).await?;
    ensure!(next != leader, "the dead leader leads");
    cluster.finish()
}

#[tokio::test]
async fn readiness_stays_when_the_majority_is_gone_and_nobody_leads() -> Result<()> {
    let mut cluster = Cluster::start(&options("majority-lost")?).await?;
    let leader = cluster.wait_settled().await?;
    let others: Vec<usize> = (0..3).filter(|&index| index != leader).collect();
    for index in others {
        cluster.members[index].kill()?;
    }
    cluster.wait_ships(leader, false).await?;
    throughout(Duration::from_secs(3), "a leader without a majority stays silent and ready", async || {
        let sidecar = &cluster.members[leader].sidecar;
        ensure!(!sidecar.leader().await?.is_leader, "it claims authority");
        ensure!(sidecar.get_status("/_elector/readyz").await? == 200, "it is no longer ready");
        ensure!(sidecar.get_status("/_elector/livez").await? == 200, "it is no longer alive");
        ensure!(!cluster.members[leader].prometheus.ships().await?, "its Prometheus ships");
        Ok(())
    })
    .await?;
    ensure!(cluster.tenure()?.member == cluster.members[leader].name, "somebody else has led in group {GROUP}");
    cluster.finish()
}
