//! Looking up the headless service: SRV, then A/AAAA -> peers.
//!
//! ```text
//! kept name --SRV--> peers      every candidate --SRV--> peers (kept)      every candidate --A/AAAA--> peers (kept
//!          \--A/AAAA--> peers                                                                       for a minute)
//! ```
//!
//! - A relative name is completed with the system's search domains. SRV records of any candidate win over addresses of
//!   any other, because a wildcard domain among them has an address for every name. The candidate that answered is kept
//!   until it vanishes; one with bare addresses only for [`BARE_KEPT_FOR`].
//! - Only the service is resolved here, never a name that may not exist yet: a negative answer would be cached on its
//!   way and hide the member that appears under that name.
//! - No records at all is an error and not an empty set: while this member runs, a right service has at least one.
//! - A server that cannot answer SRV questions at all (some answer SERVFAIL) is fine as long as it never did; once SRV
//!   records were seen, a failed SRV question fails the lookup, so that an outage never looks like a loss of names.

use std::time::Duration;

use elector_raft::Peer;
use hickory_resolver::proto::rr::{Name, RecordType};
use tokio::time::Instant;

use super::answer::Answer;
use super::dns::Upstream;
use super::error::LookupError;
use super::peers;

/// What SRV records of the Raft port are filed under: its name in the Kubernetes Service, and its protocol.
const SRV_PREFIX: &str = "_raft._tcp";
/// After this long a name that has addresses but no SRV records must prove itself against its rivals again.
const BARE_KEPT_FOR: Duration = Duration::from_mins(1);

/// What a lookup found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Sorted, not empty, at most [`peers::PEERS_MAX`].
    pub(super) peers: Vec<Peer>,
    /// Peers beyond that.
    pub(super) left_out: usize,
    /// The name that answered.
    pub(super) name: Name,
}

/// A headless service and what is known about it.
pub(super) struct Service {
    name: String,
    raft_port: u16,
    kept: Option<Kept>,
    /// SRV records have been seen since the last time that DNS said there are none.
    has_srv: bool,
}

#[derive(Clone)]
struct Kept {
    name: Name,
    until: Option<Instant>,
}

impl Service {
    pub(super) fn new(name: String, raft_port: u16) -> Self {
        Self { name, raft_port, kept: None, has_srv: false }
    }

    /// Asks once.
    pub(super) async fn look_up(&mut self, upstream: &Upstream) -> Result<Found, LookupError> {
        let now = Instant::now();
        if let Some(kept) = self.kept.take_if(|kept| kept.until.is_none_or(|until| now < until)) {
            match self.ask_all(upstream, std::slice::from_ref(&kept.name), Some(&kept)).await {
                // It has vanished: every candidate has its chance again.
                Err(LookupError::NotFound { .. }) => {}
                outcome => {
                    self.kept.get_or_insert(kept);
                    return outcome;
                }
            }
        }
        let candidates = upstream.system.candidates(&self.name);
        if candidates.is_empty() {
            return Err(LookupError::BadName { name: self.name.clone() });
        }
        self.ask_all(upstream, &candidates, None).await
    }

    async fn ask_all(
        &mut self,
        upstream: &Upstream,
        names: &[Name],
        kept: Option<&Kept>,
    ) -> Result<Found, LookupError> {
        let srv_failure = match self.ask_srv(upstream, names).await {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {
                self.has_srv = false;
                None
            }
            Err(error) if self.has_srv => return Err(error),
            Err(error) => Some(error),
        };
        for name in names {
            let peers = peers::from_addresses(&upstream.addresses(name).await?, self.raft_port);
            if !peers.is_empty() {
                let until = kept.and_then(|kept| kept.until).unwrap_or_else(|| Instant::now() + BARE_KEPT_FOR);
                self.kept = Some(Kept { name: name.clone(), until: Some(until) });
                return Ok(found(peers, name));
            }
        }
        Err(srv_failure.unwrap_or_else(|| not_found(names)))
    }

    async fn ask_srv(&mut self, upstream: &Upstream, names: &[Name]) -> Result<Option<Found>, LookupError> {
        for name in names {
            let Some(srv_name) = srv_name(name) else { continue };
            if let Answer::Records(records) = upstream.query(&srv_name, RecordType::SRV).await? {
                let peers = peers::from_srv(&records);
                if !peers.is_empty() {
                    self.has_srv = true;
                    self.kept = Some(Kept { name: name.clone(), until: None });
                    return Ok(Some(found(peers, name)));
                }
            }
        }
        Ok(None)
    }
}

/// `None`: the name is too long to have one.
fn srv_name(name: &Name) -> Option<Name> {
    Name::from_ascii(SRV_PREFIX).and_then(|prefix| prefix.append_domain(name)).ok()
}

fn found(peers: Vec<Peer>, name: &Name) -> Found {
    let (peers, left_out) = peers::bounded(peers);
    Found { peers, left_out, name: name.clone() }
}

fn not_found(names: &[Name]) -> LookupError {
    let asked: Vec<String> =
        names.iter().map(|name| format!("SRV {SRV_PREFIX}.{name} and no A or AAAA {name}")).collect();
    LookupError::NotFound { asked: asked.join(", no ") }
}
