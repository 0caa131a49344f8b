//! How Prometheus is accessed: files, and the scheme of its port. Pure: no file is opened here.

use std::path::PathBuf;

use elector_raft::Member;
use reqwest::Url;
use rustls::pki_types::ServerName;

use super::check::{Check, present};
use super::error::ConfigError;
use super::raw::{RawFlags, RawPrometheus};
use crate::prometheus::access::{AccessSettings, CredentialsFile};

const CERT: &str = "prometheus-client-cert-file";
const KEY: &str = "prometheus-client-key-file";
const BASIC: &str = "prometheus-basic-auth-file";
const BEARER: &str = "prometheus-bearer-token-file";

/// The files. `member`: what the others know this one by.
pub(super) fn resolve(raw: &RawPrometheus, member: Option<&Member>, check: &mut Check) -> Option<AccessSettings> {
    let server_name = raw.prometheus_tls_server_name.as_deref();
    let server_name = check.read_optional("prometheus-tls-server-name", server_name, |text| {
        ServerName::try_from(text.to_owned()).map_err(|_| "is neither a host name nor an address".to_owned())
    });
    let (client_cert_files, credentials) = (client_cert_files(raw, check), credentials(raw, check));
    let own_name = member.and_then(|member| name_of(&member.prometheus_url));
    Some(AccessSettings {
        ca_file: present(raw.prometheus_ca_file.as_deref()).map(PathBuf::from),
        client_cert_files: client_cert_files?,
        credentials: credentials?,
        server_name: server_name?,
        own_name,
    })
}

/// Whether this port of Prometheus speaks TLS: one listener has one scheme, and the reload URL tells it.
pub(super) fn scheme(raw: &RawPrometheus, port: u16) -> &'static str {
    let url = present(raw.notify_http_url.as_deref()).and_then(|url| Url::parse(url).ok());
    let is_tls = url.is_some_and(|url| url.scheme() == "https" && url.port_or_known_default() == Some(port));
    if is_tls { "https" } else { "http" }
}

/// Whether the proxy adds the member's credentials.
pub(super) fn adds_credentials(raw: &RawFlags, check: &mut Check) -> Option<bool> {
    let flag = "proxy-add-credentials";
    let adds = check.boolean(flag, &raw.proxy.proxy_add_credentials)?;
    if !adds {
        return Some(false);
    }
    let prometheus = &raw.prometheus;
    let files = [&prometheus.prometheus_basic_auth_file, &prometheus.prometheus_bearer_token_file];
    if files.into_iter().all(|file| present(file.as_deref()).is_none()) {
        check.value(flag, adds, format!("has nothing to add: give {BASIC} or {BEARER}"));
        return None;
    }
    let is_optional = raw.group.raft_tls_mode.as_deref() == Some("optional");
    let tls_required = present(raw.group.raft_tls_ca_file.as_deref()).is_some() && !is_optional;
    if present(raw.group.raft_token_file.as_deref()).is_none() && !tls_required {
        let rule = "would send the credentials to whoever leads, and without raft-token-file or raft-tls-mode=required anybody may; \
             give the members one of them";
        check.value(flag, adds, rule);
        return None;
    }
    Some(true)
}

/// The host of a URL, if a certificate can prove it.
fn name_of(url: &str) -> Option<ServerName<'static>> {
    let url = Url::parse(url).ok()?;
    ServerName::try_from(url.host_str()?.trim_matches(['[', ']']).trim_end_matches('.').to_owned()).ok()
}

#[expect(clippy::option_option, reason = "none and wrong are different answers")]
fn client_cert_files(raw: &RawPrometheus, check: &mut Check) -> Option<Option<(PathBuf, PathBuf)>> {
    let cert = present(raw.prometheus_client_cert_file.as_deref());
    let key = present(raw.prometheus_client_key_file.as_deref());
    let missing = match (cert, key) {
        (None, None) => return Some(None),
        (Some(cert), Some(key)) => return Some(Some((cert.into(), key.into()))),
        (Some(_), None) => (KEY, format!("{CERT} is given, and a certificate needs its key")),
        (None, Some(_)) => (CERT, format!("{KEY} is given, and a key needs its certificate")),
    };
    check.push(ConfigError::Missing { flag: missing.0, reason: missing.1 });
    None
}

#[expect(clippy::option_option, reason = "none and wrong are different answers")]
fn credentials(raw: &RawPrometheus, check: &mut Check) -> Option<Option<CredentialsFile>> {
    let basic = present(raw.prometheus_basic_auth_file.as_deref());
    let bearer = present(raw.prometheus_bearer_token_file.as_deref());
    let (flag, text, file) = match (basic, bearer) {
        (None, None) => return Some(None),
        (Some(path), None) => (BASIC, path, CredentialsFile::Basic(path.into())),
        (None, Some(path)) => (BEARER, path, CredentialsFile::Bearer(path.into())),
        (Some(basic), Some(bearer)) => {
            let (first, second) = (check.setting(BASIC, basic), check.setting(BEARER, bearer));
            let rule = "a request has room for one of them; take the other one away".to_owned();
            check.push(ConfigError::Conflict { first, second, rule });
            return None;
        }
    };
    let urls = [
        ("notify-http-url", raw.notify_http_url.as_deref()),
        ("readiness-http-url", raw.readiness_http_url.as_deref()),
        ("healthcheck-http-url", raw.healthcheck_http_url.as_deref()),
    ];
    let mut good = true;
    for (url_flag, url) in urls {
        let Some(url) = present(url) else { continue };
        if Url::parse(url).is_ok_and(|url| !url.username().is_empty() || url.password().is_some()) {
            good = false;
            let (first, second) = (check.setting(flag, text), check.setting(url_flag, url));
            let rule = "both say who asks; take user and password out of the URL".to_owned();
            check.push(ConfigError::Conflict { first, second, rule });
        }
    }
    good.then_some(Some(file))
}
