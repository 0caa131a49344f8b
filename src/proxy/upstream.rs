//! Connections to one Prometheus: a pool that lives as long as its target is the target.
//!
//! - Inputs: requests with an absolute URI. Outputs: hyper's response future, dropping which closes the connection.
//! - A target gets a pool of its own when it becomes the target, so that connections to a pod's old address never
//!   serve its successor of the same name.
//! - The client library repeats nothing (`retry_canceled_requests` off): what goes out again is decided in
//!   [`super::retry`].
//! - A plain target's connections know nothing of TLS; an https target's speak HTTP/1.1 over it, with the configuration that
//!   the pool was made with: other certificates are another pool.

use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::client::legacy::{Client, Error, ResponseFuture};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tower_service::Service;

use super::body::Outbound;
use super::retry::Failure;
use crate::prometheus::access::hint;

/// Time for the TCP handshake, over all addresses of the host: a member of the same cluster takes milliseconds, and
/// one lost SYN is sent again after a second.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Time for a whole dial, name lookup and TLS handshake included: below the default hold of 5 s, so that a second dial fits in.
const DIAL_TIMEOUT: Duration = Duration::from_secs(2);
/// How long sent bytes may stay unacknowledged: ends requests that wait for a host that has vanished, where no change
/// of leadership ends them first. A paused process does not trip it, its kernel acknowledges.
const UNACKNOWLEDGED_TIMEOUT: Duration = Duration::from_secs(10);
/// Idle time before the kernel asks whether the peer is still there, and between two such questions.
const KEEPALIVE: Duration = Duration::from_secs(5);
/// Idle connections are closed long before Prometheus closes them (5 minutes, `web.read-timeout`), because a request
/// on a connection that is being closed is lost.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Idle connections kept to one Prometheus, about 10 KiB each; half of Prometheus' own limit of 512 connections.
const IDLE_CONNECTIONS_MAX: usize = 256;
/// Read and write buffer of a connection, and with it the largest response head. hyper's own limit of 400 KiB buys
/// little speed for its memory.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

type BoxError = Box<dyn StdError + Send + Sync>;

/// Builds pools that share one connector: plain, or with TLS.
pub(super) type Pools = Arc<dyn Fn(Option<ClientConfig>) -> Upstream + Send + Sync>;

/// A pool of connections.
#[derive(Clone)]
pub(super) struct Upstream(Arc<dyn Fn(Request<Outbound>) -> ResponseFuture + Send + Sync>);

impl Upstream {
    /// Sends a request on a pooled connection, or on a new one.
    pub(super) fn send(&self, request: Request<Outbound>) -> ResponseFuture {
        (self.0)(request)
    }
}

/// Pools over `connector`.
pub(super) fn pools<C>(connector: C) -> Pools
where
    C: Service<Uri, Response = TokioIo<TcpStream>> + Clone + Send + Sync + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send + 'static,
{
    Arc::new(move |tls| match tls {
        None => pool(DialTimeout { inner: connector.clone() }),
        Some(tls) => pool(DialTimeout { inner: HttpsConnector::from((connector.clone(), tls)) }),
    })
}

fn pool<C>(connector: C) -> Upstream
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let client: Client<C, Outbound> = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
        .http1_max_buf_size(BUFFER_BYTES_MAX)
        .retry_canceled_requests(false)
        .build(connector);
    Upstream(Arc::new(move |request| client.request(request)))
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

/// A connector whose dials end within two seconds.
#[derive(Clone, Debug)]
struct DialTimeout<C> {
    inner: C,
}

impl<C> Service<Uri> for DialTimeout<C>
where
    C: Service<Uri>,
    C::Error: Into<BoxError>,
    C::Future: Send + 'static,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dial = self.inner.call(uri);
        Box::pin(async move {
            match tokio::time::timeout(DIAL_TIMEOUT, dial).await {
                Ok(connected) => connected.map_err(Into::into),
                Err(_) => Err(format!("no connection within {DIAL_TIMEOUT:?}, name lookup and TLS included").into()),
            }
        })
    }
}

/// What kind of failure an error of the pool is. Everything not known to be unsent counts as sent.
pub(super) fn failure(error: &Error) -> Failure {
    if error.is_connect() {
        return Failure::Unreachable;
    }
    match error.source().and_then(|source| source.downcast_ref::<hyper::Error>()) {
        // hyper gives this only together with the request that it had not begun to write.
        Some(hyper) if hyper.is_canceled() => Failure::Unsent,
        Some(hyper) if hyper.is_user() => Failure::ClientBody,
        _ => Failure::Broken,
    }
}

/// An error and what is behind it, without the outermost wrapping, and the way out where TLS failed.
pub(super) fn cause(error: &Error) -> String {
    let mut words = Vec::new();
    let mut next = error.source();
    while let Some(source) = next {
        words.push(source.to_string());
        next = source.source();
    }
    if words.is_empty() { error.to_string() } else { format!("{}{}", words.join(": "), hint(error)) }
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
    async fn a_dial_ends_in_time_when_the_name_server_is_silent() {
        let begin = tokio::time::Instant::now();
        let mut request = Request::new(super::super::body::Supply::Whole("x".into()).next().unwrap());
        *request.uri_mut() = "http://p-1.prom:9090/".parse().unwrap();
        let error = pools(connector(Silent))(None).send(request).await.unwrap_err();
        assert_eq!(failure(&error), Failure::Unreachable);
        assert_eq!(cause(&error), "no connection within 2s, name lookup and TLS included");
        assert_eq!(begin.elapsed(), DIAL_TIMEOUT);
    }
}
