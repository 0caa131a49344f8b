//! Who is answered, and what a promise binds.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::mpsc;

use super::endpoint::may_be_member;
use super::message::RaftCall;
use super::samples::{log_id, membership};
use super::*;
use crate::shared::Shared;
use crate::store::{self, ClusterId, Standing, Writer};
use crate::testing::{hello, member};
use crate::timing::Timing;
use crate::types::{StoredMembership, Vote, VoteRequest};
use crate::{GroupHandle, NodeId};

const CALLER: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 7));
const X: ClusterId = ClusterId(7);
const Y: ClusterId = ClusterId(8);

pub(super) struct Bench {
    pub(super) shared: Shared,
    pub(super) endpoint: Endpoint,
    _dir: TempDir,
}

impl Bench {
    /// A blank member that has just started. It has no Raft instance: what gets past the checks is "not running".
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (disk, loaded) = store::open(dir.path()).unwrap();
        let (writer, _) = Writer::start(disk).unwrap();
        let (_, ends) = GroupHandle::new();
        let timing = Timing {
            lease_duration: Duration::from_secs(1),
            renew_deadline: Duration::from_millis(800),
            retry_period: Duration::from_millis(100),
            member_removal_delay: Duration::from_secs(300),
        };
        let shared = Shared::new("test".into(), member(1), timing, loaded.identity, writer, &ends);
        let endpoint = Endpoint::new(shared.clone(), mpsc::channel(1).0);
        Self { shared, endpoint, _dir: dir }
    }

    async fn ask(&self, call: Call) -> Reply {
        self.endpoint.handle(Message::new("test", NodeId(2), call), Some(CALLER)).await
    }

    async fn promise(&self, cluster: ClusterId) -> Reply {
        self.ask(Call::Promise { cluster, target: self.shared.node_id(), founding: false }).await
    }

    async fn vote(&self, cluster: ClusterId, target: NodeId) -> Reply {
        let request = VoteRequest::new(Vote::new(1, NodeId(2)), None);
        self.ask(Call::Raft { cluster, target, call: RaftCall::Vote(request) }).await
    }

    fn standing(&self) -> Standing {
        self.shared.identity().standing
    }

    async fn outlive_quarantine(&self) {
        tokio::time::sleep(self.shared.timing().quarantine()).await;
        assert!(!self.shared.in_quarantine());
    }
}

#[tokio::test]
async fn another_election_is_refused_before_anything_is_noted() {
    let bench = Bench::new();
    let call = Call::Hello(Box::new(hello(2, Standing::Blank)));
    let reply = bench.endpoint.handle(Message::new("other", NodeId(2), call), Some(CALLER)).await;
    assert_eq!(reply.unwrap_err(), Refusal::OtherName("test".into()));
    assert_eq!(bench.shared.contacts().iter().count(), 0);
}

#[tokio::test]
async fn a_message_of_an_unknown_version_is_refused_with_both_versions_whatever_it_asks() {
    let bench = Bench::new();
    let newer = br#"{"version":2,"group":"test","from":"0000000000000002","call":{"Sing":["la"]},"mood":"good"}"#;
    let refused = bench.endpoint.receive(newer, Some(CALLER), |_| Ok(())).await.unwrap();
    assert_eq!(refused.unwrap_err(), Refusal::Version { spoken: 2, oldest: 1, newest: 1 });
    let mut typed = Message::new("test", NodeId(2), Call::Hello(Box::new(hello(2, Standing::Blank))));
    typed.version = 0;
    let refused = bench.endpoint.handle(typed, Some(CALLER)).await.unwrap_err();
    assert_eq!(refused, Refusal::Version { spoken: 0, oldest: 1, newest: 1 });
    assert_eq!(bench.shared.contacts().iter().count(), 0, "nothing was noted");
    let foreign = br#"{"version":2,"group":"other","from":"0000000000000002","call":7}"#;
    let refused = bench.endpoint.receive(foreign, Some(CALLER), |_| Ok(())).await.unwrap();
    assert_eq!(refused.unwrap_err(), Refusal::OtherName("test".into()), "another election is none of our business");
    assert!(bench.endpoint.receive(b"{}", Some(CALLER), |_| Ok(())).await.is_err());
}

#[tokio::test]
async fn a_hello_is_noted_and_answered_with_a_hello() {
    let bench = Bench::new();
    let reply = bench.ask(Call::Hello(Box::new(hello(2, Standing::Blank)))).await.unwrap();
    assert!(matches!(reply, Answer::Hello(own) if own.member == member(1)));
    let addresses = bench.shared.contacts().addresses_of(NodeId(2), &member(2));
    assert_eq!(addresses, ["prom-2:9096", "10.0.0.7:9096"], "the advertised one, and where it called from");
}

#[tokio::test(start_paused = true)]
async fn a_promise_may_be_replaced_until_the_first_vote() {
    let bench = Bench::new();
    bench.promise(X).await.unwrap();
    assert_eq!(bench.standing(), Standing::Promised(X));
    bench.promise(Y).await.unwrap();
    assert_eq!(bench.standing(), Standing::Promised(Y));
    bench.outlive_quarantine().await;
    let own = bench.shared.node_id();
    assert_eq!(bench.vote(Y, own).await.unwrap_err(), Refusal::NotRunning, "every check is passed");
    assert_eq!(bench.standing(), Standing::Joined(Y));
    assert!(matches!(bench.promise(X).await, Err(Refusal::OtherCluster(_))));
    bench.promise(Y).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn calls_for_another_group_or_another_disk_are_refused() {
    let bench = Bench::new();
    bench.outlive_quarantine().await;
    let own = bench.shared.node_id();
    assert_eq!(bench.vote(X, own).await.unwrap_err(), Refusal::OtherCluster("none".into()));
    bench.promise(X).await.unwrap();
    assert_eq!(bench.vote(Y, own).await.unwrap_err(), Refusal::OtherCluster(X.to_string()));
    assert_eq!(bench.vote(X, NodeId(99)).await.unwrap_err(), Refusal::OtherTarget(own));
    let promise = Call::Promise { cluster: Y, target: NodeId(99), founding: false };
    assert_eq!(bench.ask(promise).await.unwrap_err(), Refusal::OtherTarget(own));
    assert_eq!(bench.standing(), Standing::Promised(X), "a refused call joins nothing");
}

#[tokio::test(start_paused = true)]
async fn in_quarantine_it_neither_votes_nor_founds() {
    let bench = Bench::new();
    bench.promise(X).await.unwrap();
    let own = bench.shared.node_id();
    assert_eq!(bench.vote(X, own).await.unwrap_err(), Refusal::Quarantined);
    let founding = Call::Promise { cluster: Y, target: own, founding: true };
    assert_eq!(bench.ask(founding.clone()).await.unwrap_err(), Refusal::Quarantined);
    assert_eq!(bench.standing(), Standing::Promised(X));
    bench.outlive_quarantine().await;
    bench.ask(founding).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_reset_starts_the_quarantine_again_under_a_new_id() {
    let bench = Bench::new();
    bench.promise(X).await.unwrap();
    bench.outlive_quarantine().await;
    let old = bench.shared.node_id();
    bench.shared.reset(false).await.unwrap();
    assert!(bench.shared.in_quarantine());
    assert_eq!(bench.standing(), Standing::Blank);
    assert_eq!(bench.vote(X, old).await.unwrap_err(), Refusal::OtherTarget(bench.shared.node_id()));
}

#[test]
fn a_membership_that_is_newer_by_term_dismisses_even_with_a_lower_index() {
    let known = StoredMembership::new(Some(log_id(3, 60)), membership(&[1, 2]));
    assert!(may_be_member(&known, NodeId(2), log_id(3, 50)), "added again since");
    assert!(!may_be_member(&known, NodeId(2), log_id(3, 70)));
    assert!(!may_be_member(&known, NodeId(2), log_id(4, 50)), "never committed");
    assert!(!may_be_member(&known, NodeId(9), log_id(3, 50)), "it does not hold it either");
}
