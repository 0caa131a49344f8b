//! The prober against servers that do what Prometheus does: real sockets, real time.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::health::{PrometheusState, RECHECK_DELAY, Running};
use super::probe::Prober;
use super::{HealthSettings, ReadinessSettings, client};

const WAIT_MAX: Duration = Duration::from_secs(20);

/// Answers every path with the status in `status`.
async fn serve(at: SocketAddr, status: Arc<AtomicU16>) -> (SocketAddr, JoinHandle<()>) {
    let route = get(move || async move { StatusCode::from_u16(status.load(Ordering::SeqCst)).unwrap() });
    serve_all(at, Router::new().fallback(route)).await
}

/// Is healthy, and ready or not as Prometheus says it.
async fn serve_ending(ends: Arc<AtomicBool>) -> SocketAddr {
    let ready = move || async move {
        if ends.load(Ordering::SeqCst) {
            (StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable")
        } else {
            (StatusCode::OK, "")
        }
    };
    serve_all(([127, 0, 0, 1], 0).into(), Router::new().route("/-/ready", get(ready)).fallback(|| async {})).await.0
}

async fn serve_all(at: SocketAddr, router: Router) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind(at).await.unwrap();
    let address = listener.local_addr().unwrap();
    (address, tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }))
}

fn prober(address: SocketAddr, health_path: Option<&str>, ready_path: Option<&str>) -> Prober {
    let url = |path: &str| -> reqwest::Url { format!("http://{address}{path}").parse().unwrap() };
    let health = HealthSettings {
        url: health_path.map(url),
        // A whole period is longer than any test waits: what is noticed sooner is not noticed by it.
        period: if health_path.is_some() { Duration::from_millis(20) } else { Duration::from_mins(10) },
        timeout: Duration::from_secs(2),
        success_threshold: 2,
        failure_threshold: 3,
    };
    let readiness = ready_path.map(|path| ReadinessSettings {
        url: url(path),
        poll_period: Duration::from_millis(20),
        timeout: Duration::from_secs(2),
    });
    let notify = url("/-/reload");
    Prober::new(client::open([&notify], Duration::from_secs(2)), &notify, &health, readiness)
}

async fn until(prober: &mut Prober, wanted: impl Fn(&PrometheusState) -> bool) -> PrometheusState {
    let search = async {
        loop {
            let state = prober.next().await;
            if wanted(&state) {
                return state;
            }
        }
    };
    timeout(WAIT_MAX, search).await.unwrap()
}

#[tokio::test]
async fn without_urls_an_open_port_is_enough() {
    let (address, _server) = serve(([127, 0, 0, 1], 0).into(), Arc::new(AtomicU16::new(500))).await;
    let state = until(&mut prober(address, None, None), |_| true).await;
    let up = PrometheusState { running: Running::Yes, ready: true, healthy: true, ..PrometheusState::default() };
    assert_eq!(state, up);
}

#[tokio::test]
async fn without_urls_a_closed_port_is_seen_long_before_a_period_is_over() {
    let (address, server) = serve(([127, 0, 0, 1], 0).into(), Arc::new(AtomicU16::new(200))).await;
    server.abort();
    let _ = server.await;
    let state = until(&mut prober(address, None, None), |state| state.running == Running::No).await;
    assert!(!state.healthy && state.not_healthy.contains("nothing listens"), "{state:?}");
}

/// Takes connections and keeps them, until it is aborted.
async fn hold(at: SocketAddr) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind(at).await.unwrap();
    let address = listener.local_addr().unwrap();
    let accept = async move {
        let mut held = Vec::new();
        loop {
            held.push(listener.accept().await.unwrap());
        }
    };
    (address, tokio::spawn(accept))
}

#[tokio::test]
async fn a_crash_is_seen_at_once_however_long_a_period_is() {
    let (address, server) = hold(([127, 0, 0, 1], 0).into()).await;
    let mut prober = prober(address, None, None);
    until(&mut prober, |state| state.healthy).await;
    timeout(Duration::from_millis(300), prober.next()).await.unwrap_err();
    server.abort();
    let _ = server.await;
    until(&mut prober, |state| state.running == Running::No).await;
    let (_, _server) = hold(address).await;
    until(&mut prober, |state| state.running == Running::Yes).await;
}

#[tokio::test]
async fn connections_that_end_by_themselves_change_nothing_and_are_not_made_again_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut prober = prober(listener.local_addr().unwrap(), None, None);
    let made = Arc::new(AtomicU16::new(0));
    let count = made.clone();
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    until(&mut prober, |state| state.healthy).await;
    // A check, the line, and a check at its end.
    let three = async {
        while made.load(Ordering::SeqCst) < 3 {
            tokio::task::yield_now().await;
        }
    };
    let changed = async { timeout(WAIT_MAX, prober.next()).await };
    tokio::select! { () = three => {} state = changed => panic!("{state:?}") }
    timeout(Duration::from_millis(300), prober.next()).await.unwrap_err();
    assert_eq!(made.load(Ordering::SeqCst), 3, "none more");
}

#[tokio::test]
async fn a_crash_takes_readiness_away_and_the_return_is_noticed() {
    let status = Arc::new(AtomicU16::new(200));
    let (address, server) = serve(([127, 0, 0, 1], 0).into(), status.clone()).await;
    let mut prober = prober(address, Some("/-/healthy"), Some("/-/ready"));
    until(&mut prober, |state| state.ready && state.healthy).await;
    server.abort();
    let _ = server.await;
    let down = until(&mut prober, |state| state.running == Running::No).await;
    assert!(!down.ready && !down.healthy && down.not_healthy.contains("nothing listens"), "{down:?}");
    status.store(503, Ordering::SeqCst);
    let (_, _server) = serve(address, status.clone()).await;
    let back = until(&mut prober, |state| state.running == Running::Yes).await;
    assert!(!back.ready && !back.healthy, "{back:?}");
    status.store(200, Ordering::SeqCst);
    until(&mut prober, |state| state.ready && state.healthy && state.not_ready.is_empty()).await;
}

#[tokio::test]
async fn one_that_ends_says_so_by_readiness_alone_until_another_one_is_ready() {
    let ends = Arc::new(AtomicBool::new(false));
    let address = serve_ending(ends.clone()).await;
    let mut prober = prober(address, Some("/-/healthy"), Some("/-/ready"));
    until(&mut prober, |state| state.ready && state.healthy).await;
    ends.store(true, Ordering::SeqCst);
    let ending = until(&mut prober, |_| true).await;
    assert_eq!((ending.running, ending.ready, ending.healthy), (Running::Ending, false, true), "{ending:?}");
    assert!(
        ending.not_ready.contains("it ends, or has started again") && ending.not_ready.contains("503"),
        "{ending:?}"
    );
    timeout(Duration::from_millis(300), prober.next()).await.unwrap_err();
    ends.store(false, Ordering::SeqCst);
    let back = until(&mut prober, |_| true).await;
    assert_eq!((back.running, back.ready, back.not_ready.as_str()), (Running::Yes, true, ""), "{back:?}");
}

#[tokio::test]
async fn while_the_sidecar_shuts_down_the_end_is_seen_long_before_a_period_is_over() {
    let ends = Arc::new(AtomicBool::new(true));
    let address = serve_ending(ends.clone()).await;
    let shutdown = CancellationToken::new();
    // The period of one without a health URL is longer than this test waits; it holds once Prometheus has been seen healthy.
    let mut prober = prober(address, None, Some("/-/ready")).hurry_at(shutdown.clone());
    until(&mut prober, |state| state.healthy).await;
    ends.store(false, Ordering::SeqCst);
    until(&mut prober, |state| state.ready).await;
    shutdown.cancel();
    timeout(RECHECK_DELAY * 2, prober.next()).await.unwrap_err();
    ends.store(true, Ordering::SeqCst);
    until(&mut prober, |state| state.running == Running::Ending).await;
}

#[tokio::test]
async fn readiness_once_seen_is_kept_while_it_runs() {
    let status = Arc::new(AtomicU16::new(200));
    let (address, _server) = serve(([127, 0, 0, 1], 0).into(), status.clone()).await;
    let mut prober = prober(address, Some("/-/healthy"), Some("/-/ready"));
    until(&mut prober, |state| state.ready && state.healthy).await;
    status.store(503, Ordering::SeqCst);
    let unhealthy = until(&mut prober, |state| !state.healthy).await;
    assert!(unhealthy.ready && unhealthy.not_healthy.contains("503"), "{unhealthy:?}");
}
