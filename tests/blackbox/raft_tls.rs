//! A running group moves to TLS between its members without a moment that is not planned, and its certificates are renewed
//! under it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use test_support::cluster::{Cluster, TAKEOVER_MAX};
use test_support::http;
use test_support::raft_tls::RaftTls;
use test_support::wait::{eventually, throughout};

use crate::options;

const EXPIRY: &str = "prometheus_elector_tls_certificate_expiry_timestamp_seconds";
/// `api-shutdown-grace-delay` of the members, and a bit.
const EXIT_MAX: Duration = Duration::from_secs(7);
/// Longer than a plain address is remembered, and than an idle connection lasts.
const CALM: Duration = Duration::from_secs(7);

#[tokio::test]
async fn a_group_moves_to_tls_by_two_rolling_restarts_and_its_certificates_are_renewed() -> Result<()> {
    let mut cluster = Cluster::start(&options("raft-tls")?).await?;
    let mut leader = cluster.wait_settled().await?;
    let tls = RaftTls::new(&cluster.dir().join("raft-tls"))?;
    for member in &cluster.members {
        tls.issue(&member.name, 2098)?;
    }
    for mode in ["optional", "required"] {
        leader = roll(&mut cluster, leader, &tls, mode).await?;
        is_calm(&cluster, leader, async || Ok(())).await.with_context(|| format!("all members are at {mode}"))?;
    }
    let end = renew(&cluster, &tls)?;
    for member in &cluster.members {
        eventually(TAKEOVER_MAX, "the new certificate", async || shows(&cluster, &member.name, end).await).await?;
    }
    is_calm(&cluster, leader, async || shows(&cluster, &cluster.members[leader].name, end).await).await?;
    plain_text_is_refused(&cluster, leader).await?;
    cluster.finish()
}

#[tokio::test]
async fn a_group_forms_with_certificates_and_takes_back_a_member_that_lost_its_disk() -> Result<()> {
    let mut cluster = Cluster::prepare(&options("raft-tls-new")?).await?;
    let tls = RaftTls::new(&cluster.dir().join("raft-tls"))?;
    for member in &mut cluster.members {
        tls.issue(&member.name, 2098)?;
        tls.set(&member.name, "required", &mut member.sidecar.flags);
    }
    let leader = cluster.start_group(3).await?;
    let lost = cluster.follower(leader)?;
    cluster.members[lost].kill()?;
    cluster.members[lost].lose_disk()?;
    cluster.members[lost].start().await?;
    ensure!(cluster.wait_settled().await? == leader, "its return moved leadership");
    cluster.finish()
}

/// Restarts the members one by one, the leader last. Nothing but that moves leadership. Returns the new leader.
async fn roll(cluster: &mut Cluster, leader: usize, tls: &RaftTls, mode: &str) -> Result<usize> {
    let order: Vec<usize> = (0..cluster.members.len()).filter(|index| *index != leader).chain([leader]).collect();
    let mut leads = leader;
    for index in order {
        let before = cluster.tenure()?;
        let member = &mut cluster.members[index];
        let name = member.name.clone();
        tls.set(&name, mode, &mut member.sidecar.flags);
        member.sidecar.signal(Signal::TERM)?;
        if index == leader {
            leads = cluster.wait_successor(&before).await?;
        }
        let planned = cluster.tenure()?;
        let sidecar = &mut cluster.members[index].sidecar;
        sidecar.wait_exit(EXIT_MAX).await?;
        sidecar.start()?;
        let now = cluster.wait_settled().await?;
        ensure!(now == leads, "{name} is back at {mode}, and {} leads", cluster.members[now].name);
        let after = cluster.tenure()?;
        ensure!(after.term == planned.term, "leadership moved while {name} went to {mode}: {planned:?}, {after:?}");
    }
    Ok(leads)
}

/// For a while one leader, of one term, that all know; nobody refuses anybody.
async fn is_calm(cluster: &Cluster, leader: usize, check: impl AsyncFn() -> Result<()>) -> Result<()> {
    let (tenure, started) = (cluster.tenure()?, cluster.started());
    throughout(CALM, "calm", async || {
        ensure!(cluster.agreed_leader(&started).await? == leader, "leadership moved");
        ensure!(cluster.tenure()?.term == tenure.term, "a new term: {:?}", cluster.tenure()?);
        for member in &cluster.members {
            let told = member.sidecar.status().await?.0["warnings"].to_string();
            ensure!(!told.contains("refuse") && !told.contains("believed"), "{}: {told}", member.name);
        }
        check().await
    })
    .await
}

async fn plain_text_is_refused(cluster: &Cluster, index: usize) -> Result<()> {
    let member = &cluster.members[index];
    let address = member.sidecar.flags.get("raft-advertise-address").context("no Raft address")?;
    let answer = http::client(http::TIMEOUT)?.post(format!("http://{address}/group")).body("{}").send().await?;
    let (status, text) = (answer.status(), answer.text().await?);
    ensure!(status == 400 && text.contains("this member speaks TLS only"), "{status}: {text}");
    eventually(TAKEOVER_MAX, "the caller in the status", async || {
        let told = member.sidecar.status().await?.0["warnings"].to_string();
        ensure!(told.contains("calls of 127.") && told.contains("speaks TLS only"), "{told}");
        Ok(())
    })
    .await
}

/// New certificates for all. Returns when they end.
fn renew(cluster: &Cluster, tls: &RaftTls) -> Result<i64> {
    let ends = cluster.members.iter().map(|member| tls.issue(&member.name, 2099));
    ends.reduce(Result::and).context("no members")?
}

async fn shows(cluster: &Cluster, name: &str, end: i64) -> Result<()> {
    let member = &cluster.members[cluster.index_of(name)?];
    let shown = member.sidecar.metrics().await?.sum_with(EXPIRY, "certificate=\"raft\"");
    #[expect(clippy::cast_precision_loss, reason = "whole seconds")]
    let is_right = (shown - end as f64).abs() < 1.0;
    ensure!(is_right, "{name} shows {shown}, its certificate ends at {end}");
    Ok(())
}
