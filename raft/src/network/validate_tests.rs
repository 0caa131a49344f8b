//! What no correct member sends, by itself and against what is committed here.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use openraft::{EntryPayload, Membership};

use super::fuzzing::Target;
use super::http::BODY_BYTES_MAX;
use super::message::RaftCall;
use super::samples::{self, CALLER, TARGET, append, log_id, membership, raft, snapshot_meta};
use super::validate::{answer, member, message};
use super::{Answer, Call, Hello, Message, Refusal, Reply};
use crate::state::{Command, GroupData, VALUE_BYTES_MAX, VALUES_MAX};
use crate::store::Standing;
use crate::testing::hello;
use crate::types::{
    AppendRequest, AppendResponse, Entry, LogId, SnapshotMeta, StoredMembership, TransferRequest, Vote, VoteRequest,
    VoteResponse,
};
use crate::{DIGEST_BYTES_MAX, LedgerEntry, Member, NodeId};

fn why(call: Call) -> String {
    why_from(CALLER, call)
}

fn why_from(from: NodeId, call: Call) -> String {
    match message(&Message::new("test", from, call)) {
        Ok(()) => "valid".into(),
        Err(Refusal::Malformed(why)) => why,
        Err(other) => panic!("{other:?}"),
    }
}

fn appended(change: impl FnOnce(&mut AppendRequest)) -> Call {
    let mut request = append();
    change(&mut request);
    raft(RaftCall::Append(request))
}

#[test]
fn samples_are_valid() {
    for (name, call) in samples::calls() {
        assert_eq!(why(call), "valid", "{name}");
    }
}

#[test]
fn nobody_speaks_for_another_member() {
    assert_eq!(
        why_from(NodeId(3), samples::calls()[0].1.clone()),
        "a member introduces itself under another node id than it calls"
    );
    assert_eq!(why_from(TARGET, appended(|_| ())), "a member calls itself");
    let leader = "the caller is not the leader that it names";
    let candidate = "the caller is not the candidate that it names";
    assert_eq!(why_from(NodeId(3), appended(|_| ())), leader);
    assert_eq!(why(appended(|request| request.vote.committed = false)), leader);
    let vote = |vote| raft(RaftCall::Vote(VoteRequest::new(vote, None)));
    assert_eq!(why(vote(Vote::new(3, TARGET))), candidate);
    assert_eq!(why(vote(Vote::new_committed(3, CALLER))), candidate);
    let transfer = TransferRequest::new(Vote::new_committed(2, TARGET), TARGET, None);
    assert_eq!(why(raft(RaftCall::Transfer(transfer))), leader);
}

#[test]
fn a_digest_beyond_its_bound_is_refused_by_itself_and_as_an_answer() {
    let told = |length| Hello { digest: "x".repeat(length), ..hello(2, Standing::Blank) };
    assert_eq!(why(Call::Hello(Box::new(told(DIGEST_BYTES_MAX)))), "valid");
    let beyond = told(DIGEST_BYTES_MAX + 1);
    assert_eq!(why(Call::Hello(Box::new(beyond.clone()))), "the digest of a member is too long");
    let asked = Message::new("test", TARGET, Call::Hello(Box::new(hello(1, Standing::Blank))));
    assert!(answer(&asked, &Answer::Hello(Box::new(beyond))).unwrap_err().contains("the digest"));
}

#[test]
fn a_log_that_contradicts_itself_is_refused() {
    let gap = "the entries are not consecutive";
    assert_eq!(why(appended(|request| drop(request.entries.remove(2)))), gap);
    assert_eq!(why(appended(|request| request.prev_log_id = Some(log_id(0, 4)))), gap);
    assert_eq!(why(appended(|request| request.prev_log_id = Some(log_id(0, u64::MAX)))), gap);
    assert_eq!(why(appended(|request| request.entries[3].log_id = log_id(1, 3))), "the terms of the entries fall");
    let later = "an entry is of a later term than its sender";
    assert_eq!(why(appended(|request| request.entries[6].log_id = log_id(3, 6))), later);
    assert_eq!(why(appended(|request| request.leader_commit = Some(log_id(3, 6)))), later);
    let commit = "what is committed contradicts the entries";
    assert_eq!(why(appended(|request| request.leader_commit = Some(log_id(1, 4)))), commit);
    assert_eq!(why(appended(|request| request.leader_commit = Some(log_id(1, 40)))), commit);
    assert_eq!(why(appended(|request| request.leader_commit = Some(log_id(2, 40)))), "valid", "more will come");
}

#[test]
fn a_membership_that_cannot_elect_is_refused() {
    let with = |json: serde_json::Value| {
        let config: Membership<NodeId, Member> = serde_json::from_value(json).unwrap();
        why(appended(|request| request.entries[0].payload = EntryPayload::Membership(config)))
    };
    let nodes = serde_json::to_value(membership(&[1])).unwrap()["nodes"].clone();
    let of = |configs: serde_json::Value| with(serde_json::json!({"configs": configs, "nodes": nodes}));
    assert_eq!(of(serde_json::json!([["1"]])), "valid");
    assert_eq!(of(serde_json::json!([["1"], ["2", "3"]])), "valid");
    assert_eq!(of(serde_json::json!([])), "a membership has one set of voters, or two in a change");
    assert_eq!(of(serde_json::json!([["1"], ["2"], ["3"]])), "a membership has one set of voters, or two in a change");
    assert_eq!(of(serde_json::json!([["1"], []])), "a membership without voters");
    assert_eq!(of(serde_json::json!([["1", "9"]])), "a voter is no member");
    let many: BTreeMap<NodeId, Member> = (1..=65).map(|n| (NodeId(n), crate::testing::member(n))).collect();
    let many = serde_json::json!({"configs": [["1"]], "nodes": many});
    assert_eq!(with(many), "a membership has too many members");
}

#[test]
fn a_snapshot_beyond_the_bounds_or_of_nothing_is_refused() {
    let sent = |meta: SnapshotMeta, data: GroupData| {
        why(raft(RaftCall::Snapshot { vote: Vote::new_committed(2, CALLER), meta, data }))
    };
    let nothing = SnapshotMeta::default();
    assert_eq!(sent(nothing, GroupData::default()), "the snapshot is of nothing");
    let mut newer = snapshot_meta(64);
    newer.last_membership = StoredMembership::new(Some(log_id(2, 65)), membership(&[1]));
    assert_eq!(sent(newer, GroupData::default()), "the snapshot's membership is newer than itself");
    let mut later = snapshot_meta(64);
    later.last_log_id = Some(log_id(3, 64));
    assert_eq!(sent(later, GroupData::default()), "an entry is of a later term than its sender");
    let beyond = "the snapshot is beyond the bounds of the replicated state";
    let mut data = largest();
    data.values.insert("one too many".into(), String::new());
    assert_eq!(sent(snapshot_meta(64), data), beyond);
    let mut data = largest();
    data.ledger.push_back(data.ledger[0].clone());
    assert_eq!(sent(snapshot_meta(64), data), beyond);
    let command = Command::Publish { key: "k".into(), value: "x".repeat(VALUE_BYTES_MAX + 1) };
    let publish = appended(|request| request.entries[6].payload = EntryPayload::Normal(command));
    assert_eq!(why(publish), "a command is beyond its bounds");
}

/// A state that has used up every bound, in the characters that take most room in JSON.
fn largest() -> GroupData {
    let mut data = GroupData::default();
    let long = "\"".repeat(VALUE_BYTES_MAX);
    for number in 0..1000 {
        let key = format!("{number}{}", &long[4..]);
        data.apply(&Command::Publish { key: key.clone(), value: long.clone() });
        data.apply(&Command::Publish { key, value: "\0".into() });
        let leader = "\"".repeat(253);
        data.apply(&Command::Lead(LedgerEntry {
            term: number,
            leader: leader.clone(),
            since_unix_ms: u64::MAX,
            until_unix_ms: None,
            reason: crate::state::clip(&long),
        }));
        let resign = Command::Resign { term: number, until_unix_ms: u64::MAX, reason: long.clone() };
        (0..3).for_each(|_| data.apply(&resign));
        data.apply(&Command::Bar { name: leader[4..].to_owned() + &number.to_string(), incarnation: number });
    }
    data
}

/// Else a member could not be given the snapshot, and never catch up.
#[test]
fn the_largest_state_and_membership_fit_into_one_message() {
    let data = largest();
    assert!(data.is_within_bounds() && data.values.len() == VALUES_MAX);
    assert!(data.values.values().all(|value| value != "\0"), "control characters take six bytes each");
    let url = format!("http://{}", "\"".repeat(1017));
    let widest = |number: u64| Member {
        name: "\"".repeat(253),
        raft_address: format!("{}:{number}", "a".repeat(250)),
        api_url: url.clone(),
        prometheus_url: url.clone(),
        witness: false,
    };
    let nodes: BTreeMap<NodeId, Member> = (1..=64).map(|number| (NodeId(number), widest(number))).collect();
    let config = Membership::new(vec![nodes.keys().copied().collect()], nodes).unwrap();
    let mut meta = snapshot_meta(64);
    meta.last_membership = StoredMembership::new(Some(log_id(2, 1)), config);
    let call = raft(RaftCall::Snapshot { vote: Vote::new_committed(2, CALLER), meta, data });
    assert_eq!(why(call.clone()), "valid");
    let bytes = serde_json::to_vec(&Message::new("test", CALLER, call)).unwrap().len();
    assert!(bytes < BODY_BYTES_MAX, "{bytes} bytes");
}

#[test]
fn a_member_is_described_within_bounds() {
    let with = |change: fn(&mut Member)| {
        let mut described = crate::testing::member(2);
        change(&mut described);
        member(&described)
    };
    assert_eq!(with(|_| ()), Ok(()));
    assert_eq!(with(|m| m.raft_address = "[2001:db8::1]:9096".into()), Ok(()));
    assert_eq!(with(|m| (m.api_url, m.prometheus_url) = (String::new(), String::new())), Ok(()));
    for address in ["", "a", "a:", ":9096", "a:99999", "a:+1", "u@a:1", "a/b:1", "a b:1", "a\n:1"] {
        let mut described = crate::testing::member(2);
        described.raft_address = address.into();
        assert!(member(&described).unwrap_err().contains("no host:port"), "{address:?}");
    }
    assert!(with(|m| m.raft_address = format!("{}:1", "a".repeat(258))).is_err());
    assert!(with(|m| m.name = String::new()).is_err());
    assert!(with(|m| m.name = "a\u{1b}[31m".into()).is_err(), "it is shown on terminals");
    assert!(with(|m| m.name = "a".repeat(254)).is_err());
    assert!(with(|m| m.api_url = "javascript:alert(1)".into()).is_err(), "the status page links it");
    assert!(with(|m| m.prometheus_url = format!("http://{}", "a".repeat(1024))).is_err());
    let long = Call::Hello(Box::new(super::Hello {
        member: Member { name: "a".repeat(254), ..crate::testing::member(2) },
        ..hello(2, Standing::Blank)
    }));
    assert_eq!(why(long), "a member name has 1 to 253 characters and no spaces");
}

#[test]
fn an_answer_that_no_correct_member_gives_is_not_used() {
    let vote = VoteRequest::new(Vote::new(3, CALLER), None);
    let asked = |call| Message::new("test", CALLER, raft(call));
    let append = asked(RaftCall::Append(append()));
    let vote = asked(RaftCall::Vote(vote));
    let outcome = |response| answer(&append, &Answer::Append(response));
    assert_eq!(outcome(AppendResponse::Success), Ok(()));
    assert_eq!(outcome(AppendResponse::HigherVote(Vote::new(9, TARGET))), Ok(()));
    assert!(outcome(AppendResponse::Conflict).is_err(), "there is nothing before the first entry");
    assert!(outcome(AppendResponse::PartialSuccess(Some(log_id(2, 99)))).is_err());
    assert!(outcome(AppendResponse::HigherVote(Vote::new(u64::MAX, TARGET))).is_err());
    let voted = |by| Answer::Vote(VoteResponse::new(Vote::new(9, by), None, false));
    assert_eq!(answer(&vote, &voted(TARGET)), Ok(()));
    assert!(answer(&vote, &voted(CALLER)).is_err(), "the caller knows its own votes");
    assert!(answer(&append, &voted(TARGET)).is_err(), "another question");
}

/// A member that has committed up to 2.4 and holds 2.6; then these calls.
fn after_commit(calls: impl IntoIterator<Item = RaftCall>) -> Vec<Reply> {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::new(dir.path());
    let text = |call| serde_json::to_string(&Message::new("test", CALLER, raft(call))).unwrap();
    let own = target.id().to_string();
    let all = [RaftCall::Append(append())].into_iter().chain(calls);
    let mut replies = target.feed(all.map(|call| text(call).replace(&TARGET.to_string(), &own).into_bytes()));
    assert!(matches!(replies.remove(0), Ok(Answer::Append(AppendResponse::Success))));
    replies
}

const CONTRADICTS: &str = "it contradicts what is committed here, or said by the same leader";

fn malformed(reply: &Reply) -> &str {
    let Err(Refusal::Malformed(why)) = reply else { panic!("{reply:?}") };
    why
}

#[test]
fn what_contradicts_a_committed_entry_is_refused_and_later_words_are_taken() {
    let vote = Vote::new_committed(5, CALLER);
    let call = |prev_log_id, leader_commit| {
        RaftCall::Append(AppendRequest { vote, prev_log_id, entries: Vec::new(), leader_commit })
    };
    let mut rewritten = AppendRequest { vote, ..append() };
    rewritten.entries[1].log_id = log_id(1, 1);
    let replies = after_commit([
        call(Some(log_id(3, 4)), None),
        call(Some(log_id(1, 9)), None),
        call(None, Some(log_id(3, 2))),
        call(None, Some(log_id(1, 30))),
        RaftCall::Append(rewritten),
        call(Some(log_id(2, 4)), Some(log_id(2, 4))),
    ]);
    for reply in &replies[..4] {
        assert_eq!(malformed(reply), CONTRADICTS);
    }
    assert_eq!(malformed(&replies[4]), CONTRADICTS);
    assert!(replies[5].is_ok(), "{:?}", replies[5]);
}

/// Found by `make fuzz`: elected by votes that no correct member gives, it applied what it did not hold.
#[test]
fn a_member_that_lacks_what_is_committed_is_no_successor() {
    let vote = Vote::new_committed(5, CALLER);
    let ahead = AppendRequest { vote, prev_log_id: Some(log_id(5, 9)), entries: Vec::new(), leader_commit: None };
    let ahead = RaftCall::Append(AppendRequest { leader_commit: Some(log_id(5, 9)), ..ahead });
    let to = |target| RaftCall::Transfer(TransferRequest::new(vote, target, Some(log_id(2, 6))));
    let replies = after_commit([ahead, to(TARGET), to(NodeId(3))]);
    assert!(matches!(replies[0], Ok(Answer::Append(AppendResponse::Conflict))), "{:?}", replies[0]);
    assert_eq!(malformed(&replies[1]), "a member that lacks what is committed is no successor");
    assert!(replies[2].is_ok(), "{:?}", replies[2]);
}

/// Found by `make fuzz`.
#[test]
fn a_leader_does_not_take_its_word_back() {
    let call = |term, prev_log_id, entries: Vec<LogId>| {
        let entry = |log_id| Entry { log_id, payload: EntryPayload::Blank };
        let entries = entries.into_iter().map(entry).collect();
        let vote = Vote::new_committed(term, CALLER);
        RaftCall::Append(AppendRequest { vote, prev_log_id: Some(prev_log_id), entries, leader_commit: None })
    };
    let same = call(5, log_id(2, 6), vec![log_id(4, 7)]);
    let other = call(5, log_id(3, 7), Vec::new());
    let newer = call(6, log_id(3, 7), Vec::new());
    let replies = after_commit([same, other, newer]);
    assert!(replies[0].is_ok(), "{:?}", replies[0]);
    assert_eq!(malformed(&replies[1]), CONTRADICTS, "4.7 is not committed, but said in this term");
    assert!(matches!(replies[2], Ok(Answer::Append(AppendResponse::Conflict))), "{:?}", replies[2]);
}

/// Seen in the simulation: the replaced leader was told that it makes no sense, not that there is a newer one.
#[test]
fn a_replaced_leader_is_told_of_the_newer_one_whatever_it_sends() {
    let vote = Vote::new_committed(1, CALLER);
    let mut late = AppendRequest { vote, prev_log_id: None, entries: Vec::new(), leader_commit: None };
    late.prev_log_id = Some(log_id(1, 3));
    let replies = after_commit([RaftCall::Append(late)]);
    let newer = Vote::new_committed(2, CALLER);
    let told = |reply: &Reply| matches!(reply, Ok(Answer::Append(AppendResponse::HigherVote(vote))) if *vote == newer);
    assert!(told(&replies[0]), "{:?}", replies[0]);
}

#[test]
fn a_snapshot_that_contradicts_what_is_committed_is_refused() {
    let vote = Vote::new_committed(5, CALLER);
    let call = |meta| RaftCall::Snapshot { vote, meta, data: GroupData::default() };
    let mut same_place = snapshot_meta(4);
    same_place.last_log_id = Some(log_id(3, 4));
    let mut other_membership = snapshot_meta(64);
    other_membership.last_membership = StoredMembership::new(Some(log_id(0, 0)), membership(&[3]));
    let mut far = snapshot_meta(1 << 43);
    far.last_log_id = Some(log_id(5, 1 << 43));
    // Found by `make fuzz`: 1.1 and 2.1 both fit before 2.6, but one of them was committed, or said by this leader.
    let mut other_entry = snapshot_meta(1);
    other_entry.last_log_id = Some(log_id(1, 1));
    let replies =
        after_commit([call(same_place), call(other_membership), call(far), call(other_entry), call(snapshot_meta(64))]);
    assert_eq!(malformed(&replies[0]), CONTRADICTS);
    assert_eq!(malformed(&replies[1]), "its membership contradicts the one here");
    assert_eq!(malformed(&replies[2]), "the index is beyond all measure");
    assert_eq!(malformed(&replies[3]), CONTRADICTS);
    assert!(replies[4].is_ok(), "{:?}", replies[4]);
}

#[test]
fn numbers_cannot_be_used_up_nor_the_log_filled() {
    let vote = |term| RaftCall::Vote(VoteRequest::new(Vote::new(term, CALLER), Some(log_id(2, 6))));
    let mut endless = append();
    let entry = |index| Entry { log_id: log_id(2, index), payload: EntryPayload::Blank };
    endless.entries.extend((7..2000).map(entry));
    // Seen in the simulation: a new member of an old group is tried with its newest entries.
    let mut behind_a_gap = endless.clone();
    behind_a_gap.prev_log_id = Some(log_id(2, 1499));
    behind_a_gap.entries.drain(..1500);
    let (endless, behind_a_gap) = (RaftCall::Append(endless), RaftCall::Append(behind_a_gap));
    let replies = after_commit([vote(u64::MAX), vote(1 << 62), endless, behind_a_gap, vote(1000)]);
    assert_eq!(malformed(&replies[0]), "the term is beyond all measure");
    assert_eq!(malformed(&replies[1]), "the term is beyond all measure");
    assert_eq!(malformed(&replies[2]), "too many entries wait to be committed");
    assert!(matches!(replies[3], Ok(Answer::Append(AppendResponse::Conflict))), "{:?}", replies[3]);
    assert!(replies[4].is_ok(), "{:?}", replies[4]);
}
