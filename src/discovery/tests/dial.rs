//! Resolving for dials.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use futures_util::future::join_all;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use test_support::dns::{Mode, RecordType, TestDns};
use test_support::eventually::eventually;

use super::{DEADLINE, POD, SERVICE, System, ip, server_with};
use crate::discovery::dns::Dns;
use crate::discovery::{DialResolver, LookupError};

const POD_0: &str = "prom-0.prom.mon.svc.cluster.local.";

fn resolver(server: &TestDns) -> DialResolver {
    DialResolver::with_dns(System::new(POD, "").dns(server))
}

async fn until(resolver: &DialResolver, expected: Result<Vec<IpAddr>, ()>) {
    let probe = || async { resolver.resolve(POD_0).await.map_err(|_| ()) };
    drop(eventually("another answer", DEADLINE, probe, |answer| *answer == expected).await);
}

#[tokio::test]
async fn many_dials_at_once_and_soon_after_ask_once() {
    let server = server_with(&[("prom-0", ip(1), 9096)]).await;
    server.set_delay(Duration::from_millis(20));
    let resolver = resolver(&server);
    for answer in join_all((0..50).map(|_| resolver.resolve(POD_0))).await {
        assert_eq!(answer, Ok(vec![ip(1)]));
    }
    resolver.resolve("PROM-0.prom.mon.svc.cluster.local.").await.unwrap();
    assert_eq!((server.queries(POD_0, RecordType::A), server.queries_total()), (1, 1));
}

#[tokio::test]
async fn a_changed_address_is_seen_soon() {
    let server = server_with(&[("prom-0", ip(1), 9096)]).await;
    let resolver = resolver(&server);
    until(&resolver, Ok(vec![ip(1)])).await;
    server.set_service(SERVICE, &[("prom-0", ip(2), 9096)]);
    let changed = Instant::now();
    until(&resolver, Ok(vec![ip(2)])).await;
    assert!(changed.elapsed() < Duration::from_secs(5), "floor plus the time of one question");
}

#[tokio::test]
async fn a_member_dialled_without_end_costs_two_questions_a_second_at_most() {
    let server = server_with(&[("prom-0", ip(1), 9096)]).await;
    let resolver = resolver(&server);
    let start = Instant::now();
    let dial = || async {
        resolver.resolve(POD_0).await.unwrap();
        server.queries_total()
    };
    eventually("the third question", DEADLINE, dial, |questions| *questions == 3).await;
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
}

#[tokio::test]
async fn when_dns_fails_or_falls_silent_the_last_addresses_are_dialled_without_delay() {
    for mode in [Mode::ServFail, Mode::Refuse, Mode::Drop] {
        let server = server_with(&[("prom-0", ip(1), 9096)]).await;
        let resolver = resolver(&server);
        until(&resolver, Ok(vec![ip(1)])).await;
        server.set_mode(mode);
        let before = server.queries_total();
        let mut slowest = Duration::ZERO;
        let dial = || {
            let (resolver, server) = (&resolver, &server);
            async move {
                let start = Instant::now();
                assert_eq!(resolver.resolve(POD_0).await, Ok(vec![ip(1)]), "{mode:?}");
                (start.elapsed(), server.queries_total())
            }
        };
        eventually("questions in the outage", DEADLINE, dial, |(took, questions)| {
            slowest = slowest.max(*took);
            *questions >= before + 3
        })
        .await;
        assert!(slowest < Duration::from_secs(1), "{mode:?}: {slowest:?}, and a question takes 2 s to fail");
        server.set_service(SERVICE, &[("prom-0", ip(2), 9096)]);
        server.set_mode(Mode::Answer);
        until(&resolver, Ok(vec![ip(2)])).await;
    }
}

#[tokio::test]
async fn a_slow_answer_is_not_waited_for_but_used_afterwards() {
    let server = server_with(&[("prom-0", ip(1), 9096)]).await;
    let resolver = resolver(&server);
    until(&resolver, Ok(vec![ip(1)])).await;
    server.set_service(SERVICE, &[("prom-0", ip(2), 9096)]);
    server.set_delay(Duration::from_millis(1500));
    let mut slowest = Duration::ZERO;
    let dial = || async {
        let start = Instant::now();
        (resolver.resolve(POD_0).await.unwrap(), start.elapsed())
    };
    eventually("the new address", DEADLINE, dial, |(ips, took)| {
        slowest = slowest.max(*took);
        *ips == [ip(2)]
    })
    .await;
    assert!(slowest < Duration::from_millis(1200), "{slowest:?}");
}

#[tokio::test]
async fn what_dns_says_is_gone_is_not_dialled() {
    let server = server_with(&[("prom-0", ip(1), 9096)]).await;
    let resolver = resolver(&server);
    until(&resolver, Ok(vec![ip(1)])).await;
    server.set_service(SERVICE, &[]);
    until(&resolver, Err(())).await;
    let error = resolver.resolve(POD_0).await.unwrap_err();
    assert!(matches!(&error, LookupError::NotFound { asked } if asked.contains(POD_0)), "{error}");
    server.set_service(SERVICE, &[("prom-0", ip(3), 9096)]);
    until(&resolver, Ok(vec![ip(3)])).await;
}

#[tokio::test]
async fn the_first_dial_while_dns_is_dead_says_so() {
    let server = server_with(&[]).await;
    server.set_mode(Mode::ServFail);
    let text = resolver(&server).resolve(POD_0).await.unwrap_err().to_string();
    assert!(text.contains(&format!("A {POD_0}")) && text.contains("Server Failure"), "{text}");
}

#[tokio::test]
async fn relative_names_are_completed_and_the_completion_is_kept() {
    let server = server_with(&[("prom-0", ip(1), 9096)]).await;
    let resolver = resolver(&server);
    assert_eq!(resolver.resolve("prom-0.prom").await, Ok(vec![ip(1)]));
    assert_eq!(server.queries_total(), 1);
    assert_eq!(resolver.resolve("prom-0.prom.mon.svc").await, Ok(vec![ip(1)]));
    let before = server.queries(POD_0, RecordType::A);
    let all = server.queries_total();
    let dial = || async {
        resolver.resolve("prom-0.prom.mon.svc").await.unwrap();
        server.queries(POD_0, RecordType::A)
    };
    eventually("another question", DEADLINE, dial, |count| *count > before).await;
    assert_eq!(server.queries_total(), all + 1, "only the name that had addresses is asked again");
}

#[tokio::test]
async fn addresses_hosts_file_and_localhost_need_no_dns() {
    let system = System::new("", "10.244.0.10\tprom-0.prom.mon.svc.cluster.local\tprom-0\n");
    let resolver = DialResolver::with_dns(Dns::with_files(None, system.files()));
    for (host, expected) in [
        ("10.0.0.1", "10.0.0.1"),
        ("fd00::1", "fd00::1"),
        ("[fd00::1]", "fd00::1"),
        ("prom-0", "10.244.0.10"),
        (POD_0, "10.244.0.10"),
    ] {
        assert_eq!(resolver.resolve(host).await, Ok(vec![expected.parse().unwrap()]), "{host}");
    }
    assert_eq!(resolver.resolve("localhost").await.unwrap()[0], IpAddr::from([127, 0, 0, 1]));
    let text = resolver.resolve("prom-1").await.unwrap_err().to_string();
    assert!(text.contains("no name server") && text.contains("--dns-server"), "{text}");
    assert_eq!(resolver.resolve("a..b").await, Err(LookupError::BadName { name: "a..b".into() }));
}

#[tokio::test]
async fn what_is_remembered_is_bounded() {
    let server = server_with(&[]).await;
    let resolver = resolver(&server);
    for n in 0..300 {
        resolver.resolve(&format!("host-{n}.")).await.unwrap_err();
    }
    assert_eq!(resolver.names_held(), 256);
    let before = server.queries_total();
    resolver.resolve("host-299.").await.unwrap_err();
    assert_eq!(server.queries_total(), before, "the newest is still known");
}

#[tokio::test]
async fn both_http_clients_dial_through_it() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let app = Router::new().route("/", get(|| async { "hello" }));
    let web = tokio::spawn(async move { axum::serve(listener, app).await });
    let server = server_with(&[("prom-0", IpAddr::from([127, 0, 0, 1]), 9096)]).await;
    let resolver = resolver(&server);
    let url = format!("http://{POD_0}:{port}/");

    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().dns_resolver(resolver.clone()).build().unwrap();
    assert_eq!(client.get(&url).send().await.unwrap().text().await.unwrap(), "hello");

    let connector = HttpConnector::new_with_resolver(resolver);
    let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector);
    let request = http::Request::get(&url).body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
    assert_eq!(client.request(request).await.unwrap().status(), http::StatusCode::OK);
    assert_eq!(server.queries(POD_0, RecordType::A), 1);
    web.abort();
}
