//! Watches the local Prometheus: is it running, ready, healthy?
//!
//! Each period its address (that of the notify URL) is connected to, and the health URL is asked if there is one; and at once when
//! a connection ends on which nothing is ever sent: one that crashes, and runs again before the next check, is seen by it. (Not
//! with TLS: a server would note a handshake that never comes.)
//! Readiness is polled until it was seen once, and again after Prometheus was seen gone. The thresholds are
//! `health`'s; here is only the I/O. A probe that hangs ends with its time-out, so [`Prober::next`] always goes on.

use std::io;
use std::time::Duration;

use reqwest::{Method, Url};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use super::client::{LocalClient, address, cause, is_refused, shown};
use super::health::{Check, Health, Running};
use super::{HealthSettings, ReadinessSettings, readiness};

/// What is known of the local Prometheus.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PrometheusState {
    pub(crate) running: Running,
    /// It was ready once since it was last seen gone.
    pub(crate) ready: bool,
    pub(crate) healthy: bool,
    /// Why it is not ready, as far as it was asked; empty when it is.
    pub(crate) not_ready: String,
    /// Why it does not run or is not healthy; empty when it is.
    pub(crate) not_healthy: String,
}

/// Probes one Prometheus.
#[derive(Debug)]
pub(crate) struct Prober {
    client: LocalClient,
    address: (String, u16),
    health_url: Option<Url>,
    health_timeout: Duration,
    readiness: Option<ReadinessSettings>,
    /// Whether `line` is wanted.
    holds_line: bool,
    /// The silent connection.
    line: Option<TcpStream>,
    health: Health,
    state: PrometheusState,
    next_health: Instant,
    next_ready: Instant,
}

impl Prober {
    /// Builds it; the first probe is due at once.
    pub(crate) fn new(
        client: LocalClient,
        notify_url: &Url,
        health: &HealthSettings,
        readiness: Option<ReadinessSettings>,
    ) -> Self {
        let now = Instant::now();
        Self {
            client,
            address: address(notify_url),
            health_url: health.url.clone(),
            health_timeout: health.timeout,
            state: PrometheusState { ready: readiness.is_none(), ..PrometheusState::default() },
            readiness,
            holds_line: notify_url.scheme() == "http",
            line: None,
            health: Health::new(health),
            next_health: now,
            next_ready: now,
        }
    }

    /// Probes until something changes and returns what is known then.
    pub(crate) async fn next(&mut self) -> PrometheusState {
        loop {
            let known = self.probe().await;
            if known != self.state {
                self.state = known.clone();
                return known;
            }
        }
    }

    async fn probe(&mut self) -> PrometheusState {
        let (mut ready, mut not_ready) = (self.state.ready, self.state.not_ready.clone());
        let poll_readiness = !ready && self.state.running != Running::No;
        if poll_readiness && self.next_ready <= self.next_health {
            sleep_until(self.next_ready).await;
            (ready, not_ready) = self.poll_readiness().await;
        } else {
            let is_due = self.wait_for_check().await;
            let check = self.check().await;
            // Not after its end: whoever closes each one would be checked without a pause.
            if self.holds_line && is_due && self.line.is_none() && check == Check::Passed {
                self.line = self.connect().await.ok();
            }
            self.health.observe(check);
            self.next_health = Instant::now() + self.health.pause();
        }
        let running = self.health.running();
        if running == Running::No && self.state.running != Running::No {
            ready = self.readiness.is_none();
            not_ready.clear();
            self.next_ready = Instant::now();
        }
        let not_healthy = self.health.detail().to_owned();
        PrometheusState { running, ready, healthy: self.health.healthy(), not_ready, not_healthy }
    }

    /// Until the next check is due, or the line ends (false): its process may have, too.
    async fn wait_for_check(&mut self) -> bool {
        let ended = async {
            match &self.line {
                // Nothing is sent, so nothing is answered.
                Some(line) => _ = line.readable().await,
                None => std::future::pending().await,
            }
        };
        let is_due = tokio::select! { () = sleep_until(self.next_health) => true, () = ended => false };
        if !is_due {
            self.line = None;
        }
        is_due
    }

    async fn poll_readiness(&mut self) -> (bool, String) {
        let Some(settings) = &self.readiness else { return (true, String::new()) };
        let result = readiness::poll(&self.client, settings).await;
        self.next_ready = Instant::now() + settings.poll_period;
        (result.is_ok(), result.err().unwrap_or_default())
    }

    async fn check(&self) -> Check {
        let Some(url) = &self.health_url else { return self.listens().await };
        // One request tells both where the two share an address.
        if address(url) == self.address {
            return self.get(url).await;
        }
        match self.listens().await {
            Check::Passed => match self.get(url).await {
                // Something else than Prometheus is gone there: that follows the thresholds.
                Check::Refused(why) => Check::Failed(why),
                other => other,
            },
            other => other,
        }
    }

    async fn listens(&self) -> Check {
        self.connect().await.map_or_else(|failed| failed, |_| Check::Passed)
    }

    async fn connect(&self) -> Result<TcpStream, Check> {
        let (host, port) = &self.address;
        match timeout(self.health_timeout, TcpStream::connect((host.as_str(), *port))).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                Err(Check::Refused(format!("nothing listens at {host}:{port}")))
            }
            Ok(Err(error)) => Err(Check::Failed(format!("cannot connect to {host}:{port}: {error}"))),
            Err(_) => Err(Check::Failed(format!("{host}:{port} took no connection within {:?}", self.health_timeout))),
        }
    }

    async fn get(&self, url: &Url) -> Check {
        match self.client.request(Method::GET, url).timeout(self.health_timeout).send().await {
            Ok(response) if response.status().is_success() => Check::Passed,
            Ok(response) => {
                let status = response.status();
                Check::Failed(format!("{} answered {status}{}", shown(url), self.client.hint(url, status)))
            }
            Err(error) if is_refused(&error) => Check::Refused(format!("nothing listens at {}", shown(url))),
            Err(error) => Check::Failed(format!("{}: {}", shown(url), cause(&error))),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU16, Ordering};

    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::get;
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;

    use super::*;
    use crate::prometheus::client;

    const WAIT_MAX: Duration = Duration::from_secs(20);

    /// Answers every path with the status in `status`.
    async fn serve(at: SocketAddr, status: Arc<AtomicU16>) -> (SocketAddr, JoinHandle<()>) {
        let listener = TcpListener::bind(at).await.unwrap();
        let address = listener.local_addr().unwrap();
        let route = get(move || async move { StatusCode::from_u16(status.load(Ordering::SeqCst)).unwrap() });
        let task = tokio::spawn(async move { axum::serve(listener, Router::new().fallback(route)).await.unwrap() });
        (address, task)
    }

    fn prober(address: SocketAddr, health_path: Option<&str>, ready_path: Option<&str>) -> Prober {
        let url = |path: &str| -> Url { format!("http://{address}{path}").parse().unwrap() };
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
    async fn readiness_once_seen_is_kept_while_it_runs() {
        let status = Arc::new(AtomicU16::new(200));
        let (address, _server) = serve(([127, 0, 0, 1], 0).into(), status.clone()).await;
        let mut prober = prober(address, Some("/-/healthy"), Some("/-/ready"));
        until(&mut prober, |state| state.ready && state.healthy).await;
        status.store(503, Ordering::SeqCst);
        let unhealthy = until(&mut prober, |state| !state.healthy).await;
        assert!(unhealthy.ready && unhealthy.not_healthy.contains("503"), "{unhealthy:?}");
    }
}
