//! Prometheus speaks TLS, wants a client certificate and asks for a password: everything works as without, and goes on when
//! certificates, CA and password change on disk.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use test_support::cluster::{Cluster, TAKEOVER_MAX};
use test_support::http;
use test_support::prometheus::Kind;
use test_support::wait::{eventually, throughout};

use crate::{add_job, options};

const QUERY: &str = "/api/v1/query?query=vector(7)";

#[tokio::test]
async fn a_group_with_tls_and_passwords_works_and_goes_on_when_all_of_them_change() -> Result<()> {
    let mut options = options("secured")?.customize(|_, flags| {
        // A change of the files is seen within a second: that is no illness.
        flags.set("healthcheck-failure-threshold", 8);
    });
    options.kind = Kind::Server;
    options.secured = true;
    let mut cluster = Cluster::start(&options).await?;
    let leader = cluster.wait_settled().await?;
    check_queries(&cluster, leader, None).await?;
    add_job(&mut cluster, leader, "before").await?;

    let old = cluster.tenure()?;
    cluster.members[leader].kill()?;
    let second = cluster.wait_successor(&old).await?;
    check_queries(&cluster, second, None).await?;
    cluster.members[leader].start().await?;
    ensure!(cluster.wait_settled().await? == second, "the return of a member moved leadership");

    let stale = headers(&cluster)?;
    cluster.change_secrets(1)?;
    eventually(TAKEOVER_MAX, "queries with what is new", async || check_queries(&cluster, second, Some(&stale)).await)
        .await?;
    throughout(Duration::from_secs(5), "everything goes on", async || {
        check_queries(&cluster, second, Some(&stale)).await?;
        for member in &cluster.members {
            ensure!(member.sidecar.get_status("/_elector/readyz").await? == 200, "{} is not ready", member.name);
        }
        Ok(())
    })
    .await?;
    add_job(&mut cluster, second, "after").await?;
    let old = cluster.tenure()?;
    cluster.members[second].kill()?;
    let third = cluster.wait_successor(&old).await?;
    check_queries(&cluster, third, Some(&stale)).await?;

    for member in &cluster.members {
        let log = std::fs::read_to_string(cluster.dir().join(&member.name).join("sidecar.log"))?;
        ensure!(log.contains("files have changed and are used from now on"), "{} told nothing", member.name);
        for secret in ["first-password", "second-password", "Basic "] {
            ensure!(!log.contains(secret), "`{secret}` in the log of {}", member.name);
        }
    }
    cluster.finish()
}

/// Every sidecar's proxy leads to the leader's Prometheus with the password, and to a 401 without one or with `stale`.
async fn check_queries(cluster: &Cluster, leader: usize, stale: Option<&HeaderMap>) -> Result<()> {
    let (client, headers) = (http::client(http::TIMEOUT)?, headers(cluster)?);
    for index in cluster.started() {
        let member = &cluster.members[index];
        let ask = async |headers: &HeaderMap| {
            let answer = client.get(member.sidecar.url(QUERY)).headers(headers.clone()).send().await?;
            let by = answer.headers().get("x-prometheus-elector-leader").cloned();
            anyhow::Ok((answer.status(), by, answer.text().await?))
        };
        let (status, by, text) = ask(&headers).await?;
        ensure!(status == StatusCode::OK && text.contains("\"7\""), "{} answers {status}: {text}", member.name);
        let by = by.context("no leader is named")?;
        ensure!(by == cluster.members[leader].name.as_str(), "answered by {by:?}");
        for refused in stale.into_iter().chain([&HeaderMap::new()]) {
            let (status, _, text) = ask(refused).await?;
            ensure!(status == StatusCode::UNAUTHORIZED, "{} answers {status}: {text}", member.name);
        }
    }
    Ok(())
}

fn headers(cluster: &Cluster) -> Result<HeaderMap> {
    cluster.secured.as_ref().context("not secured")?.headers()
}
