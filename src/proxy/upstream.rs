//! Connections to one Prometheus: a pool that lives as long as its target is the target.
//!
//! ```text
//! request -> idle connection, the last used first -> head of the response -> body read whole -> idle again
//!         \> none: dial -----------------------------^                    \> left before its end: closed
//! ```
//!
//! - Inputs: requests with a path and a `Host`. Outputs: the response, and the [`Lease`] of its connection. Dropping either
//!   before its time closes the connection.
//! - A target gets a pool of its own when it becomes the target, so that connections to a pod's old address never
//!   serve its successor of the same name.
//! - Nothing is repeated here: what goes out again is decided in [`super::retry`].
//! - A plain target's connections know nothing of TLS; an https target's speak HTTP/1.1 over it, with the configuration that
//!   the pool was made with: other certificates are another pool.
//!
//! Own code, of hyper's connections: docs/decisions/proxy-data-path.md.

use std::error::Error as StdError;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tower_service::Service;

use super::body::Outbound;
use super::retry::Failure;
use crate::prometheus::access::hint;

/// Time for the TCP handshake, over all addresses of the host: a member of the same cluster takes milliseconds, and
/// one lost SYN is sent again after a second.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Time for a whole dial, name lookup and TLS handshake included: below the default hold of 5 s, so that a second dial fits in.
const DIAL_TIMEOUT: Duration = Duration::from_secs(2);
/// How long sent bytes may stay unacknowledged: ends requests that wait for a host that has vanished or cannot be reached,
/// where no change of leadership ends them first. A paused process does not trip it, its kernel acknowledges.
const UNACKNOWLEDGED_TIMEOUT: Duration = Duration::from_secs(4);
/// Idle time before the kernel asks whether the peer is still there, and between two such questions.
const KEEPALIVE: Duration = Duration::from_secs(1);
/// Idle connections are closed long before Prometheus closes them (5 minutes, `web.read-timeout`), because a request
/// on a connection that is being closed is lost.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Requests under way to one Prometheus, and idle connections kept to it; further requests wait. Prometheus works on 20
/// queries at once and takes 512 connections, and the sidecars of all members ask the leader's.
pub(super) const UNDER_WAY_MAX: usize = 128;
/// Read and write buffer of a connection, and with it the largest response head. hyper's own limit of 400 KiB buys
/// little speed for its memory.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

type BoxError = Box<dyn StdError + Send + Sync>;
type Sender = SendRequest<Outbound>;
type Dial = Box<dyn Fn() -> BoxFuture<'static, Result<Sender, BoxError>> + Send + Sync>;

/// Builds the pool of an origin, which share one connector: plain, or with TLS. With an address no name is looked up.
pub(super) type Pools = Arc<dyn Fn(Uri, Option<IpAddr>, Option<ClientConfig>) -> Upstream + Send + Sync>;

/// A pool of connections.
pub(super) struct Upstream {
    dial: Dial,
    idle: Arc<Idle>,
}

/// Connections that wait for a request, the last used at the end.
#[derive(Default)]
struct Idle(Mutex<Vec<(Sender, Instant)>>);

/// The connection of a response; a lease that is not returned closes it.
pub(super) struct Lease {
    sender: Sender,
    idle: Weak<Idle>,
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    /// No connection could be made.
    #[error("{}", words(&**.0))]
    Dial(BoxError),
    /// The connection was closed before anything of the request was sent.
    #[error("{}", words(.0))]
    Unsent(hyper::Error),
    /// The request may have been sent.
    #[error("{}", words(.0))]
    Sent(hyper::Error),
}

impl Upstream {
    /// Sends a request on an idle connection, or on a new one.
    pub(super) async fn send(&self, request: Request<Outbound>) -> Result<(Response<Incoming>, Lease), SendError> {
        let mut sender = match self.idle.take() {
            Some(sender) => sender,
            None => (self.dial)().await.map_err(SendError::Dial)?,
        };
        match sender.try_send_request(request).await {
            Ok(response) => Ok((response, Lease { sender, idle: Arc::downgrade(&self.idle) })),
            Err(mut error) => {
                // hyper gives a request back only if it had not begun to write it.
                let is_unsent = error.take_message().is_some();
                Err(if is_unsent { SendError::Unsent } else { SendError::Sent }(error.into_error()))
            }
        }
    }
}

impl Idle {
    /// The connection that was used last and is ready; those that were closed are forgotten.
    fn take(&self) -> Option<Sender> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut place = idle.len();
        while let Some(before) = place.checked_sub(1) {
            place = before;
            if idle[place].0.is_closed() {
                idle.remove(place);
            } else if idle[place].0.is_ready() {
                return Some(idle.remove(place).0);
            }
        }
        None
    }

    fn put(&self, sender: Sender) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < UNDER_WAY_MAX && !sender.is_closed() {
            idle.push((sender, Instant::now()));
        }
    }

    /// Closes what has been idle for too long, until the pool is gone.
    async fn tidy(idle: Weak<Self>) {
        loop {
            tokio::time::sleep(IDLE_TIMEOUT / 2).await;
            let Some(idle) = idle.upgrade() else { return };
            let mut idle = idle.0.lock().unwrap_or_else(PoisonError::into_inner);
            idle.retain(|(sender, since)| !sender.is_closed() && since.elapsed() < IDLE_TIMEOUT);
        }
    }
}

impl Lease {
    /// The response has been read to its end: its connection may serve another request.
    pub(super) fn give_back(self) {
        if let Some(idle) = self.idle.upgrade() {
            idle.put(self.sender);
        }
    }
}

/// Pools over `connector`. To be used inside a runtime.
pub(super) fn pools<C>(connector: C) -> Pools
where
    C: Service<Uri, Response = TokioIo<TcpStream>> + Clone + Send + Sync + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send + 'static,
{
    Arc::new(move |origin, at, tls| {
        let connector = At { connector: connector.clone(), at };
        match tls {
            None => pool(origin, connector),
            Some(tls) => pool(origin, HttpsConnector::from((connector, tls))),
        }
    })
}

/// A connector that knows the address of its one host.
#[derive(Clone)]
struct At<C> {
    connector: C,
    at: Option<IpAddr>,
}

impl<C: Service<Uri>> Service<Uri> for At<C> {
    type Response = C::Response;
    type Error = C::Error;
    type Future = C::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), C::Error>> {
        self.connector.poll_ready(context)
    }

    fn call(&mut self, origin: Uri) -> C::Future {
        let address = self.at.and_then(|ip| with_address(&origin, ip));
        self.connector.call(address.unwrap_or(origin))
    }
}

/// A URL with an address in the place of its host.
fn with_address(origin: &Uri, ip: IpAddr) -> Option<Uri> {
    let mut parts = origin.clone().into_parts();
    let host = if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
    let authority = origin.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
    parts.authority = Some(authority.parse().ok()?);
    Uri::from_parts(parts).ok()
}

fn pool<C>(origin: Uri, connector: C) -> Upstream
where
    C: Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send + 'static,
{
    let dial: Dial = Box::new(move || {
        let connecting = connect(origin.clone(), connector.clone());
        Box::pin(async move {
            match tokio::time::timeout(DIAL_TIMEOUT, connecting).await {
                Ok(connected) => connected,
                Err(_) => Err(format!("no connection within {DIAL_TIMEOUT:?}, name lookup and TLS included").into()),
            }
        })
    });
    let idle = Arc::new(Idle::default());
    tokio::spawn(Idle::tidy(Arc::downgrade(&idle)));
    Upstream { dial, idle }
}

async fn connect<C>(origin: Uri, mut connector: C) -> Result<Sender, BoxError>
where
    C: Service<Uri> + Send,
    C::Response: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
    C::Error: Into<BoxError>,
{
    std::future::poll_fn(|context| connector.poll_ready(context)).await.map_err(Into::into)?;
    let stream = connector.call(origin).await.map_err(Into::into)?;
    let (sender, connection) = http1::Builder::new().max_buf_size(BUFFER_BYTES_MAX).handshake(stream).await?;
    // Ends with the sender, or when Prometheus closes it; a request on it hears of the error.
    tokio::spawn(connection);
    Ok(sender)
}

/// Connects by TCP: every wait of a handshake has a bound. `resolver` looks host names up; addresses do not pass through it.
pub fn connector<R>(resolver: R) -> HttpConnector<R> {
    let mut tcp = HttpConnector::new_with_resolver(resolver);
    // TLS comes on top.
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.set_keepalive_interval(Some(KEEPALIVE));
    #[cfg(target_os = "linux")]
    tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED_TIMEOUT));
    tcp
}

impl SendError {
    /// What it means for the request. Everything not known to be unsent counts as sent.
    pub(super) fn failure(&self) -> Failure {
        match self {
            Self::Dial(_) => Failure::Unreachable,
            Self::Unsent(_) => Failure::Unsent,
            Self::Sent(error) if error.is_user() => Failure::ClientBody,
            Self::Sent(_) => Failure::Broken,
        }
    }
}

/// An error and what is behind it, and the way out where TLS failed.
fn words(error: &(dyn StdError + 'static)) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        words = format!("{words}: {source}");
        next = source.source();
    }
    words + hint(error)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::convert::Infallible;
    use std::future::{Pending, pending};

    use hyper_util::client::legacy::connect::dns::Name;

    use super::*;

    /// A name server that has gone.
    #[derive(Clone)]
    struct Silent;

    impl Service<Name> for Silent {
        type Response = std::vec::IntoIter<std::net::SocketAddr>;
        type Error = Infallible;
        type Future = Pending<Result<Self::Response, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Name) -> Self::Future {
            pending()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_is_closed_in_time_and_a_closed_one_is_not_used() {
        let connect = async || {
            let (near, far) = tokio::io::duplex(1024);
            let (sender, connection) = http1::handshake(TokioIo::new(near)).await.unwrap();
            tokio::spawn(connection);
            tokio::task::yield_now().await;
            (sender, far)
        };
        let idle = Arc::new(Idle::default());
        let tidy = tokio::spawn(Idle::tidy(Arc::downgrade(&idle)));
        let (sender, _far) = connect().await;
        idle.put(sender);
        tokio::time::sleep(IDLE_TIMEOUT * 9 / 10).await;
        let sender = idle.take().expect("not idle for long enough");
        idle.put(sender);
        tokio::time::sleep(IDLE_TIMEOUT + IDLE_TIMEOUT / 2).await;
        assert!(idle.take().is_none());
        let (sender, far) = connect().await;
        idle.put(sender);
        drop(far);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(idle.take().is_none());
        drop(idle);
        tidy.await.unwrap();
    }

    #[test]
    fn a_known_address_takes_the_place_of_the_name_only() {
        let table = [
            ("http://p-1.prom:9090/", "10.0.0.3", "http://10.0.0.3:9090/"),
            ("https://p-1.prom/", "10.0.0.3", "https://10.0.0.3/"),
            ("http://p-1.prom:9090/", "fd00::3", "http://[fd00::3]:9090/"),
            ("http://p-1.prom/", "fd00::3", "http://[fd00::3]/"),
        ];
        for (origin, ip, expected) in table {
            let uri = with_address(&origin.parse().unwrap(), ip.parse().unwrap());
            assert_eq!(uri.unwrap().to_string(), expected, "{origin} {ip}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_dial_ends_in_time_when_the_name_server_is_silent() {
        let begin = tokio::time::Instant::now();
        let request = Request::new(super::super::body::Supply::Whole("x".into()).next().unwrap());
        let upstream = pools(connector(Silent))("http://p-1.prom:9090/".parse().unwrap(), None, None);
        let error = upstream.send(request).await.err().unwrap();
        assert_eq!(error.failure(), Failure::Unreachable);
        assert_eq!(error.to_string(), "no connection within 2s, name lookup and TLS included");
        assert_eq!(begin.elapsed(), DIAL_TIMEOUT);
    }
}
