//! The task of discovery: a source -> `watch<PeerSet>`, until it is stopped.
//!
//! - Every good answer is published, also one that equals the last: its time is what absence is judged by (group
//!   rule 10). A static list answers once per period for the same reason.
//! - A failed lookup publishes nothing, so the last good set survives any outage of DNS.
//! - Time between lookups is the refresh period, whatever the TTL says. A shorter TTL does not cost more questions; a
//!   longer one does not delay a new pod, and a cache on the way answers from memory until it ends anyway. The addresses
//!   behind SRV names do not wait for this at all: dialling resolves anew ([`super::DialResolver`]).
//! - After a failure the next lookup comes sooner (1 s, 2 s, … up to the period): at start, and when DNS returns, the
//!   peers are wanted at once.

use std::time::Duration;

use elector_raft::{Peer, PeerSet};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::dns::Dns;
use super::error::{DiscoveryError, LookupError};
use super::journal::{Journal, LookupStatus};
use super::peers::{self, PEERS_MAX};
use super::service::Service;
use super::{DiscoverySettings, Source, system};

/// Wait after the first failure in a row; it doubles with each.
const RETRY_FIRST: Duration = Duration::from_secs(1);

/// Discovery, ready to run.
pub struct Discovery {
    lookup: Lookup,
    refresh_period: Duration,
    journal: Journal,
    peers: watch::Sender<PeerSet>,
    status: watch::Sender<LookupStatus>,
}

enum Lookup {
    Static(Vec<Peer>),
    Dns { dns: Dns, service: Service },
}

impl Discovery {
    /// Checks the settings. Asks nothing yet: a missing or broken DNS configuration is an error of the lookups, which
    /// go on until it is mended.
    pub fn build(settings: DiscoverySettings) -> Result<Self, DiscoveryError> {
        let dns = Dns::new(settings.dns_server);
        Self::with_dns(settings, dns)
    }

    pub(super) fn with_dns(settings: DiscoverySettings, dns: Dns) -> Result<Self, DiscoveryError> {
        let lookup = match settings.source {
            Source::Static(peers) if peers.is_empty() => return Err(DiscoveryError::NoPeers),
            Source::Static(peers) => match peers::bounded(peers) {
                (peers, 0) => Lookup::Static(peers),
                (peers, more) => {
                    return Err(DiscoveryError::TooManyPeers { count: peers.len() + more, max: PEERS_MAX });
                }
            },
            Source::Dns { service, .. } if system::absolute(&service).is_none() => {
                return Err(DiscoveryError::BadServiceName { name: service });
            }
            Source::Dns { service, raft_port } => Lookup::Dns { dns, service: Service::new(service, raft_port) },
        };
        Ok(Self {
            lookup,
            refresh_period: settings.refresh_period,
            journal: Journal::default(),
            peers: watch::Sender::default(),
            status: watch::Sender::default(),
        })
    }

    /// The last good set of peers.
    pub fn peers(&self) -> watch::Receiver<PeerSet> {
        self.peers.subscribe()
    }

    /// How the lookups fare.
    pub fn status(&self) -> watch::Receiver<LookupStatus> {
        self.status.subscribe()
    }

    /// Looks up until `stop` is cancelled, which ends it at once.
    pub async fn run(mut self, stop: CancellationToken) {
        let lookups = async {
            loop {
                self.look_up_once().await;
                sleep(wait_after(self.journal.failures(), self.refresh_period)).await;
            }
        };
        stop.run_until_cancelled(lookups).await;
    }

    async fn look_up_once(&mut self) {
        let outcome = self.lookup.ask().await;
        let now = Instant::now().into_std();
        let changes = match outcome {
            Ok((found, left_out)) => {
                let changes = self.journal.answered(&found, left_out, now);
                self.peers.send_replace(PeerSet { peers: found, answered_at: Some(now) });
                changes
            }
            Err(error) => self.journal.failed(error),
        };
        for change in changes {
            change.log();
        }
        self.status.send_replace(self.journal.status.clone());
    }
}

impl Lookup {
    /// The peers, and how many were left out.
    async fn ask(&mut self) -> Result<(Vec<Peer>, usize), LookupError> {
        match self {
            Self::Static(peers) => Ok((peers.clone(), 0)),
            Self::Dns { dns, service } => {
                let outcome = service.look_up(&dns.upstream()).await;
                match &outcome {
                    Ok(found) => tracing::debug!(name = %found.name, peers = found.peers.len(), "lookup answered"),
                    Err(error) => {
                        tracing::debug!(%error, "lookup failed");
                        dns.reread().await;
                    }
                }
                outcome.map(|found| (found.peers, found.left_out))
            }
        }
    }
}

fn wait_after(failures: u32, refresh_period: Duration) -> Duration {
    match failures {
        0 => refresh_period,
        _ => RETRY_FIRST.saturating_mul(1 << (failures - 1).min(16)).min(refresh_period),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    const PERIOD: Duration = Duration::from_secs(5);

    fn peer(name: &str) -> Peer {
        Peer { name: Some(name.into()), address: format!("{name}:9096") }
    }

    fn settings(source: Source) -> DiscoverySettings {
        DiscoverySettings { source, dns_server: None, refresh_period: PERIOD }
    }

    fn build(source: Source) -> Result<Discovery, DiscoveryError> {
        Discovery::build(settings(source))
    }

    #[tokio::test(start_paused = true)]
    async fn a_static_list_answers_at_once_and_once_per_period_until_stopped() {
        let discovery = build(Source::Static(vec![peer("b"), peer("a"), peer("b")])).unwrap();
        let (mut peers, status) = (discovery.peers(), discovery.status());
        assert_eq!(*peers.borrow(), PeerSet::default());
        let stop = CancellationToken::new();
        let start = Instant::now();
        let task = tokio::spawn(discovery.run(stop.clone()));
        for round in 0..3 {
            tokio::time::timeout(PERIOD * 2, peers.changed()).await.unwrap().unwrap();
            let at = start + PERIOD * round;
            let expected = PeerSet { peers: vec![peer("a"), peer("b")], answered_at: Some(at.into_std()) };
            assert_eq!(*peers.borrow_and_update(), expected);
        }
        assert_eq!(status.borrow().answered, 3);
        stop.cancel();
        task.await.unwrap();
        assert!(peers.changed().await.is_err(), "the channel is closed");
    }

    #[test]
    fn after_failures_lookups_come_sooner_but_never_later_than_the_period() {
        let seconds = |failures| wait_after(failures, PERIOD).as_secs();
        assert_eq!([0, 1, 2, 3, 4, 1000].map(seconds), [5, 1, 2, 4, 5, 5]);
        let short = Duration::from_millis(50);
        assert_eq!(wait_after(3, short), short);
    }

    #[test]
    fn impossible_settings_are_refused_in_words() {
        let refused = |source| build(source).map(|_| ()).unwrap_err();
        assert_eq!(refused(Source::Static(vec![])), DiscoveryError::NoPeers);
        let many = (0..=PEERS_MAX).map(|n| peer(&n.to_string())).collect();
        assert_eq!(refused(Source::Static(many)), DiscoveryError::TooManyPeers { count: 65, max: 64 });
        let bad = Source::Dns { service: "a..b".into(), raft_port: 9096 };
        assert_eq!(refused(bad), DiscoveryError::BadServiceName { name: "a..b".into() });
    }
}
