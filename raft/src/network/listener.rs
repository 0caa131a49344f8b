//! The accept loop of the Raft port: TLS, plain text or both, told apart by the first byte.
//!
//! ```text
//! accept (bounded) -> first byte -> 0x16: handshake, certificate of the CA -> requests
//!                              `-> other: plain; with raft-tls-mode=required one clear refusal
//! ```
//!
//! Bounds: connections, and the time for the first byte, the handshake and the head of a request; so an idle connection ends
//! too. Changed certificates: a connection of before ends with its next answer. Failure: a connection's error ends that
//! connection, and who was turned away, and why, is told in the status; an error of `accept` that is not the connection's own
//! (no file descriptors left) is logged and tried again after a pause.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header::CONNECTION};
use axum::response::{IntoResponse as _, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::http::Receiver;
use super::tls::{Tls, TlsMaterial};
use super::tls_error::{Side, explain, tls_error};
use crate::sockets::{close_gently, is_the_connections_own};

/// Connections at once; more wait in the kernel's queue. A group has tens at the most.
pub(super) const CONNECTIONS_MAX: usize = 256;
/// Longest time for the first byte, for a handshake, and for the head of a request, counted from the end of the one before.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// What a connection reads ahead, and with it the largest head of a request.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Pause after an error of `accept` that waiting may cure.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// First byte of a TLS connection: the content type "handshake" (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 0x16;

const PLAIN_REFUSED: &str =
    "this member speaks TLS only (raft-tls-mode=required): give the caller the raft-tls files too";

/// A caller, as far as its connection tells.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) address: SocketAddr,
    /// Of the CA; `None`: it speaks plain text.
    pub(super) certificate: Option<CertificateDer<'static>>,
}

/// Serves until it is dropped, which ends all connections.
pub(crate) async fn serve(listener: TcpListener, receiver: Receiver, tls: Option<Tls>) {
    let (receiver, tls) = (Arc::new(receiver), tls.map(Arc::new));
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        // Never closed.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let (stream, address) = tokio::select! {
            biased;
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) if is_the_connections_own(&error) => continue,
                Err(error) => {
                    tracing::warn!(%error, "the Raft port cannot accept connections; trying again");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        let (receiver, tls) = (receiver.clone(), tls.clone());
        connections.spawn(async move {
            // Answers are small and written at once; without this the last segment may wait for an acknowledgement.
            let _ = stream.set_nodelay(true);
            if let Err(error) = converse(stream, address, receiver, tls.as_deref()).await {
                tracing::debug!(%address, %error, "connection ended");
            }
            drop(place);
        });
    }
}

type Ended = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// All requests of one connection, until it ends.
async fn converse(stream: TcpStream, address: SocketAddr, receiver: Arc<Receiver>, tls: Option<&Tls>) -> Ended {
    let plain = Caller { address, certificate: None };
    let Some(tls) = tls else { return receive(stream, plain, receiver, None).await };
    let mut first = [0];
    if timeout(HEAD_TIMEOUT, stream.peek(&mut first)).await?? == 0 {
        return Ok(()); // it only looked whether somebody listens
    }
    if first == [HANDSHAKE] {
        return shake_hands(stream, address, receiver, tls).await;
    }
    if tls.is_required() {
        receiver.endpoint.turned_away(address.ip(), PLAIN_REFUSED);
        let refusal =
            || (StatusCode::BAD_REQUEST, [(CONNECTION, "close")], format!("{PLAIN_REFUSED}\n")).into_response();
        return answer(stream, |_| async move { refusal() }).await;
    }
    receive(stream, plain, receiver, None).await
}

async fn shake_hands(stream: TcpStream, address: SocketAddr, receiver: Arc<Receiver>, tls: &Tls) -> Ended {
    let material = tls.material.borrow().clone();
    let accepted = TlsAcceptor::from(material.server.clone()).accept(stream).into_fallible();
    let stream = match timeout(HEAD_TIMEOUT, accepted).await? {
        Ok(stream) => stream,
        Err((error, stream)) => {
            if let Some(error) = tls_error(&error) {
                receiver.endpoint.turned_away(address.ip(), &explain(error, Side::Caller));
                close_gently(stream).await;
            }
            return Err(error.into());
        }
    };
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).cloned();
    let certificate = certificate.ok_or("no certificate after a handshake that asks for one")?.into_owned();
    let caller = Caller { address, certificate: Some(certificate) };
    receive(stream, caller, receiver, Some((tls.clone(), material))).await
}

/// Answers messages. `made_with`: with other certificates in force the connection ends.
async fn receive(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    caller: Caller,
    receiver: Arc<Receiver>,
    made_with: Option<(Tls, Arc<TlsMaterial>)>,
) -> Ended {
    let connection = Arc::new((caller, receiver, made_with));
    answer(stream, move |request| {
        let connection = connection.clone();
        async move {
            let (caller, receiver, made_with) = &*connection;
            let mut answer = receiver.receive(caller, request).await;
            let is_current = |(tls, material): &(Tls, _)| Arc::ptr_eq(material, &tls.material.borrow());
            if !made_with.as_ref().is_none_or(is_current) {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            answer
        }
    })
    .await
}

async fn answer<F: Future<Output = Response>>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: impl Fn(hyper::Request<Incoming>) -> F,
) -> Ended {
    let service = service_fn(|request| {
        let answer = answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(BUFFER_BYTES_MAX);
    Ok(http.serve_connection(TokioIo::new(stream), service).await?)
}
