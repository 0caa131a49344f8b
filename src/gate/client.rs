//! The client of one remote within one tenure: sends a request once and brings the answer.
//!
//! - Inputs: end-to-end headers and a body in memory. Outputs: the answer as far as a sender uses it, or why there is none.
//! - HTTP/1.1, or HTTP/2 where TLS agrees on it; connections are reused within the tenure and none outlives it.
//! - Nothing is repeated (`retry_canceled_requests` off): a request that met a connection which the remote was closing is
//!   an error, and Prometheus repeats it. 307 and 308 are followed, at most ten times, without credentials to another host;
//!   301, 302 and 303 would turn a write into a read, and are the remote's answer.
//! - Every wait is bounded by `remote_timeout`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{LOCATION, PROXY_AUTHORIZATION, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use url::Url;

use super::dial::{Connector, Dialer, without_credentials};
use super::fence::Tenure;
use super::headers;
use super::remote::RemoteSettings;
use super::watermark::Outcome;
use crate::cause::chain;

/// Idle connections are closed before most receivers close them, because a request on a connection that is being closed
/// is an error.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);
/// More than the shards of a Prometheus (50 by default).
const IDLE_CONNECTIONS_MAX: usize = 64;
/// HTTP/2 asks a silent remote whether it is still there.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(15);
/// Go's client gives up after as many.
const REDIRECTS_MAX: usize = 10;
/// Prometheus shows the first line of an error, at most 1 KiB.
const ANSWER_BYTES_MAX: usize = 16 << 10;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SendError {
    #[error("this member's authority has ended")]
    Ended,
    #[error("the remote did not answer within remote_timeout ({0:?})")]
    Timeout(Duration),
    #[error("the remote cannot be reached: {0}")]
    Unreachable(String),
    #[error("the request to the remote broke off: {0}")]
    Broken(String),
    #[error("the remote redirects to an address that cannot be followed")]
    Redirect,
}

/// What the remote says.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// What is for the sender.
    pub(super) headers: HeaderMap,
    /// The beginning of the body.
    pub(super) body: Bytes,
}

impl Answer {
    /// Seconds only: Prometheus reads a date too, but no receiver is known to send one.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        let seconds = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds))
    }

    pub(super) fn outcome(&self) -> Outcome {
        Outcome::of(self.status.as_u16(), self.retry_after())
    }

    /// Whether the receiver understands 2.0 and tells what it has stored.
    pub(super) fn tells_written(&self) -> bool {
        headers::WRITTEN.iter().any(|name| self.headers.contains_key(name))
    }

    /// The first line of the body, for people.
    pub(super) fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        text.lines().next().unwrap_or_default().chars().take(200).collect()
    }
}

/// Sends to one remote within one tenure.
#[derive(Clone)]
pub(super) struct Client {
    http: legacy::Client<Connector, Full<Bytes>>,
    dialer: Arc<Dialer>,
    settings: Arc<RemoteSettings>,
    tenure: Arc<Tenure>,
}

impl Client {
    /// `base`: the directory that relative files of `tls_config` start from.
    pub(super) fn new(settings: Arc<RemoteSettings>, tenure: Arc<Tenure>, base: &Path) -> Self {
        let dialer = Arc::new(Dialer::new(settings.clone(), base.to_owned()));
        let http = legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .http2_keep_alive_interval(PING_INTERVAL)
            .http2_keep_alive_timeout(PING_TIMEOUT)
            .retry_canceled_requests(false)
            .build(Connector { dialer: dialer.clone(), tenure: tenure.clone() });
        Self { http, dialer, settings, tenure }
    }

    /// Whether it is the one for these settings and this tenure.
    pub(super) fn is_for(&self, settings: &Arc<RemoteSettings>, tenure: &Arc<Tenure>) -> bool {
        Arc::ptr_eq(&self.settings, settings) && Arc::ptr_eq(&self.tenure, tenure)
    }

    /// Whether files of `tls_config` have changed: then another client is to be made.
    pub(super) async fn is_stale(&self) -> bool {
        self.dialer.has_new_files().await
    }

    /// Sends a request, once.
    pub(super) async fn send(&self, headers: HeaderMap, body: Bytes) -> Result<Answer, SendError> {
        let limit = self.settings.client.remote_timeout;
        let sent = tokio::select! {
            biased;
            sent = tokio::time::timeout(limit, self.follow(headers, body)) => sent,
            () = self.tenure.ended() => return Err(SendError::Ended),
        };
        match sent {
            Ok(Ok(answer)) => Ok(answer),
            // Whatever the connection says: it was cut.
            _ if !self.tenure.holds() => Err(SendError::Ended),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(SendError::Timeout(limit)),
        }
    }

    async fn follow(&self, mut headers: HeaderMap, body: Bytes) -> Result<Answer, SendError> {
        let mut url = self.settings.url.reveal().clone();
        for _ in 0..=REDIRECTS_MAX {
            let response = self.send_to(&url, headers.clone(), body.clone()).await?;
            let status = response.status();
            let is_redirect = matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
            if !is_redirect || !self.settings.client.follow_redirects {
                return read(response).await;
            }
            let Some(location) = response.headers().get(LOCATION) else { return read(response).await };
            let next = location.to_str().ok().and_then(|text| url.join(text).ok());
            let next = next.filter(|url| matches!(url.scheme(), "http" | "https")).ok_or(SendError::Redirect)?;
            if next.host() != url.host() {
                headers::drop_credentials(&mut headers);
            }
            url = next;
        }
        Err(SendError::Redirect)
    }

    async fn send_to(&self, url: &Url, mut headers: HeaderMap, body: Bytes) -> Result<Response<Incoming>, SendError> {
        headers::add_credentials(&mut headers, url);
        headers.insert(headers::TERM, HeaderValue::from(self.tenure.term()));
        if let Some(auth) = self.dialer.proxy_authorization() {
            headers.insert(PROXY_AUTHORIZATION, auth);
        }
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::try_from(without_credentials(url).as_str())
            .map_err(|error| SendError::Unreachable(error.to_string()))?;
        *request.headers_mut() = headers;
        if !self.tenure.holds() {
            return Err(SendError::Ended);
        }
        self.http.request(request).await.map_err(|error| {
            let cause = chain(&error);
            if error.is_connect() { SendError::Unreachable(cause) } else { SendError::Broken(cause) }
        })
    }
}

/// Reads the beginning of an answer; the connection is reused when that is all of it.
async fn read(response: Response<Incoming>) -> Result<Answer, SendError> {
    let (parts, mut incoming) = response.into_parts();
    let mut body = BytesMut::new();
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|error| SendError::Broken(chain(&error)))?;
        let Ok(data) = frame.into_data() else { continue };
        body.extend_from_slice(&data);
        if body.len() > ANSWER_BYTES_MAX {
            body.truncate(ANSWER_BYTES_MAX);
            break;
        }
    }
    Ok(Answer { status: parts.status, headers: headers::passed_back(&parts.headers), body: body.freeze() })
}
