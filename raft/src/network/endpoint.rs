//! What a member answers. Checks first, then openraft.
//!
//! - what no correct member can have sent is refused ([`validate`]);
//! - another group's name, cluster id or node id is refused;
//! - in quarantine votes, pre-votes and transfers are refused (openraft counts a missing pre-vote as a grant, so it must
//!   be an error);
//! - the first vote or append in the promised group makes the member join it, durably, before openraft sees it.

use std::net::IpAddr;

use openraft::async_runtime::WatchReceiver;
use openraft::errors::RaftError;
use tokio::sync::mpsc;

use super::message::{Head, RaftCall, UNDERSTOOD};
use super::{Answer, Call, Hello, Message, Party, Refusal, Reply, validate};
use crate::NodeId;
use crate::rules::{Rule, holds};
use crate::shared::Shared;
use crate::store::{ClusterId, Standing};
use crate::types::{
    AppendRequest, AppendResponse, LogId, Raft, Snapshot, SnapshotResponse, StoredMembership, TypeConfig,
};

/// Word from the leader that this member has been removed.
#[derive(Debug)]
pub(crate) struct Dismissal {
    /// The node id that is no longer a member.
    pub(crate) node_id: NodeId,
}

/// The receiving side of one member.
#[derive(Clone)]
pub(crate) struct Endpoint {
    shared: Shared,
    dismissals: mpsc::Sender<Dismissal>,
}

impl Endpoint {
    /// Dismissals go to the group's task.
    pub(crate) fn new(shared: Shared, dismissals: mpsc::Sender<Dismissal>) -> Self {
        Self { shared, dismissals }
    }

    /// What the checks of a caller look at.
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Answers the bytes of one message, if `vouched` says that its caller is who it claims to be. An error: they are no
    /// message.
    pub(crate) async fn receive(
        &self,
        body: &[u8],
        caller: Option<IpAddr>,
        vouched: impl FnOnce(&Message) -> Result<(), Refusal>,
    ) -> serde_json::Result<Reply> {
        let head: Head = serde_json::from_slice(body)?;
        if let Err(refusal) = self.admit(&head) {
            self.tell(&refusal, head.from, caller);
            return Ok(Err(refusal)); // its call may be one that is not known here
        }
        let message: Message = serde_json::from_slice(body)?;
        if let Err(refusal) = vouched(&message) {
            if let (Some(ip), true) = (caller, refusal.is_lasting()) {
                self.turned_away(ip, &refusal.to_string());
            }
            return Ok(Err(refusal));
        }
        Ok(self.handle(message, caller).await)
    }

    /// Notes that a caller was turned away before its message counted.
    pub(crate) fn turned_away(&self, caller: IpAddr, why: &str) {
        self.shared.refused(Party::Caller(caller.to_canonical().to_string()), why);
    }

    fn tell(&self, refusal: &Refusal, from: NodeId, caller: Option<IpAddr>) {
        let Some(why) = refusal.to_tell() else { return };
        let contacts = self.shared.contacts();
        let name = contacts.by_id(from).map_or_else(|| format!("node {from}"), |known| known.hello.member.name.clone());
        let at = caller.map(|ip| format!(" at {}", ip.to_canonical())).unwrap_or_default();
        self.shared.refused(Party::Caller(format!("{name}{at}")), &why);
    }

    fn admit(&self, head: &Head) -> Result<(), Refusal> {
        if head.group != self.shared.group_name() {
            return Err(Refusal::OtherName(self.shared.group_name().to_owned()));
        }
        if !UNDERSTOOD.contains(&head.version) {
            return Err(Refusal::version(head.version));
        }
        Ok(())
    }

    /// Answers one message; `caller` is the address that it came from, where the transport knows it.
    pub(crate) async fn handle(&self, message: Message, caller: Option<IpAddr>) -> Reply {
        let from = message.from;
        let reply = self.answer(message, caller).await;
        if let Err(refusal) = &reply {
            self.tell(refusal, from, caller);
        }
        reply
    }

    async fn answer(&self, message: Message, caller: Option<IpAddr>) -> Reply {
        self.admit(&message.head())?;
        validate::message(&message)?;
        if let Some(ip) = caller {
            self.shared.call_came_from(message.from, ip);
        }
        match message.call {
            Call::Hello(hello) => Ok(self.hello(*hello, caller)),
            Call::Promise { cluster, target, founding } => self.promise(cluster, target, founding).await,
            Call::Dismiss { cluster, target, as_of } => self.dismiss(cluster, target, as_of),
            Call::Raft { cluster, target, call } => self.raft(cluster, target, call).await,
        }
    }

    fn hello(&self, hello: Hello, caller: Option<IpAddr>) -> Answer {
        self.shared.called(hello, caller);
        Answer::Hello(Box::new(self.shared.introduction()))
    }

    /// Given only by the member that is meant: one whose address another has got, or by a wrong answer of DNS the caller
    /// itself, would promise in the name of a member that knows nothing of it.
    async fn promise(&self, cluster: ClusterId, target: NodeId, founding: bool) -> Reply {
        if founding && self.shared.in_quarantine() {
            return Err(Refusal::Quarantined);
        }
        if founding && !self.shared.hello().founds {
            return Err(Refusal::Failed("it was removed from a group, so it founds none".into()));
        }
        let promised = self
            .shared
            .update_identity(|identity| match identity.standing {
                _ if identity.node_id != target && holds(Rule::TargetCheck) => {
                    Err(Refusal::OtherTarget(identity.node_id))
                }
                Standing::Joined(own) if own == cluster => Ok(()),
                Standing::Joined(own) if holds(Rule::JoinIsFinal) => Err(Refusal::OtherCluster(own.to_string())),
                _ => {
                    identity.standing = Standing::Promised(cluster);
                    Ok(())
                }
            })
            .await;
        promised.map_err(|error| Refusal::Failed(error.to_string()))??;
        Ok(Answer::Done)
    }

    /// Believed only if [`may_be_member`] does not speak against it.
    fn dismiss(&self, cluster: ClusterId, target: NodeId, as_of: LogId) -> Reply {
        self.check(cluster, target)?;
        let raft = self.shared.raft().ok_or(Refusal::NotRunning)?;
        let known = raft.metrics().borrow_watched().membership_config.clone();
        if may_be_member(&known, target, as_of) {
            return Err(Refusal::Failed("a newer membership known here still holds it".into()));
        }
        let _ = self.dismissals.try_send(Dismissal { node_id: target });
        Ok(Answer::Done)
    }

    fn check(&self, cluster: ClusterId, target: NodeId) -> Result<(), Refusal> {
        let identity = self.shared.identity();
        if identity.node_id != target && holds(Rule::TargetCheck) {
            return Err(Refusal::OtherTarget(identity.node_id));
        }
        match identity.standing.cluster() {
            Some(own) if own == cluster => Ok(()),
            _ if !holds(Rule::ClusterCheck) => Ok(()),
            Some(own) => Err(Refusal::OtherCluster(own.to_string())),
            None => Err(Refusal::OtherCluster("none".into())),
        }
    }

    async fn raft(&self, cluster: ClusterId, target: NodeId, call: RaftCall) -> Reply {
        self.check(cluster, target)?;
        if self.shared.is_silent() {
            return Err(Refusal::Failed("it is about to leave this group, which was never confirmed".into()));
        }
        let votes = matches!(call, RaftCall::Vote(_) | RaftCall::PreVote(_) | RaftCall::Transfer(_));
        if votes && self.shared.in_quarantine() {
            return Err(Refusal::Quarantined);
        }
        let raft = self.shared.raft();
        let call = match &raft {
            Some(raft) => consistent(raft, call).await?,
            None => call,
        };
        if !matches!(call, RaftCall::PreVote(_)) {
            self.join(cluster).await?;
        }
        let raft = raft.ok_or(Refusal::NotRunning)?;
        match follow(&raft, call).await? {
            Ok(call) => self.forward(&raft, call).await,
            Err(answer) => Ok(answer),
        }
    }

    async fn join(&self, cluster: ClusterId) -> Result<(), Refusal> {
        if self.shared.identity().standing == Standing::Joined(cluster) {
            return Ok(());
        }
        let joined = self
            .shared
            .update_identity(|identity| match identity.standing {
                Standing::Promised(own) | Standing::Joined(own) if own == cluster => {
                    identity.standing = Standing::Joined(cluster);
                    Ok(())
                }
                other => Err(Refusal::OtherCluster(format!("{other:?}"))),
            })
            .await;
        joined.map_err(|error| Refusal::Failed(error.to_string()))?
    }

    async fn forward(&self, raft: &Raft, call: RaftCall) -> Reply {
        match call {
            RaftCall::Append(request) => {
                let vote = request.vote;
                let response = raft.append_entries(request).await.map_err(failed)?;
                if response.is_success() || matches!(response, AppendResponse::PartialSuccess(_)) {
                    self.shared.heard_leader(vote.leader_id.term, vote.leader_id.voted_for);
                }
                Ok(Answer::Append(response))
            }
            RaftCall::Vote(request) => raft.vote(request).await.map(Answer::Vote).map_err(failed),
            RaftCall::PreVote(request) => raft.pre_vote(request).await.map(Answer::Vote).map_err(failed),
            RaftCall::Snapshot { vote, meta, data } => {
                let response = raft.install_full_snapshot(vote, Snapshot { meta, snapshot: data }).await;
                response.map(Answer::Snapshot).map_err(|error| Refusal::Failed(error.to_string()))
            }
            RaftCall::Transfer(request) => {
                let response = raft.handle_transfer_leader(request).await;
                response.map(Answer::Transfer).map_err(|error| Refusal::Failed(error.to_string()))
            }
        }
    }
}

/// Whether the newest membership known here holds a member, and may come after the committed entry `as_of`, at which the group
/// lacked it: a stale leader cannot dismiss a member that a newer one has added. One of before, by term and index, either was
/// replaced or will never be committed.
pub(super) fn may_be_member(known: &StoredMembership, member: NodeId, as_of: LogId) -> bool {
    known.nodes().any(|(id, _)| *id == member) && known.log_id().is_some_and(|known| known > as_of)
}

/// Checks a call against openraft's present state, inside its own task.
async fn consistent(raft: &Raft, call: RaftCall) -> Result<RaftCall, Refusal> {
    let said = raft.watch_log_progress().get().and_then(|point| Some((point.vote, point.last_log_id?)));
    let own = raft.metrics().borrow_watched().id;
    let checked = raft.with_raft_state(move |state| validate::consistent(own, &call, state, said).map(|()| call)).await;
    checked.map_err(|error| Refusal::Failed(error.to_string()))?
}

/// Follows the leader of a call before the call counts, and checks it again: until then this member may itself lead, and
/// commit what the call contradicts between the check and the call. The error is the answer of whoever knows a newer leader.
async fn follow(raft: &Raft, call: RaftCall) -> Result<Result<RaftCall, Answer>, Refusal> {
    let vote = match &call {
        RaftCall::Append(request) => request.vote,
        RaftCall::Snapshot { vote, .. } => *vote,
        _ => return Ok(Ok(call)),
    };
    if raft.metrics().borrow_watched().vote == vote {
        return Ok(Ok(call));
    }
    let nothing = AppendRequest { vote, prev_log_id: None, entries: Vec::new(), leader_commit: None };
    match (raft.append_entries(nothing).await.map_err(failed)?, &call) {
        (AppendResponse::HigherVote(newer), RaftCall::Snapshot { .. }) => {
            Ok(Err(Answer::Snapshot(SnapshotResponse::new(newer))))
        }
        (higher @ AppendResponse::HigherVote(_), _) => Ok(Err(Answer::Append(higher))),
        _ => consistent(raft, call).await.map(Ok),
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: RaftError<TypeConfig>) -> Refusal {
    Refusal::Failed(error.to_string())
}
