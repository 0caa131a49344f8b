//! Tests over real sockets on loopback: the proxy behind axum as in the program, scripted TCP servers as Prometheus,
//! scripted TCP clients. Every wait has a deadline; nothing sleeps for a fixed time.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod attacks;
mod elsewhere;
mod passing;
mod retrying;
mod secure;
mod streaming;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use elector_raft::{Authority, Leader, Leadership, Member, NodeId};
use hyper_util::client::legacy::connect::dns::GaiResolver;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::{Proxy, ProxySettings, connector};
use crate::prometheus::access::testing::accesses;
use crate::prometheus::access::{AccessSettings, Accesses};

/// Longer than anything takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(20);
/// A hold that no test waits out.
const LONG: Duration = DEADLINE;
/// A hold that a test waits out.
const SHORT: Duration = Duration::from_millis(200);

/// Fails the test when `future` takes longer than [`DEADLINE`].
async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("took too long")
}

/// Waits until `condition` holds.
async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

/// The API listener of member `p-0` with the proxy behind it.
struct Sidecar {
    address: SocketAddr,
    proxy: Proxy,
    leadership: watch::Sender<Leadership>,
    _server: AbortOnDropHandle<()>,
}

impl Sidecar {
    /// `local` is the port of the own Prometheus.
    async fn start(leader_wait: Duration, local: Option<SocketAddr>) -> Self {
        let local_url = local.map(|address| format!("http://{address}/").parse().unwrap());
        let settings = ProxySettings { member: "p-0".into(), local_url, leader_wait, add_credentials: false };
        Self::start_with(&settings, accesses(AccessSettings::default())).await
    }

    async fn start_with(settings: &ProxySettings, accesses: Accesses) -> Self {
        let (leadership, receiver) = watch::channel(Leadership::default());
        let proxy = Proxy::new(settings, receiver, connector(GaiResolver::new()), accesses);
        let app = Router::new()
            .fallback(
                |State(proxy): State<Proxy>, ConnectInfo(client): ConnectInfo<SocketAddr>, request: Request| async move {
                    proxy.handle(client, request).await
                },
            )
            .with_state(proxy.clone())
            .into_make_service_with_connect_info::<SocketAddr>();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, proxy, leadership, _server: AbortOnDropHandle::new(server) }
    }

    /// A sidecar that knows the leader from the start: member `p-1` with its Prometheus at `leader`.
    async fn following(leader: SocketAddr) -> Self {
        let sidecar = Self::start(LONG, None).await;
        sidecar.lead(1, leader);
        sidecar
    }

    /// Makes member `p-<node>` the leader.
    fn lead(&self, node: u64, prometheus: SocketAddr) {
        self.lead_at(node, format!("http://{prometheus}"));
    }

    fn lead_at(&self, node: u64, prometheus_url: String) {
        let member = Member { name: format!("p-{node}"), prometheus_url, ..Member::default() };
        let leader = Leader { id: NodeId(node), is_self: node == 0, member, found_at: None };
        self.leadership.send_replace(Leadership {
            term: node + 1,
            leader: Some(Arc::new(leader)),
            authority: Authority::None,
        });
    }

    /// Nobody leads.
    fn lose_leader(&self) {
        self.leadership.send_replace(Leadership { term: 9, leader: None, authority: Authority::None });
    }

    async fn client(&self) -> Conn {
        Conn::to(self.address).await
    }

    /// A whole exchange on a connection of its own: status line and headers, and all that follows.
    async fn ask(&self, request: impl AsRef<str>) -> (String, String) {
        let mut client = self.client().await;
        client.write(request.as_ref()).await;
        let head = client.head().await;
        (head, String::from_utf8(client.rest().await.0).unwrap())
    }

    fn held(&self) -> i64 {
        self.proxy.metrics().held_now.get()
    }

    fn retries(&self) -> u64 {
        self.proxy.metrics().retries.get()
    }

    fn registry_text(&self) -> String {
        let mut registry = prometheus_client::registry::Registry::default();
        self.proxy.metrics().register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }
}

/// A scripted server in place of Prometheus. Dropping it closes the port and every connection.
struct Prometheus {
    address: SocketAddr,
    /// Connections accepted so far.
    connections: Arc<AtomicUsize>,
    _server: AbortOnDropHandle<()>,
}

impl Prometheus {
    /// Runs `script` on every connection, with its number from 0.
    async fn start<F>(script: impl Fn(usize, Conn) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::start_at("127.0.0.1:0".parse().unwrap(), script).await
    }

    async fn start_at<F>(address: SocketAddr, script: impl Fn(usize, Conn) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let server = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                open.spawn(script(count.fetch_add(1, Ordering::SeqCst), Conn::new(stream)));
            }
        });
        Self { address, connections, _server: AbortOnDropHandle::new(server) }
    }

    /// Answers every request with `body`, on connections that stay open.
    async fn answering(body: &'static str) -> Self {
        Self::start(move |_, mut conn| async move {
            while let Some(head) = conn.try_head().await {
                conn.body(&head).await;
                conn.write(&ok(body)).await;
            }
        })
        .await
    }

    /// Reads requests, and never answers.
    async fn silent() -> Self {
        Self::start(|_, mut conn| async move {
            conn.rest().await;
        })
        .await
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    async fn is_asked(&self) {
        eventually("the request reaches Prometheus", || self.connections() > 0).await;
    }
}

/// A port that nothing listens on.
async fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: grafana\r\nconnection: close\r\n\r\n")
}

fn form(path: &str, body: &str) -> String {
    let kind = "content-type: application/x-www-form-urlencoded";
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: grafana\r\nconnection: close\r\n{kind}\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

/// Header lines without the start line, sorted.
fn header_lines(head: &str) -> Vec<&str> {
    let mut lines: Vec<_> = head.trim_end().split("\r\n").skip(1).collect();
    lines.sort_unstable();
    lines
}

/// One end of a TCP connection, read in pieces.
struct Conn {
    stream: TcpStream,
    /// Read and not taken yet.
    buffer: Vec<u8>,
}

impl Conn {
    fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    async fn to(address: SocketAddr) -> Self {
        Self::new(within(TcpStream::connect(address)).await.unwrap())
    }

    async fn write(&mut self, text: &str) {
        // A peer that has gone shows in what is read.
        let _ = within(self.stream.write_all(text.as_bytes())).await;
    }

    /// Reads on; false at the end.
    async fn fill(&mut self) -> bool {
        within(self.stream.read_buf(&mut self.buffer)).await.is_ok_and(|read| read > 0)
    }

    /// All up to and including `end`; `None` if the connection ends before.
    async fn try_until(&mut self, end: &str) -> Option<String> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|window| window == end.as_bytes()) {
                let rest = self.buffer.split_off(at + end.len());
                return Some(String::from_utf8(std::mem::replace(&mut self.buffer, rest)).unwrap());
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    async fn until(&mut self, end: &str) -> String {
        let found = self.try_until(end).await;
        found.unwrap_or_else(|| panic!("no {end:?} in {:?}", String::from_utf8_lossy(&self.buffer)))
    }

    async fn try_head(&mut self) -> Option<String> {
        self.try_until("\r\n\r\n").await
    }

    async fn head(&mut self) -> String {
        self.until("\r\n\r\n").await
    }

    async fn exactly(&mut self, length: usize) -> String {
        while self.buffer.len() < length {
            assert!(self.fill().await, "ended after {} of {length} bytes", self.buffer.len());
        }
        let rest = self.buffer.split_off(length);
        String::from_utf8(std::mem::replace(&mut self.buffer, rest)).unwrap()
    }

    /// The body that goes with `head`, as it stands on the wire.
    async fn body(&mut self, head: &str) -> String {
        let header = |name: &str| head.split("\r\n").find_map(|line| line.strip_prefix(name));
        match header("content-length: ") {
            Some(length) => self.exactly(length.parse().unwrap()).await,
            None if header("transfer-encoding: ").is_some() => self.until("0\r\n\r\n").await,
            None => String::new(),
        }
    }

    /// All up to the end, and whether that was a proper close.
    async fn rest(&mut self) -> (Vec<u8>, bool) {
        loop {
            match within(self.stream.read_buf(&mut self.buffer)).await {
                Ok(0) => return (std::mem::take(&mut self.buffer), true),
                Ok(_) => {}
                Err(_) => return (std::mem::take(&mut self.buffer), false),
            }
        }
    }
}
