//! Takeovers: what is held, what is sent again, and what must not be.

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::super::hold::HELD_MAX;
use super::super::upstream::UNDER_WAY_MAX;
use super::*;

#[tokio::test]
async fn a_request_is_held_until_somebody_leads() {
    let prometheus = Prometheus::answering("up").await;
    let sidecar = Sidecar::start(LONG, None).await;
    let (answer, ()) = tokio::join!(sidecar.ask(get("/")), async {
        eventually("the request is held", || sidecar.held() == 1).await;
        sidecar.lead(1, prometheus.address);
    });
    assert_eq!(answer.1, "up");
    assert_eq!((sidecar.held(), sidecar.proxy.metrics().holds.get()), (0, 1));
}

#[tokio::test]
async fn without_a_leader_the_answer_is_503_in_words() {
    let sidecar = Sidecar::start(SHORT, None).await;
    let (head, body) = sidecar.ask(get("/")).await;
    assert!(head.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{head}");
    let lines = header_lines(&head);
    assert!(lines.contains(&"retry-after: 1") && lines.contains(&"content-type: text/plain; charset=utf-8"), "{head}");
    assert!(body.contains("waited 200ms for a leader: the group has not formed yet"), "{body}");
    sidecar.lose_leader();
    let (_, body) = sidecar.ask(get("/")).await;
    assert!(body.contains("no member leads the group"), "{body}");
    let metrics = sidecar.registry_text();
    let line = "prometheus_elector_proxy_requests_total{target=\"none\",code=\"5xx\"} 2\n";
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test]
async fn held_requests_are_bounded() {
    let sidecar = Sidecar::start(LONG, None).await;
    let ask = || sidecar.proxy.handle(sidecar.address, Request::new(axum::body::Body::empty()));
    let mut held: FuturesUnordered<_> = (0..HELD_MAX).map(|_| ask()).collect();
    assert!(futures_util::FutureExt::now_or_never(held.next()).is_none());
    let refused = within(ask()).await;
    assert_eq!(refused.status(), 503);
    let body = axum::body::to_bytes(refused.into_body(), 1000).await.unwrap();
    let words = format!("no leader answers, and {HELD_MAX} requests wait for one already");
    assert!(body.starts_with(words.as_bytes()), "{body:?}");
}

/// A leader that was killed stays the known leader for up to a second: nothing may fail meanwhile, and what was not
/// sent may go to the next one, also a write.
#[tokio::test]
async fn an_unreachable_leader_holds_reads_and_writes_until_the_next_one_leads() {
    let next = Prometheus::start(|_, mut conn| async move {
        let head = conn.head().await;
        let body = conn.body(&head).await;
        conn.write(&ok(&format!("got {body}"))).await;
    })
    .await;
    let sidecar = Sidecar::following(closed_port().await).await;
    let (read, form_read, write) = (get("/"), form("/api/v1/query", "query=up"), form("/api/v1/write", "samples"));
    let answers = async { tokio::join!(sidecar.ask(&read), sidecar.ask(&form_read), sidecar.ask(&write)) };
    let (answers, ()) = tokio::join!(answers, async {
        eventually("each was tried and is held", || sidecar.retries() >= 3 && sidecar.held() == 3).await;
        sidecar.lose_leader();
        sidecar.lead(2, next.address);
    });
    assert_eq!(
        (answers.0.1.as_str(), answers.1.1.as_str(), answers.2.1.as_str()),
        ("got ", "got query=up", "got samples")
    );
    assert!(answers.0.0.contains("x-prometheus-elector-leader: p-2"));
    assert_eq!(next.connections(), 3);
}

#[tokio::test]
async fn an_unreachable_leader_that_comes_back_is_asked_again() {
    let address = closed_port().await;
    let sidecar = Sidecar::following(address).await;
    let ((_, body), _prometheus) = tokio::join!(sidecar.ask(get("/")), async {
        eventually("the request was tried", || sidecar.retries() > 0).await;
        Prometheus::start_at(address, |_, mut conn| async move {
            conn.head().await;
            conn.write(&ok("back")).await;
        })
        .await
    });
    assert_eq!(body, "back");
}

#[tokio::test]
async fn an_unreachable_leader_is_502_in_words_when_the_wait_is_over() {
    let address = closed_port().await;
    let sidecar = Sidecar::start(SHORT, None).await;
    sidecar.lead(1, address);
    let (head, body) = sidecar.ask(get("/")).await;
    assert!(head.starts_with("HTTP/1.1 502 ") && head.contains("retry-after: 1"), "{head}");
    let expected = format!("Prometheus of leader p-1 at http://{address} could not be reached for 200ms");
    assert!(body.contains(&expected) && body.contains("Connection refused"), "{body}");
}

/// Answers all but the first connection; that one is closed after the request was read.
async fn breaking_once() -> Prometheus {
    Prometheus::start(|number, mut conn| async move {
        let head = conn.head().await;
        let body = conn.body(&head).await;
        if number > 0 {
            conn.write(&ok(&format!("got {}", body.len()))).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_read_whose_connection_broke_is_sent_again() {
    for request in [get("/"), form("/api/v1/query_range", "query=up")] {
        let prometheus = breaking_once().await;
        let sidecar = Sidecar::following(prometheus.address).await;
        let (head, body) = sidecar.ask(&request).await;
        assert!(body.starts_with("got "), "{head}{body}");
        assert_eq!(prometheus.connections(), 2);
    }
}

#[tokio::test]
async fn a_write_whose_connection_broke_is_not_sent_again() {
    let large_read = "x".repeat(70_000);
    for request in [form("/api/v1/write", "samples"), form("/-/reload", ""), form("/api/v1/query", &large_read)] {
        let prometheus = breaking_once().await;
        let sidecar = Sidecar::following(prometheus.address).await;
        let (head, body) = sidecar.ask(&request).await;
        assert!(head.starts_with("HTTP/1.1 502 "), "{head}{body}");
        assert!(body.contains("may or may not have taken effect"), "{body}");
        assert_eq!((prometheus.connections(), sidecar.retries()), (1, 0));
    }
}

#[tokio::test]
async fn a_read_that_breaks_every_prometheus_is_given_up() {
    let prometheus = Prometheus::start(|_, mut conn| async move {
        conn.head().await;
    })
    .await;
    let sidecar = Sidecar::following(prometheus.address).await;
    let (head, body) = sidecar.ask(get("/")).await;
    assert!(head.starts_with("HTTP/1.1 502 ") && body.contains("after 4 attempts"), "{head}{body}");
    assert_eq!(prometheus.connections(), 4);
}

/// A paused or isolated leader accepts and never answers: the reads that it holds must not wait for it.
#[tokio::test]
async fn reads_leave_a_hung_leader_when_another_leads() {
    for (request, expected) in [(get("/"), "got 0"), (form("/api/v1/series", "match[]=up"), "got 10")] {
        let hung = Prometheus::silent().await;
        let next = Prometheus::start(|_, mut conn| async move {
            let head = conn.head().await;
            let body = conn.body(&head).await;
            conn.write(&ok(&format!("got {}", body.len()))).await;
        })
        .await;
        let sidecar = Sidecar::following(hung.address).await;
        let ((_, body), ()) = tokio::join!(sidecar.ask(&request), async {
            hung.is_asked().await;
            sidecar.lose_leader();
            sidecar.lead(2, next.address);
        });
        assert_eq!(body, expected);
    }
}

/// What Prometheus answers to everything while it starts or stops.
const NOT_READY: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\n\
                         content-length: 19\r\n\r\nService Unavailable";
/// A query that took too long.
const TIMED_OUT: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: 19\r\n\r\n\
                         {\"status\":\"error\"}\n";

#[tokio::test]
async fn a_read_waits_for_a_prometheus_that_is_not_ready_and_for_no_other_503() {
    for (request, first, expected) in [
        (get("/"), NOT_READY, "ready"),
        (form("/api/v1/query", "query=up"), NOT_READY, "ready"),
        (get("/"), TIMED_OUT, "{\"status\":\"error\"}\n"),
        (form("/api/v1/write", "samples"), NOT_READY, "Service Unavailable"),
    ] {
        let prometheus = Prometheus::start(move |number, mut conn| async move {
            let head = conn.head().await;
            conn.body(&head).await;
            conn.write(&if number == 0 { first.to_owned() } else { ok("ready") }).await;
        })
        .await;
        let sidecar = Sidecar::following(prometheus.address).await;
        assert_eq!(sidecar.ask(&request).await.1, expected, "{request}");
    }
}

#[tokio::test]
async fn a_prometheus_that_does_not_become_ready_is_503_in_words() {
    let prometheus = Prometheus::start(|_, mut conn| async move {
        conn.head().await;
        conn.write(NOT_READY).await;
    })
    .await;
    let sidecar = Sidecar::start(SHORT, None).await;
    sidecar.lead(1, prometheus.address);
    let (head, body) = sidecar.ask(get("/")).await;
    assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("retry-after"), "{head}");
    assert_eq!(
        body,
        "Prometheus of leader p-1 has been starting or stopping for 200ms; if that goes on, see its log, and /-/ready there\n"
    );
}

/// As many requests as may be are under way to a hung leader; a further one waits, and does not get lost there.
#[tokio::test]
async fn requests_under_way_are_bounded_and_those_that_wait_go_to_the_next_leader() {
    let (hung, next) = (Prometheus::silent().await, Prometheus::answering("next").await);
    let sidecar = Sidecar::following(hung.address).await;
    let queued = || sidecar.proxy.metrics().queued_now.get();
    let mut under_way = Vec::new();
    for _ in 0..UNDER_WAY_MAX {
        let mut client = sidecar.client().await;
        client.write(&get("/")).await;
        under_way.push(client);
    }
    eventually("all of them reach Prometheus", || hung.connections() == UNDER_WAY_MAX).await;
    let waits = form("/api/v1/write", "samples");
    let ((head, body), ()) = tokio::join!(sidecar.ask(&waits), async {
        eventually("one more waits", || queued() == 1).await;
        sidecar.lead(2, next.address);
    });
    assert!(head.starts_with("HTTP/1.1 200 ") && body == "next", "{head}{body}");
    assert_eq!(hung.connections(), UNDER_WAY_MAX);
    for mut client in under_way {
        assert!(client.head().await.starts_with("HTTP/1.1 200 "));
    }
}

#[tokio::test]
async fn a_place_is_given_back_at_the_end_of_a_response() {
    let prometheus = Prometheus::answering("ok").await;
    let sidecar = Sidecar::following(prometheus.address).await;
    for _ in 0..=UNDER_WAY_MAX {
        assert_eq!(sidecar.ask(get("/")).await.1, "ok");
    }
}

#[tokio::test]
async fn a_write_at_a_hung_leader_ends_with_504_and_reaches_no_other() {
    let (hung, next) = (Prometheus::silent().await, Prometheus::answering("no").await);
    let sidecar = Sidecar::start(SHORT, None).await;
    sidecar.lead(1, hung.address);
    let request = form("/api/v1/write", "samples");
    let ((head, body), ()) = tokio::join!(sidecar.ask(&request), async {
        hung.is_asked().await;
        sidecar.lead(2, next.address);
    });
    assert!(head.starts_with("HTTP/1.1 504 ") && body.contains("may or may not have taken effect"), "{head}{body}");
    assert_eq!(next.connections(), 0);
}

#[tokio::test]
async fn a_leader_that_answers_while_nobody_leads_is_heard() {
    let (go_on, wait) = watch::channel(false);
    let prometheus = Prometheus::start(move |_, mut conn| {
        let mut wait = wait.clone();
        async move {
            conn.head().await;
            within(wait.wait_for(|go_on| *go_on)).await.unwrap();
            conn.write(&ok("late")).await;
        }
    })
    .await;
    let sidecar = Sidecar::following(prometheus.address).await;
    let ((_, body), ()) = tokio::join!(sidecar.ask(get("/")), async {
        prometheus.is_asked().await;
        sidecar.lose_leader();
        // A request that is held shows that the proxy has seen it.
        let mut held = sidecar.client().await;
        held.write(&get("/")).await;
        eventually("another request is held", || sidecar.held() == 1).await;
        go_on.send_replace(true);
    });
    assert_eq!((body.as_str(), prometheus.connections()), ("late", 1));
}

#[tokio::test]
async fn nobody_waits_for_a_group_that_has_ended() {
    let mut sidecar = Sidecar::start(LONG, None).await;
    let request = get("/");
    let unconnected = watch::channel(Leadership::default()).0;
    let mut held = sidecar.client().await;
    held.write(&request).await;
    eventually("the request is held", || sidecar.held() == 1).await;
    let begin = tokio::time::Instant::now();
    drop(std::mem::replace(&mut sidecar.leadership, unconnected));
    let answer = String::from_utf8(held.rest().await.0).unwrap();
    assert!(answer.contains("the election group of this member has stopped"), "{answer}");
    assert!(sidecar.ask(request).await.0.starts_with("HTTP/1.1 503 "));
    assert!(begin.elapsed() < LONG / 2);
}

/// The promise of P5 in small: the leader dies with requests on every connection, and no read fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_is_killed_under_load_and_no_read_fails() {
    let (one, two) = (Prometheus::answering("answer").await, Prometheus::answering("answer").await);
    let sidecar = Arc::new(Sidecar::following(one.address).await);
    let answered = Arc::new(AtomicUsize::new(0));
    let (stop, stopped) = watch::channel(false);
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (sidecar, answered, stopped) = (Arc::clone(&sidecar), Arc::clone(&answered), stopped.clone());
        readers.spawn(async move {
            let mut client = sidecar.client().await;
            while !*stopped.borrow() {
                client.write("GET /api/v1/query?query=up HTTP/1.1\r\nhost: a\r\n\r\n").await;
                let head = client.head().await;
                assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
                assert_eq!(client.body(&head).await, "answer");
                answered.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    eventually("the load runs", || answered.load(Ordering::SeqCst) > 200).await;
    drop(one);
    eventually("all readers are held", || sidecar.held() == 16).await;
    sidecar.lose_leader();
    sidecar.lead(2, two.address);
    let before = answered.load(Ordering::SeqCst);
    eventually("the load goes on", || answered.load(Ordering::SeqCst) > before + 200).await;
    stop.send_replace(true);
    while let Some(reader) = within(readers.join_next()).await {
        reader.expect("a read failed");
    }
    assert!(two.connections() > 0);
}
