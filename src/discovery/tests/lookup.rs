//! One lookup of the headless service.

use std::net::SocketAddr;
use std::time::Duration;

use elector_raft::Peer;
use test_support::dns::{Mode, RecordType, TestDns};

use super::{POD, SERVICE, SRV, System, ip, server_with};
use crate::discovery::dns::{Dns, Upstream};
use crate::discovery::error::LookupError;
use crate::discovery::service::{Found, Service};
use crate::discovery::system;

fn named(names: &[&str]) -> Vec<Peer> {
    let peer = |name: &&str| Peer { name: Some((*name).into()), address: format!("{name}.{SERVICE}:9096") };
    names.iter().map(peer).collect()
}

fn bare(last: &[u8]) -> Vec<Peer> {
    last.iter().map(|last| Peer { name: None, address: format!("{}:9096", ip(*last)) }).collect()
}

async fn look_up(service: &mut Service, dns: &Dns) -> Result<Found, LookupError> {
    service.look_up(&dns.upstream()).await
}

fn service(name: &str) -> Service {
    Service::new(name.into(), 9096)
}

#[tokio::test]
async fn srv_records_name_the_members_with_one_question_and_no_member_is_resolved() {
    let server = server_with(&[("prom-0", ip(1), 9096), ("prom-1", ip(2), 9096)]).await;
    let dns = System::new(POD, "").dns(&server);
    let found = look_up(&mut service(SERVICE), &dns).await.unwrap();
    assert_eq!(found.peers, named(&["prom-0", "prom-1"]));
    assert_eq!((server.queries(SRV, RecordType::SRV), server.queries_total()), (1, 1));
}

#[tokio::test]
async fn without_srv_records_the_addresses_of_the_service_are_peers_without_names() {
    let server = server_with(&[]).await;
    server.set_addresses(SERVICE, &[ip(2), ip(1)]);
    let dns = System::new("", "").dns(&server);
    let mut service = service(SERVICE);
    assert_eq!(look_up(&mut service, &dns).await.unwrap().peers, bare(&[1, 2]));

    server.set_addresses(SERVICE, &["fd00::1".parse().unwrap()]);
    let peers = look_up(&mut service, &dns).await.unwrap().peers;
    assert_eq!(peers, [Peer { name: None, address: "[fd00::1]:9096".into() }]);

    server.set_service(SERVICE, &[("prom-0", ip(1), 9096)]);
    assert_eq!(
        look_up(&mut service, &dns).await.unwrap().peers,
        named(&["prom-0"]),
        "SRV records win once they appear"
    );
}

#[tokio::test]
async fn a_server_that_cannot_answer_srv_is_fine_until_it_once_could() {
    let server = server_with(&[("prom-0", ip(1), 9096)]).await;
    server.set_mode_of(RecordType::SRV, Mode::ServFail);
    let dns = System::new("", "").dns(&server);
    let mut service = service(SERVICE);
    assert_eq!(look_up(&mut service, &dns).await.unwrap().peers, bare(&[1]));

    server.set_mode_of(RecordType::SRV, Mode::Answer);
    assert_eq!(look_up(&mut service, &dns).await.unwrap().peers, named(&["prom-0"]));

    server.set_mode_of(RecordType::SRV, Mode::ServFail);
    let error = look_up(&mut service, &dns).await.unwrap_err();
    assert!(matches!(error, LookupError::Failed { .. }), "an outage is no loss of names: {error}");
    let text = error.to_string();
    assert!(
        text.contains(SRV) && text.contains(&server.addr().to_string()) && text.contains("Server Failure"),
        "{text}"
    );
}

#[tokio::test]
async fn a_relative_name_is_completed_and_the_one_that_answered_is_kept_until_it_vanishes() {
    let server = server_with(&[]).await;
    server.set_service("prom.cluster.local.", &[("a", ip(1), 1)]);
    let dns = System::new(POD, "").dns(&server);
    let mut service = service("prom");
    assert_eq!(look_up(&mut service, &dns).await.unwrap().name.to_ascii(), "prom.cluster.local.");
    let questions = server.queries_total();
    look_up(&mut service, &dns).await.unwrap();
    assert_eq!(server.queries_total(), questions + 1, "only the name that answered is asked again");

    server.remove("prom.cluster.local.");
    server.set_service(SERVICE, &[("b", ip(2), 2)]);
    assert_eq!(look_up(&mut service, &dns).await.unwrap().name.to_ascii(), SERVICE);
}

#[tokio::test]
async fn addresses_under_an_earlier_domain_do_not_hide_srv_records_under_a_later_one() {
    let server = server_with(&[("prom-0", ip(1), 9096)]).await;
    server.set_addresses("prom.corp.example.", &[ip(9)]);
    let dns = System::new("search corp.example mon.svc.cluster.local\noptions ndots:5\n", "").dns(&server);
    assert_eq!(look_up(&mut service("prom"), &dns).await.unwrap().peers, named(&["prom-0"]));
}

#[tokio::test]
async fn a_failure_under_the_kept_name_is_a_failure_and_no_reason_to_look_elsewhere() {
    let server = server_with(&[("prom-0", ip(1), 9096)]).await;
    let dns = System::new(POD, "").dns(&server);
    let mut service = service("prom");
    look_up(&mut service, &dns).await.unwrap();
    let questions = server.queries_total();
    server.set_mode(Mode::Refuse);
    assert!(matches!(look_up(&mut service, &dns).await, Err(LookupError::Failed { .. })));
    assert_eq!(server.queries_total(), questions + 1);
    server.set_mode(Mode::Answer);
    let questions = server.queries_total();
    look_up(&mut service, &dns).await.unwrap();
    assert_eq!(server.queries_total(), questions + 1);
}

#[tokio::test]
async fn no_records_at_all_is_an_error_that_names_every_question() {
    let server = server_with(&[]).await;
    let dns = System::new("search a.example\n", "").dns(&server);
    let text = look_up(&mut service("prom"), &dns).await.unwrap_err().to_string();
    for name in ["_raft._tcp.prom.a.example.", "_raft._tcp.prom.", "AAAA prom.a.example.", "AAAA prom."] {
        assert!(text.contains(name), "{name}: {text}");
    }
}

#[tokio::test]
async fn an_answer_too_large_for_a_datagram_comes_over_tcp_and_is_bounded() {
    let names: Vec<String> = (0..80).map(|n| format!("prom-{n:02}")).collect();
    let pods: Vec<_> = names.iter().map(|name| (name.as_str(), ip(1), 9096)).collect();
    let server = server_with(&pods).await;
    let dns = System::new("", "").dns(&server);
    let found = look_up(&mut service(SERVICE), &dns).await.unwrap();
    assert_eq!((found.peers.len(), found.left_out), (64, 16));
    assert_eq!(found.peers[63].name.as_deref(), Some("prom-63"));
    assert_eq!(server.queries_tcp(), 1);
}

#[tokio::test]
async fn aliases_are_followed() {
    let server = server_with(&[("prom-0", ip(1), 9096)]).await;
    server.set_cname("_raft._tcp.alias.example.", SRV);
    server.set_cname("plain.example.", SERVICE);
    let dns = System::new("", "").dns(&server);
    for alone in [false, true] {
        server.set_aliases_alone(alone);
        assert_eq!(look_up(&mut service("alias.example"), &dns).await.unwrap().peers, named(&["prom-0"]));
        assert_eq!(look_up(&mut service("plain.example"), &dns).await.unwrap().peers, bare(&[1]));
    }
}

#[tokio::test]
async fn without_any_server_the_error_says_what_to_do_and_a_later_configuration_is_read() {
    let system = System::new("", "");
    let dns = Dns::with_files(None, system.files());
    let text = look_up(&mut service("prom"), &dns).await.unwrap_err().to_string();
    assert!(text.contains("resolv.conf names none") && text.contains("--dns-server"), "{text}");

    std::fs::write(system.files().resolv_conf, "nameserver 192.0.2.1\n").unwrap();
    let reread = || async {
        dns.reread().await;
        dns.upstream().system.servers.clone()
    };
    let expected: Vec<SocketAddr> = vec!["192.0.2.1:53".parse().unwrap()];
    test_support::eventually::eventually("the new server", super::DEADLINE, reread, |servers| *servers == expected)
        .await;
}

#[tokio::test]
async fn the_next_server_is_asked_when_one_is_silent_or_fails() {
    let (broken, good) = (TestDns::start().await.unwrap(), server_with(&[("prom-0", ip(1), 9096)]).await);
    for mode in [Mode::Drop, Mode::ServFail, Mode::Refuse] {
        broken.set_mode(mode);
        let mut system = system::System::read(&System::new("", "").files(), None);
        system.servers = vec![broken.addr(), good.addr()];
        let found = service(SERVICE).look_up(&Upstream::new(system)).await.unwrap();
        assert_eq!(found.peers, named(&["prom-0"]), "{mode:?}");
    }
    assert!(broken.queries_total() >= 3, "the first server was asked first");
}

#[tokio::test]
async fn silence_of_every_server_ends_in_an_error_that_names_them() {
    let server = TestDns::start().await.unwrap();
    server.set_mode(Mode::Drop);
    let dns = System::new("", "").dns(&server);
    let text = look_up(&mut service(SERVICE), &dns).await.unwrap_err().to_string();
    assert!(text.contains(&server.addr().to_string()), "{text}");
}

#[tokio::test]
async fn a_name_with_addresses_alone_must_prove_itself_again_after_a_minute() {
    let server = server_with(&[]).await;
    server.set_addresses("prom.mon.svc.cluster.local.", &[ip(9)]);
    let dns = System::new(POD, "").dns(&server);
    let mut service = service("prom");
    assert_eq!(look_up(&mut service, &dns).await.unwrap().peers, bare(&[9]));
    server.set_service("prom.cluster.local.", &[("prom-0", ip(1), 9096)]);
    assert_eq!(look_up(&mut service, &dns).await.unwrap().peers, bare(&[9]), "it is kept for now");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
    assert_eq!(look_up(&mut service, &dns).await.unwrap().name.to_ascii(), "prom.cluster.local.");
}
