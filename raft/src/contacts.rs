//! What this member knows of the others at first hand: their last word, and when it came.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::NodeId;
use crate::network::Hello;

/// Contacts that are kept at once; discovery is bounded below that.
const CONTACTS_MAX: usize = 256;

/// The last word of one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contact {
    pub(crate) hello: Hello,
    pub(crate) heard_at: Instant,
}

impl Contact {
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
    pub(crate) fn heard(&mut self, hello: Hello, now: Instant) {
        if self.by_name.len() >= CONTACTS_MAX && !self.by_name.contains_key(&hello.member.name) {
            let oldest = self.by_name.iter().min_by_key(|(_, contact)| contact.heard_at);
            if let Some(name) = oldest.map(|(name, _)| name.clone()) {
                self.by_name.remove(&name);
            }
        }
        self.by_name.insert(hello.member.name.clone(), Contact { hello, heard_at: now });
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
