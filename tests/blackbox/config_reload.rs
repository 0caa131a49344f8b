//! The source file changes while members run.

use std::time::Duration;

use anyhow::{Result, ensure};
use test_support::cluster::{Cluster, TAKEOVER_MAX};
use test_support::wait::{eventually, throughout};

use crate::{add_job, options};

/// A change that reaches both roles, and changes none.
async fn change_on_both_roles(cluster: &mut Cluster, leader: usize, job: &str) -> Result<()> {
    add_job(cluster, leader, job).await?;
    cluster.check_only_one_ships(leader).await
}

/// Every member shows an error that holds `hint`, and every Prometheus goes on with what it had.
async fn check_refused(cluster: &Cluster, leader: usize, before: &[String], hint: &str) -> Result<()> {
    for member in &cluster.members {
        eventually(TAKEOVER_MAX, &format!("{} to show the error", member.name), async || {
            let status = member.sidecar.status().await?;
            let error = status.last_error().unwrap_or("none");
            ensure!(error.contains(hint), "its error is: {error}");
            Ok(())
        })
        .await?;
    }
    throughout(Duration::from_secs(1), "the last good configuration", async || {
        for (member, before) in cluster.members.iter().zip(before) {
            ensure!(member.prometheus.running_config().await? == *before, "{} runs another one", member.name);
        }
        ensure!(cluster.agreed_leader(&[0, 1, 2]).await? == leader, "leadership moved");
        Ok(())
    })
    .await
}

async fn running_configs(cluster: &Cluster) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for member in &cluster.members {
        all.push(member.prometheus.running_config().await?);
    }
    Ok(all)
}

#[tokio::test]
async fn an_edited_file_reaches_leader_and_followers() -> Result<()> {
    let mut cluster = Cluster::start(&options("edit")?).await?;
    let leader = cluster.wait_settled().await?;
    change_on_both_roles(&mut cluster, leader, "one").await?;
    change_on_both_roles(&mut cluster, leader, "two").await?;
    cluster.finish()
}

#[tokio::test]
async fn a_config_map_swap_reaches_leader_and_followers() -> Result<()> {
    let mut options = options("config-map")?;
    options.config_map = true;
    let mut cluster = Cluster::start(&options).await?;
    let leader = cluster.wait_settled().await?;
    change_on_both_roles(&mut cluster, leader, "one").await?;
    change_on_both_roles(&mut cluster, leader, "two").await?;
    cluster.finish()
}

#[tokio::test]
async fn an_invalid_file_keeps_the_last_good_one_and_a_valid_one_recovers() -> Result<()> {
    let mut cluster = Cluster::start(&options("invalid")?).await?;
    let leader = cluster.wait_settled().await?;
    let before = running_configs(&cluster).await?;
    for member in &mut cluster.members {
        member.source.write("follower: {}\nfollower: {}\n")?;
    }
    check_refused(&cluster, leader, &before, "follower").await?;
    change_on_both_roles(&mut cluster, leader, "recovered").await?;
    for member in &cluster.members {
        let status = member.sidecar.status().await?;
        ensure!(status.last_error().is_none(), "{} still shows: {:?}", member.name, status.last_error());
    }
    cluster.finish()
}

#[tokio::test]
async fn a_file_that_only_prometheus_refuses_is_shown_and_leaves_leadership_alone() -> Result<()> {
    let mut cluster = Cluster::start(&options("refused")?).await?;
    let leader = cluster.wait_settled().await?;
    let before = running_configs(&cluster).await?;
    for member in &mut cluster.members {
        member.source.write("follower:\n  global: {no_such_field: 1}\n")?;
    }
    check_refused(&cluster, leader, &before, "").await?;
    for member in &cluster.members {
        let status = member.sidecar.status().await?;
        ensure!(status.last_error().is_some() && !status.config_in_force(), "{}", member.name);
    }
    change_on_both_roles(&mut cluster, leader, "recovered").await?;
    cluster.finish()
}
