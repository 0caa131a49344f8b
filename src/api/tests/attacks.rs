//! What an attacker would ask for: paths that try to look like others, and what only the admin address may do.

use axum::response::IntoResponse as _;

use super::*;
use crate::api::public;

/// What the public listener answers a target as it stands on the wire; the proxy echoes the path that it got.
async fn asked(inputs: &ApiInputs, method: &str, target: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut inputs = inputs.clone();
    inputs.fallback = Some(Arc::new(|_, request: Request<Incoming>| {
        let echo = format!("proxied {}", request.uri());
        Box::pin(async move { echo.into_response() })
    }));
    let (listener, address) = listen::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let limits = serve::Limits { purpose: "test", connections_max: 8, grace: Duration::ZERO };
    let answers = public::answers(shared(inputs), None);
    let server = tokio::spawn(serve::serve(listener, answers, limits, None, CancellationToken::new()));
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("{method} {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    server.abort();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_path_below_elector_never_reaches_prometheus_and_no_other_one_becomes_an_endpoint() {
    let (inputs, _ends) = inputs(false);
    let unknown = [
        "/_elector/../-/reload",
        "/_elector/..%2f-/reload",
        "/_elector/./status",
        "/_elector//status",
        "/_elector/status/",
        "/_elector/STATUS",
        "/_elector/%73tatus",
        "/_elector/status%00",
        "/_elector/status;x",
        "http://evil.example/_elector/../-/reload",
    ];
    for target in unknown {
        let answer = asked(&inputs, "GET", target).await;
        assert!(answer.starts_with("HTTP/1.1 404 ") && !answer.contains("proxied"), "{target}: {answer}");
    }
    // These are Prometheus's to judge, byte for byte: nothing is decoded or shortened on the way.
    for target in [
        "/%5felector/status",
        "//_elector/status",
        "/./_elector/status",
        "/-/../_elector/status",
        "/_elector%2fstatus",
        "/_electors",
    ] {
        let answer = asked(&inputs, "GET", target).await;
        assert!(answer.ends_with(&format!("proxied {target}")), "{target}: {answer}");
    }
}

#[tokio::test]
async fn the_public_address_takes_no_command_and_no_remote_write() {
    let (inputs, mut ends) = inputs(false);
    for path in ["/step-down", "/cordon", "/uncordon", "/recover", "/members/prom-1/remove", "/write/main", "/status"] {
        let answer = asked(&inputs, "POST", path).await;
        assert!(answer.ends_with(&format!("proxied {path}")), "{path}: {answer}");
        let below = asked(&inputs, "POST", &format!("/_elector{path}")).await;
        let refused = ["HTTP/1.1 404 ", "HTTP/1.1 405 "].iter().any(|status| below.starts_with(status));
        assert!(refused, "{path}: {below}");
    }
    assert!(ends.commands.try_recv().is_err() && ends.group.requests.try_recv().is_err(), "something was carried out");
}

#[tokio::test]
async fn heads_are_bounded() {
    let (inputs, _ends) = inputs(false);
    let long = asked(&inputs, "GET", &format!("/{}", "a".repeat(70_000))).await;
    assert!(long.starts_with("HTTP/1.1 414 ") || long.starts_with("HTTP/1.1 431 "), "{}", &long[..40.min(long.len())]);
    let many = "x-more: a\r\n".repeat(200);
    let many = asked(&inputs, "GET", &format!("/ HTTP/1.1\r\n{many}x:")).await;
    assert!(many.starts_with("HTTP/1.1 431 "), "{many}");
}
