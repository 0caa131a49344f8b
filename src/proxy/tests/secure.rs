//! TLS to the leader's Prometheus, and who says who asks.

use axum::body::Body;

use super::*;
use crate::files::Look as _;
use crate::prometheus::access::AccessFiles;
use crate::prometheus::access::testing::{Files, TlsPrometheus};
use crate::proxy::CredentialsTaken;
use crate::tls::testing::Ca;

fn settings(local: Option<&TlsPrometheus>, add_credentials: bool) -> ProxySettings {
    let local_url = local.map(|prometheus| format!("https://{}", prometheus.address).parse().unwrap());
    ProxySettings { member: "p-0".into(), local_url, leader_wait: LONG, add_credentials }
}

fn authorized(value: &str) -> String {
    format!("GET / HTTP/1.1\r\nhost: grafana\r\nconnection: close\r\nauthorization: {value}\r\n\r\n")
}

fn is(head: &str, status: u16) {
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
}

#[tokio::test]
async fn the_clients_own_credentials_go_through_and_the_members_are_added_only_when_told_to() {
    let ca = Ca::new();
    let leader = TlsPrometheus::start(ca.acceptor(&["127.0.0.1"], &["h2", "http/1.1"], Some(&ca))).await;
    let files = Files::new(&ca, "own");
    for add_credentials in [false, true] {
        let sidecar = Sidecar::start_with(&settings(None, add_credentials), accesses(files.settings())).await;
        sidecar.lead_at(1, format!("https://{}", leader.address));
        let (head, body) = sidecar.ask(authorized("Bearer grafanas")).await;
        is(&head, 200);
        assert_eq!(body, "Bearer grafanas");
        let (head, body) = sidecar.ask(get("/")).await;
        if add_credentials {
            is(&head, 200);
            assert_eq!(body, Files::authorization("own"));
        } else {
            is(&head, 401);
        }
    }
}

#[tokio::test]
async fn credentials_that_were_for_the_api_give_way_to_the_members_and_stay_without_them() {
    let ca = Ca::new();
    let leader = TlsPrometheus::start(ca.acceptor(&["127.0.0.1"], &[], Some(&ca))).await;
    let files = Files::new(&ca, "own");
    for (add_credentials, expected) in [(true, Files::authorization("own")), (false, "Basic of-the-api".to_owned())] {
        let sidecar = Sidecar::start_with(&settings(None, add_credentials), accesses(files.settings())).await;
        sidecar.lead_at(1, format!("https://{}", leader.address));
        let mut request =
            http::Request::get("/").header("authorization", "Basic of-the-api").body(Body::empty()).unwrap();
        request.extensions_mut().insert(CredentialsTaken);
        let response = within(sidecar.proxy.handle("192.0.2.1:4711".parse().unwrap(), request)).await;
        let body = within(axum::body::to_bytes(response.into_body(), 1024)).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&body), expected);
    }
}

#[tokio::test]
async fn the_own_prometheus_may_prove_the_name_of_the_member_and_the_leaders_may_not() {
    let ca = Ca::new();
    let prometheus = TlsPrometheus::start(ca.acceptor(&["p-0.prom"], &[], Some(&ca))).await;
    let files = Files::new(&ca, "own");
    let access = AccessSettings { own_name: Some("p-0.prom".try_into().unwrap()), ..files.settings() };
    let settings = ProxySettings { leader_wait: SHORT, ..settings(Some(&prometheus), false) };
    let sidecar = Sidecar::start_with(&settings, accesses(access.clone())).await;
    sidecar.lead_at(0, format!("https://{}", prometheus.address));
    is(&sidecar.ask(authorized("Bearer x")).await.0, 200);
    let sidecar = Sidecar::start_with(&settings, accesses(access)).await;
    sidecar.lead_at(1, format!("https://{}", prometheus.address));
    let (head, body) = sidecar.ask(authorized("Bearer x")).await;
    is(&head, 502);
    assert!(body.contains("prometheus-tls-server-name"), "{body}");
}

#[tokio::test]
async fn new_certificates_are_used_and_idle_connections_of_the_old_ones_are_closed() {
    let (ca, other) = (Ca::new(), Ca::new());
    let leader = TlsPrometheus::start(ca.acceptor(&["127.0.0.1"], &[], Some(&ca))).await;
    let files = Files::new(&ca, "one");
    let mut access = AccessFiles::read(files.settings()).unwrap();
    let sidecar = Sidecar::start_with(&settings(None, true), access.accesses()).await;
    sidecar.lead_at(1, format!("https://{}", leader.address));
    for _ in 0..2 {
        assert_eq!(sidecar.ask(get("/")).await.1, Files::authorization("one"));
    }
    assert_eq!(leader.open.load(Ordering::SeqCst), 1, "one connection, reused");

    files.write(&other, "two");
    *leader.acceptor.lock().unwrap() = other.acceptor(&["127.0.0.1"], &[], Some(&other));
    access.look();
    eventually("the old connection is closed", || leader.open.load(Ordering::SeqCst) == 0).await;
    assert_eq!(sidecar.ask(get("/")).await.1, Files::authorization("two"));
}

#[tokio::test]
async fn a_request_that_meets_changing_certificates_waits_for_the_new_ones() {
    let (ca, other) = (Ca::new(), Ca::new());
    let leader = TlsPrometheus::start(other.acceptor(&["127.0.0.1"], &[], Some(&other))).await;
    let files = Files::new(&ca, "one");
    let mut access = AccessFiles::read(files.settings()).unwrap();
    let sidecar = Sidecar::start_with(&settings(None, true), access.accesses()).await;
    sidecar.lead_at(1, format!("https://{}", leader.address));
    let (answer, ()) = tokio::join!(sidecar.ask(get("/")), async {
        eventually("the request is held", || sidecar.held() == 1).await;
        files.write(&other, "two");
        access.look();
    });
    assert_eq!(answer.1, Files::authorization("two"));
}
