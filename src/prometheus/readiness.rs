//! One poll of the readiness endpoint. Only 200 means ready; Prometheus answers 503 while it replays its log, and while it ends.

use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use reqwest::{Method, StatusCode};

use super::ReadinessSettings;
use super::client::{LocalClient, cause, shown};

/// Length of `Service Unavailable`.
const NOT_READY_LENGTH: &[u8] = b"19";

/// Why it is not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotReady {
    /// For people.
    pub(crate) why: String,
    /// It is what Prometheus answers while it starts or ends.
    pub(crate) is_own_word: bool,
}

/// `Ok` when ready, else why not.
pub(crate) async fn poll(client: &LocalClient, settings: &ReadinessSettings) -> Result<(), NotReady> {
    match client.request(Method::GET, &settings.url).timeout(settings.timeout).send().await {
        Ok(response) if response.status() == StatusCode::OK => Ok(()),
        Ok(response) => {
            let status = response.status();
            let why = format!("{} answered {status}{}", shown(&settings.url), client.hint(&settings.url, status));
            Err(NotReady { why, is_own_word: says_not_ready(status, response.headers()) })
        }
        Err(error) => Err(NotReady { why: format!("{}: {}", shown(&settings.url), cause(&error)), is_own_word: false }),
    }
}

/// Whether a response is what Prometheus answers to everything while it starts or ends (`testReady` in its `web.go`). A
/// query's own 503 (a time-out) is JSON.
pub(crate) fn says_not_ready(status: StatusCode, headers: &HeaderMap) -> bool {
    let is_text = || headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"text/plain"));
    let is_short = || headers.get(CONTENT_LENGTH).is_some_and(|value| value.as_bytes() == NOT_READY_LENGTH);
    status == StatusCode::SERVICE_UNAVAILABLE && is_text() && is_short()
}
