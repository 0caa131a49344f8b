//! What passes, what does not, and how it looks on the wire.

use super::*;

#[tokio::test]
async fn a_request_and_its_response_pass_as_they_are() {
    let (seen, mut request) = tokio::sync::mpsc::channel(1);
    let prometheus = Prometheus::start(move |_, mut conn| {
        let seen = seen.clone();
        async move {
            let head = conn.head().await;
            let body = conn.body(&head).await;
            seen.send((head, body)).await.unwrap();
            conn.write("HTTP/1.1 422 Nope\r\nx-one: a\r\nx-one: b\r\ncontent-encoding: gzip\r\nkeep-alive: 5\r\n")
                .await;
            conn.write("connection: x-hop\r\nx-hop: 1\r\ndate: now\r\ncontent-length: 4\r\n\r\n\x1f\x02\x03\x04").await;
        }
    })
    .await;
    let sidecar = Sidecar::following(prometheus.address).await;
    let mut client = sidecar.client().await;
    client
        .write(
            "POST /prefix//a%2Fb/?x=%20&y=[]&x HTTP/1.1\r\nHost: prom.example:80\r\naccept-encoding: br\r\n\
             x-forwarded-for: 10.1.1.1\r\nconnection: keep-alive, x-secret\r\nx-secret: 1\r\nupgrade: h2c\r\n\
             content-length: 3\r\n\r\nabc",
        )
        .await;

    let (head, body) = within(request.recv()).await.unwrap();
    assert!(head.starts_with("POST /prefix//a%2Fb/?x=%20&y=[]&x HTTP/1.1\r\n"), "{head}");
    let expected = [
        "accept-encoding: br",
        "content-length: 3",
        "host: prom.example:80",
        "x-forwarded-for: 10.1.1.1, 127.0.0.1",
        "x-prometheus-elector-via: p-0",
    ];
    assert_eq!((header_lines(&head), body.as_str()), (expected.to_vec(), "abc"));

    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 422 "), "{head}");
    let expected = [
        "content-encoding: gzip",
        "content-length: 4",
        "date: now",
        "x-one: a",
        "x-one: b",
        "x-prometheus-elector-leader: p-1",
    ];
    assert_eq!(header_lines(&head), expected);
    assert_eq!(client.exactly(4).await, "\x1f\x02\x03\x04");
    let metrics = sidecar.registry_text();
    let line = "prometheus_elector_proxy_requests_total{target=\"leader\",code=\"4xx\"} 1\n";
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test]
async fn the_leader_itself_asks_its_local_prometheus() {
    let (local, public) = (Prometheus::answering("local").await, Prometheus::answering("public").await);
    let sidecar = Sidecar::start(LONG, Some(local.address)).await;
    sidecar.lead(0, public.address);
    let (head, body) = sidecar.ask(get("/graph")).await;
    assert_eq!(body, "local");
    assert!(head.contains("x-prometheus-elector-leader: p-0"), "{head}");
    sidecar.lead(1, public.address);
    within(async { while sidecar.ask(get("/graph")).await.1 != "public" {} }).await;
}

#[tokio::test]
async fn connections_to_prometheus_are_kept_and_dropped_with_their_target() {
    let (one, two) = (Prometheus::answering("1").await, Prometheus::answering("2").await);
    let sidecar = Sidecar::following(one.address).await;
    for _ in 0..3 {
        sidecar.ask(get("/")).await;
    }
    assert_eq!(one.connections(), 1);
    // Leadership moves and comes back: what was connected before may be a pod that has gone.
    sidecar.lead(2, two.address);
    within(async { while sidecar.ask(get("/")).await.1 != "2" {} }).await;
    sidecar.lead(1, one.address);
    within(async { while sidecar.ask(get("/")).await.1 != "1" {} }).await;
    assert_eq!(one.connections(), 2);
}

#[tokio::test]
async fn head_has_the_length_and_no_body() {
    let prometheus = Prometheus::start(|_, mut conn| async move {
        while let Some(head) = conn.try_head().await {
            assert!(head.starts_with("HEAD "), "{head}");
            conn.write("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").await;
        }
    })
    .await;
    let sidecar = Sidecar::following(prometheus.address).await;
    let mut client = sidecar.client().await;
    for _ in 0..2 {
        client.write("HEAD / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("content-length: 1000"), "{head}");
    }
    assert!(client.buffer.is_empty());
}

#[tokio::test]
async fn an_http_1_0_client_gets_what_it_understands() {
    let prometheus = Prometheus::start(|_, mut conn| async move {
        while let Some(head) = conn.try_head().await {
            assert!(head.starts_with("GET /chunks HTTP/1.1\r\n"), "{head}");
            assert!(head.contains("\r\nhost: 127.0.0.1:"), "HTTP/1.1 needs a host: {head}");
            conn.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n").await;
        }
    })
    .await;
    let sidecar = Sidecar::following(prometheus.address).await;
    let (head, body) = sidecar.ask("GET /chunks HTTP/1.0\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.0 200 OK\r\n"), "{head}");
    assert!(!head.contains("transfer-encoding"), "{head}");
    assert_eq!(body, "abcde");
}

#[tokio::test]
async fn an_http_1_0_prometheus_does_not_make_the_client_one() {
    let prometheus = Prometheus::start(|_, mut conn| async move {
        conn.head().await;
        conn.write("HTTP/1.0 200 OK\r\n\r\nto the end").await;
    })
    .await;
    let sidecar = Sidecar::following(prometheus.address).await;
    let (head, body) = sidecar.ask(get("/")).await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert_eq!(body, "A\r\nto the end\r\n0\r\n\r\n");
}

#[tokio::test]
async fn a_client_that_expects_100_continue_is_told_when_its_body_is_wanted() {
    let prometheus = Prometheus::start(|_, mut conn| async move {
        let head = conn.head().await;
        assert!(!head.contains("expect"), "{head}");
        assert_eq!(conn.body(&head).await, "abc");
        conn.write(&ok("done")).await;
    })
    .await;
    let sidecar = Sidecar::start(LONG, None).await;
    let mut client = sidecar.client().await;
    // A form read: its body is the one that would be gathered.
    client.write("POST /api/v1/query HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\n").await;
    client.write("content-type: application/x-www-form-urlencoded\r\ncontent-length: 3\r\n\r\n").await;
    eventually("the request is held", || sidecar.held() == 1).await;
    assert!(client.stream.try_read(&mut [0; 1]).is_err(), "a held request keeps its body");
    sidecar.lead(1, prometheus.address);
    assert_eq!(client.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.write("abc").await;
    assert!(client.head().await.starts_with("HTTP/1.1 200 OK\r\n"));
    assert_eq!(client.exactly(4).await, "done");
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let prometheus = Prometheus::start(|_, mut conn| async move {
        let head = conn.head().await;
        for line in ["connection: te", "te: trailers", "trailer: x-sum", "transfer-encoding: chunked"] {
            assert!(header_lines(&head).contains(&line), "{line} in {head}");
        }
        assert_eq!(conn.until("\r\n\r\n").await, "3\r\nabc\r\n0\r\nx-sum: 6\r\n\r\n");
        conn.write("HTTP/1.1 200 OK\r\ntrailer: x-end\r\ntransfer-encoding: chunked\r\n\r\n").await;
        conn.write("2\r\nok\r\n0\r\nx-end: 1\r\n\r\n").await;
    })
    .await;
    let sidecar = Sidecar::following(prometheus.address).await;
    let mut client = sidecar.client().await;
    client.write("POST /x HTTP/1.1\r\nhost: a\r\nte: trailers\r\ntrailer: x-sum\r\n").await;
    client.write("transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 6\r\n\r\n").await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(header_lines(&head).contains(&"trailer: x-end"), "{head}");
    assert_eq!(client.until("\r\n\r\n").await, "2\r\nok\r\n0\r\nx-end: 1\r\n\r\n");
}

#[tokio::test]
async fn large_headers_pass_both_ways() {
    let large = "x".repeat(40_000);
    let expected = format!("x-large: {large}");
    let line = expected.clone();
    let prometheus = Prometheus::start(move |_, mut conn| {
        let line = line.clone();
        async move {
            assert!(header_lines(&conn.head().await).contains(&line.as_str()));
            conn.write(&format!("HTTP/1.1 200 OK\r\n{line}\r\ncontent-length: 0\r\n\r\n")).await;
        }
    })
    .await;
    let sidecar = Sidecar::following(prometheus.address).await;
    let request = format!("GET /?{large} HTTP/1.1\r\nhost: a\r\n{expected}\r\nconnection: close\r\n\r\n");
    let (head, _) = sidecar.ask(&request).await;
    assert!(header_lines(&head).contains(&expected.as_str()), "{}", &head[..200]);
}

#[tokio::test]
async fn a_loop_is_named_instead_of_followed() {
    // The leader's Prometheus URL is the sidecar itself.
    let sidecar = Sidecar::start(LONG, None).await;
    sidecar.lead(1, sidecar.address);
    let (head, body) = sidecar.ask(get("/")).await;
    assert!(head.starts_with("HTTP/1.1 508 Loop Detected\r\n"), "{head}");
    assert!(body.contains("came back to member p-0") && body.contains("advertise-prometheus-url"), "{body}");
}

#[tokio::test]
async fn upgrades_and_tunnels_are_refused_in_words() {
    let prometheus = Prometheus::answering("no").await;
    let sidecar = Sidecar::following(prometheus.address).await;
    let websocket = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade, close\r\nupgrade: websocket\r\n\r\n";
    let (head, body) = sidecar.ask(websocket).await;
    assert!(head.starts_with("HTTP/1.1 501 ") && body.contains("no web sockets"), "{head}{body}");
    let (head, body) = sidecar.ask("CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\nconnection: close\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 405 ") && body.contains("no tunnel"), "{head}{body}");
    assert_eq!(prometheus.connections(), 0);
}

#[tokio::test]
async fn a_prometheus_that_switches_protocols_unasked_is_an_error() {
    let prometheus = Prometheus::start(|_, mut conn| async move {
        conn.head().await;
        conn.write("HTTP/1.1 101 Switching Protocols\r\nupgrade: foo\r\nconnection: upgrade\r\n\r\n").await;
        conn.rest().await;
    })
    .await;
    let sidecar = Sidecar::following(prometheus.address).await;
    let (head, body) = sidecar.ask(get("/")).await;
    assert!(head.starts_with("HTTP/1.1 502 ") && body.contains("switched protocols"), "{head}{body}");
}
