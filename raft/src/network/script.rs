//! Messages and answers made from bytes: mostly such as a member could send, with flaws strewn in. For the property tests and `make fuzz`,
//! which find and shrink the bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use openraft::vote::RaftLeaderId;
use openraft::{EntryPayload, Membership, impls::leader_id_std::LeaderId};

use super::message::RaftCall;
use super::{Answer, Call, Hello, Message};
use crate::state::{Command, GroupData};
use crate::store::{ClusterId, Standing};
use crate::types::{
    AppendRequest, AppendResponse, Entry, LogId, SnapshotMeta, SnapshotResponse, StoredMembership, TransferRequest,
    Vote, VoteRequest, VoteResponse,
};
use crate::{LedgerEntry, Member, NodeId};

/// The group that the target is promised to.
pub(crate) const CLUSTER: ClusterId = ClusterId(7);
/// Longest script.
const MESSAGES_MAX: usize = 24;

/// The messages for the member `target` that these bytes spell.
pub(crate) fn script(bytes: &[u8], target: NodeId) -> Vec<Message> {
    let mut reader = Reader::new(bytes, target);
    let mut messages = Vec::new();
    while messages.len() < MESSAGES_MAX && !reader.bytes.as_slice().is_empty() {
        messages.push(reader.message());
    }
    messages
}

/// The answer to a call of `target` that these bytes spell, and the rest of them.
pub(crate) fn answer<'a>(bytes: &'a [u8], target: NodeId, call: &RaftCall) -> (Answer, &'a [u8]) {
    let mut reader = Reader::new(bytes, target);
    let answer = reader.answer(call);
    (answer, reader.bytes.as_slice())
}

struct Reader<'a> {
    bytes: std::slice::Iter<'a, u8>,
    target: NodeId,
    /// The newest append: who sent it, its vote and its last id. Others go on from there.
    newest: Option<(NodeId, Vote, Option<LogId>)>,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8], target: NodeId) -> Self {
        Self { bytes: bytes.iter(), target, newest: None }
    }

    fn answer(&mut self, call: &RaftCall) -> Answer {
        let same = self.byte() < 200;
        let asked = match call {
            RaftCall::Append(request) => request.vote,
            RaftCall::Vote(request) | RaftCall::PreVote(request) => request.vote,
            RaftCall::Snapshot { vote, .. } => *vote,
            RaftCall::Transfer(request) => *request.from_leader(),
        };
        let from = self.node();
        let vote = if same { asked } else { self.vote(from, true) };
        match call {
            RaftCall::Append(_) => Answer::Append(match self.below(8) {
                0 => AppendResponse::HigherVote(self.vote(from, true)),
                1 => AppendResponse::Conflict,
                2 => AppendResponse::PartialSuccess(self.maybe_log_id()),
                _ => AppendResponse::Success,
            }),
            RaftCall::Vote(_) | RaftCall::PreVote(_) => {
                Answer::Vote(VoteResponse::new(vote, self.maybe_log_id(), !self.flaw()))
            }
            RaftCall::Snapshot { .. } => Answer::Snapshot(SnapshotResponse::new(vote)),
            RaftCall::Transfer(_) => Answer::Transfer(Ok(())),
        }
    }

    fn byte(&mut self) -> u8 {
        self.bytes.next().copied().unwrap_or(0)
    }

    fn below(&mut self, bound: u8) -> u8 {
        self.byte() % bound
    }

    /// One in sixteen.
    fn flaw(&mut self) -> bool {
        self.byte() >= 240
    }

    /// Mostly small, so that messages meet; sometimes at an end of the range.
    fn number(&mut self) -> u64 {
        match self.byte() {
            0xff => u64::MAX,
            0xfe => u64::MAX - 1,
            0xfd => 1 << 62,
            0xfc => (1 << 42) + 3,
            0xfb => 2000,
            0xfa => 90,
            small => u64::from(small % 8),
        }
    }

    fn node(&mut self) -> NodeId {
        match self.byte() {
            240.. => self.target,
            other => NodeId(u64::from(other % 2) + 2),
        }
    }

    fn log_id(&mut self) -> LogId {
        let (term, index) = (self.number(), self.number());
        log_id(term, index)
    }

    fn maybe_log_id(&mut self) -> Option<LogId> {
        if let Some((_, _, last)) = self.newest
            && self.below(3) > 0
        {
            return last;
        }
        (self.below(4) > 0).then(|| self.log_id())
    }

    fn vote(&mut self, from: NodeId, committed: bool) -> Vote {
        let known = self.newest.map_or(0, |(_, vote, _)| vote.leader_id.term);
        let term = match self.below(4) {
            0 => self.number(),
            1 => known.saturating_add(1),
            _ => known,
        };
        let by = if self.flaw() { self.node() } else { from };
        let committed = committed != self.flaw();
        if committed { Vote::new_committed(term, by) } else { Vote::new(term, by) }
    }

    fn text(&mut self) -> String {
        match self.byte() {
            0xff => "x".repeat(5000),
            0xfe => "\u{0}\u{7f}é\"".repeat(300),
            0xfd => String::new(),
            other => format!("t{}", other % 4),
        }
    }

    fn member(&mut self) -> Member {
        let name = self.text();
        let raft_address = if self.flaw() { self.text() } else { format!("{name}:9096") };
        let api_url = if self.flaw() { self.text() } else { "http://a:9095".into() };
        Member { name, raft_address, api_url, prometheus_url: String::new(), witness: self.flaw() }
    }

    fn message(&mut self) -> Message {
        let newest = self.newest.filter(|_| self.below(4) > 0).map(|(from, _, _)| from);
        let from = if self.flaw() { self.target } else { newest.unwrap_or(NodeId(u64::from(self.below(2)) + 2)) };
        let call = match self.below(16) {
            0 => self.hello(from),
            1 => {
                let target = if self.flaw() { self.node() } else { self.target };
                Call::Promise { cluster: self.cluster(), target, founding: self.flaw() }
            }
            2 => Call::Dismiss { cluster: self.cluster(), target: self.target, as_of: self.log_id() },
            _ => {
                let cluster = self.cluster();
                let target = if self.flaw() { self.node() } else { self.target };
                Call::Raft { cluster, target, call: self.raft(from) }
            }
        };
        Message::new("test", from, call)
    }

    fn cluster(&mut self) -> ClusterId {
        if self.flaw() { ClusterId(8) } else { CLUSTER }
    }

    fn hello(&mut self, from: NodeId) -> Call {
        Call::Hello(Box::new(Hello {
            member: self.member(),
            node_id: if self.flaw() { self.node() } else { from },
            incarnation: self.number(),
            standing: Standing::Joined(self.cluster()),
            founds: self.flaw(),
            uptime_ms: self.number(),
            eligible: self.flaw(),
            prepared: self.flaw(),
            eligibility_reason: self.text(),
            digest: self.text(),
            seen: self.seen(),
        }))
    }

    fn seen(&mut self) -> BTreeMap<String, SocketAddr> {
        let count = if self.flaw() { self.below(100) } else { 0 };
        (0..count).map(|number| (format!("t{number}"), SocketAddr::from(([10, 0, 0, number], 9096)))).collect()
    }

    fn raft(&mut self, from: NodeId) -> RaftCall {
        match self.below(10) {
            0 => RaftCall::Vote(self.ballot(from)),
            1 => RaftCall::PreVote(self.ballot(from)),
            2 | 3 => self.snapshot(from),
            4 => {
                let vote = self.vote(from, true);
                let to = if self.flaw() { self.node() } else { self.target };
                RaftCall::Transfer(TransferRequest::new(vote, to, self.maybe_log_id()))
            }
            _ => RaftCall::Append(self.append(from)),
        }
    }

    fn ballot(&mut self, from: NodeId) -> VoteRequest {
        let vote = self.vote(from, false);
        let mut request = VoteRequest::new(vote, self.maybe_log_id());
        request.leadership_transfer = self.below(4) == 0;
        request
    }

    fn append(&mut self, from: NodeId) -> AppendRequest {
        let vote = self.vote(from, true);
        let prev_log_id = self.maybe_log_id();
        let mut next = prev_log_id.map_or(0, |id| id.index.wrapping_add(1));
        let mut term = prev_log_id.map_or(0, |id| id.committed_leader_id().term);
        let count = if self.flaw() { u64::from(self.byte()) } else { u64::from(self.below(5)) };
        let mut entries = Vec::new();
        for _ in 0..count {
            if self.flaw() {
                (term, next) = (self.number(), self.number());
            }
            term = term.saturating_add(u64::from(self.below(5) / 4)).min(vote.leader_id.term.max(term));
            entries.push(Entry { log_id: log_id(term, next), payload: self.payload() });
            next = next.wrapping_add(1);
        }
        let leader_commit = match self.below(8) {
            0 => None,
            1 => self.maybe_log_id(),
            _ => entries.last().map(|entry| entry.log_id).or(prev_log_id),
        };
        let last = entries.last().map(|entry| entry.log_id).or(prev_log_id);
        self.newest = Some((from, vote, last));
        AppendRequest { vote, prev_log_id, entries, leader_commit }
    }

    fn payload(&mut self) -> EntryPayload<Command, NodeId, Member> {
        match self.below(12) {
            0..4 => EntryPayload::Blank,
            4..6 => EntryPayload::Membership(self.membership()),
            6 => EntryPayload::Normal(Command::Formed),
            7 => EntryPayload::Normal(Command::Lead(self.ledger_entry())),
            8 => {
                let (term, until_unix_ms) = (self.number(), self.number());
                EntryPayload::Normal(Command::Resign { term, until_unix_ms, reason: self.text() })
            }
            9 => EntryPayload::Normal(Command::Bar { name: self.text(), incarnation: self.number() }),
            _ => EntryPayload::Normal(Command::Publish { key: self.text(), value: self.text() }),
        }
    }

    fn ledger_entry(&mut self) -> LedgerEntry {
        LedgerEntry {
            term: self.number(),
            leader: self.text(),
            since_unix_ms: self.number(),
            until_unix_ms: None,
            reason: self.text(),
        }
    }

    /// A flawed one through JSON: openraft itself refuses to make it.
    fn membership(&mut self) -> Membership<NodeId, Member> {
        let ids = [self.target, NodeId(2), NodeId(3)];
        let mask = self.byte();
        let pick = |mask: u8| ids.iter().enumerate().filter(move |(bit, _)| mask >> bit & 1 == 1).map(|(_, id)| *id);
        let mut voters: Vec<BTreeSet<NodeId>> = vec![pick(mask).collect()];
        if mask >> 3 & 3 == 3 {
            voters.push(pick(mask >> 5).collect());
        }
        if self.flaw() {
            voters.clear();
        }
        let named = if self.flaw() { self.byte() } else { 7 };
        let nodes: BTreeMap<NodeId, Member> = pick(named).map(|id| (id, self.member())).collect();
        Membership::new(voters.clone(), nodes.clone()).unwrap_or_else(|_| {
            let json = serde_json::json!({"configs": voters, "nodes": nodes});
            serde_json::from_value(json).unwrap_or_default()
        })
    }

    fn snapshot(&mut self, from: NodeId) -> RaftCall {
        let vote = self.vote(from, true);
        let last_log_id = self.maybe_log_id();
        let changed = if self.flaw() { self.maybe_log_id() } else { last_log_id.map(|id| log_id(0, id.index / 2)) };
        let meta = SnapshotMeta { last_log_id, last_membership: StoredMembership::new(changed, self.membership()) };
        let mut data = GroupData { formed: self.flaw(), ..GroupData::default() };
        let count = if self.flaw() { 100 } else { usize::from(self.below(3)) };
        data.ledger.extend((0..count).map(|_| self.ledger_entry()));
        data.values.extend((0..count).map(|number| (format!("{number}{}", self.text()), self.text())));
        data.barred.extend((0..count).map(|number| (format!("{number}{}", self.text()), 1)));
        RaftCall::Snapshot { vote, meta, data }
    }
}

fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(LeaderId { term, voted_for: NodeId(0) }.to_committed(), index)
}
