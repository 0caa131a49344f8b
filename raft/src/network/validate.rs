//! What a message must hold before it counts. Pure.
//!
//! openraft trusts its peers: a log that contradicts itself, a vote in somebody else's name or a number near the end of its
//! range makes it panic (which ends this member) or count on wrong facts. So everything that a correct member of the group
//! cannot have sent is refused here:
//!
//! - [`message`]: by itself: who says it, sizes, order of log ids (found by reading openraft's assertions and by `make fuzz`);
//! - [`consistent`]: against what openraft holds: what is committed here is committed everywhere;
//! - [`answer`]: what comes back to a call of this member.
//!
//! Everything that this member says itself stays within the same bounds: texts are clipped where they enter the crate, values
//! are refused before they are proposed. A bound that only the receiver kept would stop replication for good.

use openraft::EntryPayload;

use super::message::RaftCall;
use super::{Answer, Call, Hello, Message, Refusal};
use crate::contacts::SEEN_MAX;
use crate::types::{AppendRequest, AppendResponse, LogId, RaftState, SnapshotMeta, Vote, VoteRequest};
use crate::{DIGEST_BYTES_MAX, Member, NodeId};

/// Longest member name: that of a DNS name.
const NAME_BYTES_MAX: usize = 253;
/// Longest `host:port`.
const ADDRESS_BYTES_MAX: usize = NAME_BYTES_MAX + 6;
/// Longest base URL.
const URL_BYTES_MAX: usize = 1024;
/// Members in one membership, leaving and coming ones included.
const NODES_MAX: usize = 64;
/// How far a term or an index may be ahead of what is known here: more than a century of one a millisecond. It keeps one
/// wrong message from using up the numbers.
const AHEAD_MAX: u64 = 1 << 42;
/// Entries that may wait for their commitment: a leader without a majority acts no more and proposes nothing.
const UNCOMMITTED_MAX: u64 = 1024;

type Valid = Result<(), Refusal>;

fn ensure(holds: bool, otherwise: &str) -> Valid {
    if holds { Ok(()) } else { Err(Refusal::Malformed(otherwise.to_owned())) }
}

/// Checks a message by itself.
pub(crate) fn message(message: &Message) -> Valid {
    match &message.call {
        Call::Hello(hello) => {
            ensure(hello.node_id == message.from, "a member introduces itself under another node id than it calls")?;
            self::hello(hello)
        }
        Call::Promise { .. } | Call::Dismiss { .. } => Ok(()),
        Call::Raft { target, call, .. } => raft(message.from, *target, call),
    }
}

fn hello(hello: &Hello) -> Valid {
    ensure(hello.digest.len() <= DIGEST_BYTES_MAX, "the digest of a member is too long")?;
    let fits = |name: &String| name.len() <= NAME_BYTES_MAX;
    ensure(hello.seen.len() <= SEEN_MAX && hello.seen.keys().all(fits), "a member tells of others beyond the bounds")?;
    member(&hello.member).map_err(Refusal::Malformed)
}

/// Checks how a member describes itself. The error says what is wrong.
pub(crate) fn member(member: &Member) -> Result<(), String> {
    let plain = |text: &str| !text.chars().any(|c| c.is_control() || c.is_whitespace());
    let url = |url: &str| url.len() <= URL_BYTES_MAX && plain(url) && url.starts_with("http");
    let name = &member.name;
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !plain(name) {
        return Err(format!("a member name has 1 to {NAME_BYTES_MAX} characters and no spaces"));
    }
    if !is_host_port(&member.raft_address) {
        return Err(format!("the raft address of {name} is no host:port"));
    }
    if !url(&member.api_url) && !member.api_url.is_empty() {
        return Err(format!("the API address of {name} is no URL of up to {URL_BYTES_MAX} characters"));
    }
    if !url(&member.prometheus_url) && !member.prometheus_url.is_empty() {
        return Err(format!("the Prometheus address of {name} is no URL of up to {URL_BYTES_MAX} characters"));
    }
    Ok(())
}

/// It becomes part of a URL: nothing else may stand in it.
fn is_host_port(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else { return false };
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    let port = !port.starts_with('+') && port.parse::<u16>().is_ok();
    !host.is_empty() && address.len() <= ADDRESS_BYTES_MAX && host.chars().all(allowed) && port
}

fn raft(from: NodeId, target: NodeId, call: &RaftCall) -> Valid {
    ensure(from != target, "a member calls itself")?;
    match call {
        RaftCall::Append(request) => {
            leader(&request.vote, from)?;
            append(request)
        }
        RaftCall::Vote(request) | RaftCall::PreVote(request) => candidate(request, from),
        RaftCall::Snapshot { vote, meta, data } => {
            leader(vote, from)?;
            snapshot(vote, meta)?;
            ensure(data.is_within_bounds(), "the snapshot is beyond the bounds of the replicated state")
        }
        RaftCall::Transfer(request) => {
            leader(request.from_leader(), from)?;
            of_terms_until(request.from_leader(), request.last_log_id())
        }
    }
}

fn leader(vote: &Vote, from: NodeId) -> Valid {
    ensure(vote.committed && vote.leader_id.voted_for == from, "the caller is not the leader that it names")
}

fn candidate(request: &VoteRequest, from: NodeId) -> Valid {
    let vote = &request.vote;
    ensure(!vote.committed && vote.leader_id.voted_for == from, "the caller is not the candidate that it names")?;
    of_terms_until(vote, request.last_log_id.as_ref())
}

fn term(id: &LogId) -> u64 {
    id.committed_leader_id().term
}

fn of_terms_until<'a>(vote: &Vote, ids: impl IntoIterator<Item = &'a LogId>) -> Valid {
    let known = |id: &LogId| term(id) <= vote.leader_id.term;
    ensure(ids.into_iter().all(known), "an entry is of a later term than its sender")
}

/// Whether two entries can stand in one log: terms never fall.
fn agree(a: &LogId, b: &LogId) -> bool {
    a.index.cmp(&b.index) == term(a).cmp(&term(b)) || (a.index != b.index && term(a) == term(b))
}

/// The ids of a request, in order; `leader_commit` apart.
fn sent(request: &AppendRequest) -> impl Iterator<Item = &LogId> {
    request.prev_log_id.iter().chain(request.entries.iter().map(|entry| &entry.log_id))
}

fn append(request: &AppendRequest) -> Valid {
    of_terms_until(&request.vote, sent(request).chain(&request.leader_commit))?;
    let mut before = request.prev_log_id;
    for entry in &request.entries {
        let next = before.map_or(Some(0), |id| id.index.checked_add(1));
        ensure(next == Some(entry.log_id.index), "the entries are not consecutive")?;
        ensure(before.is_none_or(|id| agree(&id, &entry.log_id)), "the terms of the entries fall")?;
        before = Some(entry.log_id);
        match &entry.payload {
            EntryPayload::Blank => {}
            EntryPayload::Normal(command) => ensure(command.is_within_bounds(), "a command is beyond its bounds")?,
            EntryPayload::Membership(config) => membership(config)?,
        }
    }
    let fits = request.leader_commit.is_none_or(|commit| sent(request).all(|id| agree(id, &commit)));
    ensure(fits, "what is committed contradicts the entries")
}

fn membership(config: &openraft::Membership<NodeId, Member>) -> Valid {
    let configs = config.get_joint_config();
    let named = |id: &NodeId| config.get_node(id).is_some();
    ensure((1..=2).contains(&configs.len()), "a membership has one set of voters, or two in a change")?;
    ensure(configs.iter().all(|voters| !voters.is_empty()), "a membership without voters")?;
    ensure(configs.iter().flatten().all(named), "a voter is no member")?;
    ensure(config.nodes().count() <= NODES_MAX, "a membership has too many members")?;
    config.nodes().try_for_each(|(_, node)| member(node).map_err(Refusal::Malformed))
}

fn snapshot(vote: &Vote, meta: &SnapshotMeta) -> Valid {
    let stored = &meta.last_membership;
    let (Some(last), Some(changed)) = (&meta.last_log_id, stored.log_id()) else {
        return ensure(false, "the snapshot is of nothing");
    };
    of_terms_until(vote, [last])?;
    ensure(changed.index <= last.index && agree(changed, last), "the snapshot's membership is newer than itself")?;
    membership(stored.membership())
}

/// Checks a call against what openraft holds. `said`: up to where the log here is the word of which leader. Never refuses what a
/// correct leader sends, however late it arrives: it only leans on what is committed, and on what the same leader has said.
pub(crate) fn consistent(own: NodeId, call: &RaftCall, state: &RaftState, said: Option<(Vote, LogId)>) -> Valid {
    let known_term = state.vote_ref().leader_id.term;
    let near = |term: u64| ensure(term <= known_term.saturating_add(AHEAD_MAX), "the term is beyond all measure");
    match call {
        RaftCall::Append(request) => {
            near(request.vote.leader_id.term)?;
            append_to(request, state, floor(state, &request.vote, said))
        }
        RaftCall::Vote(request) | RaftCall::PreVote(request) => near(request.vote.leader_id.term),
        RaftCall::Snapshot { vote, meta, .. } => {
            near(vote.leader_id.term)?;
            snapshot_over(meta, state, floor(state, vote, said))
        }
        RaftCall::Transfer(request) => {
            near(request.from_leader().leader_id.term)?;
            // It could only win by votes that no correct member gives, and would then apply what it does not hold.
            let lacks = *request.to_node_id() == own && state.log_ids.last() < state.cluster_committed();
            ensure(!lacks, "a member that lacks what is committed is no successor")
        }
    }
}

/// Up to where the log here cannot change under this vote: what is committed, or said by the same leader. openraft also takes
/// a membership for committed once a newer one has come.
fn floor(state: &RaftState, vote: &Vote, said: Option<(Vote, LogId)>) -> Option<LogId> {
    let said = said.filter(|(by, _)| by == vote).map(|(_, last)| last);
    let known = [state.local_committed().copied(), *state.membership_state.committed().log_id(), said];
    known.into_iter().flatten().max_by_key(|id| id.index)
}

fn agrees_with<'a>(state: &RaftState, floor: Option<LogId>, ids: impl IntoIterator<Item = &'a LogId>) -> Valid {
    let Some(floor) = floor else { return Ok(()) };
    let is_ours = |id: &LogId| {
        let ours = if id.index <= floor.index { state.log_ids.get(id.index) } else { None };
        agree(id, &floor) && ours.is_none_or(|ours| ours == *id)
    };
    ensure(ids.into_iter().all(is_ours), "it contradicts what is committed here, or said by the same leader")
}

fn append_to(request: &AppendRequest, state: &RaftState, floor: Option<LogId>) -> Valid {
    let log = &state.log_ids;
    // A leader that has been replaced may still send what was never committed: openraft tells it of the newer one.
    let counts = request.vote >= *state.vote_ref();
    agrees_with(state, floor, sent(request).filter(|_| counts).chain(&request.leader_commit))?;
    // A leader holds everything committed. So an entry of a later term than a committed one has a higher index.
    if let (Some(commit), Some(last)) = (&request.leader_commit, log.last()) {
        let ours = if commit.index >= last.index { Some(*last) } else { log.get(commit.index) };
        ensure(ours.is_none_or(|ours| term(&ours) <= term(commit)), "what is committed contradicts the log here")?;
    }
    let committed = state.local_committed().map_or(0, |id| id.index);
    let waits = |id: &LogId| id.index.saturating_sub(committed) > UNCOMMITTED_MAX;
    // Behind a gap nothing is stored: a new member is tried with the newest entries first.
    let stored = request.prev_log_id.is_none_or(|id| log.last().is_some_and(|last| id.index <= last.index));
    let grows = stored && request.entries.last().is_some_and(|entry| waits(&entry.log_id));
    ensure(!grows, "too many entries wait to be committed")
}

fn snapshot_over(meta: &SnapshotMeta, state: &RaftState, floor: Option<LogId>) -> Valid {
    let (Some(last), Some(changed)) = (&meta.last_log_id, meta.last_membership.log_id()) else { return Ok(()) };
    let known = state.log_ids.last().map_or(0, |id| id.index);
    ensure(last.index <= known.saturating_add(AHEAD_MAX), "the index is beyond all measure")?;
    agrees_with(state, floor, [last, changed])?;
    for ours in [state.membership_state.committed(), state.membership_state.effective()] {
        let Some(id) = ours.log_id().filter(|id| Some(id.index) <= floor.map(|floor| floor.index)) else { continue };
        let same = id.index != changed.index || **ours == meta.last_membership;
        ensure(same, "its membership contradicts the one here")?;
        ensure(id.index <= changed.index || id.index > last.index, "its membership is older than the one here")?;
    }
    // Possible, and no fault: openraft then drops its own later entries. But one of its debug assertions says never.
    let drops = state.log_ids.last().is_some_and(|ours| ours.index < last.index && term(ours) > term(last));
    ensure(!(cfg!(debug_assertions) && drops), "a debug build of openraft cannot drop the entries that it replaces")
}

/// Checks an answer to a call of this member. The error says what is wrong.
pub(crate) fn answer(asked: &Message, answer: &Answer) -> Result<(), String> {
    let valid = match (&asked.call, answer) {
        (Call::Hello(_), Answer::Hello(hello)) => self::hello(hello),
        (Call::Raft { call, .. }, answer) => raft_answer(asked.from, call, answer),
        (Call::Promise { .. } | Call::Dismiss { .. }, Answer::Done) => Ok(()),
        _ => ensure(false, "something else was asked"),
    };
    valid.map_err(|refusal| refusal.to_string())
}

fn raft_answer(own: NodeId, call: &RaftCall, answer: &Answer) -> Valid {
    let (asked, answered) = match (call, answer) {
        (RaftCall::Append(request), Answer::Append(AppendResponse::HigherVote(vote))) => (request.vote, vote),
        (RaftCall::Append(request), Answer::Append(response)) => {
            let plain = match response {
                AppendResponse::Conflict => request.prev_log_id.is_some(),
                AppendResponse::Success => true,
                _ => false, // members of this project take all or nothing
            };
            return ensure(plain, "such an outcome is not possible");
        }
        (RaftCall::Vote(request) | RaftCall::PreVote(request), Answer::Vote(response)) => {
            (request.vote, &response.vote)
        }
        (RaftCall::Snapshot { vote, .. }, Answer::Snapshot(response)) => (*vote, &response.vote),
        (RaftCall::Transfer(_), Answer::Transfer(_)) => return Ok(()),
        _ => return ensure(false, "something else was asked"),
    };
    let (asked, answered) = (asked.leader_id, answered.leader_id);
    ensure(answered.term <= asked.term.saturating_add(AHEAD_MAX), "the term is beyond all measure")?;
    ensure(
        answered.voted_for != own || answered.term <= asked.term,
        "it knows a later vote of this member than this member",
    )
}
