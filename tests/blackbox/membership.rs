//! Members that come, go, and come back with nothing.

use std::time::Duration;

use anyhow::{Result, ensure};
use test_support::cluster::{Cluster, SETTLE_MAX};
use test_support::wait::{eventually, throughout};

use crate::options;

#[tokio::test]
async fn the_group_scales_to_four_and_five_as_dns_says() -> Result<()> {
    let mut cluster = Cluster::start(&options("scale")?.members(5, 3)).await?;
    cluster.wait_settled().await?;
    for total in [4, 5] {
        let all: Vec<usize> = (0..total).collect();
        cluster.publish(&all);
        cluster.start_members(&[total - 1]).await?;
        let leader = cluster.wait_settled().await?;
        cluster.check_only_one_ships(leader).await?;
    }
    cluster.finish()
}

#[tokio::test]
async fn a_member_whose_name_and_signs_of_life_are_gone_is_removed() -> Result<()> {
    let options = options("removal")?.members(4, 4).customize(|_, flags| {
        flags.set("member-removal-delay", "3s");
    });
    let mut cluster = Cluster::start(&options).await?;
    cluster.wait_settled().await?;
    cluster.members[3].kill()?;
    cluster.publish(&[0, 1, 2]);
    cluster.wait_settled().await?;
    cluster.finish()
}

#[tokio::test]
async fn a_member_with_a_lost_disk_comes_back_under_a_new_id() -> Result<()> {
    let mut cluster = Cluster::start(&options("lost-disk")?).await?;
    let leader = cluster.wait_settled().await?;
    let lost = cluster.follower(leader)?;
    let name = cluster.members[lost].name.clone();
    let old_id = cluster.members[lost].sidecar.status().await?.node_id()?;
    let cluster_id = cluster.members[leader].sidecar.status().await?.cluster_id();
    cluster.members[lost].kill()?;
    cluster.members[lost].lose_disk()?;
    cluster.members[lost].start().await?;
    cluster.wait_settled().await?;
    let new_id = cluster.members[lost].sidecar.status().await?.node_id()?;
    ensure!(new_id != old_id, "the id {old_id} was used again");
    for member in &cluster.members {
        let status = member.sidecar.status().await?;
        ensure!(status.cluster_id() == cluster_id, "another group than before");
        let ids: Vec<String> = status.members()?.into_iter().filter(|m| m.name == name).map(|m| m.id).collect();
        ensure!(ids == [new_id.clone()], "{}: {name} has the ids {ids:?}, not only {new_id}", member.name);
    }
    cluster.finish()
}

#[tokio::test]
async fn a_whole_group_that_restarts_goes_on_with_its_state() -> Result<()> {
    let mut cluster = Cluster::start(&options("full-restart")?).await?;
    cluster.wait_settled().await?;
    let cluster_id = cluster.members[0].sidecar.status().await?.cluster_id();
    for member in &mut cluster.members {
        member.kill()?;
    }
    for member in &mut cluster.members {
        member.start().await?;
    }
    let leader = cluster.wait_settled().await?;
    cluster.check_only_one_ships(leader).await?;
    ensure!(cluster.members[0].sidecar.status().await?.cluster_id() == cluster_id, "another group has formed");
    cluster.finish()
}

#[tokio::test]
async fn recover_is_the_way_out_after_a_majority_is_lost_for_good() -> Result<()> {
    let mut cluster = Cluster::start(&options("recover")?).await?;
    cluster.wait_settled().await?;
    let old_group = cluster.members[0].sidecar.status().await?.cluster_id();
    for index in [1, 2] {
        cluster.members[index].kill()?;
        cluster.members[index].lose_disk()?;
    }
    for index in [1, 2] {
        cluster.members[index].start().await?;
    }
    throughout(Duration::from_secs(4), "no second group while a member of the first is there", async || {
        for index in [1, 2] {
            let id = cluster.members[index].sidecar.status().await?.cluster_id();
            ensure!(id.is_none(), "member {index} is in {id:?} although only one member of {old_group:?} is there");
        }
        Ok(())
    })
    .await?;
    cluster.members[0].sidecar.kill()?;
    let survivor = &cluster.members[0].sidecar;
    let refused = survivor.command(&["recover"]).await?;
    ensure!(refused.code != 0 && refused.stderr.contains("--yes"), "recover without --yes: {refused:?}");
    survivor.command(&["recover", "--yes"]).await?.ok()?;
    cluster.sampler.forget_all();
    cluster.members[0].sidecar.start()?;
    cluster.wait_settled().await?;
    eventually(SETTLE_MAX, "one new group of all three", async || {
        let mut ids = Vec::new();
        for member in &cluster.members {
            ids.push(member.sidecar.status().await?.cluster_id());
        }
        ensure!(ids[0].is_some() && ids[0] != old_group && ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        Ok(())
    })
    .await?;
    cluster.finish()
}
