//! The only way other threads talk with the group: watch channels out, a bounded queue of requests in.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use crate::observer::Observer;
use crate::state::clip;
use crate::{GroupStatus, Leadership, NodeId};

/// Requests that may wait for the group at once; more callers wait for a place.
const REQUESTS_MAX: usize = 16;
/// Longest digest, in bytes; it goes to every member with each hello.
pub const DIGEST_BYTES_MAX: usize = 4096;

/// Whether this member can do the leader's work now, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Eligibility {
    /// It can.
    pub eligible: bool,
    /// It could do so without losing anything that the present leader has not finished: a handover prefers such members.
    pub prepared: bool,
    /// One sentence for people.
    pub reason: String,
}

/// A request to the group; the sender gets the answer when it is done.
#[derive(Debug)]
pub enum Request {
    /// Give leadership to the best eligible member: latch the term durably, transfer, watch, try the next best.
    HandOver {
        /// One sentence for ledger and logs.
        reason: String,
        /// Answered once another member leads (its name).
        reply: oneshot::Sender<Result<String, CommandError>>,
    },
    /// Become a blank member with a new node id: the way out after a majority is lost for good.
    Recover {
        /// Answered with the new node id.
        reply: oneshot::Sender<Result<NodeId, CommandError>>,
    },
    /// Set a replicated value; only the leader can.
    Publish {
        /// Key, at most [`crate::state::VALUE_BYTES_MAX`] bytes.
        key: String,
        /// Value, likewise; empty: take the key away.
        value: String,
        /// Answered once it is committed.
        reply: oneshot::Sender<Result<(), CommandError>>,
    },
    /// Remove a member by name from the membership.
    Remove {
        /// Its name.
        name: String,
        /// Answered once the change is committed.
        reply: oneshot::Sender<Result<NodeId, CommandError>>,
    },
}

/// Why a request was not carried out. Each message names the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Only the leader can do this.
    #[error("this member does not lead the group; ask the leader ({})", if leader.is_empty() { "none is known now" } else { leader })]
    NotLeader {
        /// The leader's name, or empty.
        leader: String,
    },
    /// Nobody could take over.
    #[error("no other member can take over: {0}")]
    NoTarget(String),
    /// The request breaks a rule of the group.
    #[error("{0}")]
    Refused(String),
    /// The outcome did not show in time; it may still happen.
    #[error("no outcome within {waited_ms} ms; it may still happen: look at `prometheus-elector status`")]
    TimedOut {
        /// How long it was waited for.
        waited_ms: u64,
    },
    /// The group has ended.
    #[error("the election group has stopped")]
    Stopped,
}

/// Handle of the group for the rest of the process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct GroupHandle {
    /// Who leads, and this member's authority. Pair it with [`Leadership::authority_deadline`].
    pub leadership: watch::Receiver<Leadership>,
    /// The group's status: at once when something changes, else twice a second.
    pub status: watch::Receiver<Arc<GroupStatus>>,
    /// The replicated values, by key.
    pub values: watch::Receiver<Arc<BTreeMap<String, String>>>,
    eligibility: Arc<watch::Sender<Eligibility>>,
    digest: Arc<watch::Sender<String>>,
    requests: mpsc::Sender<Request>,
}

/// The group's ends of the channels in a [`GroupHandle`]; tests hold them in the group's place.
#[derive(Debug)]
pub struct GroupEnds {
    /// Publishes leadership.
    pub leadership: watch::Sender<Leadership>,
    /// Publishes the status.
    pub status: watch::Sender<Arc<GroupStatus>>,
    /// Publishes the replicated values.
    pub values: watch::Sender<Arc<BTreeMap<String, String>>>,
    /// Tells whether this member can lead.
    pub eligibility: watch::Receiver<Eligibility>,
    /// What this member tells the others beside the group's business.
    pub digest: watch::Receiver<String>,
    /// Requests in order.
    pub requests: mpsc::Receiver<Request>,
    /// Told what the group's thread sees; nothing at first.
    pub observer: Arc<dyn Observer>,
}

impl GroupHandle {
    /// A handle and the group's ends of it.
    pub fn new() -> (Self, GroupEnds) {
        let (leadership_tx, leadership) = watch::channel(Leadership::default());
        let (status_tx, status) = watch::channel(Arc::new(GroupStatus::default()));
        let (values_tx, values) = watch::channel(Arc::default());
        let (eligibility, eligibility_rx) =
            watch::channel(Eligibility { reason: "starting".into(), ..Eligibility::default() });
        let (digest, digest_rx) = watch::channel(String::new());
        let (requests, requests_rx) = mpsc::channel(REQUESTS_MAX);
        (
            Self { leadership, status, values, eligibility: Arc::new(eligibility), digest: Arc::new(digest), requests },
            GroupEnds {
                leadership: leadership_tx,
                status: status_tx,
                values: values_tx,
                eligibility: eligibility_rx,
                digest: digest_rx,
                requests: requests_rx,
                observer: Arc::new(()),
            },
        )
    }

    /// Says whether this member can do the leader's work. A leader that cannot hands over if another one can.
    pub fn set_eligibility(&self, mut eligibility: Eligibility) {
        eligibility.reason = clip(&eligibility.reason);
        self.eligibility.send_if_modified(|current| {
            let changed = *current != eligibility;
            *current = eligibility;
            changed
        });
    }

    /// What the other members' status shows of this one, beside the group's business: text that the group carries and does
    /// not read. It goes out with the next hello, about once a second; one that is longer than [`DIGEST_BYTES_MAX`] is not
    /// told at all.
    pub fn set_digest(&self, digest: String) {
        self.digest.send_replace(if digest.len() <= DIGEST_BYTES_MAX { digest } else { String::new() });
    }

    /// Hands leadership over; see [`Request::HandOver`]. Returns the new leader's name.
    pub async fn hand_over(&self, reason: impl Into<String>) -> Result<String, CommandError> {
        let reason = clip(&reason.into());
        self.ask(|reply| Request::HandOver { reason, reply }).await
    }

    /// Removes a member; see [`Request::Remove`]. Returns the removed node id.
    pub async fn remove(&self, name: impl Into<String>) -> Result<NodeId, CommandError> {
        let name = name.into();
        self.ask(|reply| Request::Remove { name, reply }).await
    }

    /// Makes this member blank; see [`Request::Recover`]. Returns its new node id.
    pub async fn recover(&self) -> Result<NodeId, CommandError> {
        self.ask(|reply| Request::Recover { reply }).await
    }

    /// Sets a replicated value; see [`Request::Publish`].
    pub async fn publish(&self, key: impl Into<String>, value: impl Into<String>) -> Result<(), CommandError> {
        let (key, value) = (key.into(), value.into());
        self.ask(|reply| Request::Publish { key, value, reply }).await
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, CommandError>>) -> Request,
    ) -> Result<T, CommandError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| CommandError::Stopped)?;
        answer.await.unwrap_or(Err(CommandError::Stopped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_that_is_too_long_is_not_told_at_all() {
        let (handle, ends) = GroupHandle::new();
        let longest = "x".repeat(DIGEST_BYTES_MAX);
        handle.set_digest(longest.clone());
        assert_eq!(*ends.digest.borrow(), longest);
        handle.set_digest(longest + "x");
        assert_eq!(*ends.digest.borrow(), "");
    }
}
