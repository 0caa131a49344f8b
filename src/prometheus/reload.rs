//! Tells Prometheus to reload, and waits for its answer for as long as it takes.
//!
//! Prometheus carries reloads out one after another, and one that removes a `remote_write` lasts until its queues are
//! flushed (over a minute with a dead remote). A client that gives up and asks again only queues one more reload, so
//! here a request is never given up: it ends with an answer, or with its connection (Prometheus was killed, or the
//! kernel's keep-alive found it gone). The role controller sends no second one before that.

use reqwest::{Method, StatusCode, Url};
use tokio::time::Instant;

use super::NotifySettings;
use super::client::{LocalClient, body_text, cause, is_refused, shown};
use crate::metrics::NotifierMetrics;

/// Why Prometheus did not accept a reload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReloadError {
    /// Nothing listens there.
    #[error(
        "nothing listens at {url}: Prometheus does not run (yet), or notify-http-url has another address than its --web.listen-address"
    )]
    Refused {
        /// The reload endpoint.
        url: String,
    },
    /// An answer other than success.
    #[error("{url} answered {status}{}{body}{hint}", if body.is_empty() { "" } else { ": " })]
    Status {
        /// The reload endpoint.
        url: String,
        /// What it answered.
        status: StatusCode,
        /// The beginning of the answer's text.
        body: String,
        /// What to look at first.
        hint: String,
    },
    /// The connection failed before an answer came.
    #[error("no answer from {url}: {cause}")]
    NoAnswer {
        /// The reload endpoint.
        url: String,
        /// What happened.
        cause: String,
    },
}

/// What to look at first after such an answer.
fn hint(status: StatusCode) -> &'static str {
    match status.as_u16() {
        403 | 404 => " (was Prometheus started with --web.enable-lifecycle, and is its path prefix in the URL?)",
        405 => " (is notify-http-method POST or PUT?)",
        300..=399 => " (a redirect is not followed: give the URL that it leads to)",
        _ => "",
    }
}

/// Asks Prometheus to reload.
pub(crate) trait Reload: Send + Sync + 'static {
    /// Returns once Prometheus has answered or its connection is gone; never sooner.
    fn reload(&self) -> impl Future<Output = Result<(), ReloadError>> + Send;
}

/// [`Reload`] by an HTTP request.
#[derive(Debug)]
pub(crate) struct HttpReload {
    client: LocalClient,
    method: Method,
    url: Url,
    metrics: NotifierMetrics,
}

impl HttpReload {
    pub(crate) fn new(client: LocalClient, settings: &NotifySettings, metrics: NotifierMetrics) -> Self {
        Self { client, method: settings.method.clone(), url: settings.url.clone(), metrics }
    }

    async fn send(&self) -> Result<(), ReloadError> {
        let url = shown(&self.url);
        let response = match self.client.request(self.method.clone(), &self.url).send().await {
            Ok(response) => response,
            Err(error) if is_refused(&error) => return Err(ReloadError::Refused { url }),
            Err(error) => return Err(ReloadError::NoAnswer { url, cause: cause(&error) }),
        };
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let hint = format!("{}{}", hint(status), self.client.hint(&self.url, status));
        Err(ReloadError::Status { url, status, body: body_text(response).await, hint })
    }
}

impl Reload for HttpReload {
    async fn reload(&self) -> Result<(), ReloadError> {
        self.metrics.calls.inc();
        let started = Instant::now();
        let result = self.send().await;
        self.metrics.duration.observe(started.elapsed().as_secs_f64());
        if result.is_err() {
            self.metrics.errors.inc();
        }
        result
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use axum::Router;
    use axum::routing::post;
    use tokio::net::TcpListener;

    use super::*;
    use crate::prometheus::client;

    async fn serve(router: Router) -> Url {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/-/reload", listener.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    fn reloader(url: &Url, metrics: NotifierMetrics) -> HttpReload {
        let settings = NotifySettings {
            url: url.clone(),
            method: Method::POST,
            max_attempts: 5,
            retry_delay: Duration::from_secs(10),
            timeout: Duration::from_millis(100),
        };
        HttpReload::new(client::open([url], settings.timeout), &settings, metrics)
    }

    #[tokio::test]
    async fn an_accepted_reload_is_counted_and_is_no_error() {
        let metrics = NotifierMetrics::default();
        let url = serve(Router::new().route("/-/reload", post(|| async { "" }))).await;
        assert_eq!(reloader(&url, metrics.clone()).reload().await, Ok(()));
        assert_eq!((metrics.calls.get(), metrics.errors.get()), (1, 0));
    }

    #[tokio::test]
    async fn a_refused_configuration_carries_prometheus_own_words_on_one_bounded_line() {
        let metrics = NotifierMetrics::default();
        let text = format!("failed to reload config:\n  bad regex\n{}", "x".repeat(100_000));
        let route = post(|| async { (StatusCode::INTERNAL_SERVER_ERROR, text) });
        let url = serve(Router::new().route("/-/reload", route)).await;
        let error = reloader(&url, metrics.clone()).reload().await.unwrap_err().to_string();
        assert!(error.contains("500 Internal Server Error: failed to reload config: bad regex xxx"), "{error}");
        assert!(error.len() < 1200, "{}", error.len());
        assert_eq!((metrics.calls.get(), metrics.errors.get()), (1, 1));
    }

    #[tokio::test]
    async fn a_closed_lifecycle_api_names_the_flag() {
        let url = serve(Router::new().route("/-/reload", post(|| async { StatusCode::FORBIDDEN }))).await;
        let error = reloader(&url, NotifierMetrics::default()).reload().await.unwrap_err().to_string();
        assert!(error.contains("--web.enable-lifecycle"), "{error}");
    }

    #[tokio::test]
    async fn a_question_for_a_password_names_the_flag() {
        let url = serve(Router::new().route("/-/reload", post(|| async { StatusCode::UNAUTHORIZED }))).await;
        let error = reloader(&url, NotifierMetrics::default()).reload().await.unwrap_err().to_string();
        assert!(
            error.contains("401 Unauthorized (it asks for credentials: give prometheus-basic-auth-file"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_redirect_is_an_error_and_is_not_followed() {
        let route = post(|| async { (StatusCode::FOUND, [("location", "/elsewhere")]) });
        let url = serve(Router::new().route("/-/reload", route)).await;
        let error = reloader(&url, NotifierMetrics::default()).reload().await.unwrap_err().to_string();
        assert!(error.contains("302 Found (a redirect is not followed"), "{error}");
    }

    #[tokio::test]
    async fn nobody_listening_is_told_from_a_lost_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url: Url = format!("http://u:s3cret@{}/-/reload", listener.local_addr().unwrap()).parse().unwrap();
        let accepting = tokio::spawn(async move {
            // Dropped at once: the connection ends without an answer, as when Prometheus is killed in the middle.
            drop(listener.accept().await.unwrap());
        });
        let reloader = reloader(&url, NotifierMetrics::default());
        let lost = reloader.reload().await.unwrap_err();
        assert!(matches!(lost, ReloadError::NoAnswer { .. }), "{lost}");
        accepting.await.unwrap();
        let refused = reloader.reload().await.unwrap_err();
        assert!(matches!(refused, ReloadError::Refused { .. }), "{refused}");
        assert!(!format!("{lost}{refused}{lost:?}{refused:?}").contains("s3cret"));
    }

    #[tokio::test]
    async fn a_slow_reload_is_waited_for_beyond_the_time_out() {
        let route = post(|| async { tokio::time::sleep(Duration::from_millis(400)).await });
        let url = serve(Router::new().route("/-/reload", route)).await;
        assert_eq!(reloader(&url, NotifierMetrics::default()).reload().await, Ok(()));
    }
}
