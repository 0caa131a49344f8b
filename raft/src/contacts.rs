//! What this member knows of the others at first hand: their last word, and when it came.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::NodeId;
use crate::network::Hello;
use crate::state::clip;

/// Contacts that are kept at once; discovery is bounded below that.
const CONTACTS_MAX: usize = 256;

/// The last word of one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contact {
    pub(crate) hello: Hello,
    pub(crate) heard_at: Instant,
    /// Where its newest call came from: DNS may name an old address for as long as caches hold it.
    pub(crate) called_from: Option<IpAddr>,
}

impl Contact {
    /// Where its Raft listener may be reached, the advertised address first.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let advertised = self.hello.member.raft_address.clone();
        let port = advertised.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        let observed = self.called_from.zip(port).map(|(ip, port)| SocketAddr::new(ip, port).to_string());
        let observed = observed.filter(|address| *address != advertised);
        [advertised].into_iter().chain(observed).collect()
    }

    /// Age of the word.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.heard_at)
    }

    /// How long the member has been up by now.
    pub(crate) fn uptime(&self, now: Instant) -> Duration {
        Duration::from_millis(self.hello.uptime_ms) + self.age(now)
    }
}

/// All contacts, by member name; the newest word under a name counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contacts {
    by_name: BTreeMap<String, Contact>,
}

impl Contacts {
    /// Notes a word.
    pub(crate) fn heard(&mut self, mut hello: Hello, caller: Option<IpAddr>, now: Instant) {
        hello.eligibility_reason = clip(&hello.eligibility_reason);
        if self.by_name.len() >= CONTACTS_MAX && !self.by_name.contains_key(&hello.member.name) {
            let oldest = self.by_name.iter().min_by_key(|(_, contact)| contact.heard_at);
            if let Some(name) = oldest.map(|(name, _)| name.clone()) {
                self.by_name.remove(&name);
            }
        }
        let known = self.by_name.get(&hello.member.name);
        let same = known.filter(|known| known.hello.incarnation == hello.incarnation);
        let called_from = caller.or(same.and_then(|known| known.called_from));
        self.by_name.insert(hello.member.name.clone(), Contact { hello, heard_at: now, called_from });
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<&Contact> {
        self.by_name.get(name)
    }

    pub(crate) fn by_id(&self, id: NodeId) -> Option<&Contact> {
        self.by_name.values().find(|contact| contact.hello.node_id == id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Contact> {
        self.by_name.values()
    }
}
