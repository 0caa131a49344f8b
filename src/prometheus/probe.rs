//! Watches the local Prometheus: is it running, ready, healthy, ending?
//!
//! Each period its address (that of the notify URL) is connected to, and the health URL is asked if there is one; and at once when
//! a connection ends on which nothing is ever sent: one that crashes, and runs again before the next check, is seen by it. (Not
//! with TLS: a server would note a handshake that never comes.)
//!
//! Readiness is polled until it was seen once; then it is asked as often as the rest, and often once the sidecar shuts down, because
//! as a rule both are told to end at the same time.
//!
//! What follows from the answers is `health`'s; here is only the I/O. A probe that hangs ends with its time-out, so [`Prober::next`] always goes on.

use std::io;
use std::time::Duration;

use reqwest::{Method, Url};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::client::{LocalClient, address, cause, is_refused, shown};
use super::health::{Check, Health, PrometheusState, RECHECK_DELAY, Running};
use super::{HealthSettings, ReadinessSettings, readiness};

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
    /// What [`Prober::next`] has returned last.
    told: PrometheusState,
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
        let started = Health::new(health, readiness.is_some());
        Self {
            client,
            address: address(notify_url),
            health_url: health.url.clone(),
            health_timeout: health.timeout,
            holds_line: notify_url.scheme() == "http",
            line: None,
            told: started.known().clone(),
            health: started,
            readiness,
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
        while self.told == *self.health.known() {
            self.probe().await;
        }
        self.told = self.health.known().clone();
        self.told.clone()
    }

    async fn probe(&mut self) {
        match self.wait().await {
            Due::Hurry => {
                self.hurries = true;
                self.next_ready = Instant::now();
            }
            Due::Readiness => self.poll_readiness().await,
            Due::Check => {
                let check = self.check().await;
                if self.holds_line && self.line.is_none() && check == Check::Passed {
                    self.line = self.connect().await.ok();
                }
                self.take(check);
            }
            // No other line before the next check is due: whoever closes each one would be checked without a pause.
            Due::LineEnded => {
                self.line = None;
                let check = self.check().await;
                self.take(check);
            }
        }
    }

    fn take(&mut self, check: Check) {
        self.health.observe(check);
        let now = Instant::now();
        self.next_health = now + self.health.pause();
        if self.health.known().running == Running::No {
            self.next_ready = now;
        }
    }

    async fn wait(&self) -> Due {
        let line_ended = async {
            match &self.line {
                // Nothing is sent, so nothing is answered.
                Some(line) => _ = line.readable().await,
                None => std::future::pending().await,
            }
        };
        let polls = self.readiness.is_some() && self.health.known().running != Running::No;
        tokio::select! {
            biased;
            () = self.shutdown.cancelled(), if !self.hurries => Due::Hurry,
            () = line_ended => Due::LineEnded,
            () = sleep_until(self.next_ready), if polls => Due::Readiness,
            () = sleep_until(self.next_health) => Due::Check,
        }
    }

    async fn poll_readiness(&mut self) {
        let Some(settings) = &self.readiness else { return };
        self.health.observe_readiness(readiness::poll(&self.client, settings).await);
        let pause = match (self.health.known().ready, self.hurries) {
            (false, _) => settings.poll_period,
            (true, true) => self.health.pause().min(RECHECK_DELAY),
            (true, false) => self.health.pause(),
        };
        self.next_ready = Instant::now() + pause;
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
