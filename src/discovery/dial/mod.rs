//! Resolves host names for dialling: peers, and the leader's Prometheus. Name -> addresses, as fresh as is worth it.
//!
//! Connections that work are kept by the pools above, so a dial means that something may have changed, and every dial
//! resolves anew, within the bounds of [`cache`]. What DNS said last survives its outage; what DNS says is gone is gone.
//! IP addresses and names in `/etc/hosts` need no DNS at all.
//!
//! A question runs in a task of its own on the runtime of its first dial: a dial that gives up early does not end it, and
//! the next one has its answer. Build one resolver per runtime, so that no runtime waits for the other's.

mod cache;

use std::collections::HashMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::vec;

use hickory_resolver::proto::rr::Name;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use self::cache::{Decision, Entry};
use super::dns::{Dns, Upstream};
use super::error::LookupError;

/// Names that are remembered; a group has at most 64 members.
const NAMES_MAX: usize = 256;

/// The resolver. Cheap to clone: clones share what they know.
#[derive(Clone)]
pub struct DialResolver {
    dns: Dns,
    entries: Arc<Mutex<HashMap<String, Entry>>>,
    failing: Arc<AtomicBool>,
}

impl DialResolver {
    /// A resolver that asks `dns_server`, else the system's servers. Asks nothing yet; works without any DNS
    /// configuration for IP addresses and names in `/etc/hosts`.
    pub fn new(dns_server: Option<SocketAddr>) -> Self {
        Self::with_dns(Dns::new(dns_server))
    }

    pub(super) fn with_dns(dns: Dns) -> Self {
        Self { dns, entries: Arc::default(), failing: Arc::default() }
    }

    /// The addresses of a host: an IP address (IPv6 with or without brackets), or a name. A name with a trailing dot is
    /// absolute; any other is completed as the system does it. Not empty when it succeeds.
    pub async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, LookupError> {
        let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if let Ok(ip) = literal.parse() {
            return Ok(vec![ip]);
        }
        let upstream = self.dns.upstream();
        if let Some(ips) = upstream.system.hosts.addresses(host) {
            return Ok(ips);
        }
        if upstream.system.candidates(host).is_empty() {
            return Err(LookupError::BadName { name: host.to_owned() });
        }
        self.look_up(host.to_ascii_lowercase()).await
    }

    async fn look_up(&self, host: String) -> Result<Vec<IpAddr>, LookupError> {
        let (question, until) = {
            let mut entries = self.entries();
            make_room(&mut entries, &host);
            let entry = entries.entry(host.clone()).or_default();
            match entry.decide(Instant::now()) {
                Decision::Answer(outcome) => return outcome,
                Decision::UseAndAsk(ips) => {
                    self.ask(&host, entry);
                    return Ok(ips);
                }
                Decision::Ask(until) => (self.ask(&host, entry), until),
            }
        };
        match until {
            // Too late is not an error: what was known before is dialled.
            Some(until) => drop(timeout_at(until, question.cancelled()).await),
            None => question.cancelled().await,
        }
        let outcome = self.entries().get(&host).and_then(Entry::outcome);
        outcome.unwrap_or_else(|| Err(LookupError::Failed { asked: host, cause: "the question was given up".into() }))
    }

    /// Joins the question under way or starts one; the token ends with it.
    fn ask(&self, host: &str, entry: &mut Entry) -> CancellationToken {
        let (done, new) = entry.join(Instant::now());
        if !new {
            return done;
        }
        let (resolver, host, kept) = (self.clone(), host.to_owned(), entry.name.clone());
        let guard = done.clone().drop_guard();
        tokio::spawn(async move {
            let outcome = find(&resolver.dns.upstream(), &host, kept).await;
            resolver.note(&host, outcome.as_ref().err());
            let unsuccessful = outcome.is_err();
            if let Some(entry) = resolver.entries().get_mut(&host) {
                entry.finish(outcome, Instant::now());
            }
            drop(guard);
            if unsuccessful {
                resolver.dns.reread().await;
            }
        });
        done
    }

    /// Logs the first failure of DNS and its end, not each.
    fn note(&self, host: &str, error: Option<&LookupError>) {
        let failure = error.filter(|error| !matches!(error, LookupError::NotFound { .. }));
        let failed_before = self.failing.swap(failure.is_some(), Ordering::Relaxed);
        match failure {
            Some(error) if !failed_before => {
                tracing::warn!(%error, "DNS fails; hosts are dialled at their last known addresses, if any");
            }
            None if failed_before => tracing::info!(host, "DNS answers again"),
            _ => {}
        }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn names_held(&self) -> usize {
        self.entries().len()
    }

    fn boxed(&self, host: String) -> BoxedAnswer {
        let resolver = self.clone();
        Box::pin(async move {
            let ips = resolver.resolve(&host).await?;
            // Port 0 stands for the port of the URL.
            Ok(ips.into_iter().map(|ip| SocketAddr::new(ip, 0)).collect::<Vec<_>>().into_iter())
        })
    }
}

type BoxedAnswer = Pin<Box<dyn Future<Output = Result<vec::IntoIter<SocketAddr>, LookupError>> + Send>>;

impl tower_service::Service<hyper_util::client::legacy::connect::dns::Name> for DialResolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = LookupError;
    type Future = BoxedAnswer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), LookupError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: hyper_util::client::legacy::connect::dns::Name) -> BoxedAnswer {
        self.boxed(name.as_str().to_owned())
    }
}

impl reqwest::dns::Resolve for DialResolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let answer = self.boxed(name.as_str().to_owned());
        Box::pin(async move { Ok(Box::new(answer.await?) as reqwest::dns::Addrs) })
    }
}

/// Asks for the name that had addresses last, then, if it has none now, for everything the host may mean.
async fn find(upstream: &Upstream, host: &str, kept: Option<Name>) -> Result<(Name, Vec<IpAddr>), LookupError> {
    let candidates = upstream.system.candidates(host);
    let rest = candidates.iter().filter(|name| Some(*name) != kept.as_ref()).cloned();
    for name in kept.iter().cloned().chain(rest) {
        let ips = upstream.addresses(&name).await?;
        if !ips.is_empty() {
            return Ok((name, ips));
        }
    }
    let asked: Vec<String> = candidates.iter().map(|name| format!("A or AAAA {name}")).collect();
    Err(LookupError::NotFound { asked: asked.join(", no ") })
}

fn make_room(entries: &mut HashMap<String, Entry>, host: &str) {
    if entries.len() < NAMES_MAX || entries.contains_key(host) {
        return;
    }
    let oldest = entries.iter().min_by_key(|(_, entry)| entry.touched()).map(|(name, _)| name.clone());
    if let Some(oldest) = oldest {
        entries.remove(&oldest);
    }
}
