//! The runner with a Prometheus that answers when the test says so, real files, and paused time.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use elector_raft::{
    Authority, GroupEnds, GroupHandle, Leader, Leadership, Member, MemberKind, MemberStatus, NodeId, Now, Request,
};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::runner::{Output, Parts, Runner};
use super::state::{Event, Policy, State};
use super::variants::Config;
use super::{Role, RoleCommand, RoleHandle, RoleStatus};
use crate::prometheus::health::{PrometheusState, Running};
use crate::prometheus::reload::{Reload, ReloadError};
use crate::render::Rendered;

const LEASE: Duration = Duration::from_millis(800);
const DEMOTE_TIMEOUT: Duration = Duration::from_secs(5);

/// A reload that Prometheus works on until the test answers.
struct Call {
    /// The output file when the request came.
    content: String,
    answer: oneshot::Sender<Result<(), ReloadError>>,
}

struct FakePrometheus {
    output: PathBuf,
    calls: mpsc::UnboundedSender<Call>,
}

impl Reload for FakePrometheus {
    async fn reload(&self) -> Result<(), ReloadError> {
        let (answer, answered) = oneshot::channel();
        let content = std::fs::read_to_string(&self.output).unwrap_or_default();
        self.calls.send(Call { content, answer }).unwrap();
        answered.await.unwrap()
    }
}

struct Bench {
    dir: TempDir,
    group: GroupEnds,
    handle: RoleHandle,
    calls: mpsc::UnboundedReceiver<Call>,
    shutdown: CancellationToken,
    running: JoinHandle<()>,
}

fn config(number: u32) -> Config {
    let content = |role: &str| Bytes::from(format!("{role} {number}"));
    Config::new(Rendered { follower: content("follower"), leader: content("leader"), warnings: Vec::new() })
}

impl Bench {
    /// A follower whose Prometheus has loaded its configuration.
    async fn follower() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("prometheus.yml");
        std::fs::write(&path, "follower 1").unwrap();
        let (group, ends) = GroupHandle::new();
        let (calls_tx, calls) = mpsc::unbounded_channel();
        let (commands_tx, commands) = mpsc::channel(4);
        let (status, status_rx) = watch::channel(Arc::default());
        let (events_tx, events) = mpsc::channel(16);
        let policy = Policy {
            max_attempts: 5,
            retry_delay: Duration::from_secs(10),
            demote_timeout: DEMOTE_TIMEOUT,
            cover_timeout: DEMOTE_TIMEOUT,
            renders: true,
        };
        let runner = Runner::new(Parts {
            state: State::new(policy, Some(Arc::new(config(1))), None),
            group,
            reload: FakePrometheus { output: path.clone(), calls: calls_tx },
            slow_after: Duration::from_secs(2),
            output: Some(Output { kept: dir.path().join("kept"), path, mode: 0o640 }),
            commands,
            status,
            events: (events_tx.clone(), events),
            companion: None,
        });
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(runner.run(shutdown.clone()));
        let up = PrometheusState { running: Running::Yes, ready: true, healthy: true, ..PrometheusState::default() };
        events_tx.send(Event::Prometheus(up)).await.unwrap();
        let handle = RoleHandle { status: status_rx, commands: commands_tx };
        let mut bench = Self { dir, group: ends, handle, calls, shutdown, running };
        bench.accept("follower 1").await;
        bench.until(|status| status.eligible).await;
        bench
    }

    /// A leader whose authority nobody renews.
    async fn leader() -> Self {
        let mut bench = Self::follower().await;
        bench.lead(LEASE);
        bench.accept("leader 1").await;
        bench.until(|status| status.config.applied_role == Some(Role::Leader)).await;
        bench
    }

    fn lead(&self, lease: Duration) {
        let now = Now::read();
        let authority = Authority::Until { deadline: now.instant + lease, suspended: now.suspended };
        self.publish(true, authority);
    }

    fn publish(&self, is_self: bool, authority: Authority) {
        let name = if is_self { "pod-0" } else { "pod-1" };
        let member = Member { name: name.to_owned(), ..Member::default() };
        let leader = Some(Arc::new(Leader { id: NodeId(1), is_self, member, found_at: None }));
        self.group.leadership.send_replace(Leadership { term: 1, leader, authority });
    }

    fn another_is_eligible(&self) {
        self.group.status.send_modify(|status| {
            Arc::make_mut(status).members = vec![MemberStatus {
                name: "pod-1".to_owned(),
                id: NodeId(2),
                kind: MemberKind::Voter,
                eligible: Some(true),
                prepared: Some(true),
                last_contact_ms: Some(1),
                ..MemberStatus::default()
            }];
        });
    }

    async fn call(&mut self) -> Call {
        timeout(Duration::from_mins(10), self.calls.recv()).await.expect("a reload").unwrap()
    }

    /// Waits for a reload that reads `content`, and accepts it.
    async fn accept(&mut self, content: &str) {
        let call = self.call().await;
        assert_eq!(call.content, content);
        call.answer.send(Ok(())).unwrap();
    }

    async fn until(&mut self, wanted: impl Fn(&RoleStatus) -> bool) -> Arc<RoleStatus> {
        let seen = self.handle.status.wait_for(|status| wanted(status));
        timeout(Duration::from_mins(10), seen).await.expect("a status").unwrap().clone()
    }

    fn file(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("prometheus.yml")).unwrap()
    }

    async fn hand_over_request(&mut self) -> oneshot::Sender<Result<String, elector_raft::CommandError>> {
        match timeout(Duration::from_mins(10), self.group.requests.recv()).await.expect("a request").unwrap() {
            Request::HandOver { reply, .. } => reply,
            other => panic!("unexpected {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passes_unrenewed_demotes_within_a_moment() {
    let mut bench = Bench::follower().await;
    let started = Instant::now();
    bench.lead(LEASE);
    bench.accept("leader 1").await;
    bench.accept("follower 1").await;
    let took = started.elapsed();
    assert!(took >= LEASE && took < LEASE + Duration::from_millis(10), "{took:?}");
    bench.until(|status| status.config.applied_role == Some(Role::Follower)).await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_reload_is_reported_and_never_repeated() {
    let mut bench = Bench::follower().await;
    bench.publish(true, Authority::SoleVoter);
    let call = bench.call().await;
    let status = bench.until(|status| status.reason.contains("is slow")).await;
    assert_eq!(status.reason, "leads; Prometheus is slow to load the leader configuration and is waited for");
    sleep(Duration::from_mins(30)).await;
    assert!(bench.calls.try_recv().is_err(), "a second reload while the first is in flight");
    call.answer.send(Ok(())).unwrap();
    bench.until(|status| status.config.applied_role == Some(Role::Leader)).await;
    assert!(bench.calls.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn authority_lost_during_a_promotion_reaches_the_file_before_prometheus_answers() {
    let mut bench = Bench::follower().await;
    bench.lead(LEASE);
    let promotion = bench.call().await;
    assert_eq!((promotion.content.as_str(), bench.file().as_str()), ("leader 1", "leader 1"));
    sleep(LEASE + Duration::from_millis(100)).await;
    assert_eq!(bench.file(), "follower 1");
    promotion.answer.send(Ok(())).unwrap();
    bench.accept("follower 1").await;
}

#[tokio::test(start_paused = true)]
async fn a_group_that_ends_takes_even_a_sole_voters_authority_with_it() {
    let mut bench = Bench::follower().await;
    bench.publish(true, Authority::SoleVoter);
    bench.accept("leader 1").await;
    let (_, ends) = GroupHandle::new();
    drop(std::mem::replace(&mut bench.group, ends));
    bench.accept("follower 1").await;
    assert_eq!(bench.file(), "follower 1");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_hands_over_after_prometheus_has_taken_the_follower_configuration() {
    let mut bench = Bench::leader().await;
    bench.publish(true, Authority::SoleVoter);
    bench.shutdown.cancel();
    let demotion = bench.call().await;
    assert_eq!(demotion.content, "follower 1");
    sleep(Duration::from_secs(1)).await;
    assert!(bench.group.requests.try_recv().is_err(), "handed over before the follower configuration was in force");
    assert!(bench.group.eligibility.borrow().eligible, "the group would hand over by itself");
    demotion.answer.send(Ok(())).unwrap();
    let reply = bench.hand_over_request().await;
    assert!(!bench.running.is_finished());
    bench.publish(false, Authority::None);
    reply.send(Ok("pod-1".to_owned())).unwrap();
    bench.running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_with_a_hung_prometheus_hands_over_after_the_stated_time() {
    let mut bench = Bench::leader().await;
    bench.publish(true, Authority::SoleVoter);
    let started = Instant::now();
    bench.shutdown.cancel();
    let _hung = bench.call().await;
    let reply = bench.hand_over_request().await;
    let took = started.elapsed();
    assert!(took >= DEMOTE_TIMEOUT && took < DEMOTE_TIMEOUT + Duration::from_millis(10), "{took:?}");
    reply.send(Err(elector_raft::CommandError::NoTarget("nobody".to_owned()))).unwrap();
    bench.running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_step_down_is_answered_with_the_new_leader() {
    let mut bench = Bench::leader().await;
    bench.publish(true, Authority::SoleVoter);
    bench.another_is_eligible();
    // The status has to arrive before the command: without it nobody can take over.
    sleep(Duration::from_millis(1)).await;
    let (reply, answer) = oneshot::channel();
    let command = RoleCommand::StepDown { reason: "maintenance".to_owned(), reply };
    bench.handle.commands.send(command).await.unwrap();
    bench.accept("follower 1").await;
    let group_reply = bench.hand_over_request().await;
    bench.publish(false, Authority::None);
    group_reply.send(Ok("pod-1".to_owned())).unwrap();
    assert_eq!(answer.await.unwrap(), Ok("pod-1".to_owned()));
    sleep(Duration::from_secs(10)).await;
    assert!(bench.calls.try_recv().is_err(), "no reload after the handover");
    assert_eq!(bench.file(), "follower 1");
}

#[tokio::test(start_paused = true)]
async fn a_leaders_act_is_permitted_only_while_authority_lasts_and_the_group_runs() {
    let (group, ends) = GroupHandle::new();
    let permit = super::runner::permit(&group.leadership, Role::Leader);
    let follower_permit = super::runner::permit(&group.leadership, Role::Follower);
    assert!(!permit());
    let now = Now::read();
    let until = Authority::Until { deadline: now.instant + LEASE, suspended: now.suspended };
    for (authority, after, allowed) in [
        (until, LEASE / 2, true),
        (until, LEASE, false),
        (Authority::SoleVoter, LEASE, true),
        (Authority::None, LEASE, false),
    ] {
        let leadership = Leadership { authority, ..Leadership::default() };
        ends.leadership.send_replace(leadership);
        tokio::time::advance((now.instant + after).saturating_duration_since(Now::read().instant)).await;
        assert_eq!(permit(), allowed, "{authority:?} after {after:?}");
    }
    ends.leadership.send_replace(Leadership { authority: Authority::SoleVoter, ..Leadership::default() });
    drop(ends);
    assert!(!permit(), "the last word of a group that has ended is worth nothing");
    assert!(follower_permit());
}
