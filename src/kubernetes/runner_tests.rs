//! The runner and the real client against an API server that answers when the test says so, on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State as AxumState};
use axum::response::{IntoResponse, Response};
use elector_raft::{Authority, GroupEnds, GroupHandle, Leader, Leadership, Member, NodeId};
use http::StatusCode;
use http_body_util::BodyExt as _;
use kube::Config;
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::client::Client;
use super::runner::Runner;
use super::state::State;
use crate::config::PodSettings;
use crate::metrics::{PodLabelStatus, RequestCounts};

/// A request that the API server works on until the test answers.
struct Call {
    request: http::request::Parts,
    body: Value,
    answer: oneshot::Sender<(StatusCode, Value)>,
}

impl Call {
    fn header(&self, name: &str) -> &str {
        self.request.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// What it sets the label to.
    fn label(&self) -> &str {
        assert_eq!(
            (self.request.method.as_str(), self.request.uri.path()),
            ("PATCH", "/api/v1/namespaces/mon/pods/prom-0")
        );
        self.body["metadata"]["labels"]["prometheus-elector/role"].as_str().unwrap()
    }

    fn accept(self) {
        let kind = json!({ "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata" });
        let pod = json!({ "metadata": { "name": "prom-0", "uid": "b6d0" } });
        let answer = if self.request.method == "POST" { self.body.clone() } else { merged(kind, &pod) };
        self.answer.send((StatusCode::OK, answer)).unwrap();
    }

    fn refuse(self, code: StatusCode, reason: &str) {
        let status = json!({ "apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": reason,
            "message": format!("refused: {reason}"), "code": code.as_u16() });
        self.answer.send((code, status)).unwrap();
    }
}

fn merged(mut one: Value, other: &Value) -> Value {
    one.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
    one
}

async fn take(AxumState(calls): AxumState<mpsc::UnboundedSender<Call>>, request: Request) -> Response {
    let (request, body) = request.into_parts();
    let body = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
    let (answer, answered) = oneshot::channel();
    calls.send(Call { request, body, answer }).unwrap();
    match answered.await {
        Ok((code, body)) => (code, body.to_string()).into_response(),
        // The test has let it go: no answer ever.
        Err(_) => std::future::pending().await,
    }
}

struct Bench {
    calls: mpsc::UnboundedReceiver<Call>,
    group: GroupEnds,
    status: watch::Receiver<PodLabelStatus>,
    given_up: CancellationToken,
    running: JoinHandle<()>,
    server: JoinHandle<()>,
    _token: NamedTempFile,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.server.abort();
        self.running.abort();
    }
}

impl Bench {
    async fn start(request_timeout: Duration) -> Self {
        let (calls_tx, calls) = mpsc::unbounded_channel();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(take).with_state(calls_tx);
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });

        let token = NamedTempFile::new().unwrap();
        std::fs::write(token.path(), "a-token").unwrap();
        let mut config = Config::new(url.parse().unwrap());
        config.default_namespace = "mon".into();
        config.auth_info.token_file = Some(token.path().to_str().unwrap().into());
        let pod = PodSettings { name: "prom-0".into(), namespace: None, witness: false };
        let client = Client::new(&config, &pod, request_timeout).unwrap();

        let (handle, group) = GroupHandle::new();
        group.leadership.send_replace(leadership(6, "prom-1", Authority::None));
        let (runner, status) = Runner::new(State::new(false), client, handle.leadership.clone());
        let given_up = CancellationToken::new();
        let running = tokio::spawn(runner.run(given_up.clone()));
        Self { calls, group, status, given_up, running, server, _token: token }
    }

    /// A bench whose label says follower.
    async fn follower() -> Self {
        let mut bench = Self::start(Duration::from_secs(5)).await;
        let call = bench.call().await;
        assert_eq!(call.label(), "follower");
        call.accept();
        bench.until(|status| status.in_force).await;
        bench
    }

    async fn call(&mut self) -> Call {
        timeout(Duration::from_secs(20), self.calls.recv()).await.expect("a request").unwrap()
    }

    async fn until(&mut self, probe: impl FnMut(&PodLabelStatus) -> bool) {
        timeout(Duration::from_secs(20), self.status.wait_for(probe)).await.expect("the status").unwrap();
    }

    fn publish(&self, term: u64, name: &str, authority: Authority) {
        self.group.leadership.send_replace(leadership(term, name, authority));
    }
}

fn leadership(term: u64, name: &str, authority: Authority) -> Leadership {
    let member = Member { name: name.into(), ..Member::default() };
    let leader = Some(Arc::new(Leader { id: NodeId(1), is_self: name == "prom-0", member, found_at: None }));
    Leadership { term, leader, authority }
}

#[tokio::test]
async fn a_leader_patches_its_label_and_writes_an_event_about_its_pod() {
    let mut bench = Bench::follower().await;
    bench.publish(7, "prom-0", Authority::SoleVoter);
    let patch = bench.call().await;
    assert_eq!(patch.body, json!({ "metadata": { "labels": { "prometheus-elector/role": "leader" } } }));
    assert_eq!(patch.header("content-type"), "application/merge-patch+json");
    assert_eq!(patch.header("authorization"), "Bearer a-token");
    patch.accept();

    let mut event = bench.call().await;
    let at = (event.request.method.as_str(), event.request.uri.path());
    assert_eq!(at, ("POST", "/apis/events.k8s.io/v1/namespaces/mon/events"));
    let name = event.body["metadata"]["name"].take();
    assert!(name.as_str().is_some_and(|name| name.starts_with("prom-0.") && name.ends_with(".7")), "{name}");
    let time = event.body["eventTime"].take();
    assert!(time.as_str().is_some_and(|time| time.starts_with("20") && time.ends_with('Z')), "{time}");
    let expected = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event",
        "metadata": { "name": null, "namespace": "mon" },
        "eventTime": null, "type": "Normal", "reason": "LeaderElected", "action": "Elect",
        "note": "prom-0 leads in term 7, after prom-1",
        "regarding": { "apiVersion": "v1", "kind": "Pod", "namespace": "mon", "name": "prom-0", "uid": "b6d0" },
        "reportingController": "prometheus-elector", "reportingInstance": "prom-0",
    });
    assert_eq!(event.body, expected);
    event.refuse(StatusCode::CONFLICT, "AlreadyExists");
    let label = RequestCounts { ok: 2, ..RequestCounts::default() };
    let event = RequestCounts { ok: 1, ..RequestCounts::default() };
    bench.until(|status| *status == PodLabelStatus { in_force: true, label, event }).await;
}

#[tokio::test]
async fn a_403_and_a_500_are_counted_and_tried_again_until_they_succeed() {
    let mut bench = Bench::start(Duration::from_secs(5)).await;
    bench.call().await.refuse(StatusCode::FORBIDDEN, "Forbidden");
    bench.call().await.refuse(StatusCode::INTERNAL_SERVER_ERROR, "InternalError");
    let last = bench.call().await;
    assert_eq!(last.label(), "follower");
    last.accept();
    let label = RequestCounts { ok: 1, forbidden: 1, error: 1 };
    bench.until(|status| *status == PodLabelStatus { in_force: true, label, ..PodLabelStatus::default() }).await;
}

#[tokio::test]
async fn an_api_server_that_never_answers_is_tried_again() {
    let mut bench = Bench::start(Duration::from_millis(50)).await;
    drop(bench.call().await);
    bench.call().await.accept();
    let label = RequestCounts { ok: 1, forbidden: 0, error: 1 };
    bench.until(|status| *status == PodLabelStatus { in_force: true, label, ..PodLabelStatus::default() }).await;
}

#[tokio::test]
async fn the_newest_role_wins_once_the_patch_in_flight_is_answered() {
    let mut bench = Bench::follower().await;
    bench.publish(7, "prom-0", Authority::SoleVoter);
    let leader = bench.call().await;
    assert_eq!(leader.label(), "leader");
    bench.publish(8, "prom-1", Authority::None);
    bench.until(|status| status.in_force).await;
    bench.publish(8, "prom-0", Authority::SoleVoter);
    bench.publish(9, "prom-1", Authority::None);
    assert!(bench.calls.try_recv().is_err(), "a second patch is in flight");
    leader.accept();
    let follower = bench.call().await;
    assert_eq!(follower.label(), "follower");
    follower.accept();
    bench.until(|status| status.in_force && status.label.ok == 3).await;
}

#[tokio::test]
async fn a_group_that_has_ended_makes_a_follower_and_a_shutdown_ends_the_runner() {
    let mut bench = Bench::follower().await;
    bench.publish(7, "prom-0", Authority::SoleVoter);
    bench.call().await.accept();
    bench.call().await.accept();
    let (_, ends) = GroupHandle::new();
    drop(std::mem::replace(&mut bench.group, ends));
    let follower = bench.call().await;
    assert_eq!(follower.label(), "follower", "the last word of a group that has ended is worth nothing");
    bench.given_up.cancel();
    follower.accept();
    timeout(Duration::from_secs(20), &mut bench.running).await.expect("the runner ends").unwrap();
}

#[tokio::test]
async fn a_silent_api_server_holds_a_shutdown_up_for_a_second_at_most() {
    let mut bench = Bench::follower().await;
    bench.publish(7, "prom-0", Authority::SoleVoter);
    let unanswered = bench.call().await;
    bench.given_up.cancel();
    let start = std::time::Instant::now();
    timeout(Duration::from_secs(4), &mut bench.running).await.expect("the runner ends").unwrap();
    assert!(start.elapsed() >= Duration::from_millis(900), "it waits for the answer for a while");
    drop(unanswered);
}
