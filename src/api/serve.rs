//! The accept loop: a bounded number of connections, and a bounded drain.
//!
//! HTTP/1.1, and HTTP/2 without TLS for clients that begin with its preface. `axum::serve` bounds neither the time for a
//! request's head nor the number of connections, so this uses hyper's connections directly. With more than half of the
//! places taken an answer ends its connection: idle ones can take half of them at the most, and a probe always finds a
//! place. Failure behaviour: a connection's error ends that connection; an error of `accept` that is not the connection's
//! own (no file descriptors left) is logged and tried again after a pause.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::response::{IntoResponse as _, Response};
use elector_raft::sockets::is_the_connections_own;
use futures_util::future::BoxFuture;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Version};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tower_service::Service as _;

use super::meet::{Stream, meet};
use super::web::Webs;

/// Time for the head of a request, counted from the end of the one before: it bounds slow clients and idle
/// connections alike. Longer than the 60 s for which load balancers keep idle connections, so that they close first and
/// never send a request into a connection that is being closed.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// An HTTP/2 connection is asked to finish after so long, and its client dials again: an idle one shall not hold a place for
/// ever, and hyper does not tell which are idle.
const HTTP2_AGE_MAX: Duration = HEAD_TIMEOUT;
/// HTTP/2 connections take one place in so many; further ones are refused.
const HTTP2_SHARE: usize = 4;
/// Requests at once on an HTTP/2 connection.
const HTTP2_STREAMS_MAX: u32 = 16;
/// What a connection reads ahead and holds back of its answers, and with it the largest head of a request. A path and query
/// have at most 64 KiB anyway.
const BUFFER_BYTES_MAX: usize = 128 * 1024;
/// Pause after an error of `accept` that waiting may cure.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// Shortest time between two warnings that all places are taken.
const SATURATION_REMINDER: Duration = Duration::from_mins(1);

/// Bounds of one listener.
pub(super) struct Limits {
    /// Name for logs.
    pub(super) purpose: &'static str,
    /// Connections at once.
    pub(super) connections_max: usize,
    /// Time for open requests once drained.
    pub(super) grace: Duration,
}

/// Answers by a router.
pub(super) fn routed(
    router: Router,
) -> impl Fn(SocketAddr, Request<Incoming>) -> BoxFuture<'static, Response> + Clone + Send + Sync + 'static {
    move |client, mut request| {
        request.extensions_mut().insert(ConnectInfo(client));
        let answer = router.clone().call(request);
        Box::pin(async move { answer.await.into_response() })
    }
}

/// Serves until it is drained; then lets open requests finish within the grace delay. `webs`: how connections are encrypted;
/// `None`: not at all.
pub(super) async fn serve<A, F>(
    listener: TcpListener,
    answer: A,
    limits: Limits,
    webs: Option<Webs>,
    drain: CancellationToken,
) where
    A: Fn(SocketAddr, Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(limits.connections_max));
    let http2_places = Arc::new(Semaphore::new(limits.connections_max / HTTP2_SHARE));
    let mut connections = JoinSet::new();
    let mut full = Saturation { limits: &limits, warned: None };
    loop {
        let (stream, client, place) = tokio::select! {
            biased;
            () = drain.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &places, &mut full) => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(listener = limits.purpose, %error, "cannot accept connections; trying again");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        let (answer, occupancy, few) = (answer.clone(), places.clone(), limits.connections_max / 2);
        let answer = move |request: Request<Incoming>| {
            let keeps = request.version() == Version::HTTP_2;
            let (answer, occupancy) = (answer(client, request), occupancy.clone());
            async move {
                let mut answer = answer.await;
                if !keeps && occupancy.available_permits() < few {
                    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                answer
            }
        };
        let (http2_places, drain) = (http2_places.clone(), drain.clone());
        let tls = webs.as_ref().and_then(|webs| webs.borrow().tls());
        connections.spawn(async move {
            let met = tokio::select! {
                biased;
                () = drain.cancelled() => return,
                met = timeout(HEAD_TIMEOUT, meet(stream, tls)) => met.unwrap_or_else(|late| Err(late.into())),
            };
            let ended = match met {
                Ok((Stream::Plain(stream), is_http2)) => {
                    converse(stream, is_http2, answer, &http2_places, &drain).await
                }
                Ok((Stream::Tls(stream), is_http2)) => converse(stream, is_http2, answer, &http2_places, &drain).await,
                Err(error) => Err(error.into()),
            };
            if let Err(error) = ended {
                tracing::debug!(%client, %error, "connection ended");
            }
            drop(place);
        });
    }
    drop(listener);
    let finished = async { while connections.join_next().await.is_some() {} };
    if timeout(limits.grace, finished).await.is_err() {
        tracing::warn!(
            listener = limits.purpose,
            open = limits.connections_max - places.available_permits(),
            grace = ?limits.grace,
            "open requests did not finish within the grace delay (--api-shutdown-grace-delay) and are cut"
        );
    }
}

/// All requests of one connection, until it ends or is drained.
async fn converse<S, F>(
    stream: S,
    is_http2: bool,
    answer: impl Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    http2_places: &Semaphore,
    drain: &CancellationToken,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let io = TokioIo::new(stream);
    let service = service_fn(move |request| {
        let answer = answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    if is_http2 {
        let _place = http2_places.try_acquire().map_err(|_| "too many HTTP/2 connections")?;
        let mut http = http2::Builder::new(TokioExecutor::new());
        http.max_concurrent_streams(HTTP2_STREAMS_MAX);
        let until = async { drop(timeout(HTTP2_AGE_MAX, drain.cancelled()).await) };
        Ok(until_asked_to_finish(http.serve_connection(io, service), until).await?)
    } else {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(BUFFER_BYTES_MAX);
        Ok(until_asked_to_finish(http.serve_connection(io, service), drain.cancelled()).await?)
    }
}

/// Drives a connection; once `asked` ends, its open requests finish and it takes no more.
async fn until_asked_to_finish<C: GracefulConnection>(
    connection: C,
    asked: impl Future<Output = ()>,
) -> Result<(), C::Error> {
    let mut connection = pin!(connection);
    tokio::select! {
        biased;
        ended = connection.as_mut() => return ended,
        () = asked => {}
    }
    connection.as_mut().graceful_shutdown();
    connection.await
}

/// The next connection, once there is a place for it. Cancellation loses none.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    full: &mut Saturation<'_>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    if places.available_permits() == 0 {
        full.warn();
    }
    let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
    loop {
        match listener.accept().await {
            Ok((stream, client)) => {
                // Answers are small and written at once; without this the last segment may wait for an acknowledgement.
                let _ = stream.set_nodelay(true);
                return Ok((stream, SocketAddr::new(client.ip().to_canonical(), client.port()), place));
            }
            Err(error) if is_the_connections_own(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Says that all places are taken, but not for every connection that has to wait.
struct Saturation<'a> {
    limits: &'a Limits,
    warned: Option<Instant>,
}

impl Saturation<'_> {
    fn warn(&mut self) {
        if self.warned.is_none_or(|warned| warned.elapsed() > SATURATION_REMINDER) {
            self.warned = Some(Instant::now());
            tracing::warn!(
                listener = self.limits.purpose,
                connections = self.limits.connections_max,
                "all places for connections are taken: new ones wait"
            );
        }
    }
}
