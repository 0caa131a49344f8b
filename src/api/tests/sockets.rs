use axum::response::IntoResponse as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;

fn settings(listen: &str, admin: &str) -> ApiSettings {
    ApiSettings { listen: listen.parse().unwrap(), admin_listen: admin.parse().unwrap(), web_config_file: None }
}

/// A served API on loopback, and the token that drains it.
pub(super) fn start(inputs: ApiInputs, grace: Duration) -> (SocketAddr, SocketAddr, CancellationToken, JoinHandle<()>) {
    let api = Api::bind(&settings("[::]:0", "127.0.0.1:0")).unwrap();
    let drain = CancellationToken::new();
    let public = SocketAddr::new([127, 0, 0, 1].into(), api.public_addr.port());
    let admin = api.admin_addr;
    (public, admin, drain.clone(), tokio::spawn(api.serve(inputs, drain.into(), grace)))
}

/// The public listener alone, with so many places.
fn start_bounded(inputs: ApiInputs, connections_max: usize) -> (SocketAddr, CancellationToken, JoinHandle<()>) {
    let (listener, address) = listen::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let limits = Limits { purpose: "test", connections_max, grace: Duration::from_secs(5) };
    let drain = CancellationToken::new();
    let answers = crate::api::public::answers(shared(inputs), None);
    (address, drain.clone(), tokio::spawn(serve::serve(listener, answers, limits, None, drain)))
}

async fn send(address: SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

async fn read(mut stream: TcpStream) -> std::io::Result<String> {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.map(|_| answer)
}

/// A fallback that says that it was reached, then answers the client's address once it may.
fn held() -> (Fallback, Arc<Notify>, Arc<Notify>) {
    let (reached, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (reached_too, go_too) = (reached.clone(), go.clone());
    let fallback: Fallback = Arc::new(move |client, _| {
        let (reached, go) = (reached_too.clone(), go_too.clone());
        Box::pin(async move {
            reached.notify_one();
            go.notified().await;
            client.ip().to_string().into_response()
        })
    });
    (fallback, reached, go)
}

#[tokio::test]
async fn admin_requests_are_never_taken_from_another_host() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:10.0.0.1]:0"] {
        let error = Api::bind(&settings("127.0.0.1:0", address)).unwrap_err();
        assert!(matches!(error, ApiError::AdminNotLoopback { .. }), "{address}: {error}");
        assert!(error.to_string().contains("--admin-listen-address"), "{error}");
    }
    for address in ["127.0.0.1:0", "127.0.0.2:0", "[::1]:0"] {
        let api = Api::bind(&settings("127.0.0.1:0", address)).unwrap();
        assert!(api.admin_addr.ip().is_loopback() && api.admin_addr.port() != 0);
    }
}

#[tokio::test]
async fn a_taken_address_is_named_with_its_flag() {
    let first = Api::bind(&settings("127.0.0.1:0", "127.0.0.1:0")).unwrap();
    let error = Api::bind(&settings(&first.public_addr.to_string(), "127.0.0.1:0")).unwrap_err().to_string();
    let address = first.public_addr;
    assert!(error.starts_with(&format!("cannot listen on {address} for the API: ")), "{error}");
    assert!(error.ends_with("choose another one with --api-listen-address"), "{error}");
    let error = Api::bind(&settings("127.0.0.1:0", &first.admin_addr.to_string())).unwrap_err().to_string();
    assert!(error.ends_with("choose another one with --admin-listen-address"), "{error}");
}

#[tokio::test]
async fn both_listeners_answer_and_an_ipv4_client_of_the_dual_stack_is_seen_as_ipv4() {
    let (mut inputs, _ends) = inputs(false);
    let (fallback, _reached, go) = held();
    inputs.fallback = Some(fallback);
    let (public, admin, drain, served) = start(inputs, Duration::from_secs(5));
    let answer = read(send(public, "/_elector/healthz").await).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
    let answer = read(send(admin, "/status").await).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    let answer = read(send(admin, "/_elector/healthz").await).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 "), "the listeners share no path: {answer}");
    go.notify_one();
    let answer = read(send(public, "/graph").await).await.unwrap();
    assert!(answer.ends_with("\r\n\r\n127.0.0.1"), "{answer}");
    drain.cancel();
    served.await.unwrap();
}

/// A fallback that answers with what it was asked.
fn echo() -> Fallback {
    Arc::new(|client, request| {
        Box::pin(async move { format!("{} {} {}", client.ip(), request.method(), request.uri()).into_response() })
    })
}

#[tokio::test]
async fn with_the_proxy_on_every_other_path_is_its_and_no_elector_path_is() {
    let (mut inputs, _ends) = inputs(false);
    inputs.fallback = Some(echo());
    let (public, _admin, _drain, _served) = start(inputs, Duration::from_secs(5));
    for path in ["/", "/_electoral", "/api/v1/x?a=b%20c", "/%5felector/healthz", "//_elector/healthz"] {
        let answer = read(send(public, path).await).await.unwrap();
        assert!(answer.ends_with(&format!("\r\n\r\n127.0.0.1 GET {path}")), "{answer}");
    }
    for path in ["/_elector/x", "/_elector//", "/_elector/x/y", "/_elector/x?y"] {
        let answer = read(send(public, path).await).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
    }
}

/// A client that begins with HTTP/2, and the task that drives its connection.
async fn http2(
    address: SocketAddr,
) -> (hyper::client::conn::http2::SendRequest<Body>, JoinHandle<Result<(), hyper::Error>>) {
    let stream = TcpStream::connect(address).await.unwrap();
    let executor = hyper_util::rt::TokioExecutor::new();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (client, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    (client, tokio::spawn(connection))
}

fn get(address: SocketAddr, path: &str) -> http::Request<Body> {
    http::Request::get(format!("http://{address}{path}")).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn a_client_may_begin_with_http_2_and_is_asked_to_finish_by_a_drain() {
    let (mut inputs, _ends) = inputs(false);
    inputs.fallback = Some(echo());
    let (public, _admin, drain, served) = start(inputs, Duration::from_secs(30));
    let (mut client, connection) = http2(public).await;
    let (endpoint, other) = tokio::join!(
        client.send_request(get(public, "/_elector/livez")),
        client.clone().send_request(get(public, "/x"))
    );
    assert_eq!(endpoint.unwrap().status(), 200);
    let other = other.unwrap().into_body().collect().await.unwrap().to_bytes();
    assert_eq!(other, format!("127.0.0.1 GET http://{public}/x"));
    drain.cancel();
    timeout(Duration::from_secs(5), served).await.expect("an idle connection holds nothing up").unwrap();
    connection.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_preface_may_come_in_pieces_and_what_only_looks_like_one_is_http_1() {
    let (inputs, _ends) = inputs(false);
    let (public, _admin, _drain, _served) = start(inputs, Duration::from_secs(5));
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut whole = TcpStream::connect(public).await.unwrap();
    whole.set_nodelay(true).unwrap();
    for byte in preface {
        whole.write_all(&[*byte]).await.unwrap();
    }
    // An empty SETTINGS frame; the server's own has the same type.
    whole.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    let mut frame = [0; 9];
    timeout(Duration::from_secs(5), whole.read_exact(&mut frame)).await.unwrap().unwrap();
    assert_eq!(frame[3], 4, "{frame:?}");
    let mut other = TcpStream::connect(public).await.unwrap();
    other.write_all(b"PRI * HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let answer = timeout(Duration::from_secs(5), read(other)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
}

#[tokio::test]
async fn connections_of_http_2_take_a_part_of_the_places() {
    let (inputs, _ends) = inputs(false);
    let (address, drain, served) = start_bounded(inputs, 8);
    let mut clients = Vec::new();
    for number in 1..=3 {
        let (mut client, _connection) = http2(address).await;
        let answer =
            timeout(Duration::from_secs(5), client.send_request(get(address, "/_elector/livez"))).await.unwrap();
        assert_eq!(answer.is_ok(), number <= 2, "connection {number}: {answer:?}");
        clients.push(client);
    }
    let answer = read(send(address, "/_elector/healthz").await).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drain.cancel();
    served.await.unwrap();
}

#[tokio::test]
async fn a_drain_takes_no_new_connection_and_lets_open_requests_finish() {
    let (mut inputs, _ends) = inputs(false);
    let (fallback, reached, go) = held();
    inputs.fallback = Some(fallback);
    let (public, _admin, drain, mut served) = start(inputs, Duration::from_secs(30));
    let idle = TcpStream::connect(public).await.unwrap();
    let open = send(public, "/graph").await;
    reached.notified().await;
    drain.cancel();
    while TcpStream::connect(public).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(timeout(Duration::from_millis(100), &mut served).await.is_err(), "a request is open");
    go.notify_one();
    assert!(read(open).await.unwrap().ends_with("127.0.0.1"));
    timeout(Duration::from_secs(5), served).await.expect("an idle connection holds nothing up").unwrap();
    drop(idle);
}

#[tokio::test]
async fn a_drain_cuts_what_is_still_open_after_the_grace_delay() {
    let (mut inputs, _ends) = inputs(false);
    let (fallback, reached, _go) = held();
    inputs.fallback = Some(fallback);
    let (public, _admin, drain, served) = start(inputs, Duration::from_millis(50));
    let open = send(public, "/graph").await;
    reached.notified().await;
    drain.cancel();
    timeout(Duration::from_secs(5), served).await.unwrap().unwrap();
    assert_eq!(read(open).await.unwrap_or_default(), "", "no answer came");
}

#[tokio::test(start_paused = true)]
async fn a_slow_head_is_cut() {
    let (inputs, _ends) = inputs(false);
    let (public, _admin, _drain, _served) = start(inputs, Duration::from_secs(5));
    let mut stream = TcpStream::connect(public).await.unwrap();
    stream.write_all(b"GET /_elector/healthz HTTP/1.1\r\nx-slow: ").await.unwrap();
    let answer = timeout(Duration::from_secs(76), read(stream)).await.expect("not for ever");
    assert!(!answer.unwrap_or_default().contains("200 OK"));
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_for_a_place() {
    let (mut inputs, _ends) = inputs(false);
    let (fallback, reached, go) = held();
    inputs.fallback = Some(fallback);
    let (address, drain, served) = start_bounded(inputs, 1);
    let first = send(address, "/graph").await;
    reached.notified().await;
    let second = tokio::spawn(read(send(address, "/_elector/healthz").await));
    assert!(timeout(Duration::from_millis(100), reached.notified()).await.is_err());
    assert!(!second.is_finished(), "the place is taken");
    go.notify_one();
    assert!(read(first).await.unwrap().ends_with("127.0.0.1"));
    assert!(second.await.unwrap().unwrap().starts_with("HTTP/1.1 200 OK"));
    drain.cancel();
    served.await.unwrap();
}

#[tokio::test]
async fn idle_connections_take_half_of_the_places_at_the_most() {
    let (inputs, _ends) = inputs(false);
    let (address, drain, served) = start_bounded(inputs, 4);
    let mut idle = Vec::new();
    // Of four places the accepting one takes one: two are half.
    for number in 1..=9 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /_elector/healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut answer = vec![0; 1024];
        let length = timeout(Duration::from_secs(5), stream.read(&mut answer)).await.expect("a place").unwrap();
        let answer = String::from_utf8_lossy(&answer[..length]).to_lowercase();
        assert!(answer.starts_with("http/1.1 200"), "{answer}");
        assert_eq!(answer.contains("connection: close"), number > 1, "connection {number}: {answer}");
        idle.push(stream);
    }
    drain.cancel();
    served.await.unwrap();
}
