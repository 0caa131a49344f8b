//! HTTP between members: `POST /group`, JSON both ways, a bearer token, the certificates of both ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use tokio::sync::Semaphore;

use super::dialer::{Dialer, certificate};
use super::identity::{Directory, vouch};
use super::listener::Caller;
use super::message::{read_reply, write_reply};
use super::tls_error::{Side, explain, tls_error};
use super::token::Tokens;
use super::{Answer, CallError, Endpoint, Message, Refusal, Transport, validate};
use crate::observer::{Observer, Outcome};
use crate::shared::Shared;

const PATH: &str = "/group";
/// Longest message: a snapshot with every bound of the replicated state used up stays below it.
pub(super) const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;
/// A message up to this length is small: nearly all are.
const SMALL_BYTES_MAX: usize = 64 * 1024;
/// Messages that are received at once; more are refused. They hold 8 MiB and 8 MiB at the most.
const SMALL_MESSAGES_MAX: usize = 128;
pub(super) const LARGE_MESSAGES_MAX: usize = 4;
/// Longest time for a message to come in.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// What is shown of the text of an answer that is no reply.
const TEXT_BYTES_MAX: usize = 256;

/// Sends messages by HTTP/1.1 over kept-alive connections.
#[derive(Clone, Debug)]
pub(crate) struct HttpTransport {
    dialer: Dialer,
    tokens: Option<Tokens>,
    directory: Directory,
    observer: Arc<dyn Observer>,
}

impl HttpTransport {
    /// Over connections of this dialer; `tokens`: the first one is sent.
    pub(crate) fn new(dialer: Dialer, tokens: Option<Tokens>, observer: Arc<dyn Observer>) -> Self {
        Self { dialer, tokens, directory: Directory::default(), observer }
    }

    async fn exchange(&self, address: &str, message: &Message, timeout: Duration) -> Result<Answer, CallError> {
        let body = serde_json::to_vec(message).map_err(|error| CallError::Unreachable(error.to_string()))?;
        let answer = tokio::time::timeout(timeout, self.send(address, message, body)).await;
        let answer = answer.unwrap_or(Err(CallError::TimedOut(timeout)))?;
        let valid = validate::answer(message, &answer);
        valid.map_err(|why| CallError::Unreachable(format!("its answer cannot be used: {why}")))?;
        Ok(answer)
    }

    /// Says who the members are: their certificates are held against it.
    pub(crate) fn introduce(&self, shared: Shared) {
        self.directory.introduce(shared);
    }

    async fn send(&self, address: &str, message: &Message, body: Vec<u8>) -> Result<Answer, CallError> {
        let token = self.tokens.as_ref().map(|tokens| tokens.borrow().clone());
        let authorized = |request: reqwest::RequestBuilder| match &token {
            Some(token) => request.bearer_auth(token.sent()),
            None => request,
        };
        let response = self.dialer.post(address, PATH, Bytes::from(body), authorized).await;
        let response = response.map_err(|error| self.failed(address, &error))?;
        let certificate = certificate(&response);
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED => {
                let why = "it does not accept the raft token of this member: is raft-token-file equal on all members?";
                return Err(CallError::Refused(Refusal::Other(why.into())));
            }
            status => {
                let text = text(response).await;
                return Err(CallError::Unreachable(format!("{address} answers {status}: {text}")));
            }
        }
        let bytes = read_bounded(response).await?;
        let reply = read_reply(&bytes)
            .map_err(|error| CallError::Unreachable(format!("its answer cannot be read: {error}")))?;
        if let Some(certificate) = certificate {
            self.directory.check(address, &certificate, message, &reply)?;
        }
        reply.map_err(CallError::Refused)
    }

    /// A failure of TLS is told in the status: it lasts until somebody does something.
    fn failed(&self, address: &str, error: &reqwest::Error) -> CallError {
        match tls_error(error) {
            Some(error) => self.directory.distrust(address, &explain(error, Side::Callee)),
            None => CallError::Unreachable(root_cause(error)),
        }
    }
}

impl Transport for HttpTransport {
    async fn call(&self, address: &str, message: &Message, timeout: Duration) -> Result<Answer, CallError> {
        let begin = Instant::now();
        let result = self.exchange(address, message, timeout).await;
        self.observer.called(message.call.name(), outcome(&result), begin.elapsed());
        result
    }
}

fn outcome(result: &Result<Answer, CallError>) -> Outcome {
    match result {
        Ok(_) => Outcome::Answered,
        Err(CallError::Refused(_)) => Outcome::Refused,
        Err(CallError::TimedOut(_)) => Outcome::TimedOut,
        Err(CallError::Unreachable(_)) => Outcome::Unreachable,
    }
}

async fn read_bounded(mut response: reqwest::Response) -> Result<Vec<u8>, CallError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| CallError::Unreachable(root_cause(&error)))? {
        if bytes.len() + chunk.len() > BODY_BYTES_MAX {
            return Err(CallError::Unreachable("its answer is too long".into()));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// The beginning of what somebody says who does not reply as members do.
async fn text(mut response: reqwest::Response) -> String {
    let chunk = response.chunk().await.ok().flatten().unwrap_or_default();
    let text = String::from_utf8_lossy(&chunk[..chunk.len().min(TEXT_BYTES_MAX)]);
    let line = text.lines().next().unwrap_or_default().replace(char::is_control, " ");
    if line.is_empty() { "is it a member?".to_owned() } else { line }
}

/// The innermost cause, without the URL that reqwest repeats.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Takes the messages of others.
pub(crate) struct Receiver {
    pub(super) endpoint: Endpoint,
    tokens: Option<Tokens>,
    small: Semaphore,
    large: Semaphore,
}

impl Receiver {
    /// Gives them to `endpoint` if the caller has a token.
    pub(crate) fn new(endpoint: Endpoint, tokens: Option<Tokens>) -> Self {
        let (small, large) = (Semaphore::new(SMALL_MESSAGES_MAX), Semaphore::new(LARGE_MESSAGES_MAX));
        Self { endpoint, tokens, small, large }
    }

    /// Answers one request.
    pub(super) async fn receive(&self, caller: &Caller, request: hyper::Request<Incoming>) -> Response {
        if request.uri().path() != PATH || request.method() != Method::POST {
            return StatusCode::NOT_FOUND.into_response();
        }
        if self.tokens.as_ref().is_some_and(|tokens| !tokens.borrow().accepts(request.headers())) {
            let why = "they bring no raft token, or another one: is raft-token-file equal on all members?";
            self.endpoint.turned_away(caller.address.ip(), why);
            return StatusCode::UNAUTHORIZED.into_response();
        }
        let length =
            request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if length.is_some_and(|length: usize| length > BODY_BYTES_MAX) {
            return (StatusCode::PAYLOAD_TOO_LARGE, "the message is too long\n").into_response();
        }
        let small = length.is_some_and(|length| length <= SMALL_BYTES_MAX);
        let places = if small { &self.small } else { &self.large };
        let Ok(_place) = places.try_acquire() else {
            return (StatusCode::SERVICE_UNAVAILABLE, "too many messages at once\n").into_response();
        };
        let body = axum::body::to_bytes(Body::new(request.into_body()), BODY_BYTES_MAX);
        match tokio::time::timeout(BODY_TIMEOUT, body).await {
            Ok(Ok(body)) => self.reply(&body, caller).await,
            Ok(Err(error)) => (StatusCode::PAYLOAD_TOO_LARGE, format!("{error}\n")).into_response(),
            Err(_) => StatusCode::REQUEST_TIMEOUT.into_response(),
        }
    }

    async fn reply(&self, body: &[u8], caller: &Caller) -> Response {
        let ip = caller.address.ip();
        let vouched = |message: &Message| match &caller.certificate {
            Some(certificate) => vouch(self.endpoint.shared(), certificate, message),
            None => Ok(()),
        };
        let replied = self.endpoint.receive(body, Some(ip), vouched).await.and_then(|reply| write_reply(&reply));
        match replied {
            Ok(bytes) => ([(header::CONTENT_TYPE, "application/json")], bytes).into_response(),
            Err(error) => {
                let why = format!("they are no messages of a member: {error}");
                self.endpoint.turned_away(ip, &why);
                (StatusCode::BAD_REQUEST, format!("{why}\n")).into_response()
            }
        }
    }
}
