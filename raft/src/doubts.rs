//! Doubts about a group that is not confirmed in time: the I/O around [`crate::abandon`].

use std::collections::BTreeSet;
use std::time::Instant;

use futures_util::future::join_all;

use crate::contacts::{Contact, Contacts};
use crate::hello::ask;
use crate::instance::{Instance, Work};
use crate::network::{Hello, Transport};
use crate::rt::now;
use crate::rules::{Rule, holds};
use crate::shared::Shared;
use crate::store::{ClusterId, LogStore, Standing};
use crate::tasks::{Done, metrics};
use crate::types::Raft;
use crate::view::RaftView;
use crate::{Member, NodeId, abandon};

impl<T: Transport> Instance<T> {
    /// A group that is not confirmed in time may never be: then this member starts anew.
    pub(crate) fn doubt(&mut self, view: &RaftView, now: Instant) {
        let shared = self.parts.shared.clone();
        let Standing::Joined(cluster) = shared.identity().standing else { return };
        if self.data().formed || self.parts.log.holds_confirmation() {
            self.unconfirmed = None;
            return;
        }
        let since = *self.unconfirmed.get_or_insert(now);
        let (period, freshness) = (shared.timing().hello_period(), shared.timing().hello_freshness());
        let busy = self.under_way.contains(&Work::Change) || self.under_way.contains(&Work::Abandon);
        if busy || now.saturating_duration_since(since) < abandon::patience(period, shared.timing().quarantine()) {
            return;
        }
        let doubts = Doubts { raft: self.parts.raft.clone(), shared, log: self.parts.log.clone(), cluster };
        let recent = now.checked_sub(freshness).unwrap_or(now);
        if doubts.lost_cause(view, &doubts.shared.contacts(), recent).is_some() {
            let transport = self.parts.transport.clone();
            self.start(Work::Abandon, async move { doubts.run(&transport).await });
        }
    }
}

/// A member's doubts about a group that is not confirmed.
struct Doubts {
    raft: Raft,
    shared: Shared,
    log: LogStore,
    cluster: ClusterId,
}

impl Doubts {
    fn lost_cause(&self, view: &RaftView, contacts: &Contacts, heard_since: Instant) -> Option<String> {
        let led = self.shared.leader_heard().is_some_and(|heard| heard.at >= heard_since);
        abandon::lost_cause(&abandon::Situation {
            view,
            cluster: self.cluster,
            contacts,
            holds_entries: self.log.holds_entries(),
            led,
            heard_since,
        })
    }

    /// Stops to answer, asks the founding members, and leaves if they confirm that the cause is lost.
    async fn run(self, transport: &impl Transport) -> Done {
        let asked_at = now();
        if holds(Rule::SilentBeforeLeaving) {
            self.shared.set_silent(true);
        }
        let view = RaftView::new(&metrics(&self.raft));
        let others = view.nodes.iter().filter(|(id, _)| **id != view.id);
        let answers = join_all(others.map(|(id, member)| self.ask(*id, member, transport))).await;
        // A call may have been on its way for long: only an answer is newer than the silence.
        let mut contacts = Contacts::default();
        if holds(Rule::LeaveOnAnswers) {
            answers.into_iter().flatten().for_each(|hello| contacts.called(hello, None, now()));
        } else {
            contacts.clone_from(&self.shared.contacts());
        }
        let view = RaftView::new(&metrics(&self.raft));
        let cause = self.lost_cause(&view, &contacts, asked_at).filter(|_| !self.log.holds_confirmation());
        if let Some(why) = cause {
            // Silent until it has started anew.
            return Done::LostCause(format!("the group {} can never be confirmed: {why}", self.cluster));
        }
        self.shared.set_silent(false);
        Done::Finished(Work::Abandon)
    }

    /// What answers wherever a member may be: with a new disk it may have another address too.
    async fn ask(&self, id: NodeId, member: &Member, transport: &impl Transport) -> Vec<Hello> {
        let contacts = self.shared.contacts();
        let successor = contacts.by_name(&member.name).map(Contact::addresses).unwrap_or_default();
        let mut addresses = BTreeSet::from_iter(successor);
        addresses.extend(contacts.addresses_of(id, member));
        addresses.insert(member.raft_address.clone());
        let mut answers = Vec::new();
        for address in addresses {
            answers.extend(ask(&self.shared, transport, &address).await);
        }
        answers
    }
}
