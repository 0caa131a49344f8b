//! Queries through any sidecar reach the leader's Prometheus, also while leadership moves.

use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::process::Signal;
use test_support::cluster::{Cluster, TAKEOVER_MAX};
use test_support::http;
use test_support::load::Load;
use test_support::prometheus::Kind;
use test_support::wait::eventually;

use crate::options;

const QUERY: &str = "/api/v1/query?query=up";
const PER_SECOND: u32 = 50;

/// Full servers, because agents answer no `PromQL`.
async fn start(label: &'static str) -> Result<Cluster> {
    let mut options = options(label)?;
    options.kind = Kind::Server;
    Cluster::start(&options).await
}

/// Runs queries through a follower, lets `fault` hit the leader, and fails if one query failed.
async fn no_failed_query(label: &'static str, fault: fn(&mut Cluster, usize) -> Result<()>) -> Result<()> {
    let mut cluster = start(label).await?;
    let leader = cluster.wait_settled().await?;
    let follower = cluster.follower(leader)?;
    let old = cluster.tenure()?;
    let load = Load::start(&cluster.members[follower].sidecar.url(QUERY), PER_SECOND)?;
    wait_for_answers(&load, &cluster.members[leader].name).await?;
    fault(&mut cluster, leader)?;
    let next = cluster.wait_successor(&old).await?;
    wait_for_answers(&load, &cluster.members[next].name).await?;
    let report = load.stop().await;
    ensure!(report.failed == 0, "{} of {} failed: {report:?}", report.failed, report.failed + report.succeeded);
    cluster.finish()
}

/// Waits for another hundred answers from `member`.
async fn wait_for_answers(load: &Load, member: &str) -> Result<()> {
    let count = || load.report().answered_by.get(member).copied().unwrap_or(0);
    let enough = count() + 100;
    eventually(TAKEOVER_MAX, &format!("a hundred answers by {member}"), async || {
        ensure!(count() >= enough, "{:?}", load.report());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn no_query_fails_when_the_leaders_machine_is_lost() -> Result<()> {
    no_failed_query("proxy-kill", |cluster, leader| cluster.members[leader].kill()).await
}

#[tokio::test]
async fn no_query_fails_when_the_leader_is_terminated() -> Result<()> {
    no_failed_query("proxy-term", |cluster, leader| cluster.members[leader].sidecar.signal(Signal::TERM)).await
}

#[tokio::test]
async fn no_query_fails_when_the_leaders_prometheus_crashes() -> Result<()> {
    no_failed_query("proxy-crash", |cluster, leader| cluster.members[leader].prometheus.kill()).await
}

#[tokio::test]
async fn every_member_answers_with_the_leaders_data_by_get_and_by_form() -> Result<()> {
    let mut cluster = start("proxy-all").await?;
    let leader = cluster.wait_settled().await?;
    let client = http::client(Duration::from_secs(10))?;
    for member in &cluster.members {
        // The leader's Prometheus alone knows this address as its own.
        let by_get = client.get(member.sidecar.url("/api/v1/status/flags")).send().await?;
        check_leader_header(&by_get, &cluster.members[leader].name)?;
        let flags = by_get.text().await?;
        let address = cluster.members[leader].prometheus.address.to_string();
        ensure!(flags.contains(&address), "not the leader's flags: {flags}");
        let form =
            client.post(member.sidecar.url("/api/v1/query")).header("content-type", FORM).body("query=vector(7)");
        let by_form = form.send().await?;
        check_leader_header(&by_form, &cluster.members[leader].name)?;
        let answer = by_form.text().await?;
        ensure!(answer.contains("\"7\""), "{answer}");
    }
    cluster.finish()
}

const FORM: &str = "application/x-www-form-urlencoded";

fn check_leader_header(answer: &reqwest::Response, leader: &str) -> Result<()> {
    let named = answer.headers().get("x-prometheus-elector-leader").and_then(|value| value.to_str().ok());
    ensure!(named == Some(leader), "the answer names {named:?} as the leader, not {leader}");
    Ok(())
}
