//! The work that an instance starts: each a bounded piece of I/O that the pure modules decided on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use openraft::async_runtime::WatchReceiver;
use openraft::{ChangeMembers, ReadPolicy};
use tokio::sync::watch;

use crate::instance::Work;
use crate::membership::Change;
use crate::network::{Answer, Call, Transport, call_member};
use crate::rt::{self, now};
use crate::rules::{Rule, holds};
use crate::shared::Shared;
use crate::state::Command;
use crate::store::{ClusterId, Standing};
use crate::types::{LogId, Metrics, Raft};
use crate::view::RaftView;
use crate::{Authority, CommandError, Leadership, LedgerEntry, NodeId, handover};

/// Longest time for a change of the replicated state; past that its outcome is unknown here.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time for one promise or dismissal: it is durable before it is answered.
const PROMISE_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause after a failed formation or change.
const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// Longest time that a handover is pursued before its caller hears of a failure.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(5);
/// Shortest wait for the outcome of one transfer.
const TRANSFER_WAIT_MIN: Duration = Duration::from_millis(50);

/// What a piece of work came to.
#[derive(Debug)]
pub(crate) enum Done {
    /// Ended, one way or the other; the next look decides anew.
    Finished(Work),
    /// The group that this member waits for can never be confirmed.
    LostCause(String),
    /// A handover has ended: the new leader's name.
    HandedOver(Result<String, CommandError>),
    /// Leadership was confirmed in this term.
    Confirmed(u64),
    /// The largest set of peers is on the disk.
    PeersNoted(std::io::Result<()>),
    /// A possible member answered.
    Hello { address: String, name: String },
    /// A member of another election answered.
    Foreign { address: String },
    /// Nobody answered, or in words that are not known.
    Silent { address: String, why: String },
    /// A request was answered.
    Answered,
}

pub(crate) fn metrics(raft: &Raft) -> Metrics {
    raft.metrics().borrow_watched().clone()
}

/// Proposes a command and waits until it is committed.
pub(crate) async fn write(raft: &Raft, command: Command) -> Result<(), CommandError> {
    match rt::timeout(WRITE_TIMEOUT, raft.client_write(command)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(CommandError::Refused(error.to_string())),
        Err(_) => Err(timed_out(WRITE_TIMEOUT)),
    }
}

fn timed_out(after: Duration) -> CommandError {
    CommandError::TimedOut { waited_ms: u64::try_from(after.as_millis()).unwrap_or(u64::MAX) }
}

/// Confirms leadership of a term with a read barrier: openraft still says leader right after a transfer. Then writes the
/// term into the ledger.
pub(crate) async fn confirm(raft: &Raft, shared: &Shared, term: u64) -> Done {
    match raft.ensure_linearizable(ReadPolicy::ReadIndex).await {
        Ok(_) if metrics(raft).current_term == term => {}
        Ok(_) | Err(_) => {
            // It may fail at once, and is tried again at once.
            rt::sleep(shared.timing().retry_period / 4).await;
            return Done::Finished(Work::Confirm);
        }
    }
    let entry = LedgerEntry {
        term,
        leader: shared.member().name.clone(),
        since_unix_ms: rt::unix_ms(),
        until_unix_ms: None,
        reason: "elected by a majority".into(),
    };
    let raft = raft.clone();
    rt::spawn(async move {
        if let Err(error) = write(&raft, Command::Lead(entry)).await {
            tracing::debug!(%error, "the ledger lacks this term");
        }
    });
    Done::Confirmed(term)
}

/// Forms the group: every founding member promises itself, then the group is initialized with all of them.
pub(crate) async fn form(raft: &Raft, shared: &Shared, transport: &impl Transport, others: &[String]) -> Done {
    if let Err(error) = try_form(raft, shared, transport, others).await {
        tracing::warn!(%error, "the group was not formed; trying again");
        rt::sleep(RETRY_PAUSE).await;
    }
    Done::Finished(Work::Form)
}

async fn try_form(raft: &Raft, shared: &Shared, transport: &impl Transport, others: &[String]) -> Result<(), String> {
    let cluster = ClusterId::random();
    set_standing(shared, Standing::Promised(cluster), Standing::is_blank).await?;
    let contacts = shared.contacts();
    let mut members = BTreeMap::from([(shared.node_id(), shared.member().clone())]);
    for name in others {
        let contact = contacts.by_name(name).ok_or_else(|| format!("{name} is gone"))?;
        members.insert(contact.hello.node_id, contact.hello.member.clone());
    }
    let promises = members.iter().filter(|(id, _)| **id != shared.node_id()).map(|(id, member)| async move {
        let call = Call::Promise { cluster, target: *id, founding: true };
        let promise = call_member(shared, transport, *id, member, call, PROMISE_TIMEOUT).await;
        promise.map_err(|error| format!("{} did not promise itself: {error}", member.name))
    });
    join_all(promises).await.into_iter().collect::<Result<Vec<Answer>, String>>()?;
    // Another candidate may have taken this member's own promise meanwhile.
    set_standing(shared, Standing::Joined(cluster), |own| own == Standing::Promised(cluster)).await?;
    let names: Vec<&str> = members.values().map(|member| member.name.as_str()).collect();
    tracing::info!(%cluster, members = %names.join(", "), "forming the group");
    raft.initialize(members).await.map_err(|error| error.to_string())
}

async fn set_standing(shared: &Shared, to: Standing, from: impl FnOnce(Standing) -> bool) -> Result<(), String> {
    let change = shared
        .update_identity(|identity| {
            if !from(identity.standing) {
                return Err(format!("this member is {:?} now", identity.standing));
            }
            identity.standing = to;
            Ok(())
        })
        .await;
    change.map_err(|error| error.to_string())?
}

/// Carries out one change of the membership. `as_of`: what was committed when it was decided.
pub(crate) async fn change(
    raft: &Raft,
    shared: &Shared,
    transport: &impl Transport,
    cluster: ClusterId,
    as_of: Option<LogId>,
    change: Change,
    reason: String,
) -> Done {
    let what = change.to_string();
    let result = rt::timeout(WRITE_TIMEOUT, async {
        // Only a leader that a majority confirms just now. A change reaches its members before it is committed: a member that
        // joins a group whose majority has been lost for good would be caught in it.
        if holds(Rule::ChangeBarrier) {
            raft.ensure_linearizable(ReadPolicy::ReadIndex).await.map_err(|error| error.to_string())?;
        }
        match change {
            Change::ConfirmFormed => {
                return write(raft, Command::Formed).await.map_err(|error| error.to_string());
            }
            Change::Dismiss(target, member) => {
                let as_of = as_of.ok_or("no entry of this term is committed yet")?;
                let call = Call::Dismiss { cluster, target, as_of };
                let answer = call_member(shared, transport, target, &member, call, PROMISE_TIMEOUT).await;
                return answer.map(drop).map_err(|error| error.to_string());
            }
            Change::AddLearner(target, ref member) => {
                let call = Call::Promise { cluster, target, founding: false };
                let promise = call_member(shared, transport, target, member, call, PROMISE_TIMEOUT).await;
                promise.map_err(|error| error.to_string())?;
                shared.promised(target, cluster);
            }
            _ => {}
        }
        let retain_as_learner = matches!(change, Change::Demote(_) | Change::Swap { .. } | Change::FinishJoint(_));
        raft.change_membership(members(change), retain_as_learner).await.map(drop).map_err(|error| error.to_string())
    })
    .await
    .unwrap_or_else(|_| Err("no outcome in time".into()));
    match result {
        Ok(()) => tracing::info!(change = %what, %reason, "membership"),
        Err(error) => {
            tracing::warn!(change = %what, %reason, %error, "membership: not done; trying again");
            rt::sleep(RETRY_PAUSE).await;
        }
    }
    Done::Finished(Work::Change)
}

/// The change in openraft's words.
fn members(change: Change) -> ChangeMembers<NodeId, crate::Member> {
    match change {
        Change::FinishJoint(voters) => ChangeMembers::ReplaceAllVoters(voters),
        Change::AddLearner(id, member) => ChangeMembers::AddNodes(BTreeMap::from([(id, member)])),
        Change::UpdateNode(id, member) => ChangeMembers::SetNodes(BTreeMap::from([(id, member)])),
        Change::Promote(id) => ChangeMembers::AddVoterIds(BTreeSet::from([id])),
        Change::Swap { old, new } => ChangeMembers::Batch(vec![
            ChangeMembers::AddVoterIds(BTreeSet::from([new])),
            ChangeMembers::RemoveVoters(BTreeSet::from([old])),
        ]),
        Change::Demote(id) => ChangeMembers::RemoveVoters(BTreeSet::from([id])),
        Change::Drop(id) => ChangeMembers::RemoveNodes(BTreeSet::from([id])),
        // Not changes of the membership; handled before.
        Change::ConfirmFormed | Change::Dismiss(..) => ChangeMembers::Batch(Vec::new()),
    }
}

/// Removes a member by hand: keeps this process of it out, takes its vote, drops it.
pub(crate) async fn remove(
    raft: &Raft,
    id: NodeId,
    name: String,
    incarnation: Option<u64>,
) -> Result<NodeId, CommandError> {
    if let Some(incarnation) = incarnation {
        write(raft, Command::Bar { name: name.clone(), incarnation }).await?;
    }
    let changes = [(Change::Demote(id), true), (Change::Drop(id), false)];
    for (change, retain) in changes {
        if matches!(change, Change::Demote(_)) && !RaftView::new(&metrics(raft)).is_voter(id) {
            continue;
        }
        match rt::timeout(WRITE_TIMEOUT, raft.change_membership(members(change), retain)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(CommandError::Refused(error.to_string())),
            Err(_) => return Err(timed_out(WRITE_TIMEOUT)),
        }
    }
    tracing::info!(member = %name, %id, "removed by hand");
    Ok(id)
}

/// Giving leadership away: latch, transfer, watch, next-best target.
pub(crate) struct HandOver {
    pub(crate) raft: Raft,
    pub(crate) shared: Shared,
    pub(crate) leadership: watch::Sender<Leadership>,
    pub(crate) term: u64,
    pub(crate) reason: String,
}

/// What has become of one term's handover.
enum Passed {
    /// This member leads.
    To(String),
    /// It came back, in this term: from a witness, or from a member that had not heard yet why it was given away.
    Back(u64),
}

impl HandOver {
    /// Returns the new leader's name.
    pub(crate) async fn run(mut self) -> Result<String, CommandError> {
        let deadline = now() + self.shared.timing().quarantine() + HANDOVER_TIMEOUT;
        loop {
            match self.pass_on(deadline).await? {
                Passed::To(name) => return Ok(name),
                Passed::Back(term) => self.term = term,
            }
        }
    }

    async fn pass_on(&self, deadline: Instant) -> Result<Passed, CommandError> {
        let timing = *self.shared.timing();
        self.await_successor().await?;
        let acted = self.leadership.borrow().authority != Authority::None;
        if acted {
            let resign = Command::Resign { term: self.term, until_unix_ms: rt::unix_ms(), reason: self.reason.clone() };
            let _ = rt::timeout(timing.retry_period, self.raft.client_write(resign)).await;
        }
        if holds(Rule::Latch) {
            self.latch().await?;
        }
        let mut tried = BTreeSet::new();
        while now() < deadline {
            let view = RaftView::new(&metrics(&self.raft));
            if !view.is_leader() || view.term != self.term {
                return self.new_leader(deadline).await;
            }
            let contacts = self.shared.contacts();
            let successors = handover::Situation::new(&view, &contacts, &timing, now());
            let Some(target) = successors.best_eligible(&tried).or_else(|| successors.best(&tried)) else {
                tried.clear();
                rt::sleep(timing.retry_period).await;
                continue;
            };
            tried.insert(target);
            let _ = self.raft.trigger().transfer_leader(target).await;
            // Round trips stay below half a heartbeat, so this is at least three of them.
            let wait = TRANSFER_WAIT_MIN.max(timing.retry_period * 3 / 2);
            let mut watch = self.raft.metrics();
            let left = |metrics: &Metrics| !RaftView::new(metrics).is_leader();
            let _ =
                rt::timeout(wait, async { while !left(&watch.borrow_watched()) && watch.changed().await.is_ok() {} })
                    .await;
        }
        Err(timed_out(HANDOVER_TIMEOUT))
    }

    /// Before anything is given up: waits a moment for an eligible member that holds the newest entries and may vote again
    /// after its start. A leader that cannot act any more in this term waits for nobody.
    async fn await_successor(&self) -> Result<(), CommandError> {
        let timing = *self.shared.timing();
        let deadline = now() + timing.quarantine();
        loop {
            let view = RaftView::new(&metrics(&self.raft));
            let contacts = self.shared.contacts();
            let successors = handover::Situation::new(&view, &contacts, &timing, now());
            let nobody = BTreeSet::new();
            let gave_up = self.shared.identity().latched_term >= self.term;
            let cannot_act = self.shared.member().witness || gave_up || !view.is_voter(view.id);
            if cannot_act || successors.best_eligible(&nobody).is_some() {
                return Ok(());
            }
            if !successors.may_appear() || now() >= deadline {
                return Err(CommandError::NoTarget(successors.explain()));
            }
            rt::sleep(timing.retry_period / 4).await;
        }
    }

    /// Gives authority up for the whole term, durably, and publishes that before anything else happens (DESIGN.md,
    /// group rule 3).
    async fn latch(&self) -> Result<(), CommandError> {
        let term = self.term;
        let latched = self
            .shared
            .update_identity(|identity| {
                identity.latched_term = identity.latched_term.max(term);
                Ok::<(), std::convert::Infallible>(())
            })
            .await;
        if let Err(error) = latched {
            return Err(CommandError::Refused(format!("the latch could not be stored: {error}")));
        }
        self.leadership.send_if_modified(|leadership| {
            let acts = leadership.term <= term && leadership.authority != Authority::None;
            if acts {
                leadership.authority = Authority::None;
                leadership.leader = None;
                self.shared.observer().leadership(leadership);
            }
            acts
        });
        Ok(())
    }

    /// Waits until the new leader is known; a witness only passes leadership on.
    async fn new_leader(&self, deadline: Instant) -> Result<Passed, CommandError> {
        let mut leadership = self.leadership.subscribe();
        let term = self.term;
        let known = leadership.wait_for(|leadership| {
            leadership.term > term && leadership.leader.as_ref().is_some_and(|leader| !leader.member.witness)
        });
        match rt::timeout(deadline.saturating_duration_since(now()), known).await {
            Ok(Ok(leadership)) if leadership.leader.as_ref().is_some_and(|leader| leader.is_self) => {
                Ok(Passed::Back(leadership.term))
            }
            Ok(Ok(leadership)) => Ok(Passed::To(leadership.leader_name().to_owned())),
            Ok(Err(_)) => Err(CommandError::Stopped),
            Err(_) => Err(timed_out(HANDOVER_TIMEOUT)),
        }
    }
}
