//! One sample of everything that is sent or stored, for tests.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::SocketAddr;

use openraft::impls::leader_id_std::LeaderId;
use openraft::raft::TransferLeaderError;
use openraft::vote::RaftLeaderId;
use openraft::{EntryPayload, Membership};

use super::message::RaftCall;
use super::{Answer, Call, Hello, Message, Refusal, Reply};
use crate::state::{Command, GroupData};
use crate::store::{ClusterId, Identity, Standing};
use crate::testing::{hello, id, member};
use crate::types::{
    AppendRequest, AppendResponse, Entry, LogId, SnapshotMeta, SnapshotResponse, StoredMembership, TransferRequest,
    Vote, VoteRequest, VoteResponse,
};
use crate::{LedgerEntry, NodeId};

pub(crate) const CLUSTER: ClusterId = ClusterId(7);
/// Whom the samples are for.
pub(crate) const TARGET: NodeId = NodeId(1);
/// Who calls.
pub(crate) const CALLER: NodeId = NodeId(2);

pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(LeaderId { term, voted_for: CALLER }.to_committed(), index)
}

/// Members 1, 2 and 3, of which `voters` vote.
pub(crate) fn membership(voters: &[u64]) -> Membership<NodeId, crate::Member> {
    let nodes: BTreeMap<_, _> = (1..=3).map(|number| (id(number), member(number))).collect();
    Membership::new(vec![voters.iter().copied().map(id).collect()], nodes).unwrap()
}

fn lead(term: u64) -> LedgerEntry {
    LedgerEntry {
        term,
        leader: "prom-2".into(),
        since_unix_ms: 1_700_000_000_000,
        until_unix_ms: None,
        reason: "elected by a majority".into(),
    }
}

pub(crate) fn commands() -> Vec<(&'static str, Command)> {
    vec![
        ("formed", Command::Formed),
        ("lead", Command::Lead(lead(2))),
        ("resign", Command::Resign { term: 2, until_unix_ms: 1_700_000_000_500, reason: "step-down".into() }),
        ("publish", Command::Publish { key: "watermark/a".into(), value: "17".into() }),
        ("bar", Command::Bar { name: "prom-3".into(), incarnation: 9 }),
    ]
}

/// Entries 0.. of a log: a membership, a blank one, and every command.
pub(crate) fn entries() -> Vec<Entry> {
    let mut entries = vec![
        Entry { log_id: log_id(0, 0), payload: EntryPayload::Membership(membership(&[1, 2, 3])) },
        Entry { log_id: log_id(2, 1), payload: EntryPayload::Blank },
    ];
    for (index, (_, command)) in (2..).zip(commands()) {
        entries.push(Entry { log_id: log_id(2, index), payload: EntryPayload::Normal(command) });
    }
    entries
}

pub(crate) fn group_data() -> GroupData {
    let mut data = GroupData::default();
    for (_, command) in commands() {
        data.apply(&command);
    }
    data
}

pub(crate) fn snapshot_meta(index: u64) -> SnapshotMeta {
    SnapshotMeta {
        last_log_id: Some(log_id(2, index)),
        last_membership: StoredMembership::new(Some(log_id(0, 0)), membership(&[1, 2, 3])),
    }
}

pub(crate) fn append() -> AppendRequest {
    AppendRequest {
        vote: Vote::new_committed(2, CALLER),
        prev_log_id: None,
        entries: entries(),
        leader_commit: Some(log_id(2, 4)),
    }
}

pub(crate) fn raft(call: RaftCall) -> Call {
    Call::Raft { cluster: CLUSTER, target: TARGET, call }
}

pub(crate) fn calls() -> Vec<(&'static str, Call)> {
    let vote = VoteRequest::new(Vote::new(3, CALLER), Some(log_id(2, 6)));
    vec![
        ("hello", Call::Hello(Box::new(hello(2, Standing::Joined(CLUSTER))))),
        ("hello-blank", Call::Hello(Box::new(hello(2, Standing::Blank)))),
        ("hello-promised", Call::Hello(Box::new(hello(2, Standing::Promised(CLUSTER))))),
        (
            "hello-digest",
            Call::Hello(Box::new(Hello { digest: r#"{"ready":true}"#.into(), ..hello(2, Standing::Joined(CLUSTER)) })),
        ),
        (
            "hello-seen",
            Call::Hello(Box::new(Hello {
                seen: BTreeMap::from([("prom-3".into(), SocketAddr::from(([10, 0, 0, 3], 9096)))]),
                ..hello(2, Standing::Joined(CLUSTER))
            })),
        ),
        ("promise", Call::Promise { cluster: CLUSTER, target: TARGET, founding: true }),
        ("dismiss", Call::Dismiss { cluster: CLUSTER, target: TARGET, as_of: log_id(2, 9) }),
        ("append", raft(RaftCall::Append(append()))),
        ("vote", raft(RaftCall::Vote(vote.clone()))),
        ("pre-vote", raft(RaftCall::PreVote(vote))),
        (
            "snapshot",
            raft(RaftCall::Snapshot {
                vote: Vote::new_committed(2, CALLER),
                meta: snapshot_meta(64),
                data: group_data(),
            }),
        ),
        (
            "transfer",
            raft(RaftCall::Transfer(TransferRequest::new(Vote::new_committed(2, CALLER), TARGET, Some(log_id(2, 6))))),
        ),
    ]
}

pub(crate) fn messages() -> Vec<(&'static str, Message)> {
    calls().into_iter().map(|(name, call)| (name, Message::new("test", CALLER, call))).collect()
}

fn answers() -> Vec<(&'static str, Answer)> {
    let vote = Vote::new_committed(4, CALLER);
    vec![
        ("hello", Answer::Hello(Box::new(hello(1, Standing::Joined(CLUSTER))))),
        ("done", Answer::Done),
        ("append", Answer::Append(AppendResponse::Success)),
        ("append-partial", Answer::Append(AppendResponse::PartialSuccess(Some(log_id(2, 3))))),
        ("append-conflict", Answer::Append(AppendResponse::Conflict)),
        ("append-higher", Answer::Append(AppendResponse::HigherVote(vote))),
        ("vote", Answer::Vote(VoteResponse::new(vote, Some(log_id(2, 6)), true))),
        ("snapshot", Answer::Snapshot(SnapshotResponse::new(vote))),
        ("transfer", Answer::Transfer(Ok(()))),
        (
            "transfer-vote-changed",
            Answer::Transfer(Err(TransferLeaderError::VoteChanged { expected: Vote::new(3, CALLER), actual: vote })),
        ),
        (
            "transfer-not-flushed",
            Answer::Transfer(Err(TransferLeaderError::LogNotFlushed { expected: Some(log_id(2, 6)), actual: None })),
        ),
    ]
}

fn refusals() -> Vec<(&'static str, Refusal)> {
    vec![
        ("version", Refusal::version(2)),
        ("other-name", Refusal::OtherName("another".into())),
        ("other-cluster", Refusal::OtherCluster(ClusterId(8).to_string())),
        ("other-target", Refusal::OtherTarget(NodeId(9))),
        ("quarantined", Refusal::Quarantined),
        ("not-running", Refusal::NotRunning),
        ("malformed", Refusal::Malformed("the entries are not consecutive".into())),
        ("failed", Refusal::Failed("the disk is full".into())),
    ]
}

pub(crate) fn replies() -> Vec<(String, Reply)> {
    let answers = answers().into_iter().map(|(name, answer)| (format!("answer-{name}"), Ok(answer)));
    let refusals = refusals().into_iter().map(|(name, refusal)| (format!("refusal-{name}"), Err(refusal)));
    answers.chain(refusals).collect()
}

pub(crate) fn identity() -> Identity {
    Identity {
        node_id: TARGET,
        standing: Standing::Joined(CLUSTER),
        latched_term: 2,
        was_removed: false,
        peers_seen: ["prom-1".into(), "prom-2".into()].into(),
    }
}
