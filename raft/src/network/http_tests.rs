//! What the listener bears, over real sockets.

#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use super::dialer::Dialer;
use super::endpoint_tests::Bench;
use super::http::{BODY_BYTES_MAX, HttpTransport, LARGE_MESSAGES_MAX, Receiver};
use super::{Call, CallError, Message, Refusal, Transport, serve};
use crate::NodeId;
use crate::store::Standing;
use crate::testing::hello;

/// A listening member.
async fn listening(bench: &Bench) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, Receiver::new(bench.endpoint.clone(), None), None));
    address
}

fn connect(address: SocketAddr, headers: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "POST /group HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}\r\n").unwrap();
    stream
}

fn status(mut stream: TcpStream) -> String {
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    String::from_utf8_lossy(&answer[9..]).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_too_long_is_not_taken() {
    let address = listening(&Bench::new()).await;
    let told = connect(address, &format!("content-length: {}\r\n", BODY_BYTES_MAX + 1));
    assert_eq!(status(told), "413");
    let mut untold = connect(address, "transfer-encoding: chunked\r\n");
    let chunk =
        [format!("{BODY_BYTES_MAX:x}\r\n").into_bytes(), vec![b' '; BODY_BYTES_MAX], b"\r\n1\r\n \r\n".to_vec()];
    untold.write_all(&chunk.concat()).unwrap();
    assert_eq!(status(untold), "413");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn few_long_messages_come_in_at_once_and_small_ones_still_do() {
    let address = listening(&Bench::new()).await;
    let long = |_| connect(address, "transfer-encoding: chunked\r\n");
    let held: Vec<TcpStream> = (0..=LARGE_MESSAGES_MAX).map(long).collect();
    let mut small = connect(address, "content-length: 2\r\n");
    small.write_all(b"{}").unwrap();
    assert_eq!(status(small), "400");
    // The listener takes them in any order. One is too many; the others have a place until their bodies are overdue.
    let mut told: Vec<String> = held.into_iter().map(status).collect();
    told.sort();
    assert_eq!(told, ["408", "408", "408", "408", "503"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_never_comes_is_not_waited_for() {
    let address = listening(&Bench::new()).await;
    assert_eq!(status(connect(address, "content-length: 2\r\n")), "408");
}

/// Answers each request with these bytes.
fn answering(answer: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(&answer);
        }
    });
    address
}

async fn said(answer: impl Into<Vec<u8>>) -> CallError {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dialer = Dialer::new(None, None, Duration::from_secs(5)).unwrap();
    let transport = HttpTransport::new(dialer, None, Arc::new(()));
    let message = Message::new("test", NodeId(2), Call::Hello(Box::new(hello(2, Standing::Blank))));
    transport.call(&answering(answer.into()), &message, Duration::from_secs(20)).await.unwrap_err()
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_read_in_bounds_and_checked() {
    let endless = [b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_vec(), vec![b' '; 2 * BODY_BYTES_MAX]].concat();
    assert_eq!(said(endless).await, CallError::Unreachable("its answer is too long".into()));
    let hostile = include_str!("../../tests/wire/answer-hello.json").replace("prom-1:9096", "u@h/x?:1");
    assert!(said(ok(&hostile)).await.to_string().contains("the raft address of prom-1 is no host:port"));
    assert!(said(ok(r#"{"Ok":"Done"}"#)).await.to_string().contains("something else was asked"));
    assert!(said(ok("<html>")).await.to_string().contains("its answer cannot be read"));
    let refused = said("HTTP/1.1 401 Unauthorized\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await;
    assert!(matches!(refused, CallError::Refused(Refusal::Other(why)) if why.contains("raft-token-file")));
}
