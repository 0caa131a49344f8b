//! Keeping in touch with everybody who is or may be a member.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::PeerSet;
use crate::instance::Instance;
use crate::network::Transport;
use crate::store::Identity;
use crate::tasks::{self, Done};
use crate::view::RaftView;

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

    /// To everybody that discovery lists or the membership holds.
    pub(crate) fn say_hello(&mut self, view: &RaftView) {
        let shared = self.parts.shared.clone();
        self.roster.expects(view.nodes.values().map(|member| member.name.as_str()));
        let others = view.nodes.iter().filter(|(id, member)| {
            **id != view.id
                && member.name != shared.member().name
                && member.raft_address != shared.member().raft_address
        });
        let addresses: BTreeSet<String> = others
            .map(|(_, member)| member.raft_address.clone())
            .chain(self.roster.addresses().map(String::from))
            .collect();
        for address in addresses {
            let (shared, transport) = (shared.clone(), self.parts.transport.clone());
            self.tasks.spawn(async move { tasks::hello(&shared, &transport, address).await });
        }
    }
}
