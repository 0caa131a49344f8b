//! Queries through any sidecar reach the leader's Prometheus, also while leadership moves.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use http_body_util::BodyExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use test_support::cluster::{Cluster, Options};
use test_support::http;
use test_support::prometheus::Kind;
use test_support::reads::{self, Fault};
use tokio::net::TcpStream;

use crate::options;

/// The default of `proxy-leader-wait`.
const HELD_MAX: Duration = Duration::from_secs(5);

/// Fails if one read fails, or is held for longer than [`HELD_MAX`].
async fn no_read_fails(label: &'static str, fault: Fault) -> Result<()> {
    let report = reads::during(options(label)?, fault).await?;
    eprintln!("{}: {} reads, the longest took {:?}", fault.name(), report.succeeded, report.slowest);
    ensure!(report.failed == 0, "{} of {} failed: {report:?}", report.failed, report.failed + report.succeeded);
    ensure!(report.slowest < HELD_MAX, "held for too long: {report:?}");
    Ok(())
}

#[tokio::test]
async fn no_read_fails_when_the_leaders_machine_is_lost() -> Result<()> {
    no_read_fails("proxy-kill", Fault::Killed).await
}

#[tokio::test]
async fn no_read_fails_when_the_leader_is_frozen_and_thaws() -> Result<()> {
    no_read_fails("proxy-pause", Fault::Paused).await
}

#[tokio::test]
async fn no_read_fails_when_the_leader_is_cut_off() -> Result<()> {
    no_read_fails("proxy-isolated", Fault::Isolated).await
}

#[tokio::test]
async fn no_read_fails_when_the_leader_is_terminated() -> Result<()> {
    no_read_fails("proxy-term", Fault::Terminated).await
}

#[tokio::test]
async fn no_read_fails_when_the_leaders_prometheus_crashes() -> Result<()> {
    no_read_fails("proxy-crash", Fault::Crashed).await
}

#[tokio::test]
async fn every_member_answers_with_the_leaders_data_by_get_by_form_and_over_http_2() -> Result<()> {
    // Full servers, because agents answer no `PromQL`.
    let mut cluster = Cluster::start(&Options { kind: Kind::Server, ..options("proxy-all")? }).await?;
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
        let over_http2 = over_http2(member.sidecar.api, "/api/v1/query?query=vector(8)").await?;
        ensure!(over_http2.contains("\"8\""), "{over_http2}");
    }
    cluster.finish()
}

/// Asks with HTTP/2 from the first byte.
async fn over_http2(address: SocketAddr, path: &str) -> Result<String> {
    let io = TokioIo::new(TcpStream::connect(address).await?);
    let (mut client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await?;
    let connection = tokio::spawn(connection);
    let request = hyper::Request::get(format!("http://{address}{path}")).body(String::new())?;
    let answer = client.send_request(request).await?.into_body().collect().await?.to_bytes();
    drop(client);
    connection.await??;
    Ok(String::from_utf8(answer.into())?)
}

const FORM: &str = "application/x-www-form-urlencoded";

fn check_leader_header(answer: &reqwest::Response, leader: &str) -> Result<()> {
    let named = answer.headers().get("x-prometheus-elector-leader").and_then(|value| value.to_str().ok());
    ensure!(named == Some(leader), "the answer names {named:?} as the leader, not {leader}");
    Ok(())
}
