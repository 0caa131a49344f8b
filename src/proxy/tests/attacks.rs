//! What an attacker would send to make the proxy and Prometheus disagree about where a request ends, or to smuggle a header or
//! a second request through. Each is refused, or arrives as one request that can be read in one way only.

use std::sync::Mutex;

use super::*;

/// A Prometheus that keeps every byte it gets, and answers whatever looks like a head.
async fn recorder() -> (Prometheus, Arc<Mutex<String>>) {
    let seen = Arc::new(Mutex::new(String::new()));
    let record = Arc::clone(&seen);
    let prometheus = Prometheus::start(move |_, mut conn| {
        let record = Arc::clone(&record);
        async move {
            while let Some(head) = conn.try_head().await {
                let body = conn.body(&head).await;
                record.lock().unwrap().extend([head, body]);
                conn.write(&ok("answer")).await;
            }
        }
    })
    .await;
    (prometheus, seen)
}

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nhost: grafana\r\n\r\n";

#[tokio::test]
async fn requests_whose_end_is_disputed_are_refused() {
    let (prometheus, seen) = recorder().await;
    let sidecar = Sidecar::following(prometheus.address).await;
    let shapes = [
        "content-length: 4\r\ncontent-length: 5",
        "content-length: 4, 5",
        "content-length: +4",
        "content-length: 0x4",
        "content-length: -4",
        "content-length: 18446744073709551617",
        "content-length : 4",
        "transfer-encoding: xchunked",
        "transfer-encoding: chunked, identity",
        "transfer-encoding: identity",
        "x: a\r\n content-length: 4",
        "x: a\rcontent-length: 4",
        "x: a\0b",
        "x\x01y: a",
    ];
    for shape in shapes {
        let (head, _) =
            sidecar.ask(format!("POST /first HTTP/1.1\r\nhost: grafana\r\n{shape}\r\n\r\n{SMUGGLED}")).await;
        assert!(head.starts_with("HTTP/1.1 400 "), "{shape:?}: {head}");
    }
    let seen = seen.lock().unwrap();
    assert!(!seen.contains("smuggled"), "{seen}");
}

#[tokio::test]
async fn of_a_length_and_chunks_only_one_goes_on() {
    let (prometheus, seen) = recorder().await;
    let sidecar = Sidecar::following(prometheus.address).await;
    let request =
        "POST /first HTTP/1.1\r\nhost: grafana\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    let mut client = sidecar.client().await;
    client.write(&format!("{request}{SMUGGLED}")).await;
    client.rest().await;
    let seen = seen.lock().unwrap();
    assert!(seen.starts_with("POST /first "), "{seen}");
    let ambiguous = seen.contains("content-length: 5") && seen.contains("transfer-encoding");
    assert!(!ambiguous, "{seen}");
    assert!(!seen.contains("content-length: 5\r\n"), "the chunks count (RFC 9112, section 6.3): {seen}");
}

#[tokio::test]
async fn broken_chunks_end_the_request_and_are_never_passed_off_as_whole() {
    let shapes = ["FFFFFFFFFFFFFFFFF\r\nabc", "5;\nx\r\nhello", "-1\r\nabc", "3\r\nabcdef\r\n0\r\n\r\n", "zz\r\nabc"];
    for shape in shapes {
        let (prometheus, seen) = recorder().await;
        let sidecar = Sidecar::following(prometheus.address).await;
        let head = "POST /api/v1/admin/tsdb/snapshot HTTP/1.1\r\nhost: grafana\r\ntransfer-encoding: chunked\r\n\r\n";
        let (answer, _) = sidecar.ask(format!("{head}{shape}")).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{shape:?}: {answer}");
        assert!(!seen.lock().unwrap().contains("0\r\n\r\n"), "{shape:?}");
    }
}

#[tokio::test]
async fn line_breaks_in_a_target_or_value_stay_encoded_or_are_refused() {
    let (prometheus, seen) = recorder().await;
    let sidecar = Sidecar::following(prometheus.address).await;
    let encoded = "/api/v1/query?query=up%0d%0ax-injected:%201";
    let (head, _) = sidecar.ask(get(encoded)).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    {
        let seen = seen.lock().unwrap();
        assert!(seen.starts_with(&format!("GET {encoded} HTTP/1.1\r\n")) && !seen.contains("\r\nx-injected"), "{seen}");
    }
    for target in ["/a\tb", "/a b", "/a\x7fb", "a", "http://"] {
        let (head, _) = sidecar.ask(get(target)).await;
        assert!(head.starts_with("HTTP/1.1 400 "), "{target:?}: {head}");
    }
}

#[tokio::test]
async fn a_client_cannot_speak_for_the_proxy_or_take_headers_away() {
    let (prometheus, seen) = recorder().await;
    let sidecar = Sidecar::following(prometheus.address).await;
    let tricks = "connection: close, x-forwarded-for, x-prometheus-elector-via, host\r\nx-forwarded-for: 10.9.9.9\r\n\
                  x-prometheus-elector-leader: evil\r\nproxy-authorization: Basic eA==";
    let (head, _) = sidecar.ask(format!("GET /api/v1/query HTTP/1.1\r\nhost: grafana\r\n{tricks}\r\n\r\n")).await;
    assert!(head.contains("x-prometheus-elector-leader: p-1\r\n") && !head.contains("evil"), "{head}");
    let seen = seen.lock().unwrap();
    assert!(seen.contains("x-prometheus-elector-via: p-0\r\n"), "the loop guard stays: {seen}");
    assert!(seen.contains("127.0.0.1\r\n"), "so does the client's address: {seen}");
    assert!(seen.contains("host: "), "{seen}");
    assert!(!seen.contains("proxy-authorization"), "{seen}");
}
