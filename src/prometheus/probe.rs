//! Watches the local Prometheus: is it running, ready, healthy, ending?
//!
//! Each period its address (that of the notify URL) is connected to, and the health URL is asked if there is one; and at once when
//! a connection ends on which nothing is ever sent: one that crashes, and runs again before the next check, is seen by it. (Not
//! with TLS: a server would note a handshake that never comes.)
//!
//! Readiness is polled until it was seen once, and again after Prometheus was seen gone. In between it is asked as often as the rest,
//! and only the answer that Prometheus gives while it ends takes it away: one that flushes to a remote that is away goes on to be
//! healthy, and answers no query for up to a minute. Once the sidecar shuts down it is asked often, because as a rule both are told
//! to end at the same time.
//!
//! The thresholds are `health`'s; here is only the I/O. A probe that hangs ends with its time-out, so [`Prober::next`] always goes on.

use std::io;
use std::time::Duration;

use reqwest::{Method, Url};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::client::{LocalClient, address, cause, is_refused, shown};
use super::health::{Check, Health, RECHECK_DELAY, Running};
use super::{HealthSettings, ReadinessSettings, readiness};

/// What is known of the local Prometheus.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PrometheusState {
    pub(crate) running: Running,
    /// It was ready once since it was last seen gone or ending.
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
    shutdown: CancellationToken,
    /// `shutdown` has been seen.
    hurries: bool,
}

/// What [`Prober::wait`] has waited for.
enum Due {
    Readiness,
    Check,
    /// The line has ended: its process may have, too.
    LineEnded,
    Hurry,
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
            shutdown: CancellationToken::new(),
            hurries: false,
        }
    }

    /// Asks often whether Prometheus ends, once `shutdown` is cancelled.
    pub(crate) fn hurry_at(mut self, shutdown: CancellationToken) -> Self {
        self.shutdown = shutdown;
        self
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
        let mut known = self.state.clone();
        match self.wait().await {
            Due::Hurry => {
                self.hurries = true;
                self.next_ready = Instant::now();
            }
            Due::Readiness => self.poll_readiness(&mut known).await,
            due @ (Due::Check | Due::LineEnded) => {
                let check = self.check().await;
                match due {
                    // Whoever closes each one would be checked without a pause.
                    Due::LineEnded => self.line = None,
                    _ if self.holds_line && self.line.is_none() && check == Check::Passed => {
                        self.line = self.connect().await.ok();
                    }
                    _ => {}
                }
                self.health.observe(check);
                self.next_health = Instant::now() + self.health.pause();
                self.take_health(&mut known);
            }
        }
        known
    }

    async fn wait(&self) -> Due {
        let line_ended = async {
            match &self.line {
                // Nothing is sent, so nothing is answered.
                Some(line) => _ = line.readable().await,
                None => std::future::pending().await,
            }
        };
        let polls = self.readiness.is_some() && self.state.running != Running::No;
        tokio::select! {
            biased;
            () = self.shutdown.cancelled(), if !self.hurries => Due::Hurry,
            () = line_ended => Due::LineEnded,
            () = sleep_until(self.next_ready), if polls => Due::Readiness,
            () = sleep_until(self.next_health) => Due::Check,
        }
    }

    async fn poll_readiness(&mut self, known: &mut PrometheusState) {
        let Some(settings) = &self.readiness else { return };
        match readiness::poll(&self.client, settings).await {
            Ok(()) => {
                known.running = self.health.running();
                known.ready = true;
                known.not_ready.clear();
            }
            Err(not_ready) if known.ready && not_ready.is_own_word => {
                known.running = Running::Ending;
                known.ready = false;
                known.not_ready = format!("it ends, or has started again: {}", not_ready.why);
            }
            Err(_) if known.ready || known.running == Running::Ending => {}
            Err(not_ready) => known.not_ready = not_ready.why,
        }
        let pause = match (known.ready, self.hurries) {
            (false, _) => settings.poll_period,
            (true, true) => self.health.pause().min(RECHECK_DELAY),
            (true, false) => self.health.pause(),
        };
        self.next_ready = Instant::now() + pause;
    }

    fn take_health(&mut self, known: &mut PrometheusState) {
        let running = self.health.running();
        if running == Running::No && known.running != Running::No {
            known.ready = self.readiness.is_none();
            known.not_ready.clear();
            self.next_ready = Instant::now();
        }
        if !(running == Running::Yes && known.running == Running::Ending) {
            known.running = running;
        }
        known.healthy = self.health.healthy();
        self.health.detail().clone_into(&mut known.not_healthy);
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
