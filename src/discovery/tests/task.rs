//! The task of discovery over time.

use std::time::Duration;

use elector_raft::PeerSet;
use test_support::dns::{Mode, TestDns};
use test_support::eventually::eventually;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{DEADLINE, POD, SERVICE, System, ip, server_with};
use crate::discovery::{Discovery, DiscoverySettings, LookupStatus, Source};

struct Running {
    peers: watch::Receiver<PeerSet>,
    status: watch::Receiver<LookupStatus>,
    stop: CancellationToken,
    task: JoinHandle<()>,
    _system: System,
}

fn run(server: &TestDns, service: &str) -> Running {
    let system = System::new(POD, "");
    let settings = DiscoverySettings {
        source: Source::Dns { service: service.into(), raft_port: 9096 },
        dns_server: Some(server.addr()),
        refresh_period: Duration::from_millis(20),
    };
    let discovery = Discovery::with_dns(settings, system.dns(server)).unwrap();
    let (peers, status, stop) = (discovery.peers(), discovery.status(), CancellationToken::new());
    let task = tokio::spawn(discovery.run(stop.clone()));
    Running { peers, status, stop, task, _system: system }
}

impl Running {
    async fn until_names_are(&self, expected: &[&str]) -> PeerSet {
        let probe = || std::future::ready(self.peers.borrow().clone());
        let names = |set: &PeerSet| -> Vec<String> { set.peers.iter().filter_map(|peer| peer.name.clone()).collect() };
        eventually("other names", DEADLINE, probe, |set| names(set) == expected).await
    }

    async fn until_status(&self, what: &str, accept: impl FnMut(&LookupStatus) -> bool) -> LookupStatus {
        eventually(what, DEADLINE, || std::future::ready(self.status.borrow().clone()), accept).await
    }
}

#[tokio::test]
async fn members_that_come_and_go_are_noticed() {
    let server = server_with(&[("prom-0", ip(1), 9096)]).await;
    let running = run(&server, "prom");
    running.until_names_are(&["prom-0"]).await;
    server.set_service(SERVICE, &[("prom-0", ip(1), 9096), ("prom-1", ip(2), 9096)]);
    running.until_names_are(&["prom-0", "prom-1"]).await;
    server.set_service(SERVICE, &[("prom-1", ip(2), 9096)]);
    running.until_names_are(&["prom-1"]).await;
}

#[tokio::test]
async fn the_same_answer_is_published_again_with_its_time() {
    let server = server_with(&[("prom-0", ip(1), 9096)]).await;
    let mut running = run(&server, SERVICE);
    let first = running.until_names_are(&["prom-0"]).await;
    running.peers.borrow_and_update();
    tokio::time::timeout(DEADLINE, running.peers.changed()).await.unwrap().unwrap();
    let second = running.peers.borrow().clone();
    assert_eq!(first.peers, second.peers);
    assert!(first.answered_at < second.answered_at);
}

#[tokio::test]
async fn an_outage_publishes_nothing_and_the_last_good_set_stays_until_dns_returns() {
    let server = server_with(&[("prom-0", ip(1), 9096)]).await;
    let running = run(&server, "prom");
    running.until_names_are(&["prom-0"]).await;

    server.set_mode(Mode::ServFail);
    let failing = running.until_status("failures", |status| status.failed >= 3).await;
    let kept = running.peers.borrow().clone();
    assert_eq!((kept.peers.len(), kept.answered_at), (1, failing.answered_at));
    assert!(failing.last_error.is_some());

    server.set_service(SERVICE, &[]);
    server.set_mode(Mode::Answer);
    running.until_status("negative answers", |status| status.not_found >= 2).await;
    assert_eq!(*running.peers.borrow(), kept, "a service without members is no answer");

    server.set_service(SERVICE, &[("prom-1", ip(2), 9096)]);
    running.until_names_are(&["prom-1"]).await;
    assert_eq!(running.status.borrow().last_error, None);
}

#[tokio::test]
async fn it_stops_at_once_in_the_middle_of_a_question() {
    let server = server_with(&[]).await;
    server.set_mode(Mode::Drop);
    let running = run(&server, SERVICE);
    eventually("a question", DEADLINE, || std::future::ready(server.queries_total()), |count| *count > 0).await;
    running.stop.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(1), running.task).await;
    ended.expect("less than the time-out of a question").unwrap();
}
