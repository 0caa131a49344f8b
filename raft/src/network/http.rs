//! HTTP between members: `POST /group`, JSON both ways, a bearer token.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use reqwest::dns::Resolve;
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use super::message::{read_reply, write_reply};
use super::{Answer, CallError, Endpoint, Message, Refusal, Transport, validate};
use crate::observer::{Observer, Outcome};

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
/// Idle connections to one member; a call is never queued behind another.
const IDLE_MAX: usize = 4;

/// The shared token of a group. Never shown.
#[derive(Clone)]
pub struct Token {
    accepted: Arc<[String]>,
}

/// Why a token file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It cannot be read.
    #[error("raft-token-file {path}: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// It holds no token.
    #[error("raft-token-file {path} is empty: write a token of at least {TOKEN_CHARS_MIN} characters into it")]
    Empty {
        /// The file.
        path: String,
    },
    /// One of its lines is no token. The line itself is a secret.
    #[error(
        "raft-token-file {path}, line {line}: a token has at least {TOKEN_CHARS_MIN} characters, ASCII letters, digits and punctuation only, and no spaces"
    )]
    Unusable {
        /// The file.
        path: String,
        /// Number of the line, from 1.
        line: usize,
    },
}

/// Shortest token that is accepted.
const TOKEN_CHARS_MIN: usize = 16;

impl Token {
    /// Reads the tokens, one on a line: the first is sent, each is accepted.
    pub fn read(file: &Path) -> Result<Self, TokenError> {
        let path = file.display().to_string();
        let text =
            std::fs::read_to_string(file).map_err(|source| TokenError::Unreadable { path: path.clone(), source })?;
        let usable = |token: &str| token.len() >= TOKEN_CHARS_MIN && token.chars().all(|c| c.is_ascii_graphic());
        let mut accepted = Vec::new();
        for (index, token) in text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty()) {
            if !usable(token) {
                return Err(TokenError::Unusable { path, line: index + 1 });
            }
            accepted.push(token.to_owned());
        }
        if accepted.is_empty() { Err(TokenError::Empty { path }) } else { Ok(Self { accepted: accepted.into() }) }
    }

    fn sent(&self) -> &str {
        &self.accepted[0]
    }

    /// Compares with every accepted token in constant time.
    fn accepts(&self, headers: &HeaderMap) -> bool {
        let value = headers.get(header::AUTHORIZATION).map(axum::http::HeaderValue::as_bytes);
        let Some(given) = value.and_then(|value| value.strip_prefix(b"Bearer ")) else { return false };
        self.accepted.iter().fold(false, |found, token| found | bool::from(token.as_bytes().ct_eq(given)))
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Sends messages by HTTP/1.1 over kept-alive connections.
#[derive(Clone, Debug)]
pub(crate) struct HttpTransport {
    client: reqwest::Client,
    token: Option<Token>,
    observer: Arc<dyn Observer>,
}

impl HttpTransport {
    /// `resolver` finds the addresses of host names; `None`: the system's.
    pub(crate) fn new(
        token: Option<Token>,
        resolver: Option<Arc<dyn Resolve>>,
        connect_timeout: Duration,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, reqwest::Error> {
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true)
            .connect_timeout(connect_timeout)
            .pool_max_idle_per_host(IDLE_MAX);
        if let Some(resolver) = resolver {
            builder = builder.dns_resolver(resolver);
        }
        Ok(Self { client: builder.build()?, token, observer })
    }

    async fn exchange(&self, address: &str, message: &Message, timeout: Duration) -> Result<Answer, CallError> {
        let body = serde_json::to_vec(message).map_err(|error| CallError::Unreachable(error.to_string()))?;
        let answer = tokio::time::timeout(timeout, self.send(address, body)).await;
        let answer = answer.unwrap_or(Err(CallError::TimedOut(timeout)))?;
        let valid = validate::answer(message, &answer);
        valid.map_err(|why| CallError::Unreachable(format!("its answer cannot be used: {why}")))?;
        Ok(answer)
    }

    async fn send(&self, address: &str, body: Vec<u8>) -> Result<Answer, CallError> {
        let mut request = self
            .client
            .post(format!("http://{address}{PATH}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(body);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.sent());
        }
        let response = request.send().await.map_err(|error| CallError::Unreachable(root_cause(&error)))?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED => {
                let why = "it does not accept the raft token of this member: is raft-token-file equal on all members?";
                return Err(CallError::Refused(Refusal::Other(why.into())));
            }
            status => return Err(CallError::Unreachable(format!("{address} answers {status}: is it a member?"))),
        }
        let bytes = read_bounded(response).await?;
        let reply = read_reply(&bytes)
            .map_err(|error| CallError::Unreachable(format!("its answer cannot be read: {error}")))?;
        reply.map_err(CallError::Refused)
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

/// The innermost cause, without the URL that reqwest repeats.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// What a request needs.
#[derive(Clone)]
struct Listener {
    endpoint: Endpoint,
    token: Option<Token>,
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

/// The listener's routes.
pub(crate) fn router(endpoint: Endpoint, token: Option<Token>) -> Router {
    let small = Arc::new(Semaphore::new(SMALL_MESSAGES_MAX));
    let large = Arc::new(Semaphore::new(LARGE_MESSAGES_MAX));
    Router::new().route(PATH, post(receive)).with_state(Listener { endpoint, token, small, large })
}

async fn receive(
    State(listener): State<Listener>,
    ConnectInfo(caller): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    if listener.token.is_some_and(|token| !token.accepts(request.headers())) {
        let why = "they bring no raft token, or another one: is raft-token-file equal on all members?";
        listener.endpoint.turned_away(caller.ip(), why);
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: usize| length > BODY_BYTES_MAX) {
        return (StatusCode::PAYLOAD_TOO_LARGE, "the message is too long\n").into_response();
    }
    let small = length.is_some_and(|length| length <= SMALL_BYTES_MAX);
    let places = if small { listener.small } else { listener.large };
    let Ok(_place) = places.try_acquire() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many messages at once\n").into_response();
    };
    let body = axum::body::to_bytes(request.into_body(), BODY_BYTES_MAX);
    let body = match tokio::time::timeout(BODY_TIMEOUT, body).await {
        Ok(Ok(body)) => body,
        Ok(Err(error)) => return (StatusCode::PAYLOAD_TOO_LARGE, format!("{error}\n")).into_response(),
        Err(_) => return StatusCode::REQUEST_TIMEOUT.into_response(),
    };
    let replied = listener.endpoint.receive(&body, Some(caller.ip())).await.and_then(|reply| write_reply(&reply));
    match replied {
        Ok(bytes) => ([(header::CONTENT_TYPE, "application/json")], bytes).into_response(),
        Err(error) => {
            let why = format!("they are no messages of a member: {error}");
            listener.endpoint.turned_away(caller.ip(), &why);
            (StatusCode::BAD_REQUEST, format!("{why}\n")).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn token(text: &str) -> Result<Token, TokenError> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, text).unwrap();
        Token::read(&file)
    }

    fn bearer(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, format!("Bearer {value}").parse().unwrap())])
    }

    #[test]
    fn the_first_token_is_sent_and_each_is_accepted() {
        let token = token("first-token-0123456789\n\nsecond-token-0123456789\n").unwrap();
        assert_eq!(token.sent(), "first-token-0123456789");
        assert!(token.accepts(&bearer("first-token-0123456789")));
        assert!(token.accepts(&bearer("second-token-0123456789")));
        assert!(!token.accepts(&bearer("first-token-012345678")));
        assert!(!token.accepts(&HeaderMap::new()));
    }

    #[test]
    fn an_empty_or_short_token_is_refused_and_no_token_is_ever_shown() {
        assert!(matches!(token("\n"), Err(TokenError::Empty { .. })));
        assert!(matches!(token("short"), Err(TokenError::Unusable { line: 1, .. })));
        let spaced = token("a-token-of-24-characters\n\na token with some spaces\n").unwrap_err();
        assert!(matches!(spaced, TokenError::Unusable { line: 3, .. }));
        assert!(!spaced.to_string().contains("with some"), "{spaced}");
        assert_eq!(format!("{:?}", token("secret-0123456789").unwrap()), "Token(..)");
    }
}
