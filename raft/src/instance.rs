//! One life of this member as one node id: the loop that watches openraft, publishes leadership, and starts the work
//! that the pure modules decide on. At most one piece of each kind of work is under way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use openraft::async_runtime::WatchReceiver;
use tokio::sync::{mpsc, oneshot, watch};

use crate::hello::Greetings;
use crate::leadership::{Local, assess};
use crate::network::{Dismissal, Transport};
use crate::observer::Acknowledged;
use crate::roster::Roster;
use crate::rt::{self, now};
use crate::rules::{Rule, holds};
use crate::shared::Shared;
use crate::state::GroupData;
use crate::store::{LogStore, Standing};
use crate::tasks::{self, Done};
use crate::types::Raft;
use crate::view::{Nodes, RaftView};
use crate::{
    Authority, CommandError, GroupEnds, GroupStatus, Leadership, NodeId, Now, PeerSet, formation, handover, membership,
    report,
};

/// Time between two publications of a status in which only ages have changed.
const STATUS_PERIOD: Duration = Duration::from_millis(500);

/// What an instance is made of.
pub(crate) struct Parts<T> {
    pub(crate) shared: Shared,
    pub(crate) raft: Raft,
    pub(crate) transport: T,
    pub(crate) log: LogStore,
    pub(crate) data: watch::Receiver<Arc<GroupData>>,
    pub(crate) bootstrap_expect: usize,
    pub(crate) leadership: watch::Sender<Leadership>,
    pub(crate) status: watch::Sender<Arc<GroupStatus>>,
    pub(crate) values: watch::Sender<Arc<BTreeMap<String, String>>>,
}

/// Why an instance ended.
#[derive(Debug)]
pub(crate) enum Exit {
    /// The process is stopping.
    Stopped,
    /// openraft ended.
    Failed(String),
    /// This member starts anew as another one.
    Reset {
        /// One sentence.
        why: String,
        /// The group goes on without it.
        removed: bool,
        /// Whoever asked for it.
        reply: Option<oneshot::Sender<Result<NodeId, CommandError>>>,
    },
}

/// Kinds of work of which at most one is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Work {
    Confirm,
    Change,
    HandOver,
    Form,
    Abandon,
}

pub(crate) struct Instance<T> {
    pub(crate) parts: Parts<T>,
    pub(crate) roster: Roster,
    pub(crate) reason: String,
    nodes: Nodes,
    confirmed_term: u64,
    suspended: Now,
    acks_void_before: Option<Instant>,
    pub(crate) acknowledged: Acknowledged,
    pub(crate) under_way: BTreeSet<Work>,
    /// Whoever waits for the outcome of the handover that is under way.
    pub(crate) handover_replies: Vec<oneshot::Sender<Result<String, CommandError>>>,
    pub(crate) tasks: rt::Tasks<Done>,
    /// Since when, in this term, every founding member of the unconfirmed group is known to have joined.
    all_joined: Option<(u64, Instant)>,
    /// Since when this member has waited for its group to be confirmed.
    pub(crate) unconfirmed: Option<Instant>,
    pub(crate) greetings: Greetings,
    /// When the status is published next, unless something that matters changes before.
    status_due: Instant,
    published: Option<report::Gist>,
    pub(crate) exit: Option<Exit>,
}

impl<T: Transport> Instance<T> {
    pub(crate) fn new(parts: Parts<T>) -> Self {
        Self {
            roster: Roster::new(parts.shared.member()),
            reason: "starting".into(),
            parts,
            nodes: Nodes::default(),
            confirmed_term: 0,
            suspended: Now::read(),
            acks_void_before: None,
            acknowledged: Acknowledged::default(),
            under_way: BTreeSet::new(),
            handover_replies: Vec::new(),
            tasks: rt::Tasks::new(),
            all_joined: None,
            unconfirmed: None,
            greetings: Greetings::default(),
            status_due: now(),
            published: None,
            exit: None,
        }
    }

    /// Runs until the process stops, openraft fails, or this member starts anew.
    pub(crate) async fn run(
        mut self,
        ends: &mut GroupEnds,
        peers: &mut watch::Receiver<PeerSet>,
        dismissals: &mut mpsc::Receiver<Dismissal>,
        mut stopped: watch::Receiver<bool>,
    ) -> Exit {
        let mut metrics = self.parts.raft.metrics();
        let mut tick = rt::interval(self.parts.shared.timing().retry_period);
        let listed = peers.borrow_and_update().clone();
        self.note_peers(listed);
        loop {
            let mut chores = true;
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stop| *stop) => return Exit::Stopped,
                changed = metrics.changed() => {
                    if changed.is_err() {
                        return Exit::Failed("openraft has ended".into());
                    }
                    chores = false; // several times a heartbeat: the tick does them
                }
                Ok(()) = self.parts.data.changed() => self.publish_values(),
                Some(done) = self.tasks.join_next() => match done {
                    Ok(done) => self.finished(done),
                    Err(error) => return Exit::Failed(error.to_string()),
                },
                Some(request) = ends.requests.recv() => self.request(request),
                Some(dismissal) = dismissals.recv() => {
                    if dismissal.node_id == self.parts.shared.node_id() {
                        return Exit::Reset { why: "removed from the group by its leader".into(), removed: true, reply: None };
                    }
                }
                Ok(()) = peers.changed() => {
                    let listed = peers.borrow_and_update().clone();
                    self.note_peers(listed);
                }
                Ok(()) = ends.eligibility.changed() => {
                    ends.eligibility.borrow_and_update();
                    self.greetings.are_due();
                }
                _ = tick.tick() => {}
            }
            let snapshot = metrics.borrow_watched().clone();
            if let Err(fatal) = &snapshot.running_state {
                return Exit::Failed(fatal.to_string());
            }
            let view = RaftView::with(&snapshot, &mut self.nodes);
            self.look(&view, chores);
            if let Some(exit) = self.exit.take() {
                return exit;
            }
        }
    }

    /// One look at everything: publish, then, with `chores`, start what is due.
    fn look(&mut self, view: &RaftView, chores: bool) {
        let now = Now::read();
        if now.slept_since(self.suspended.suspended) {
            tracing::warn!("the machine was suspended: what was acknowledged before counts no more");
            self.acks_void_before = Some(now.instant);
        }
        self.suspended = now;
        self.observe(view, now.instant);
        let local = self.local();
        let leadership = assess(view, &local, now);
        self.publish_leadership(&leadership);
        if local.may_confirm(view) && self.confirmed_term != view.term {
            let (raft, shared, term) = (self.parts.raft.clone(), self.parts.shared.clone(), view.term);
            self.start(Work::Confirm, async move { tasks::confirm(&raft, &shared, term).await });
        }
        if chores {
            self.do_chores(view, now.instant);
        }
        self.reason_for(view, &leadership);
        let gist = report::Gist::new(self, view, &leadership);
        if now.instant >= self.status_due || self.published.as_ref() != Some(&gist) {
            self.status_due = now.instant + STATUS_PERIOD;
            self.published = Some(gist);
            report::publish(self, view, &leadership, now);
        }
    }

    fn do_chores(&mut self, view: &RaftView, now: Instant) {
        let elections = !self.parts.shared.in_quarantine();
        self.parts.raft.runtime_config().elect(elections);
        if view.is_leader() && view.committed_own_term {
            self.lead(view, now);
        } else if self.parts.shared.identity().standing.is_blank() {
            self.form(now);
        }
        self.doubt(view, now);
        self.greet(view, now);
    }

    fn local(&self) -> Local {
        let shared = &self.parts.shared;
        Local {
            witness: shared.member().witness,
            latched_term: shared.identity().latched_term,
            confirmed_term: self.confirmed_term,
            formed: self.data().formed,
            leader_heard: shared.leader_heard(),
            acks_void_before: self.acks_void_before,
            renew_deadline: shared.timing().renew_deadline,
            lease_duration: shared.timing().lease_duration,
            contacts: shared.contacts(),
        }
    }

    pub(crate) fn data(&self) -> Arc<GroupData> {
        self.parts.data.borrow().clone()
    }

    fn publish_values(&self) {
        let values = self.data().values.clone();
        self.parts.values.send_if_modified(|current| {
            let changed = **current != values;
            if changed {
                *current = Arc::new(values);
            }
            changed
        });
    }

    /// A deadline that moved by less than half a heartbeat is kept back: earlier is safe, and every publication wakes
    /// the rest of the process.
    fn publish_leadership(&self, leadership: &Leadership) {
        let step = self.parts.shared.timing().retry_period / 2;
        self.parts.leadership.send_if_modified(|current| {
            let moved = match (current.authority, leadership.authority) {
                (Authority::Until { deadline: old, .. }, Authority::Until { deadline: new, .. }) => new >= old + step,
                (old, new) => old != new,
            };
            let changed = moved || (current.term, &current.leader) != (leadership.term, &leadership.leader);
            if changed {
                self.parts.shared.observer().leadership(leadership);
                current.clone_from(leadership);
            }
            changed
        });
    }

    /// The leader's duties: keep the membership in order, and hand over when it should not lead.
    fn lead(&mut self, view: &RaftView, now: Instant) {
        let shared = self.parts.shared.clone();
        let contacts = shared.contacts();
        if !self.under_way.contains(&Work::HandOver) {
            let successors = handover::Situation::new(view, &contacts, shared.timing(), now);
            if let Some(reason) = self.must_hand_over(view, &successors) {
                self.hand_over(view.term, reason);
            }
        }
        let Standing::Joined(cluster) = shared.identity().standing else { return };
        let busy = [Work::Change, Work::HandOver, Work::Abandon];
        if busy.iter().any(|work| self.under_way.contains(work)) {
            return;
        }
        let data = self.data();
        let joined = !data.formed && membership::all_joined(view);
        let since = self.all_joined.filter(|(term, _)| joined && *term == view.term);
        self.all_joined = since.or(joined.then_some((view.term, now)));
        let next = membership::next(&membership::Situation {
            view,
            contacts: &contacts,
            cluster,
            own_name: &shared.member().name,
            formed: data.formed,
            all_joined: self.all_joined.map(|(_, since)| since),
            barred: &data.barred,
            absent: &self.roster.absent(now),
            timing: shared.timing(),
            freshness: shared.timing().hello_freshness(),
            now,
        });
        if let Some((change, reason)) = next {
            let (raft, transport) = (self.parts.raft.clone(), self.parts.transport.clone());
            let as_of = view.local_committed.filter(|_| view.committed_own_term);
            self.start(Work::Change, async move {
                tasks::change(&raft, &shared, &transport, cluster, as_of, change, reason).await
            });
        }
    }

    /// Why this leader should not lead, if somebody else can.
    fn must_hand_over(&self, view: &RaftView, successors: &handover::Situation<'_>) -> Option<String> {
        let (nobody, shared) = (BTreeSet::new(), &self.parts.shared);
        let unable = [
            (shared.identity().latched_term >= view.term, "it gave authority up in this term"),
            (!view.is_voter(view.id), "it has no vote any more"),
            (shared.member().witness && holds(Rule::WitnessHandsOver), "a witness never acts"),
        ];
        if let Some((_, why)) = unable.into_iter().find(|(is_so, _)| *is_so) {
            return successors.best(&nobody).map(|_| why.to_owned());
        }
        let own = shared.hello();
        let unfit = holds(Rule::IneligibleHandsOver) && !own.eligible && successors.best_eligible(&nobody).is_some();
        unfit.then(|| format!("not eligible: {}", own.eligibility_reason))
    }

    pub(crate) fn hand_over(&mut self, term: u64, reason: String) {
        tracing::info!(term, %reason, "handing leadership over");
        let handover = tasks::HandOver {
            raft: self.parts.raft.clone(),
            shared: self.parts.shared.clone(),
            leadership: self.parts.leadership.clone(),
            term,
            reason,
        };
        self.start(Work::HandOver, async move { Done::HandedOver(handover.run().await) });
    }

    fn handed_over(&mut self, result: &Result<String, CommandError>) {
        self.under_way.remove(&Work::HandOver);
        match result {
            Ok(leader) => tracing::info!(%leader, "leadership was handed over"),
            Err(error) => tracing::warn!(%error, "leadership was not handed over"),
        }
        for reply in self.handover_replies.drain(..) {
            let _ = reply.send(result.clone());
        }
    }

    fn form(&mut self, now: Instant) {
        if self.under_way.contains(&Work::Form) {
            return;
        }
        let shared = self.parts.shared.clone();
        let contacts = shared.contacts();
        let step = formation::next(&formation::Situation {
            own_name: &shared.member().name,
            witness: shared.member().witness,
            own_uptime: shared.uptime(),
            founds: shared.hello().founds,
            names: &self.roster.names(),
            failures: &self.roster.unusable(),
            contacts: &contacts,
            bootstrap_expect: self.parts.bootstrap_expect,
            peers_seen_max: self.roster.most_seen(&shared.identity().peers_seen).len(),
            quarantine: shared.timing().quarantine(),
            freshness: shared.timing().hello_freshness(),
            now,
        });
        match step {
            formation::Step::Wait(reason) => self.set_reason(reason),
            formation::Step::Form { others } => {
                self.set_reason(format!("forming the group with {}", others.join(", ")));
                let (raft, transport) = (self.parts.raft.clone(), self.parts.transport.clone());
                self.start(Work::Form, async move { tasks::form(&raft, &shared, &transport, &others).await });
            }
        }
    }

    pub(crate) fn start(&mut self, work: Work, task: impl Future<Output = Done> + Send + 'static) {
        if self.under_way.insert(work) {
            self.tasks.spawn(task);
        }
    }

    fn finished(&mut self, done: Done) {
        match done {
            Done::Finished(work) => {
                self.under_way.remove(&work);
            }
            Done::LostCause(why) => self.exit = Some(Exit::Reset { why, removed: false, reply: None }),
            Done::HandedOver(result) => self.handed_over(&result),
            Done::Confirmed(term) => {
                self.under_way.remove(&Work::Confirm);
                self.confirmed_term = term;
            }
            Done::PeersNoted(Ok(())) | Done::Answered => {}
            Done::PeersNoted(Err(error)) => self.exit = Some(Exit::Failed(error.to_string())),
            Done::Hello { address, name } => self.roster.identified(address, name),
            Done::Foreign { address } => self.roster.is_foreign(address),
            Done::Silent { address, why } => self.roster.failed(address, &why),
        }
    }
}
