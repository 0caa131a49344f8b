//! Where the gate sends to: the settings of a `remote_write` entry that Prometheus no longer sees.
//!
//! Rendering takes them out of the source file, the gate's client honours them. Secrets (in URLs, keys, proxy headers) are
//! in [`Secret`] and [`RemoteUrl`], which show themselves without.

use std::fmt;
use std::time::Duration;

use sha2::{Digest, Sha256};
use url::Url;

/// A text that must not be shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one who needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// A URL of a remote or a proxy. Displayed without password and without the values of its query.
#[derive(Clone, PartialEq, Eq)]
pub struct RemoteUrl(Url);

impl RemoteUrl {
    /// Reads a URL with scheme `http` or `https`.
    pub fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        (matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(Self(url))
    }

    /// The URL with everything in it.
    pub fn reveal(&self) -> &Url {
        &self.0
    }

    /// Tells this URL from others without showing it: 16 hexadecimal digits. A new user or password is the same URL.
    pub fn id(&self) -> String {
        let mut url = self.0.clone();
        // These fail for URLs without a host only.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        hex(&Sha256::digest(url.as_str().as_bytes())[..8])
    }

    /// Its host.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }
}

impl fmt::Display for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut url = self.0.clone();
        if url.password().is_some() {
            // Fails for URLs without a host only.
            let _ = url.set_password(Some("xxxxx"));
        }
        if self.0.query().is_some() {
            let keys: Vec<String> = self.0.query_pairs().map(|(key, _)| key.into_owned()).collect();
            url.query_pairs_mut().clear().extend_pairs(keys.iter().map(|key| (key, "xxxxx")));
        }
        f.write_str(url.as_str())
    }
}

impl fmt::Debug for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// One gated `remote_write` entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteSettings {
    /// Its `name`, or the one that it was given. Different for each entry.
    pub name: String,
    /// Path on the gate's listener, percent-encoded: `/write/<name>`.
    pub path: String,
    /// The true URL.
    pub url: RemoteUrl,
    /// How to reach it.
    pub client: ClientSettings,
    /// What the rules of the watermark lean on.
    pub queue: QueueSettings,
    /// Line of the entry in the source file, from 1.
    pub line: usize,
}

/// Keys of the entry's HTTP client that the gate honours, with Prometheus's defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSettings {
    /// `tls_config`
    pub tls: TlsSettings,
    /// `proxy_url`
    pub proxy_url: Option<RemoteUrl>,
    /// `no_proxy`
    pub no_proxy: Option<String>,
    /// `proxy_from_environment`
    pub proxy_from_environment: bool,
    /// `proxy_connect_header`: names with their values.
    pub proxy_connect_header: Vec<(String, Vec<Secret>)>,
    /// `follow_redirects`
    pub follow_redirects: bool,
    /// `enable_http2`
    pub enable_http2: bool,
    /// `remote_timeout`
    pub remote_timeout: Duration,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            tls: TlsSettings::default(),
            proxy_url: None,
            no_proxy: None,
            proxy_from_environment: false,
            proxy_connect_header: Vec::new(),
            follow_redirects: true,
            enable_http2: true,
            remote_timeout: Duration::from_secs(30),
        }
    }
}

/// `tls_config`. Files are as written: relative ones are relative to Prometheus's configuration file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// `ca`: certificates in PEM.
    pub ca: Option<String>,
    /// `ca_file`
    pub ca_file: Option<String>,
    /// `cert`: the client's certificate in PEM.
    pub cert: Option<String>,
    /// `cert_file`
    pub cert_file: Option<String>,
    /// `key`: the client's key in PEM.
    pub key: Option<Secret>,
    /// `key_file`
    pub key_file: Option<String>,
    /// `server_name`
    pub server_name: Option<String>,
    /// `insecure_skip_verify`
    pub insecure_skip_verify: bool,
    /// `min_version`
    pub min_version: Option<TlsVersion>,
    /// `max_version`
    pub max_version: Option<TlsVersion>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// `TLS10`
    Tls10,
    /// `TLS11`
    Tls11,
    /// `TLS12`
    Tls12,
    /// `TLS13`
    Tls13,
}

/// `queue_config`, with Prometheus's defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// `batch_send_deadline`
    pub batch_send_deadline: Duration,
    /// `max_backoff`
    pub max_backoff: Duration,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self { batch_send_deadline: Duration::from_secs(5), max_backoff: Duration::from_secs(5) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn url(text: &str) -> RemoteUrl {
        RemoteUrl::parse(text).unwrap()
    }

    #[test]
    fn a_url_shows_neither_password_nor_the_values_of_its_query() {
        for (text, shown) in [
            ("https://mimir:9009/api/v1/push", "https://mimir:9009/api/v1/push"),
            ("https://bob:hunter2@mimir/push", "https://bob:xxxxx@mimir/push"),
            ("http://h/push?token=hunter2&hunter=1", "http://h/push?token=xxxxx&hunter=xxxxx"),
        ] {
            assert_eq!(url(text).to_string(), shown);
            assert_eq!(format!("{:?}", url(text)), shown);
        }
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "<secret>");
    }

    #[test]
    fn the_same_url_with_another_password_is_the_same_and_any_other_is_not() {
        let id = url("https://h/push").id();
        assert_eq!(id.len(), 16);
        assert_eq!(id, url("https://bob:one@h/push").id());
        for other in ["https://h/push2", "http://h/push", "https://h:444/push", "https://h/push?tenant=a"] {
            assert_ne!(id, url(other).id(), "{other}");
        }
    }

    #[test]
    fn only_urls_that_lead_to_a_host_by_http_are_taken() {
        for text in ["", "h/push", "/push", "ftp://h/push", "http://", "unix:///run/x", "mailto:a@b"] {
            assert_eq!(RemoteUrl::parse(text), None, "{text}");
        }
    }
}
