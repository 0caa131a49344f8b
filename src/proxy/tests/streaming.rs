//! Bodies flow, are bounded, and an end that is none is not passed off as one.

use super::*;

#[tokio::test]
async fn the_first_bytes_of_a_response_arrive_before_the_last_are_made() {
    let (go_on, wait) = watch::channel(false);
    let prometheus = Prometheus::start(move |_, mut conn| {
        let mut wait = wait.clone();
        async move {
            conn.head().await;
            conn.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n").await;
            within(wait.wait_for(|go_on| *go_on)).await.unwrap();
            conn.write("4\r\nlast\r\n0\r\n\r\n").await;
        }
    })
    .await;
    let sidecar = Sidecar::following(prometheus.address).await;
    let mut client = sidecar.client().await;
    client.write(&get("/federate")).await;
    client.until("first\r\n").await;
    go_on.send_replace(true);
    client.until("last\r\n0\r\n\r\n").await;
}

#[tokio::test]
async fn the_first_bytes_of_a_request_arrive_before_the_last_are_sent() {
    let prometheus = Prometheus::start(|_, mut conn| async move {
        conn.head().await;
        conn.until("first\r\n").await;
        conn.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n..\r\n").await;
        conn.until("last\r\n0\r\n\r\n").await;
        conn.write("0\r\n\r\n").await;
    })
    .await;
    let sidecar = Sidecar::following(prometheus.address).await;
    let mut client = sidecar.client().await;
    client.write("POST /api/v1/write HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n").await;
    client.until("..\r\n").await;
    client.write("4\r\nlast\r\n0\r\n\r\n").await;
    client.until("0\r\n\r\n").await;
}

/// Without back pressure the proxy would take all of it and grow.
#[tokio::test]
async fn a_large_response_waits_for_a_slow_client() {
    const CHUNK: usize = 1 << 20;
    const CHUNKS: usize = 50;
    let written = Arc::new(AtomicUsize::new(0));
    let (stalled, mut is_stalled) = watch::channel(false);
    let count = Arc::clone(&written);
    let prometheus = Prometheus::start(move |_, mut conn| {
        let (count, stalled) = (Arc::clone(&count), stalled.clone());
        async move {
            conn.head().await;
            conn.write(&format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", CHUNK * CHUNKS)).await;
            let chunk = "x".repeat(CHUNK);
            for _ in 0..CHUNKS {
                let mut write = std::pin::pin!(conn.write(&chunk));
                if tokio::time::timeout(Duration::from_secs(1), &mut write).await.is_err() {
                    stalled.send_replace(true);
                    write.await;
                }
                count.fetch_add(1, Ordering::SeqCst);
            }
        }
    })
    .await;
    let sidecar = Sidecar::following(prometheus.address).await;
    let mut client = sidecar.client().await;
    client.write(&get("/")).await;
    client.head().await;
    within(is_stalled.wait_for(|stalled| *stalled)).await.expect("all was taken from Prometheus");
    let taken = written.load(Ordering::SeqCst);
    assert!(taken < CHUNKS / 2, "{taken} MiB were taken, more than socket buffers hold");
    let (body, closed) = client.rest().await;
    assert!(closed && body.len() == CHUNK * CHUNKS, "{} bytes", body.len());
}

#[tokio::test]
async fn a_response_that_breaks_off_is_cut_and_never_looks_whole() {
    for begin in ["content-length: 10\r\n\r\nfirst", "transfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n"] {
        let (cut, wait) = watch::channel(false);
        let prometheus = Prometheus::start(move |_, mut conn| {
            let mut wait = wait.clone();
            async move {
                conn.head().await;
                conn.write(&format!("HTTP/1.1 200 OK\r\n{begin}")).await;
                within(wait.wait_for(|cut| *cut)).await.unwrap();
            }
        })
        .await;
        let sidecar = Sidecar::following(prometheus.address).await;
        let mut client = sidecar.client().await;
        client.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        client.until("first").await;
        cut.send_replace(true);
        let (rest, _) = client.rest().await;
        let rest = String::from_utf8(rest).unwrap();
        assert!(!rest.contains('0'), "an end that is none: {rest:?}");
        assert_eq!(sidecar.proxy.metrics().cut.get(), 1);
        // The request has its head, a read must not be sent again.
        assert_eq!((sidecar.retries(), prometheus.connections()), (0, 1));
    }
}

#[tokio::test]
async fn a_client_that_goes_before_the_response_cancels_its_request() {
    let (seen, mut gone) = tokio::sync::mpsc::channel(1);
    let prometheus = Prometheus::start(move |_, mut conn| {
        let seen = seen.clone();
        async move {
            conn.head().await;
            conn.rest().await;
            seen.send(()).await.unwrap();
        }
    })
    .await;
    let sidecar = Sidecar::following(prometheus.address).await;
    let mut client = sidecar.client().await;
    client.write(&get("/")).await;
    prometheus.is_asked().await;
    drop(client);
    within(gone.recv()).await.unwrap();
}

#[tokio::test]
async fn a_client_that_goes_during_the_response_cancels_its_request() {
    let (seen, mut gone) = tokio::sync::mpsc::channel(1);
    let prometheus = Prometheus::start(move |_, mut conn| {
        let seen = seen.clone();
        async move {
            conn.head().await;
            conn.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
            let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
            while within(conn.stream.write_all(chunk.as_bytes())).await.is_ok() {}
            seen.send(()).await.unwrap();
        }
    })
    .await;
    let sidecar = Sidecar::following(prometheus.address).await;
    let mut client = sidecar.client().await;
    client.write(&get("/")).await;
    client.head().await;
    drop(client);
    within(gone.recv()).await.unwrap();
}

#[tokio::test]
async fn a_client_that_goes_while_held_gives_its_place_back() {
    let sidecar = Sidecar::start(LONG, None).await;
    let mut client = sidecar.client().await;
    client.write(&get("/")).await;
    eventually("the request is held", || sidecar.held() == 1).await;
    drop(client);
    eventually("the place is free", || sidecar.held() == 0).await;
}
