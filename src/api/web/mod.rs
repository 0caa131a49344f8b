//! Who may use the API address, and how it is encrypted: `--api-web-config-file`, in the format of Prometheus's own
//! `web.config.file`.
//!
//! ```text
//! file and those that it names --look, once a second--> WebFile --changed, and good--> Web --watch--> accept loop: TLS
//!                                                          `- bad: the last good one stays, one warning `-> answers: basic auth
//! ```
//!
//! Failure: what is wrong at the start is an error; what is wrong later is a warning, told once until it is another one.
//! Probes (`healthz`, `livez`, `readyz`) are answered without a password: they tell yes, or no and why, and a kubelet has none.

mod auth;
mod file;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use axum::response::{IntoResponse as _, Response};
use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue};
use rustls::ServerConfig;
use tokio::sync::watch;

use self::auth::{Denied, Users};
use self::file::{Meaning, WebFile};
use crate::files::{FileError, Followed, Look, Seen};

/// Names the file.
pub(super) const FLAG: &str = "api-web-config-file";
/// Answered to everybody.
const OPEN: [&str; 3] = ["/_elector/healthz", "/_elector/livez", "/_elector/readyz"];

/// A web configuration in force.
pub(super) struct Web {
    tls: Option<Arc<ServerConfig>>,
    users: Option<Users>,
    headers: HeaderMap,
}

/// The one in force, now and later.
pub(super) type Webs = watch::Receiver<Arc<Web>>;

impl Web {
    fn new(meaning: Meaning) -> Self {
        let Meaning { tls, users, headers } = meaning;
        Self { tls, users: (!users.is_empty()).then(|| Users::new(users)), headers }
    }

    /// `None`: plain.
    pub(super) fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.tls.clone()
    }

    /// Whether it asks for credentials.
    pub(super) fn asks(&self) -> bool {
        self.users.is_some()
    }

    /// The refusal, if this request is not to be answered.
    pub(super) async fn refusal(&self, path: &str, headers: &HeaderMap) -> Option<Response> {
        let users = self.users.as_ref().filter(|_| !OPEN.contains(&path))?;
        let denied = users.check(headers).await.err()?;
        let mut response = (denied.status(), denied.sentence()).into_response();
        if denied == Denied::Unknown {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic"));
        }
        Some(response)
    }

    /// Adds the headers of the configuration that the answer has not.
    pub(super) fn dress(&self, response: &mut Response) {
        for (name, value) in &self.headers {
            response.headers_mut().entry(name).or_insert_with(|| value.clone());
        }
    }
}

/// Looks at the files.
pub(super) struct WebFiles(Followed<WebFile, Arc<Web>>);

impl std::fmt::Debug for WebFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<web configuration>")
    }
}

impl WebFiles {
    /// Reads them for the first time. Blocks on the disk.
    pub(super) fn read(path: &Path) -> Result<Self, FileError> {
        let (path, named) = (path.to_owned(), path.to_owned());
        let make = move |file: &WebFile| file.meaning(&named).map(|meaning| Arc::new(Web::new(meaning)));
        Followed::new(move || WebFile::read(&path), make).map(Self)
    }

    pub(super) fn webs(&self) -> Webs {
        self.0.current()
    }
}

impl Look for WebFiles {
    fn look(&mut self) {
        match self.0.look() {
            Seen::Same | Seen::StillUnusable => {}
            Seen::Changed(_) => tracing::info!(file = FLAG, "the web configuration has changed and is in force"),
            Seen::Unusable(error) => tracing::warn!(error, "the last good web configuration stays in force"),
        }
    }
}
