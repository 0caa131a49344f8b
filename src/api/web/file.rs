//! The file: Prometheus's `web.config.file`, as far as it makes sense here. Pure but for [`WebFile::read`].
//!
//! What is known but not supported is an error that says so: a restriction that is silently ignored is a hole.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bcrypt::HashParts;
use http::{HeaderMap, HeaderName, HeaderValue};
use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};
use serde::Deserialize;

use super::FLAG;
use crate::files::{FileError, read};
use crate::tls::{certificates, private_key, roots};

/// A password of cost 14 takes about a second of processor time to check.
const COST_MAX: u32 = 14;
/// Headers that may be set, as in Prometheus.
const HEADERS: [&str; 5] = [
    "content-security-policy",
    "strict-transport-security",
    "x-content-type-options",
    "x-frame-options",
    "x-xss-protection",
];

/// What the file and those that it names held at one moment. Compared as a whole, and shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct WebFile {
    text: String,
    certificate: Option<(Vec<u8>, Vec<u8>)>,
    client_ca: Option<Vec<u8>>,
}

/// What it means.
pub(super) struct Meaning {
    pub(super) tls: Option<Arc<ServerConfig>>,
    /// bcrypt hashes by user; empty: nobody is asked.
    pub(super) users: BTreeMap<String, String>,
    /// Added to answers.
    pub(super) headers: HeaderMap,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Text {
    tls_server_config: Option<Tls>,
    http_server_config: Option<Http>,
    basic_auth_users: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Tls {
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    client_auth_type: Option<String>,
    client_ca_file: Option<PathBuf>,
    min_version: Option<Version>,
    max_version: Option<Version>,
    client_allowed_sans: Option<Vec<String>>,
    cipher_suites: Option<Vec<String>>,
    curve_preferences: Option<Vec<String>>,
    /// Without effect in Prometheus too.
    #[serde(rename = "prefer_server_cipher_suites")]
    _prefer_server_cipher_suites: Option<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
enum Version {
    #[serde(rename = "TLS10")]
    Tls10,
    #[serde(rename = "TLS11")]
    Tls11,
    #[serde(rename = "TLS12")]
    Tls12,
    #[serde(rename = "TLS13")]
    Tls13,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Http {
    http2: bool,
    headers: BTreeMap<String, String>,
}

impl Default for Http {
    fn default() -> Self {
        Self { http2: true, headers: BTreeMap::new() }
    }
}

impl WebFile {
    /// Reads the file and those that it names; relative paths start beside it. Blocks on the disk.
    pub(super) fn read(path: &Path) -> Result<Self, FileError> {
        let text = String::from_utf8(read(FLAG, path)?).map_err(|_| content(path, "is not UTF-8"))?;
        let tls = parse(path, &text)?.tls_server_config;
        let near = |file: &PathBuf| path.parent().unwrap_or(Path::new("")).join(file);
        let certificate = match tls.as_ref().map(|tls| (&tls.cert_file, &tls.key_file)) {
            None => None,
            Some((Some(cert), Some(key))) => Some((read(FLAG, &near(cert))?, read(FLAG, &near(key))?)),
            Some(_) => return Err(content(path, "has tls_server_config without cert_file or key_file")),
        };
        let client_ca = tls.and_then(|tls| tls.client_ca_file).map(|ca| read(FLAG, &near(&ca))).transpose()?;
        Ok(Self { text, certificate, client_ca })
    }

    /// What it means. `path`: for errors.
    pub(super) fn meaning(&self, path: &Path) -> Result<Meaning, FileError> {
        let text = parse(path, &self.text)?;
        let http = text.http_server_config.unwrap_or_default();
        let tls = text.tls_server_config.map(|tls| self.tls(&tls, http.http2)).transpose();
        let users = text.basic_auth_users.unwrap_or_default();
        check_users(&users).map_err(|rule| content(path, &rule))?;
        Ok(Meaning {
            tls: tls.map_err(|rule| content(path, &rule))?,
            users,
            headers: headers(&http.headers).map_err(|rule| content(path, &rule))?,
        })
    }

    fn tls(&self, tls: &Tls, http2: bool) -> Result<Arc<ServerConfig>, String> {
        let unsupported = [
            ("client_allowed_sans", tls.client_allowed_sans.is_some()),
            ("cipher_suites", tls.cipher_suites.is_some()),
            ("curve_preferences", tls.curve_preferences.is_some()),
        ];
        if let Some((key, _)) = unsupported.into_iter().find(|(_, is_given)| *is_given) {
            return Err(format!("has {key}, which this sidecar does not support; take it out"));
        }
        let of_cert = |error| format!("names a cert_file that {error}");
        let of_key = |error| format!("names a key_file that {error}");
        let (cert, key) = self.certificate.as_ref().ok_or("has no certificate")?;
        let (chain, key) = (certificates(cert).map_err(of_cert)?, private_key(key).map_err(of_key)?);
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions(tls.min_version, tls.max_version)?)
            .map_err(|error| error.to_string())?;
        let builder = match self.client_verifier(tls.client_auth_type.as_deref())? {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let pair = builder.with_single_cert(chain, key);
        let mut config = pair.map_err(|_| "names a key_file that is no key for its cert_file")?;
        let protocols: &[&[u8]] = if http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Ok(Arc::new(config))
    }

    fn client_verifier(&self, kind: Option<&str>) -> Result<Option<Arc<dyn ClientCertVerifier>>, String> {
        let is_required = match (kind, &self.client_ca) {
            (None | Some("" | "NoClientCert"), None) => return Ok(None),
            (None | Some("" | "NoClientCert"), Some(_)) => {
                return Err("has a client_ca_file but no client_auth_type that uses it; write \
                            RequireAndVerifyClientCert"
                    .into());
            }
            (Some("RequireAndVerifyClientCert"), Some(_)) => true,
            (Some("VerifyClientCertIfGiven"), Some(_)) => false,
            (Some("RequireAndVerifyClientCert" | "VerifyClientCertIfGiven"), None) => {
                return Err("has a client_auth_type that needs a client_ca_file".into());
            }
            (Some(other), _) => {
                return Err(format!(
                    "has the client_auth_type {other}, which proves nothing; write RequireAndVerifyClientCert, \
                     VerifyClientCertIfGiven or NoClientCert"
                ));
            }
        };
        let Some(ca) = &self.client_ca else { return Ok(None) };
        let roots = roots(ca).map_err(|error| format!("names a client_ca_file that {error}"))?;
        let provider = Arc::new(ring::default_provider());
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let builder = if is_required { builder } else { builder.allow_unauthenticated() };
        builder.build().map(Some).map_err(|error| format!("names a client_ca_file that cannot be used: {error}"))
    }
}

fn parse(path: &Path, text: &str) -> Result<Text, FileError> {
    if text.trim().is_empty() {
        return Ok(Text::default()); // as in Prometheus: plain, for everybody
    }
    yaml_serde::from_str::<Option<Text>>(text).map(Option::unwrap_or_default).map_err(|error| {
        // Words about values could show one; those about keys are safe and help.
        let words = error.to_string();
        let safe = ["unknown field", "missing field", "duplicate", "unknown variant"];
        let words =
            if safe.iter().any(|safe| words.contains(safe)) { words } else { "a value that does not fit".into() };
        let line = error.location().map_or(String::new(), |at| format!(" in line {}", at.line()));
        content(path, &format!("is no web.config.file of Prometheus{line}: {words}"))
    })
}

fn versions(
    min: Option<Version>,
    max: Option<Version>,
) -> Result<Vec<&'static SupportedProtocolVersion>, &'static str> {
    let (min, max) = (min.unwrap_or(Version::Tls12), max.unwrap_or(Version::Tls13));
    if min < Version::Tls12 {
        return Err("has a min_version below TLS12, which is broken and not spoken here");
    }
    let all = [(Version::Tls13, &TLS13), (Version::Tls12, &TLS12)];
    let wanted: Vec<_> = all.into_iter().filter(|(version, _)| (min..=max).contains(version)).collect();
    if wanted.is_empty() {
        return Err("has a max_version below its min_version");
    }
    Ok(wanted.into_iter().map(|(_, version)| version).collect())
}

fn check_users(users: &BTreeMap<String, String>) -> Result<(), String> {
    for (user, hash) in users {
        if user.is_empty() || user.contains(':') {
            return Err(format!("has the user {user:?}: a user's name is not empty and has no colon"));
        }
        let parts: Result<HashParts, _> = hash.parse();
        match parts {
            Ok(parts) if parts.get_cost() <= COST_MAX => {}
            Ok(parts) => {
                let cost = parts.get_cost();
                return Err(format!(
                    "has a password of cost {cost} for {user}: at most {COST_MAX}, or each sign-in takes seconds; \
                     `htpasswd -nBC 10 {user}` writes one of cost 10"
                ));
            }
            Err(_) => {
                return Err(format!(
                    "has no bcrypt hash as the password of {user}; `htpasswd -nBC 10 {user}` writes one"
                ));
            }
        }
    }
    Ok(())
}

fn headers(texts: &BTreeMap<String, String>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in texts {
        let known = HEADERS.iter().find(|known| name.eq_ignore_ascii_case(known));
        let known = known.ok_or_else(|| format!("sets the header {name}; possible are {}", HEADERS.join(", ")))?;
        let value =
            HeaderValue::from_str(value).map_err(|_| format!("has a value for {name} that no header can have"))?;
        headers.insert(HeaderName::from_static(known), value);
    }
    Ok(headers)
}

fn content(path: &Path, rule: &str) -> FileError {
    FileError::content(FLAG, path, &rule)
}
