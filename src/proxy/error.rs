//! What the proxy itself answers, and with which status.

use std::time::Duration;

use axum::body::Body;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};

/// Seconds in `Retry-After`: a takeover is over within two.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// Why a request got no answer from Prometheus. The message is the body of the answer.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// Nobody to send it to.
    #[error("waited {waited:?} for a leader: {why}; try again")]
    NoLeader {
        /// How long the request was held.
        waited: Duration,
        /// The reason, a sentence for people.
        why: String,
    },
    /// The cap on held requests is reached.
    #[error("no leader answers, and {max} requests wait for one already ({why}); try again")]
    TooManyHeld {
        /// The cap.
        max: usize,
        /// What they wait for.
        why: String,
    },
    /// A leader is known and its Prometheus cannot be reached.
    #[error(
        "Prometheus of leader {leader} at {address} could not be reached for {waited:?} ({cause}) and no other member \
         took over; check that Prometheus and its `advertise-prometheus-url`, or try again"
    )]
    Unreachable {
        /// Name of the leader.
        leader: String,
        /// Scheme, host and port.
        address: String,
        /// How long it was tried.
        waited: Duration,
        /// Last cause.
        cause: String,
    },
    /// A read broke again and again.
    #[error("Prometheus of leader {leader} broke the connection before it answered ({cause}), after {sends} attempts")]
    Broken {
        /// Name of the leader.
        leader: String,
        /// Last cause.
        cause: String,
        /// How often the request went out.
        sends: u32,
    },
    /// A write broke, and must not be repeated.
    #[error(
        "Prometheus of leader {leader} broke the connection before it answered ({cause}): the request may or may not \
         have taken effect, and only reads are repeated; check, then send it again"
    )]
    MaybeDone {
        /// Name of the leader.
        leader: String,
        /// Cause.
        cause: String,
    },
    /// Prometheus is not ready.
    #[error(
        "Prometheus of leader {leader} has been starting or stopping for {waited:?}; if that goes on, see its log, and \
         /-/ready there"
    )]
    NotReady {
        /// Name of the leader.
        leader: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// A request hangs at a member that leads no more.
    #[error(
        "Prometheus of {leader} has not answered, and for {waited:?} another member has been leading: the request may \
         or may not have taken effect, and is not repeated; check, then send it again"
    )]
    Overdue {
        /// Name of the member that led.
        leader: String,
        /// How long it was waited for after leadership had moved.
        waited: Duration,
    },
    /// Prometheus answered 101 to a request that asked for no upgrade.
    #[error("Prometheus of leader {leader} switched protocols unasked; is something else listening there?")]
    Switched {
        /// Name of the leader.
        leader: String,
    },
    /// The request came back.
    #[error(
        "the request came back to member {member}: an `advertise-prometheus-url` or the local Prometheus port points at \
         a sidecar; let it point at Prometheus itself"
    )]
    Loop {
        /// The own member name.
        member: String,
    },
    /// Too many proxies in a row.
    #[error(
        "the request has passed {max} sidecars: an `advertise-prometheus-url` points at a sidecar; let it point at \
         Prometheus itself"
    )]
    TooManyHops {
        /// The limit.
        max: usize,
    },
    /// A web socket was asked for.
    #[error("the proxy passes no web sockets, and Prometheus has none; send the request without `Upgrade`")]
    WebSocket,
    /// A tunnel was asked for.
    #[error("the proxy is no tunnel: CONNECT is not allowed here; send the request itself")]
    Tunnel,
    /// The target of the request line is unusable.
    #[error("the request target has no path; send one that begins with /")]
    BadTarget,
    /// The client's own body failed.
    #[error("the request body ended early ({0}); send it again")]
    ClientBody(String),
}

impl ProxyError {
    /// The status that goes with it.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NoLeader { .. } | Self::TooManyHeld { .. } | Self::NotReady { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unreachable { .. } | Self::Broken { .. } | Self::MaybeDone { .. } | Self::Switched { .. } => {
                StatusCode::BAD_GATEWAY
            }
            Self::Overdue { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::Loop { .. } | Self::TooManyHops { .. } => StatusCode::LOOP_DETECTED,
            Self::WebSocket => StatusCode::NOT_IMPLEMENTED,
            Self::Tunnel => StatusCode::METHOD_NOT_ALLOWED,
            Self::BadTarget | Self::ClientBody(_) => StatusCode::BAD_REQUEST,
        }
    }

    /// The whole answer: status, one sentence of plain text, and when to try again where that helps.
    pub(super) fn response(&self) -> Response<Body> {
        let mut response = Response::new(Body::from(format!("{self}\n")));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        match self {
            Self::NoLeader { .. } | Self::TooManyHeld { .. } | Self::NotReady { .. } | Self::Unreachable { .. } => {
                headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
            }
            // RFC 9110 section 15.5.6 asks for the methods; those of the resource are Prometheus' business.
            Self::Tunnel => {
                headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, DELETE, OPTIONS"));
            }
            _ => {}
        }
        response
    }
}
