//! Clients of a running sidecar, over its loopback admin address.
//!
//! Plain hyper on one connection: there is no TLS on loopback, and a client library's habit of following `HTTP_PROXY`
//! would send the request out of the pod.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::{CliError, Output, table};
use crate::api::ADMIN_HEADER;
use crate::api::admin::{COMMAND_TIMEOUT, Done, Refusal};
use crate::api::status::StatusReport;
use crate::config::Whom;

/// Time to connect. Loopback answers at once or not at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Time for an answer that needs no work.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for a command: somewhat more than the sidecar allows itself, so that its own words arrive.
const COMMAND_PATIENCE: Duration = COMMAND_TIMEOUT.saturating_add(READ_TIMEOUT);
/// For so long all others must be well. A replica that is ready again may be followed by the next one some seconds later.
const WELL_FOR: Duration = Duration::from_secs(20);
/// Time between two looks at that.
const LOOK_PERIOD: Duration = Duration::from_secs(1);
/// Largest answer that is read: a report of hundreds of members has some 100 KiB.
const ANSWER_BYTES_MAX: usize = 8 << 20;

/// `status`: the member's view of itself and its group as a table, or the raw report.
pub async fn status(whom: &Whom, json: bool) -> Result<Output, CliError> {
    if json {
        return Ok(Output::from(format!("{:#}\n", report::<serde_json::Value>(whom).await?)));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Output::from(table::status(&report(whom).await?, now)))
}

/// `status --check`: one line; an error unless the member is settled in a group that has a leader.
pub async fn status_check(whom: &Whom) -> Result<Output, CliError> {
    let report: StatusReport = report(whom).await?;
    let problems = report.problems();
    if !problems.is_empty() {
        return Err(CliError::Refused(format!("{}: {}", report.member, problems.join("; "))));
    }
    let leader = report.leader.unwrap_or_default();
    Ok(Output::from(format!("{} is settled; {leader} leads, term {}\n", report.member, report.term)))
}

async fn report<T: DeserializeOwned>(whom: &Whom) -> Result<T, CliError> {
    let (address, path) = match whom {
        Whom::Own(admin) => (*admin, "/status"),
        Whom::Other(name) => (look_up(name).await?, "/_elector/status"),
    };
    let answer = exchange(address, Method::GET, path, READ_TIMEOUT).await;
    let body = answer.map_err(|error| match (whom, error) {
        (Whom::Other(name), CliError::NotRunning { source, .. }) => no_member(name, source),
        (_, error) => error,
    })?;
    decode(address, &body)
}

async fn look_up(name: &str) -> Result<SocketAddr, CliError> {
    let mut found = tokio::net::lookup_host(name).await.map_err(|source| no_member(name, source))?;
    found.next().ok_or_else(|| no_member(name, std::io::ErrorKind::NotFound.into()))
}

fn no_member(name: &str, source: std::io::Error) -> CliError {
    CliError::NoMember { address: name.to_owned(), source }
}

/// `member list`: the members with kind, node id and address.
pub async fn member_list(admin: SocketAddr) -> Result<Output, CliError> {
    Ok(Output::from(table::members(&report::<StatusReport>(&Whom::Own(admin)).await?.group)))
}

/// `member remove NAME`: takes a member out of the group for good. Only the leader can.
pub async fn member_remove(admin: SocketAddr, name: &str) -> Result<Output, CliError> {
    let path = format!("/members/{}/remove", utf8_percent_encode(name, NON_ALPHANUMERIC));
    command(admin, &path, &format!("prometheus-elector member remove {name}")).await
}

/// `step-down`: hands leadership over once.
pub async fn step_down(admin: SocketAddr) -> Result<Output, CliError> {
    command(admin, "/step-down", "prometheus-elector step-down").await
}

/// `cordon`: the member does not lead until uncordoned or restarted.
pub async fn cordon(admin: SocketAddr) -> Result<Output, CliError> {
    command(admin, "/cordon", "prometheus-elector cordon").await
}

/// `uncordon`.
pub async fn uncordon(admin: SocketAddr) -> Result<Output, CliError> {
    command(admin, "/uncordon", "prometheus-elector uncordon").await
}

/// `shutdown`: the sidecar stops as on SIGTERM; with `wait_for_others` once all others are well, or that has passed.
pub async fn shutdown(admin: SocketAddr, wait_for_others: Option<Duration>) -> Result<Output, CliError> {
    if let Some(patience) = wait_for_others {
        // A sidecar that does not answer is not waited for.
        let _ = tokio::time::timeout(patience, others_are_well(async || report(&Whom::Own(admin)).await)).await;
    }
    command(admin, "/shutdown", "prometheus-elector shutdown").await
}

/// Returns when every report within [`WELL_FOR`] said that this member may go.
async fn others_are_well(ask: impl AsyncFn() -> Result<StatusReport, CliError>) -> Result<(), CliError> {
    let mut well_since = None;
    loop {
        let now = Instant::now();
        if ask().await?.may_go() {
            if now.saturating_duration_since(*well_since.get_or_insert(now)) >= WELL_FOR {
                return Ok(());
            }
        } else {
            well_since = None;
        }
        tokio::time::sleep(LOOK_PERIOD).await;
    }
}

/// `recover`, of a member that is running.
pub(super) async fn recover(admin: SocketAddr) -> Result<Output, CliError> {
    command(admin, "/recover", "prometheus-elector recover --yes").await
}

/// Sends a command; `retry` is what to run on the leader if only that one can do it.
async fn command(admin: SocketAddr, path: &str, retry: &str) -> Result<Output, CliError> {
    match exchange(admin, Method::POST, path, COMMAND_PATIENCE).await {
        Ok(body) => Ok(Output::from(format!("{}\n", decode::<Done>(admin, &body)?.message))),
        Err(CliError::AskLeader { error, .. }) => Err(CliError::AskLeader { error, command: retry.to_owned() }),
        Err(error) => Err(error),
    }
}

/// One request on a connection of its own; the body of a success.
async fn exchange(address: SocketAddr, method: Method, path: &str, patience: Duration) -> Result<Bytes, CliError> {
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
    let stream = connected
        .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
        .map_err(|source| CliError::NotRunning { address, source })?;
    let not_a_sidecar = |error: &dyn std::fmt::Display| CliError::NotASidecar { address, why: error.to_string() };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, address.to_string())
        .header(ADMIN_HEADER, "1")
        .body(Empty::<Bytes>::new())
        .map_err(|error| not_a_sidecar(&error))?;
    let answer = async {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| not_a_sidecar(&error))?;
        let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
        let response = sender.send_request(request).await.map_err(|error| not_a_sidecar(&error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        Ok((status, body.map_err(|error| not_a_sidecar(&error))?.to_bytes()))
    };
    let (status, body) =
        tokio::time::timeout(patience, answer).await.unwrap_or(Err(CliError::NoAnswer { address, after: patience }))?;
    if status == StatusCode::OK { Ok(body) } else { Err(refusal(address, status, &body)) }
}

fn refusal(address: SocketAddr, status: StatusCode, body: &[u8]) -> CliError {
    match serde_json::from_slice::<Refusal>(body) {
        Ok(Refusal { error, leader: Some(_), .. }) => CliError::AskLeader { error, command: String::new() },
        Ok(Refusal { error, .. }) => CliError::Refused(error),
        Err(_) => CliError::NotASidecar { address, why: format!("it answers {status} in words of its own") },
    }
}

fn decode<T: DeserializeOwned>(address: SocketAddr, body: &[u8]) -> Result<T, CliError> {
    serde_json::from_slice(body).map_err(|error| CliError::NotASidecar { address, why: error.to_string() })
}

#[cfg(test)]
mod tests;
