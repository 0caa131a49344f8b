//! The accept loop: a bounded number of HTTP/1.1 connections, and a bounded drain.
//!
//! `axum::serve` bounds neither the time for a request's head nor the number of connections, so this uses hyper's
//! connection directly. With more than half of the places taken an answer ends its connection: idle ones can take half of
//! them at the most, and a probe always finds a place. Failure behaviour: a connection's error ends that connection; an error of `accept` that is not
//! the connection's own (no file descriptors left) is logged and tried again after a pause.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use http::HeaderValue;
use http::header::CONNECTION;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Time for the head of a request, counted from the end of the one before: it bounds slow clients and idle
/// connections alike. Longer than the 60 s for which load balancers keep idle connections, so that they close first and
/// never send a request into a connection that is being closed.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
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

pub(super) async fn serve(listener: TcpListener, router: Router, limits: Limits, drain: CancellationToken) {
    let service = TowerToHyperService::new(router);
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(limits.connections_max));
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
        let (service, occupancy, few) = (service.clone(), places.clone(), limits.connections_max / 2);
        let service = service_fn(move |mut request: http::Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(client));
            let (answer, occupancy) = (service.call(request), occupancy.clone());
            async move {
                let mut answer = answer.await?;
                if occupancy.available_permits() < few {
                    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(answer)
            }
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%client, %error, "connection ended");
            }
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(limits.grace, graceful.shutdown()).await.is_err() {
        tracing::warn!(
            listener = limits.purpose,
            open = limits.connections_max - places.available_permits(),
            grace = ?limits.grace,
            "open requests did not finish within the grace delay (--api-shutdown-grace-delay) and are cut"
        );
    }
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

fn is_the_connections_own(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
