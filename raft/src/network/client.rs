//! openraft's network: a client for each target.

use std::future::Future;
use std::time::Duration;

use openraft::OptionalSend;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetworkFactory, RaftNetworkV2};

use super::message::RaftCall;
use super::{Answer, Call, CallError, Party, Transport};
use crate::shared::Shared;
use crate::state::GroupData;
use crate::types::{
    AppendRequest, AppendResponse, Snapshot, SnapshotResponse, TransferRequest, TransferResponse, TypeConfig, Vote,
    VoteRequest, VoteResponse,
};
use crate::{Member, NodeId};

/// Factory of the clients.
pub(crate) struct Network<T> {
    pub(crate) transport: T,
    pub(crate) shared: Shared,
}

/// Client of one target.
pub(crate) struct Connection<T> {
    transport: T,
    shared: Shared,
    target: NodeId,
    /// For the status.
    party: Party,
    /// From the membership; what is known at first hand counts more.
    member: Member,
    /// Calls that found nobody in a row: each one moves on to the next known address.
    misses: usize,
}

impl<T: Transport> RaftNetworkFactory<TypeConfig> for Network<T> {
    type Network = Connection<T>;

    async fn new_client(&mut self, target: NodeId, node: &Member) -> Connection<T> {
        Connection {
            transport: self.transport.clone(),
            shared: self.shared.clone(),
            target,
            party: Party::Callee(node.name.clone()),
            member: node.clone(),
            misses: 0,
        }
    }
}

impl<T: Transport> Connection<T> {
    async fn call(&mut self, call: RaftCall, timeout: Duration) -> Result<Answer, CallError> {
        let known = self.shared.contacts().addresses_of(self.target, &self.member);
        let address = &known[self.misses % known.len()];
        let cluster = self.shared.identity().standing.cluster();
        let cluster = cluster.ok_or_else(|| CallError::Unreachable("this member is in no group".into()))?;
        let message = self.shared.message(Call::Raft { cluster, target: self.target, call });
        let result = self.transport.call(address, &message, timeout).await;
        if result.as_ref().is_err_and(CallError::is_elsewhere) {
            self.misses = self.misses.wrapping_add(1);
        }
        match &result {
            Ok(_) => self.shared.refusals(|refusals, _| refusals.accepted(&self.party)),
            Err(CallError::Refused(refusal)) if refusal.is_lasting() => {
                self.shared.refused(self.party.clone(), &refusal.to_string());
            }
            Err(_) => {}
        }
        result
    }

    async fn rpc<A>(
        &mut self,
        call: RaftCall,
        option: &RPCOption,
        pick: fn(Answer) -> Option<A>,
    ) -> Result<A, RPCError<TypeConfig>> {
        match self.call(call, option.hard_ttl()).await {
            Ok(answer) => pick(answer).ok_or_else(|| RPCError::Network(NetworkError::from_string(WRONG_ANSWER))),
            Err(error @ CallError::TimedOut(_)) => Err(RPCError::Network(NetworkError::new(&error))),
            Err(error) => Err(RPCError::Unreachable(Unreachable::new(&error))),
        }
    }
}

/// Calls one member wherever it may be, the likeliest address first, until it answers. Only it carries the call out: whoever
/// else listens there refuses.
pub(crate) async fn call_member(
    shared: &Shared,
    transport: &impl Transport,
    id: NodeId,
    member: &Member,
    call: Call,
    timeout: Duration,
) -> Result<Answer, CallError> {
    let (addresses, message) = (shared.contacts().addresses_of(id, member), shared.message(call));
    let mut answer = Err(CallError::Unreachable("it has no address".into()));
    for address in addresses {
        answer = transport.call(&address, &message, timeout).await;
        if !answer.as_ref().is_err_and(CallError::is_elsewhere) {
            break;
        }
    }
    answer
}

const WRONG_ANSWER: &str = "the member answered something else than was asked";

impl<T: Transport> RaftNetworkV2<TypeConfig> for Connection<T> {
    type SnapshotData = GroupData;

    async fn append_entries(
        &mut self,
        rpc: AppendRequest,
        option: RPCOption,
    ) -> Result<AppendResponse, RPCError<TypeConfig>> {
        self.rpc(RaftCall::Append(rpc), &option, |answer| match answer {
            Answer::Append(response) => Some(response),
            _ => None,
        })
        .await
    }

    async fn vote(&mut self, rpc: VoteRequest, option: RPCOption) -> Result<VoteResponse, RPCError<TypeConfig>> {
        self.rpc(RaftCall::Vote(rpc), &option, vote_answer).await
    }

    async fn pre_vote(&mut self, rpc: VoteRequest, option: RPCOption) -> Result<VoteResponse, RPCError<TypeConfig>> {
        self.rpc(RaftCall::PreVote(rpc), &option, vote_answer).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse, StreamingError<TypeConfig>> {
        let call = RaftCall::Snapshot { vote, meta: snapshot.meta, data: snapshot.snapshot };
        tokio::select! {
            biased;
            closed = cancel => Err(StreamingError::Closed(closed)),
            result = self.call(call, option.hard_ttl()) => match result {
                Ok(Answer::Snapshot(response)) => Ok(response),
                Ok(_) => Err(StreamingError::Network(NetworkError::from_string(WRONG_ANSWER))),
                Err(error) => Err(StreamingError::Unreachable(Unreachable::new(&error))),
            },
        }
    }

    async fn transfer_leader(
        &mut self,
        rpc: TransferRequest,
        option: RPCOption,
    ) -> Result<TransferResponse, RPCError<TypeConfig>> {
        self.rpc(RaftCall::Transfer(rpc), &option, |answer| match answer {
            Answer::Transfer(response) => Some(response),
            _ => None,
        })
        .await
    }

    /// A member that is back must be found within a heartbeat.
    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(std::iter::repeat(self.shared.timing().retry_period)))
    }
}

fn vote_answer(answer: Answer) -> Option<VoteResponse> {
    match answer {
        Answer::Vote(response) => Some(response),
        _ => None,
    }
}
