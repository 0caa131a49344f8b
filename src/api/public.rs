//! The public router: `/_elector/…` for people, probes, scrapers and load balancers; everything else is the proxy's.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use elector_raft::{GroupState, Now};
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, StatusCode, header};
use hyper::body::Incoming;
use serde::Serialize;

use super::serve::routed;
use super::status::StatusReport;
use super::web::Webs;
use super::{Shared, page};
use crate::metrics::Format;
use crate::proxy::CredentialsTaken;

const UNKNOWN: &str = "no such endpoint; there are: /_elector/ (the status page), /_elector/healthz, /_elector/livez, /_elector/readyz, \
                       /_elector/leader, /_elector/role/leader, /_elector/role/follower, /_elector/status, \
                       /_elector/events and /_elector/metrics\n";
const WRONG_METHOD: &str = "the endpoints below /_elector/ answer GET and HEAD; member commands go to the loopback \
                            admin address: use the subcommands of prometheus-elector\n";
const PROXY_OFF: &str = "the proxy is off, so only the paths below /_elector/ are served here; \
                         --api-proxy-enabled turns it on\n";

/// The endpoints by a router, everything else straight to the proxy: its requests do not pay for what they do not use.
pub(super) fn answers(
    shared: Arc<Shared>,
    webs: Option<Webs>,
) -> impl Fn(SocketAddr, Request<Incoming>) -> BoxFuture<'static, Response> + Clone + Send + Sync + 'static {
    let elsewhere = shared.inputs.fallback.clone();
    let endpoints = routed(router(shared));
    let answer = move |client, request: Request<Incoming>| match &elsewhere {
        Some(elsewhere) if !is_endpoint(request.uri().path()) => elsewhere(client, request),
        _ => endpoints(client, request),
    };
    move |client, mut request| match &webs {
        None => answer(client, request),
        Some(webs) => {
            let (web, answer) = (webs.borrow().clone(), answer.clone());
            Box::pin(async move {
                let refusal = web.refusal(request.uri().path(), request.headers()).await;
                let mut response = if let Some(refusal) = refusal {
                    refusal
                } else {
                    if web.asks() {
                        request.extensions_mut().insert(CredentialsTaken);
                    }
                    answer(client, request).await
                };
                web.dress(&mut response);
                response
            })
        }
    }
}

/// A misspelt endpoint must never reach Prometheus.
fn is_endpoint(path: &str) -> bool {
    path.strip_prefix("/_elector").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/_elector/healthz", get(healthz))
        .route("/_elector/livez", get(livez))
        .route("/_elector/readyz", get(readyz))
        .route("/_elector/leader", get(leader))
        .route("/_elector/role/leader", get(role_leader))
        .route("/_elector/role/follower", get(role_follower))
        .route("/_elector/status", get(status))
        .route("/_elector/events", get(page::events))
        .route("/_elector/metrics", get(metrics))
        .route("/_elector", get(page::redirect))
        .route("/_elector/", get(page::page))
        .method_not_allowed_fallback(async || (StatusCode::METHOD_NOT_ALLOWED, WRONG_METHOD))
        .route("/_elector/{*rest}", any(unknown))
        .fallback(async || (StatusCode::NOT_FOUND, PROXY_OFF))
        .with_state(shared)
}

async fn healthz() -> StatusCode {
    StatusCode::OK
}

/// The event loop answers, and the group's thread has not ended: nothing but a restart cures that.
async fn livez(State(shared): State<Arc<Shared>>) -> Response {
    let group = shared.inputs.group.status.borrow();
    if group.state == GroupState::Failed {
        return sentence(StatusCode::SERVICE_UNAVAILABLE, &format!("the election group has failed: {}", group.reason));
    }
    sentence(StatusCode::OK, "alive")
}

async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    match shared.readiness() {
        Ok(()) => sentence(StatusCode::OK, "ready"),
        Err(why) => sentence(StatusCode::SERVICE_UNAVAILABLE, &format!("not ready: {why}")),
    }
}

/// The first two keys, in this order, are those of the Lease-based tool.
#[derive(Serialize)]
struct LeaderAnswer {
    is_leader: bool,
    current_leader: String,
    term: u64,
}

async fn leader(State(shared): State<Arc<Shared>>) -> Json<LeaderAnswer> {
    let leadership = shared.inputs.group.leadership.borrow();
    Json(LeaderAnswer {
        is_leader: leadership.holds_authority(Now::read()),
        current_leader: leadership.leader_name().to_owned(),
        term: leadership.term,
    })
}

async fn role_leader(State(shared): State<Arc<Shared>>) -> Response {
    if shared.holds_authority() {
        return sentence(StatusCode::OK, "this member is the leader");
    }
    let leadership = shared.inputs.group.leadership.borrow();
    match leadership.leader.as_ref() {
        Some(leader) if !leader.is_self => sentence(
            StatusCode::SERVICE_UNAVAILABLE,
            &format!("this member is not the leader: {} is", leader.member.name),
        ),
        Some(_) => sentence(StatusCode::SERVICE_UNAVAILABLE, "this member leads the group without the right to act"),
        None => sentence(StatusCode::SERVICE_UNAVAILABLE, "this member is not the leader, and none is known now"),
    }
}

async fn role_follower(State(shared): State<Arc<Shared>>) -> Response {
    let (status, why) = if shared.inputs.shutting_down.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "this member is shutting down")
    } else if shared.inputs.role.is_none() {
        (StatusCode::SERVICE_UNAVAILABLE, "this member is a witness: it has no Prometheus")
    } else if shared.holds_authority() {
        (StatusCode::SERVICE_UNAVAILABLE, "this member is the leader")
    } else {
        (StatusCode::OK, "this member is a follower")
    };
    sentence(status, why)
}

async fn status(State(shared): State<Arc<Shared>>) -> Json<StatusReport> {
    Json(shared.report())
}

async fn metrics(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = Format::negotiate(&accept.collect::<Vec<_>>().join(","));
    match shared.inputs.metrics.encode(format) {
        Ok(text) => ([(header::CONTENT_TYPE, format.content_type())], text).into_response(),
        Err(error) => sentence(StatusCode::INTERNAL_SERVER_ERROR, &format!("cannot write the metrics: {error}")),
    }
}

async fn unknown() -> (StatusCode, &'static str) {
    (StatusCode::NOT_FOUND, UNKNOWN)
}

fn sentence(status: StatusCode, text: &str) -> Response {
    (status, format!("{text}\n")).into_response()
}
