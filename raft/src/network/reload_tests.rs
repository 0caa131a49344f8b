//! Certificates that change, members that change to TLS and back, and slow callers, over real sockets.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;

use super::dialer::Dialer;
use super::http::HttpTransport;
use super::listener::{CONNECTIONS_MAX, HEAD_TIMEOUT};
use super::tls_testing::{Ca, fixed};
use super::tls_tests::Pair;
use super::*;
use crate::NodeId;
use crate::store::Standing;
use crate::testing::hello;

fn changing(material: Arc<TlsMaterial>) -> (watch::Sender<Arc<TlsMaterial>>, Tls) {
    let (sender, material) = watch::channel(material);
    (sender, Tls { mode: TlsMode::Required, material })
}

#[tokio::test]
async fn new_certificates_count_for_new_connections_and_old_connections_end_with_their_next_answer() {
    let (ca, other) = (Ca::new(), Ca::new());
    let (caller, caller_tls) = changing(ca.material(&["prom-2"]));
    let (answerer, answerer_tls) = changing(ca.material(&["prom-1"]));
    let pair = Pair::new(caller_tls, answerer_tls).await;
    pair.hello().await.unwrap();
    answerer.send_replace(ca.material(&["prom-9"]));
    pair.hello().await.unwrap();
    let error = pair.hello().await.unwrap_err().to_string();
    assert!(error.contains("its certificate is for prom-9"), "a new connection: {error}");

    answerer.send_replace(ca.material(&["prom-1"]));
    pair.hello().await.unwrap_err();
    pair.hello().await.unwrap();
    caller.send_replace(other.material(&["prom-2"]));
    let error = pair.hello().await.unwrap_err().to_string();
    assert!(error.contains("its certificate is of another CA"), "a new connection at once: {error}");
    answerer.send_replace(other.material(&["prom-1"]));
    pair.hello().await.unwrap();
}

#[tokio::test]
async fn calls_go_on_while_certificates_change() {
    let ca = Ca::new();
    let (caller, caller_tls) = changing(ca.material(&["prom-2"]));
    let (answerer, answerer_tls) = changing(ca.material(&["prom-1"]));
    let pair = Pair::new(caller_tls, answerer_tls).await;
    let calls = async {
        for _ in 0..60 {
            let (one, two, three) = tokio::join!(pair.hello(), pair.hello(), pair.hello());
            one.and(two).and(three).unwrap();
        }
    };
    let changes = async {
        loop {
            answerer.send_replace(ca.material(&["prom-1"]));
            tokio::task::yield_now().await;
            caller.send_replace(ca.material(&["prom-2"]));
            pair.hello().await.unwrap();
        }
    };
    tokio::select! {
        () = calls => {}
        () = changes => {}
    }
}

/// A member without TLS: answers hellos, and notes how each connection begins.
async fn old_member() -> (String, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, seen) = (listener.local_addr().unwrap().to_string(), Arc::<Mutex<String>>::default());
    let log = seen.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 16 * 1024];
            let length = stream.read(&mut request).await.unwrap();
            let is_tls = request[..length].first() == Some(&0x16);
            log.lock().unwrap().push(if is_tls { 'T' } else { 'P' });
            let answer = if is_tls { "" } else { include_str!("../../tests/wire/answer-hello.json") };
            let status = if is_tls { "400 Bad Request" } else { "200 OK" };
            let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", answer.len());
            stream.write_all(format!("{head}{answer}").as_bytes()).await.unwrap();
        }
    });
    (address, seen)
}

#[tokio::test]
async fn that_a_member_speaks_no_tls_is_remembered_for_a_moment_and_no_longer() {
    let timeout = Duration::from_secs(20);
    let ca = Ca::new();
    let (address, seen) = old_member().await;
    let transport = HttpTransport::new(
        Dialer::new(Some(fixed(TlsMode::Optional, ca.material(&["prom-2"]))), None, timeout).unwrap(),
        None,
        Arc::new(()),
    );
    let message = Message::new("test", NodeId(2), Call::Hello(Box::new(hello(2, Standing::Blank))));
    for expected in ["TP", "TPP", "TPPP"] {
        transport.call(&address, &message, timeout).await.unwrap();
        assert_eq!(*seen.lock().unwrap(), expected);
    }
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(5)).await;
    tokio::time::resume();
    transport.call(&address, &message, timeout).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), "TPPPTP");
}

/// Sends these bytes and waits until the connection is closed.
async fn closed_after(address: &str, bytes: &[u8]) -> Duration {
    let begin = Instant::now();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream.read_to_end(&mut Vec::new()).await.unwrap();
    begin.elapsed()
}

#[tokio::test(start_paused = true)]
async fn whoever_is_slow_to_begin_is_not_waited_for() {
    let ca = Ca::new();
    for mode in [TlsMode::Required, TlsMode::Optional] {
        let pair = Pair::new(None, fixed(mode, ca.material(&["prom-1"]))).await;
        for begun in [&b""[..], b"\x16", b"\x16\x03\x01\x02", b"POST /gr"] {
            let took = closed_after(&pair.address, begun).await.as_secs();
            assert_eq!(took, HEAD_TIMEOUT.as_secs(), "{begun:?}");
        }
    }
    let pair = Pair::new(None, None).await;
    assert_eq!(closed_after(&pair.address, b"POST /group HTTP/1.1\r\n").await.as_secs(), HEAD_TIMEOUT.as_secs());
}

#[tokio::test(start_paused = true)]
async fn more_connections_than_there_are_places_for_wait_until_one_ends() {
    let pair = Pair::new(None, None).await;
    let begin = Instant::now();
    let mut silent = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        silent.push(TcpStream::connect(&pair.address).await.unwrap());
    }
    let mut late = TcpStream::connect(&pair.address).await.unwrap();
    late.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    late.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert_eq!(begin.elapsed().as_secs(), HEAD_TIMEOUT.as_secs());
}
