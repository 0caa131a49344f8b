//! The HTTP client for the local Prometheus, and words for its errors.
//!
//! Follows no redirect and no proxy of the environment (a request meant for loopback stays there), keeps no idle
//! connection (a stale one would hide that Prometheus has been restarted, or outlive its credentials), and has no time-out
//! for a whole request: the callers that want one set it, and a reload must not have one (see `reload`).

use std::error::Error as _;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::AUTHORIZATION;
use reqwest::{Client, Method, RequestBuilder, StatusCode, Url};

use super::access::{Access, AccessError, Accesses, Whose, hint};

/// After this long without an answer on the wire the kernel begins to ask whether the other end still lives. Only that
/// ends a reload whose Prometheus is on another host and vanished without a word.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Unanswered questions of the kernel before the connection counts as dead.
const KEEPALIVE_RETRIES: u32 = 3;

/// Longest error text that is taken from an answer, in bytes.
const BODY_BYTES_MAX: usize = 1024;

/// Longest wait for that text once the status is known.
const BODY_TIMEOUT: Duration = Duration::from_secs(2);

/// The client cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No TLS.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// Anything else.
    #[error("cannot set up the HTTP client for Prometheus: {0}")]
    Http(#[from] reqwest::Error),
}

/// All requests to the local Prometheus go through it, with the credentials and certificates of the moment. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LocalClient(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    accesses: Accesses,
    speaks_tls: bool,
    connect_timeout: Duration,
    /// The client of the moment, and what it was made for.
    built: Mutex<(Arc<Access>, Client)>,
}

impl LocalClient {
    /// Builds it for these URLs.
    ///
    /// CAs are loaded only if one of them is https: an image may well have none. Blocks on the disk then.
    pub(crate) fn build<'a>(
        urls: impl IntoIterator<Item = &'a Url>,
        connect_timeout: Duration,
        mut accesses: Accesses,
    ) -> Result<Self, ClientError> {
        let access = accesses.borrow_and_update().clone();
        let speaks_tls = urls.into_iter().any(|url| url.scheme() == "https");
        let client = build(&access, speaks_tls, connect_timeout)?;
        Ok(Self(Arc::new(Inner { accesses, speaks_tls, connect_timeout, built: Mutex::new((access, client)) })))
    }

    /// A request, for the caller to complete and to send.
    pub(crate) fn request(&self, method: Method, url: &Url) -> RequestBuilder {
        let (access, client) = self.0.current();
        let request = client.request(method, url.clone());
        // Credentials in the URL become a header by themselves.
        match access.authorization().filter(|_| !has_credentials(url)) {
            Some(value) => request.header(AUTHORIZATION, value),
            None => request,
        }
    }

    /// The way out for an answer that refuses who asks, in parentheses with a space before them; empty for others.
    pub(crate) fn hint(&self, url: &Url, status: StatusCode) -> String {
        let sent = if has_credentials(url) { Some("the URL") } else { self.0.accesses.borrow().credentials_flag() };
        match (status, sent) {
            (StatusCode::UNAUTHORIZED, Some(sent)) => {
                format!(" (it refuses the credentials of {sent}: are they its own?)")
            }
            (StatusCode::UNAUTHORIZED, None) => {
                " (it asks for credentials: give prometheus-basic-auth-file or prometheus-bearer-token-file)".to_owned()
            }
            (StatusCode::FORBIDDEN, Some(sent)) => format!(" (the credentials of {sent} are not enough)"),
            (StatusCode::FORBIDDEN, None) => {
                " (does it ask for credentials? see prometheus-basic-auth-file and prometheus-bearer-token-file)"
                    .to_owned()
            }
            _ => String::new(),
        }
    }
}

impl Inner {
    fn current(&self) -> (Arc<Access>, Client) {
        let access = self.accesses.borrow().clone();
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&built.0, &access) {
            match build(&access, self.speaks_tls, self.connect_timeout) {
                Ok(client) => built.1 = client,
                Err(error) => tracing::warn!(%error, "the certificates of before stay in use for the own Prometheus"),
            }
            built.0 = access;
        }
        built.clone()
    }
}

fn build(access: &Access, speaks_tls: bool, connect_timeout: Duration) -> Result<Client, ClientError> {
    // An error means that the process has chosen its provider already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder()
        .user_agent(concat!("prometheus-elector/", env!("CARGO_PKG_VERSION")))
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(connect_timeout)
        .pool_max_idle_per_host(0)
        .tcp_keepalive(KEEPALIVE)
        .tcp_keepalive_interval(KEEPALIVE)
        .tcp_keepalive_retries(KEEPALIVE_RETRIES);
    let builder = if speaks_tls {
        builder.tls_backend_preconfigured(access.tls(Whose::Own)?)
    } else {
        builder.tls_certs_only([])
    };
    Ok(builder.build()?)
}

fn has_credentials(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// The URL for logs and errors: without user name, password and query.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Both fail only for URLs without a host, which the settings refuse.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.into()
}

/// Host and port that `url` is reached at, the host without the brackets of an IPv6 address.
pub(crate) fn address(url: &Url) -> (String, u16) {
    let host = url.host_str().unwrap_or_default();
    (host.trim_matches(['[', ']']).to_owned(), url.port_or_known_default().unwrap_or(80))
}

/// Whether nothing listens at the address.
pub(crate) fn is_refused(error: &reqwest::Error) -> bool {
    let mut source = error.source();
    while let Some(cause) = source {
        if cause.downcast_ref::<io::Error>().is_some_and(|io| io.kind() == io::ErrorKind::ConnectionRefused) {
            return true;
        }
        source = cause.source();
    }
    false
}

/// The innermost cause, which says more than "error sending request", and the way out that goes with it; without the URL,
/// which may hold a password.
pub(crate) fn cause(error: &reqwest::Error) -> String {
    let mut innermost: Option<&dyn std::error::Error> = error.source();
    while let Some(next) = innermost.and_then(std::error::Error::source) {
        innermost = Some(next);
    }
    if error.is_timeout() {
        return "timed out".to_owned();
    }
    let cause = innermost.map_or_else(|| "request failed".to_owned(), ToString::to_string);
    format!("{cause}{}", hint(error))
}

/// The beginning of an answer's text, on one line.
pub(crate) async fn body_text(mut response: reqwest::Response) -> String {
    let mut body = Vec::new();
    let read = async {
        while let Ok(Some(chunk)) = response.chunk().await {
            body.extend_from_slice(&chunk);
            if body.len() >= BODY_BYTES_MAX {
                break;
            }
        }
    };
    // What has arrived by then has to do.
    let _ = tokio::time::timeout(BODY_TIMEOUT, read).await;
    body.truncate(BODY_BYTES_MAX);
    let text = String::from_utf8_lossy(&body);
    text.split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// A client without credentials.
#[cfg(test)]
pub(crate) fn open<'a>(urls: impl IntoIterator<Item = &'a Url>, connect_timeout: Duration) -> LocalClient {
    let accesses = super::access::testing::accesses(super::access::AccessSettings::default());
    LocalClient::build(urls, connect_timeout, accesses).unwrap_or_else(|error| panic!("{error}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_password_in_the_url_is_never_shown() {
        let url: Url = "http://admin:s3cret@127.0.0.1:9090/prom/-/reload?token=t0p".parse().unwrap();
        assert_eq!(shown(&url), "http://127.0.0.1:9090/prom/-/reload");
    }

    #[test]
    fn an_ipv6_address_loses_its_brackets_and_a_missing_port_is_the_schemes() {
        assert_eq!(address(&"http://[::1]:9090/-/reload".parse().unwrap()), ("::1".to_owned(), 9090));
        assert_eq!(address(&"https://prometheus/-/reload".parse().unwrap()), ("prometheus".to_owned(), 443));
    }
}
