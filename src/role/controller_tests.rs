//! Role control as a whole: real files, real file events, a real socket in the place of Prometheus, real time.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use bytes::Bytes;
use elector_raft::{Authority, GroupEnds, GroupHandle, Leadership, Request};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::metrics::NotifierMetrics;
use crate::prometheus::client::open;
use crate::render::Rendered;

const WAIT_MAX: Duration = Duration::from_secs(20);

/// A server that does with reloads what Prometheus does: it reads the file.
#[derive(Clone)]
struct Prometheus {
    output: PathBuf,
    loaded: Arc<Mutex<Vec<String>>>,
}

impl Prometheus {
    async fn serve(&self, at: SocketAddr) -> (SocketAddr, JoinHandle<()>) {
        let listener = TcpListener::bind(at).await.unwrap();
        let address = listener.local_addr().unwrap();
        let this = self.clone();
        let reload = post(move || async move {
            let content = std::fs::read_to_string(&this.output).unwrap();
            this.loaded.lock().unwrap().push(content);
        });
        let router = Router::new().route("/-/reload", reload).route("/-/healthy", get(|| async {}));
        (address, tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }))
    }

    fn loaded(&self) -> Vec<String> {
        self.loaded.lock().unwrap().clone()
    }
}

struct Bench {
    dir: TempDir,
    settings: RoleSettings,
    prometheus: Prometheus,
    address: SocketAddr,
    server: JoinHandle<()>,
}

/// `follower|leader`, where anything else is invalid.
fn renderer() -> Renderer {
    Arc::new(|source| {
        let text = std::str::from_utf8(source).map_err(|error| error.to_string())?;
        let (follower, leader) = text.split_once('|').ok_or("line 1: no bar")?;
        let (follower, leader) = (Bytes::from(follower.to_owned()), Bytes::from(leader.to_owned()));
        Ok(Rendered { follower, leader, warnings: Vec::new() })
    })
}

impl Bench {
    async fn new(source: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (config, output) = (dir.path().join("config.yaml"), dir.path().join("prometheus.yml"));
        std::fs::write(&config, source).unwrap();
        let prometheus = Prometheus { output: output.clone(), loaded: Arc::default() };
        let (address, server) = prometheus.serve(([127, 0, 0, 1], 0).into()).await;
        let url = |path: &str| -> reqwest::Url { format!("http://{address}{path}").parse().unwrap() };
        let settings = RoleSettings {
            source: config,
            output: Some(OutputSettings { path: output, mode: 0o640 }),
            notify: NotifySettings {
                url: url("/-/reload"),
                method: reqwest::Method::POST,
                max_attempts: 5,
                retry_delay: Duration::from_millis(100),
                timeout: Duration::from_secs(2),
            },
            readiness: None,
            health: HealthSettings {
                url: Some(url("/-/healthy")),
                period: Duration::from_millis(50),
                timeout: Duration::from_secs(2),
                success_threshold: 1,
                failure_threshold: 3,
            },
            demote_timeout: Duration::from_secs(5),
            cover_timeout: Duration::from_secs(5),
        };
        Self { dir, settings, prometheus, address, server }
    }

    fn build(&self) -> Result<(GroupEnds, RoleHandle, RoleController), RoleError> {
        let (group, ends) = GroupHandle::new();
        let client = open([&self.settings.notify.url], self.settings.notify.timeout);
        let (handle, controller) =
            RoleController::build(&self.settings, group, client, renderer(), NotifierMetrics::default(), None)?;
        Ok((ends, handle, controller))
    }

    fn output(&self) -> Option<String> {
        std::fs::read_to_string(&self.prometheus.output).ok()
    }
}

async fn until(handle: &RoleHandle, wanted: impl Fn(&RoleStatus) -> bool) -> Arc<RoleStatus> {
    let mut status = handle.status.clone();
    let seen = status.wait_for(|status| wanted(status));
    timeout(WAIT_MAX, seen).await.expect("a status in time").unwrap().clone()
}

#[tokio::test]
async fn from_a_stale_leader_configuration_through_a_whole_life() {
    let bench = Bench::new("F1|L1").await;
    std::fs::write(&bench.prometheus.output, "L0 of before the crash").unwrap();
    std::fs::write(bench.dir.path().join(".prometheus.yml.tmp-left"), "half").unwrap();

    let (ends, handle, controller) = bench.build().unwrap();
    assert_eq!(bench.output().as_deref(), Some("F1"), "the stale file is gone before anything runs");
    assert!(!bench.dir.path().join(".prometheus.yml.tmp-left").exists());
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(controller.run(shutdown.clone()));
    until(&handle, |status| status.eligible && status.config.applied_role == Some(Role::Follower)).await;
    assert_eq!(bench.prometheus.loaded(), ["F1"]);

    ends.leadership.send_replace(Leadership { authority: Authority::SoleVoter, ..Leadership::default() });
    let leads = until(&handle, |status| status.config.applied_role == Some(Role::Leader)).await;
    assert_eq!(leads.config.applied_hash, leads.config.desired_hash);
    assert!(leads.config.applied_at_unix_ms.is_some());
    assert_eq!(bench.prometheus.loaded(), ["F1", "L1"]);

    std::fs::write(&bench.settings.source, "F2|L2").unwrap();
    until(&handle, |status| {
        status.config.applied_hash.as_ref().is_some_and(|h| Some(h) != leads.config.applied_hash.as_ref())
    })
    .await;
    assert_eq!(bench.prometheus.loaded(), ["F1", "L1", "L2"]);

    std::fs::write(&bench.settings.source, "broken").unwrap();
    let broken = until(&handle, |status| status.config.last_error.is_some()).await;
    assert_eq!(broken.config.last_error.as_deref(), Some("line 1: no bar"));
    assert!(broken.eligible && broken.role == Role::Leader, "{broken:?}");

    shutdown.cancel();
    let mut requests = ends.requests;
    let request = timeout(WAIT_MAX, requests.recv()).await.unwrap().unwrap();
    assert_eq!(bench.prometheus.loaded(), ["F1", "L1", "L2", "F2"], "handed over only after the demotion");
    ends.leadership.send_replace(Leadership::default());
    let Request::HandOver { reply, .. } = request else { panic!("{request:?}") };
    reply.send(Ok("pod-1".to_owned())).unwrap();
    timeout(WAIT_MAX, running).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_prometheus_that_crashes_is_asserted_again_when_it_is_back() {
    let bench = Bench::new("F1|L1").await;
    let (_ends, handle, controller) = bench.build().unwrap();
    let running = tokio::spawn(controller.run(CancellationToken::new()));
    until(&handle, |status| status.eligible).await;
    bench.server.abort();
    let down = until(&handle, |status| !status.eligible).await;
    assert!(down.eligibility_reason.contains("Prometheus does not run: nothing listens at"), "{down:?}");
    until(&handle, |status| status.config.last_error.is_some()).await;
    let (_, _server) = bench.prometheus.serve(bench.address).await;
    until(&handle, |status| status.eligible && status.config.applied_hash.is_some()).await;
    assert_eq!(bench.prometheus.loaded(), ["F1", "F1"]);
    running.abort();
}

#[tokio::test]
async fn an_invalid_source_fails_the_first_start() {
    let bench = Bench::new("broken").await;
    let error = bench.build().err().expect("an error").to_string();
    assert!(error.starts_with("line 1: no bar; there is no "), "{error}");
    assert_eq!(bench.output(), None);
}

#[tokio::test]
async fn after_an_earlier_good_run_an_invalid_source_puts_the_kept_follower_configuration_in_force() {
    let bench = Bench::new("F1|L1").await;
    drop(bench.build().unwrap());
    std::fs::write(&bench.prometheus.output, "L1").unwrap();
    std::fs::write(&bench.settings.source, "broken").unwrap();
    let (_ends, handle, controller) = bench.build().unwrap();
    assert_eq!(bench.output().as_deref(), Some("F1"));
    let running = tokio::spawn(controller.run(CancellationToken::new()));
    let status = until(&handle, |status| status.config.applied_role == Some(Role::Follower)).await;
    assert!(!status.eligible && status.config.last_error.is_some(), "{status:?}");
    std::fs::write(&bench.settings.source, "F2|L2").unwrap();
    until(&handle, |status| status.eligible && status.config.last_error.is_none()).await;
    running.abort();
}

#[tokio::test]
async fn with_only_an_output_of_unknown_role_prometheus_is_left_alone_and_it_is_said() {
    let bench = Bench::new("broken").await;
    std::fs::write(&bench.prometheus.output, "of another tool").unwrap();
    let (ends, handle, controller) = bench.build().unwrap();
    ends.leadership.send_replace(Leadership { authority: Authority::SoleVoter, ..Leadership::default() });
    let running = tokio::spawn(controller.run(CancellationToken::new()));
    let status = until(&handle, |status| status.reason.contains("may still run with the leader")).await;
    assert!(!status.eligible, "{status:?}");
    assert_eq!(bench.output().as_deref(), Some("of another tool"));
    assert!(bench.prometheus.loaded().is_empty());
    running.abort();
}

#[tokio::test]
async fn a_missing_output_directory_fails_the_start() {
    let mut bench = Bench::new("F1|L1").await;
    let path = bench.dir.path().join("missing/prometheus.yml");
    bench.settings.output = Some(OutputSettings { path, mode: 0o640 });
    let error = bench.build().err().expect("an error").to_string();
    assert!(error.contains("missing/prometheus.yml does not exist: mount the volume"), "{error}");
}

#[tokio::test]
async fn without_an_output_nothing_is_written_or_reloaded_and_leadership_works_all_the_same() {
    let mut bench = Bench::new("F1|L1").await;
    bench.settings.output = None;
    let (ends, handle, controller) = bench.build().unwrap();
    let running = tokio::spawn(controller.run(CancellationToken::new()));
    let status = until(&handle, |status| status.eligible).await;
    assert!(status.reason.ends_with("Prometheus is configured by somebody else"), "{status:?}");
    ends.leadership.send_replace(Leadership { authority: Authority::SoleVoter, ..Leadership::default() });
    until(&handle, |status| status.role == Role::Leader && status.config.applied_role == Some(Role::Leader)).await;
    running.abort();
    assert_eq!(bench.output(), None);
    assert!(bench.prometheus.loaded().is_empty());
    let files: Vec<_> = std::fs::read_dir(bench.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files, ["config.yaml"]);
}
