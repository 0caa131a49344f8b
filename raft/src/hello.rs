//! Keeping in touch with everybody who is or may be a member.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::PeerSet;
use crate::instance::Instance;
use crate::network::{Answer, Call, CallError, Hello, Refusal, Transport};
use crate::shared::Shared;
use crate::store::Identity;
use crate::tasks::Done;
use crate::view::RaftView;

/// Who has been greeted.
#[derive(Debug, Default)]
pub(crate) struct Greetings {
    /// When all are greeted next; `None`: now.
    due: Option<Instant>,
    /// Addresses at which a member was sought lately, and when.
    sought: BTreeMap<SocketAddr, Instant>,
}

impl Greetings {
    /// There is something to tell.
    pub(crate) fn are_due(&mut self) {
        self.due = None;
    }
}

impl<T: Transport> Instance<T> {
    /// Takes a new answer of discovery, and keeps the largest one durably (DESIGN.md, group rule 9).
    pub(crate) fn note_peers(&mut self, peers: PeerSet) {
        self.roster.answered(peers);
        let shared = self.parts.shared.clone();
        let before = shared.identity();
        if self.roster.most_seen(&before.peers_seen) == before.peers_seen {
            return;
        }
        let roster = self.roster.clone();
        self.tasks.spawn(async move {
            let change = |identity: &mut Identity| {
                identity.peers_seen = roster.most_seen(&identity.peers_seen);
                Ok::<(), std::convert::Infallible>(())
            };
            Done::PeersNoted(shared.update_identity(change).await.map(drop))
        });
    }

    /// More often while blank: a group should form as soon as it may.
    pub(crate) fn hello_period(&self) -> Duration {
        let timing = self.parts.shared.timing();
        if self.parts.shared.identity().standing.is_blank() { timing.hello_period() / 4 } else { timing.hello_period() }
    }

    /// Says hello to whoever is due.
    pub(crate) fn greet(&mut self, view: &RaftView, now: Instant) {
        if self.greetings.due.is_none_or(|due| now >= due) {
            self.greetings.due = Some(now + self.hello_period());
            self.say_hello(view, now);
        }
        self.seek(view, now);
    }

    /// To everybody that discovery lists or the membership holds, where it surely listens if that is known.
    fn say_hello(&mut self, view: &RaftView, now: Instant) {
        let shared = self.parts.shared.clone();
        self.roster.expects(view.nodes.values().map(|member| member.name.as_str()));
        let others = view.nodes.iter().filter(|(id, member)| {
            **id != view.id
                && member.name != shared.member().name
                && member.raft_address != shared.member().raft_address
        });
        let (contacts, freshness) = (shared.contacts(), shared.timing().hello_freshness());
        let advertised = others.map(|(_, member)| member.raft_address.as_str()).chain(self.roster.addresses());
        let dialled = |address: &str| {
            contacts.found(address, freshness, now).map_or_else(|| address.to_owned(), |at| at.to_string())
        };
        let calls: BTreeMap<String, String> =
            advertised.map(|address| (dialled(address), address.to_owned())).collect();
        for (dialled, address) in calls {
            self.say_hello_to(dialled, address);
        }
    }

    /// Where else members may be, at once: until a member is found, others may take false answers of DNS for it.
    fn seek(&mut self, view: &RaftView, now: Instant) {
        let shared = self.parts.shared.clone();
        let (period, freshness) = (shared.timing().hello_period(), shared.timing().hello_freshness());
        // Whoever is in no group yet knows no members, and a leader that it cannot find cannot add it.
        let is_blank = shared.identity().standing.is_blank();
        let is_member = |name: &str| view.nodes.values().any(|member| member.name == name);
        let missed = |name: &str| name != shared.member().name && (is_blank || is_member(name));
        self.greetings.sought.retain(|_, since| now.saturating_duration_since(*since) < period);
        for at in shared.contacts().elsewhere(missed, freshness, now) {
            if let Entry::Vacant(entry) = self.greetings.sought.entry(at) {
                entry.insert(now);
                self.say_hello_to(at.to_string(), at.to_string());
            }
        }
    }

    fn say_hello_to(&mut self, dialled: String, address: String) {
        let (shared, transport) = (self.parts.shared.clone(), self.parts.transport.clone());
        self.tasks.spawn(async move { hello(&shared, &transport, &dialled, address).await });
    }
}

/// Says hello to the member that is known by `address`, and listens at `dialled`.
pub(crate) async fn hello(shared: &Shared, transport: &impl Transport, dialled: &str, address: String) -> Done {
    match ask(shared, transport, dialled).await {
        Ok(hello) => Done::Hello { address, name: hello.member.name },
        Err(CallError::Refused(Refusal::OtherName(_))) => Done::Foreign { address },
        Err(error) => Done::Silent { address, why: error.to_string() },
    }
}

/// Says hello to an address, notes the answer and returns it.
pub(crate) async fn ask(shared: &Shared, transport: &impl Transport, address: &str) -> Result<Hello, CallError> {
    let message = shared.message(Call::Hello(Box::new(shared.introduction())));
    match transport.call(address, &message, shared.timing().hello_period()).await? {
        Answer::Hello(hello) => {
            shared.answered(Hello::clone(&hello), address);
            Ok(*hello)
        }
        _ => Err(CallError::Unreachable("it answers something else than was asked".into())),
    }
}
