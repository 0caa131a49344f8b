//! Doubts about a group that is not confirmed in time: the I/O around [`crate::abandon`].

use std::time::Instant;

use futures_util::future::join_all;

use crate::instance::{Instance, Work};
use crate::network::Transport;
use crate::rt::now;
use crate::rules::{Rule, holds};
use crate::shared::Shared;
use crate::store::{ClusterId, LogStore, Standing};
use crate::tasks::{self, Done, metrics};
use crate::types::Raft;
use crate::view::RaftView;
use crate::{NodeId, abandon};

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
        if doubts.lost_cause(view, recent).is_some() {
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
    fn lost_cause(&self, view: &RaftView, heard_since: Instant) -> Option<String> {
        let led = self.shared.leader_heard().is_some_and(|heard| heard.at >= heard_since);
        abandon::lost_cause(&abandon::Situation {
            view,
            cluster: self.cluster,
            contacts: &self.shared.contacts(),
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
        join_all(others.map(|(id, member)| self.ask(*id, member, transport))).await;
        let view = RaftView::new(&metrics(&self.raft));
        let cause = self.lost_cause(&view, asked_at).filter(|_| !self.log.holds_confirmation());
        if let Some(why) = cause {
            // Silent until it has started anew.
            return Done::LostCause(format!("the group {} can never be confirmed: {why}", self.cluster));
        }
        self.shared.set_silent(false);
        Done::Finished(Work::Abandon)
    }

    async fn ask(&self, id: NodeId, member: &crate::Member, transport: &impl Transport) {
        let mut addresses = self.shared.addresses_of(id);
        addresses.push(member.raft_address.clone());
        for address in addresses {
            tasks::hello(&self.shared, transport, address).await;
        }
    }
}
