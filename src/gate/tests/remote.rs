//! The client with remotes of every sort: TLS, HTTP/2, proxies, redirects, errors; and the door.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::gate::lock;
use crate::gate::remote::{RemoteUrl, Secret};
use crate::gate::testing::{Kind, Member, Receiver, batch, leads, routes, settings};
use crate::gate::wire::Version;
use crate::tls::testing::Ca;

async fn writer(remote: crate::gate::remote::RemoteSettings) -> Member {
    let member = Member::start(remote).await;
    member.leadership.send_replace(leads(3));
    member.is("writer").await;
    member
}

#[tokio::test]
async fn tls_with_client_certificate_and_http_2_or_1_as_configured() {
    let ca = Ca::new();
    let (certificate, key) = ca.issue(&["elector"]);
    for (alpn, enable_http2, http) in [
        (&["h2", "http/1.1"][..], true, http::Version::HTTP_2),
        (&["h2", "http/1.1"], false, http::Version::HTTP_11),
        (&[], true, http::Version::HTTP_11),
    ] {
        let receiver = Receiver::start_with(Kind::Lenient, Some(ca.acceptor(&["mimir.test"], alpn, Some(&ca)))).await;
        let mut remote = settings(&format!("https://{}/push", receiver.address));
        remote.client.enable_http2 = enable_http2;
        remote.client.tls.ca = Some(ca.pem.clone());
        remote.client.tls.cert_file = Some("client.pem".into());
        remote.client.tls.key = Some(Secret::new(&key));
        remote.client.tls.server_name = Some("mimir.test".into());
        let member = writer(remote).await;
        let (status, _, text) = member.push_as(Version::V1, batch(&[("a", 1)])).await;
        assert_eq!(status, 502, "no file yet");
        assert!(text.contains("cannot read cert_file") && text.contains("client.pem"), "{text}");
        std::fs::write(member.dir.path().join("client.pem"), &certificate).unwrap();
        for at in 1..=3 {
            assert_eq!(member.push(&[("a", at)]).await, 204);
        }
        assert!(receiver.seen().iter().all(|seen| seen.http == http), "{alpn:?}");
    }
}

#[tokio::test]
async fn a_certificate_of_another_name_or_authority_is_refused_unless_told_otherwise() {
    let (ca, other) = (Ca::new(), Ca::new());
    let receiver = Receiver::start_with(Kind::Lenient, Some(ca.acceptor(&["mimir.test"], &[], None))).await;
    for (authority, name, skip, expected) in [
        (&ca, Some("mimir.test"), false, 204),
        (&ca, None, false, 502),
        (&other, Some("mimir.test"), false, 502),
        (&other, None, true, 204),
    ] {
        let mut remote = settings(&format!("https://{}/push", receiver.address));
        remote.client.tls.ca = Some(authority.pem.clone());
        remote.client.tls.server_name = name.map(str::to_owned);
        remote.client.tls.insecure_skip_verify = skip;
        let member = writer(remote).await;
        assert_eq!(member.push(&[("a", 1)]).await, expected, "{name:?} {skip}");
    }
}

/// A forward proxy: tunnels, and what it was asked.
async fn proxy() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let log = log.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await.unwrap());
                }
                let text = String::from_utf8(head).unwrap();
                lock(&log).push(text.clone());
                let target = text.split(' ').nth(1).unwrap().to_owned();
                if text.starts_with("CONNECT ") {
                    let mut remote = TcpStream::connect(target).await.unwrap();
                    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut remote).await;
                } else {
                    client.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await.unwrap();
                }
            });
        }
    });
    (format!("http://bob:pw@{address}"), asked)
}

#[tokio::test]
async fn a_plain_remote_is_asked_of_the_proxy_and_a_tls_one_through_a_tunnel() {
    let (proxy, asked) = proxy().await;
    let mut remote = settings("http://mimir.invalid/push?tenant=1");
    remote.client.proxy_url = RemoteUrl::parse(&proxy);
    let member = writer(remote).await;
    assert_eq!(member.push(&[("a", 1)]).await, 204);
    let head = lock(&asked).remove(0).to_lowercase();
    assert!(head.starts_with("post http://mimir.invalid/push?tenant=1 http/1.1\r\n"), "{head}");
    assert!(
        head.contains("\r\nproxy-authorization: basic ym9iohb3\r\n") || head.contains("proxy-authorization: basic"),
        "{head}"
    );

    let ca = Ca::new();
    let receiver = Receiver::start_with(Kind::Lenient, Some(ca.acceptor(&["127.0.0.1"], &["h2"], None))).await;
    let mut remote = settings(&format!("https://{}/push", receiver.address));
    remote.client.proxy_url = RemoteUrl::parse(&proxy);
    remote.client.proxy_connect_header = vec![("X-Egress".into(), vec![Secret::new("metrics")])];
    remote.client.tls.ca = Some(ca.pem.clone());
    let member = writer(remote).await;
    assert_eq!(member.push(&[("a", 1)]).await, 204);
    let head = lock(&asked).remove(0).to_lowercase();
    assert!(head.starts_with(&format!("connect {} http/1.1\r\n", receiver.address)), "{head}");
    assert!(head.contains("x-egress: metrics") && head.contains("proxy-authorization: basic"), "{head}");
    let seen = receiver.seen().remove(0);
    assert_eq!(seen.http, http::Version::HTTP_2);
    assert!(!seen.headers.contains_key("proxy-authorization") && !seen.headers.contains_key("x-egress"));
}

#[tokio::test]
async fn redirects_that_keep_the_request_are_followed_and_never_by_the_sender() {
    let receiver = Receiver::start(Kind::Lenient).await;
    let mut remote = settings(&receiver.url());
    let member = writer(remote.clone()).await;
    receiver.answers(&[(307, &[("location", "/elsewhere")])]);
    assert_eq!(member.push(&[("a", 1)]).await, 204);
    assert_eq!(receiver.seen()[1].uri, "/elsewhere");
    assert_eq!(receiver.seen()[1].headers["authorization"], "Bearer of-the-sender");
    remote.client.follow_redirects = false;
    member.gate.apply(routes(&[remote])).await.unwrap();
    for status in [307, 302] {
        receiver.answers(&[(status, &[("location", "/elsewhere")])]);
        let (answered, headers, _) = member.push_as(Version::V1, batch(&[("a", 2)])).await;
        assert_eq!((answered, headers.contains_key("location")), (status, false));
    }
}

#[tokio::test]
async fn a_remote_that_is_not_there_or_too_slow_is_told_in_words_without_secrets() {
    let member = writer(settings("http://bob:hunter2@127.0.0.1:1/push?token=hunter2")).await;
    let (status, _, text) = member.push_as(Version::V1, batch(&[("a", 1)])).await;
    assert_eq!(status, 502);
    assert!(text.contains("the remote cannot be reached") && !text.contains("hunter2"), "{text}");
    let receiver = Receiver::start(Kind::Lenient).await;
    receiver.set_delay(Duration::from_secs(60));
    let mut remote = settings(&receiver.url());
    remote.client.remote_timeout = Duration::from_millis(100);
    let member = writer(remote).await;
    let (status, _, text) = member.push_as(Version::V1, batch(&[("a", 1)])).await;
    assert_eq!(status, 504, "{text}");
}

#[tokio::test]
async fn connections_are_reused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepted = Arc::new(Mutex::new(0));
    let counter = accepted.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            *lock(&counter) += 1;
            tokio::spawn(async move {
                let mut buffer = [0; 4_096];
                // Each of the small requests comes in one piece or two; answered when its body is there.
                let mut pending = Vec::new();
                while let Ok(length) = stream.read(&mut buffer).await {
                    if length == 0 {
                        break;
                    }
                    pending.extend_from_slice(&buffer[..length]);
                    let body = batch(&[("a", 1)]);
                    if pending.ends_with(&body) {
                        pending.clear();
                        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
                    }
                }
            });
        }
    });
    let member = writer(settings(&format!("http://{address}/"))).await;
    for _ in 0..10 {
        assert_eq!(member.push(&[("a", 1)]).await, 204);
    }
    assert_eq!(*lock(&accepted), 1);
}

#[tokio::test]
async fn the_door_takes_known_entries_and_bounded_bodies_only() {
    let receiver = Receiver::start(Kind::Lenient).await;
    let member = Member::start(settings(&receiver.url())).await;
    let http = reqwest::Client::new();
    let url = |name: &str| format!("http://{}/write/{name}", member.address);
    assert_eq!(http.post(url("other")).send().await.unwrap().status(), 503);
    assert_eq!(http.post(url("r")).header("origin", "http://a.page").send().await.unwrap().status(), 403);
    assert_eq!(http.get(url("r")).send().await.unwrap().status(), 405);
    let response = http.post(url("r")).body(vec![0; (32 << 20) + 1]).send().await.unwrap();
    assert_eq!(response.status(), 413);
    let text = response.text().await.unwrap();
    assert!(text.contains("more than 33554432 bytes: lower queue_config.max_samples_per_send"), "{text}");
}
