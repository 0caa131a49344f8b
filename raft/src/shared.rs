//! State that the group's task, the endpoint and the Raft clients share within the group's thread.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex as AsyncMutex, watch};

use crate::contacts::Contacts;
use crate::network::{Call, Hello, Message, Party, Refusals, sentence};
use crate::observer::{Observer, Side};
use crate::rt::{self, now};
use crate::rules::{Rule, holds};
use crate::state::clip;
use crate::store::{ClusterId, Identity, Write, Writer};
use crate::timing::Timing;
use crate::types::Raft;
use crate::{Eligibility, GroupEnds, Member, NodeId};

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Inner>);

struct Inner {
    group_name: String,
    member: Member,
    timing: Timing,
    incarnation: u64,
    writer: Writer,
    identity: watch::Sender<Arc<Identity>>,
    identity_update: AsyncMutex<()>,
    eligibility: watch::Receiver<Eligibility>,
    observer: Arc<dyn Observer>,
    digest: watch::Receiver<String>,
    volatile: Mutex<Volatile>,
}

struct Volatile {
    started: Instant,
    contacts: Arc<Contacts>,
    refusals: Refusals,
    leader_heard: Option<LeaderHeard>,
    raft: Option<Raft>,
    /// It answers no Raft call now: it is about to leave its unconfirmed group.
    silent: bool,
}

/// The newest accepted word of a leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeaderHeard {
    pub(crate) term: u64,
    pub(crate) leader: NodeId,
    pub(crate) at: Instant,
}

impl Shared {
    pub(crate) fn new(
        group_name: String,
        member: Member,
        timing: Timing,
        identity: Identity,
        writer: Writer,
        ends: &GroupEnds,
    ) -> Self {
        Self(Arc::new(Inner {
            group_name,
            member,
            timing,
            incarnation: rt::random(),
            writer,
            identity: watch::Sender::new(Arc::new(identity)),
            identity_update: AsyncMutex::new(()),
            eligibility: ends.eligibility.clone(),
            observer: ends.observer.clone(),
            digest: ends.digest.clone(),
            volatile: Mutex::new(Volatile {
                started: now(),
                contacts: Arc::default(),
                refusals: Refusals::default(),
                leader_heard: None,
                raft: None,
                silent: false,
            }),
        }))
    }

    fn volatile(&self) -> MutexGuard<'_, Volatile> {
        self.0.volatile.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn group_name(&self) -> &str {
        &self.0.group_name
    }

    pub(crate) fn member(&self) -> &Member {
        &self.0.member
    }

    pub(crate) fn timing(&self) -> &Timing {
        &self.0.timing
    }

    pub(crate) fn observer(&self) -> &dyn Observer {
        self.0.observer.as_ref()
    }

    pub(crate) fn identity(&self) -> Arc<Identity> {
        self.0.identity.borrow().clone()
    }

    pub(crate) fn node_id(&self) -> NodeId {
        self.0.identity.borrow().node_id
    }

    /// Changes the identity: decided on a copy, durable first, then visible. Nothing is written if `change` refuses or
    /// changes nothing.
    pub(crate) async fn update_identity<E>(
        &self,
        change: impl FnOnce(&mut Identity) -> Result<(), E>,
    ) -> io::Result<Result<(), E>> {
        let _one_at_a_time = self.0.identity_update.lock().await;
        let before = self.identity();
        let mut after = Identity::clone(&before);
        if let Err(refusal) = change(&mut after) {
            return Ok(Err(refusal));
        }
        if after != *before {
            self.0.writer.write(Write::Identity(after.clone())).await?;
            self.0.identity.send_replace(Arc::new(after));
        }
        Ok(Ok(()))
    }

    /// Starts anew as another, blank member: everything else on the disk is deleted.
    pub(crate) async fn reset(&self, was_removed: bool) -> io::Result<()> {
        let _one_at_a_time = self.0.identity_update.lock().await;
        let fresh = Identity { was_removed, ..Identity::new() };
        self.0.writer.write(Write::Reset(fresh.clone())).await?;
        self.0.identity.send_replace(Arc::new(fresh));
        let mut volatile = self.volatile();
        volatile.started = now();
        volatile.leader_heard = None;
        volatile.silent = false;
        Ok(())
    }

    pub(crate) fn uptime(&self) -> Duration {
        now().saturating_duration_since(self.volatile().started)
    }

    /// Whether this member may have forgotten a lease that it granted before it started.
    pub(crate) fn in_quarantine(&self) -> bool {
        holds(Rule::Quarantine) && self.uptime() < self.0.timing.quarantine()
    }

    pub(crate) fn raft(&self) -> Option<Raft> {
        self.volatile().raft.clone()
    }

    pub(crate) fn set_raft(&self, raft: Option<Raft>) {
        self.volatile().raft = raft;
    }

    /// Whether Raft calls are answered now.
    pub(crate) fn is_silent(&self) -> bool {
        self.volatile().silent
    }

    pub(crate) fn set_silent(&self, silent: bool) {
        self.volatile().silent = silent;
    }

    /// A message from this member.
    pub(crate) fn message(&self, call: Call) -> Message {
        Message::new(&self.0.group_name, self.node_id(), call)
    }

    pub(crate) fn hello(&self) -> Hello {
        let identity = self.identity();
        let eligibility = self.0.eligibility.borrow().clone();
        Hello {
            member: self.0.member.clone(),
            node_id: identity.node_id,
            incarnation: self.0.incarnation,
            standing: identity.standing,
            founds: !(identity.was_removed && holds(Rule::RemovedNeverFounds)),
            uptime_ms: u64::try_from(self.uptime().as_millis()).unwrap_or(u64::MAX),
            eligible: eligibility.eligible && !self.0.member.witness,
            prepared: eligibility.prepared && !self.0.member.witness,
            eligibility_reason: eligibility.reason,
            digest: self.0.digest.borrow().clone(),
            seen: BTreeMap::new(),
        }
    }

    /// This member's word, for another one.
    pub(crate) fn introduction(&self) -> Hello {
        if !holds(Rule::TellAddresses) {
            return self.hello();
        }
        let seen = self.contacts().seen(self.timing().hello_freshness(), now());
        Hello { seen, ..self.hello() }
    }

    /// Notes the word of another member that called.
    pub(crate) fn called(&self, hello: Hello, caller: Option<IpAddr>) {
        if hello.node_id != self.node_id() {
            Arc::make_mut(&mut self.volatile().contacts).called(hello, caller.map(|ip| ip.to_canonical()), now());
        }
    }

    /// Notes the word of another member that answered at an address.
    pub(crate) fn answered(&self, hello: Hello, address: &str) {
        if hello.node_id != self.node_id() {
            Arc::make_mut(&mut self.volatile().contacts).answered(hello, address, now());
        }
    }

    /// Notes where a call of the group came from.
    pub(crate) fn call_came_from(&self, id: NodeId, caller: IpAddr) {
        let (caller, mut volatile) = (caller.to_canonical(), self.volatile());
        if volatile.contacts.by_id(id).is_some_and(|contact| !contact.calls_from(caller)) {
            Arc::make_mut(&mut volatile.contacts).call_came_from(id, caller);
        }
    }

    /// Notes that a member has promised itself to a group.
    pub(crate) fn promised(&self, id: NodeId, cluster: ClusterId) {
        Arc::make_mut(&mut self.volatile().contacts).promised(id, cluster);
    }

    /// Notes a refusal, and logs it when it is news.
    pub(crate) fn refused(&self, party: Party, why: &str) {
        let why = clip(why);
        let text = sentence(&party, &why);
        if self.refusals(|refusals, now| refusals.note(party, &why, now)) {
            tracing::warn!("{text}");
        }
    }

    /// Looks at who refuses whom.
    pub(crate) fn refusals<R>(&self, look: impl FnOnce(&mut Refusals, Instant) -> R) -> R {
        look(&mut self.volatile().refusals, now())
    }

    pub(crate) fn contacts(&self) -> Arc<Contacts> {
        self.volatile().contacts.clone()
    }

    pub(crate) fn heard_leader(&self, term: u64, leader: NodeId) {
        let heard = LeaderHeard { term, leader, at: now() };
        let before = self.volatile().leader_heard.replace(heard);
        if let Some(before) = before.filter(|before| (before.term, before.leader) == (term, leader)) {
            let since = heard.at.saturating_duration_since(before.at);
            self.observer().heartbeat(Side::Follower, since.saturating_sub(self.timing().retry_period));
        }
    }

    pub(crate) fn leader_heard(&self) -> Option<LeaderHeard> {
        self.volatile().leader_heard
    }
}
