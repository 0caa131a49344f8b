//! The status page and its stream of reports.

use http::header;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::sockets::start;
use super::*;
use crate::api::page::{PAGE, STREAMS_MAX, hash, inside};
use crate::api::public::router;

/// Long enough for a busy machine.
const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn the_page_may_load_nothing_and_be_shown_in_no_frame() {
    let (inputs, _ends) = inputs(false);
    let answer = get(&router(shared(inputs)), "/_elector/").await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (200, PAGE));
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    for (name, value) in headers {
        assert_eq!(answer.headers[&name], value, "{name}");
    }
    let policy = format!(
        "default-src 'none'; style-src '{}'; script-src '{}'; img-src data:; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        hash(inside("style")),
        hash(inside("script"))
    );
    assert_eq!(answer.headers[header::CONTENT_SECURITY_POLICY], policy);
}

#[test]
fn the_policy_names_all_that_the_page_holds() {
    // `printf '' | openssl dgst -sha256 -binary | base64`
    assert_eq!(hash(""), "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    for name in ["style", "script"] {
        assert_eq!(PAGE.matches(&format!("<{name}")).count(), 1, "one <{name}> without attributes");
        assert!(inside(name).len() > 1000, "{name}");
    }
    for forbidden in
        ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", " style=", " onclick", "src="]
    {
        assert!(!PAGE.contains(forbidden), "`{forbidden}`: text of others is never HTML, and nothing is loaded");
    }
    assert!(PAGE.lines().count() <= 400, "a longer page holds two ideas");
}

#[tokio::test]
async fn the_address_without_a_slash_leads_to_the_page_below_any_prefix() {
    let (inputs, _ends) = inputs(false);
    let answer = get(&router(shared(inputs)), "/_elector").await;
    assert_eq!((answer.status.as_u16(), &answer.headers[header::LOCATION]), (308, &"_elector/".parse().unwrap()));
}

async fn open(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /_elector/events HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    stream
}

/// Reads until `end` was read.
async fn until(stream: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    let all = async {
        while !String::from_utf8_lossy(&read).contains(end) {
            let length = stream.read_buf(&mut read).await.unwrap();
            assert!(length > 0, "the stream has ended before `{end}`");
        }
    };
    timeout(SOON, all).await.expect("it comes soon");
    String::from_utf8(read).unwrap()
}

#[tokio::test]
async fn a_stream_tells_the_report_at_once_and_again_when_it_changes() {
    let (inputs, ends) = inputs(false);
    let (address, _, drain, served) = start(inputs, SOON);
    let mut stream = open(address).await;
    let first = until(&mut stream, "\n\n").await;
    assert!(first.starts_with("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"), "{first}");
    let (_, event) = first.split_once("event: status\ndata: ").unwrap();
    let report: StatusReport = serde_json::from_str(event.lines().next().unwrap()).unwrap();
    assert_eq!((&*report.member, report.term), ("prom-0", 0));
    ends.leads("prom-1", false, Authority::None);
    ends.group_status(|status| status.term = 7);
    until(&mut stream, r#""leader":"prom-1""#).await;
    drain.cancel();
    served.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_silent_for_half_a_second_at_the_most_and_in_no_hurry() {
    let (inputs, ends) = inputs(false);
    let shared = shared(inputs);
    let answer = crate::api::page::events(axum::extract::State(shared)).await;
    let mut body = answer.into_body();
    let mut begun = tokio::time::Instant::now();
    let mut next = async || {
        assert!(body.frame().await.unwrap().unwrap().is_data());
        std::mem::replace(&mut begun, tokio::time::Instant::now()).elapsed().as_millis()
    };
    assert_eq!(next().await, 0);
    assert_eq!((next().await, next().await), (500, 500), "nothing changes");
    for term in 1..3 {
        ends.group_status(|status| status.term = term);
        assert_eq!(next().await, 100, "however fast it changes");
    }
    ends.role.send_modify(|role| Arc::make_mut(role).cordoned = true);
    assert_eq!(next().await, 100);
}

#[tokio::test]
async fn streams_are_bounded_and_whoever_leaves_makes_room() {
    let (inputs, _ends) = inputs(false);
    let (address, _, drain, served) = start(inputs, SOON);
    let mut streams = Vec::new();
    for _ in 0..STREAMS_MAX {
        let mut stream = open(address).await;
        until(&mut stream, "\n\n").await;
        streams.push(stream);
    }
    let refused = until(&mut open(address).await, "/_elector/status").await;
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert!(
        refused.ends_with("the status page is open too often already; close one, or ask /_elector/status\n"),
        "{refused}"
    );
    drop(streams.pop());
    let again = async {
        while !until(&mut open(address).await, "\r\n\r\n").await.starts_with("HTTP/1.1 200") {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, again).await.expect("a place is free");
    drain.cancel();
    served.await.unwrap();
}

#[tokio::test]
async fn a_drain_ends_open_streams_and_waits_for_no_reader() {
    let (inputs, _ends) = inputs(false);
    let (address, _, drain, served) = start(inputs, Duration::from_secs(60));
    let mut stream = open(address).await;
    until(&mut stream, "\n\n").await;
    drain.cancel();
    timeout(SOON, served).await.expect("long before the grace delay ends").unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert!(rest.ends_with("0\r\n\r\n"), "the answer is whole: {rest}");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_nothing_loses_its_place() {
    let (inputs, _ends) = inputs(false);
    let shared = shared(inputs);
    let answer = crate::api::page::events(axum::extract::State(shared.clone())).await;
    assert_eq!(shared.streams.available_permits(), STREAMS_MAX - 1);
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!(shared.streams.available_permits(), STREAMS_MAX - 1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(shared.streams.available_permits(), STREAMS_MAX);
    let kept = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(kept.windows(7).filter(|bytes| bytes == b"event: ").count(), 1, "one event was held for it");
}
