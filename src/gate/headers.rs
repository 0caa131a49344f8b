//! Headers at the gate: what goes on to the remote, and what comes back. Pure.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, EXPECT, HOST, RETRY_AFTER, TRAILER,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::spool::Format;
use super::wire::VERSION_HEADER;
use crate::hop_by_hop;

/// The fencing token: the term in which the request was sent.
pub(super) const TERM: HeaderName = HeaderName::from_static("x-prometheus-elector-term");

/// The attempt that Prometheus counts; of one request only.
const RETRY_ATTEMPT: HeaderName = HeaderName::from_static("retry-attempt");

/// What a receiver of 2.0 says it has written.
pub(super) const WRITTEN: [HeaderName; 3] = [
    HeaderName::from_static("x-prometheus-remote-write-samples-written"),
    HeaderName::from_static("x-prometheus-remote-write-histograms-written"),
    HeaderName::from_static("x-prometheus-remote-write-exemplars-written"),
];

/// Fields besides those of one connection that stay here: the client sets them by itself, or they are ours.
const OURS: [HeaderName; 5] = [TRAILER, EXPECT, HOST, CONTENT_LENGTH, TERM];

/// The sender's headers that are for the remote.
pub(super) fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    hop_by_hop::strip(&mut kept);
    for name in &OURS {
        kept.remove(name);
    }
    kept
}

/// How the body is to be read.
pub(super) fn format(headers: &HeaderMap) -> Format {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    Format {
        content_type: text(CONTENT_TYPE.as_str()),
        content_encoding: text(CONTENT_ENCODING.as_str()),
        version: text(VERSION_HEADER),
    }
}

/// Headers of a live request (see [`end_to_end`]) for another body.
pub(super) fn replay(live: &HeaderMap, format: &Format) -> HeaderMap {
    let mut headers = live.clone();
    headers.remove(RETRY_ATTEMPT);
    let fields = [
        (CONTENT_TYPE, &format.content_type),
        (CONTENT_ENCODING, &format.content_encoding),
        (HeaderName::from_static(VERSION_HEADER), &format.version),
    ];
    for (name, value) in fields {
        headers.remove(&name);
        if let Some(value) = HeaderValue::from_str(value).ok().filter(|value| !value.is_empty()) {
            headers.insert(name, value);
        }
    }
    headers
}

/// User and password of a URL, unless the sender has credentials of its own.
pub(super) fn add_credentials(headers: &mut HeaderMap, url: &Url) {
    if url.username().is_empty() && url.password().is_none() || headers.contains_key(AUTHORIZATION) {
        return;
    }
    if let Some(value) = basic(url) {
        headers.insert(AUTHORIZATION, value);
    }
}

/// Basic credentials of a URL.
pub(super) fn basic(url: &Url) -> Option<HeaderValue> {
    let decode = |text: &str| percent_encoding::percent_decode_str(text).collect::<Vec<u8>>();
    let mut pair = decode(url.username());
    pair.push(b':');
    pair.extend(decode(url.password().unwrap_or_default()));
    let mut value = HeaderValue::from_str(&format!("Basic {}", BASE64_STANDARD.encode(pair))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// What must not follow a redirect to another host.
pub(super) fn drop_credentials(headers: &mut HeaderMap) {
    for name in [AUTHORIZATION, COOKIE] {
        headers.remove(name);
    }
}

/// Headers of the remote's answer that are for the sender. No `Location`: the sender would follow it past the gate.
pub(super) fn passed_back(headers: &HeaderMap) -> HeaderMap {
    let is_ours = |name: &HeaderName| {
        *name == CONTENT_TYPE || *name == RETRY_AFTER || name.as_str().starts_with("x-prometheus-remote-write-")
    };
    headers.iter().filter(|(name, _)| is_ours(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        lines.iter().map(|(k, v)| (HeaderName::from_bytes(k.as_bytes()).unwrap(), v.parse().unwrap())).collect()
    }

    #[test]
    fn fields_of_a_connection_and_a_foreign_term_stay_here() {
        let all = headers(&[
            ("connection", "close, x-one"),
            ("x-one", "1"),
            ("te", "trailers"),
            ("host", "127.0.0.1:9097"),
            ("content-length", "5"),
            ("transfer-encoding", "chunked"),
            ("x-prometheus-elector-term", "999"),
            ("authorization", "Bearer b"),
            ("x-scope-orgid", "tenant"),
            ("user-agent", "Prometheus/3.16"),
        ]);
        let kept =
            headers(&[("authorization", "Bearer b"), ("x-scope-orgid", "tenant"), ("user-agent", "Prometheus/3.16")]);
        assert_eq!(end_to_end(&all), kept);
    }

    #[test]
    fn a_replayed_batch_has_its_own_format_and_the_credentials_of_the_live_request() {
        let live = headers(&[
            ("authorization", "Bearer b"),
            ("content-type", "application/x-protobuf;proto=io.prometheus.write.v2.Request"),
            ("x-prometheus-remote-write-version", "2.0.0"),
            ("retry-attempt", "3"),
        ]);
        let format = Format {
            content_type: "application/x-protobuf".into(),
            content_encoding: "snappy".into(),
            version: String::new(),
        };
        let expected = headers(&[
            ("authorization", "Bearer b"),
            ("content-type", "application/x-protobuf"),
            ("content-encoding", "snappy"),
        ]);
        assert_eq!(replay(&live, &format), expected);
    }

    #[test]
    fn user_and_password_of_the_url_are_used_unless_the_sender_has_its_own() {
        let url = Url::parse("https://bob:p%40ss@h/push").unwrap();
        let mut none = HeaderMap::new();
        add_credentials(&mut none, &url);
        assert_eq!(none[AUTHORIZATION], "Basic Ym9iOnBAc3M=");
        assert!(none[AUTHORIZATION].is_sensitive());
        let mut own = headers(&[("authorization", "Bearer b")]);
        add_credentials(&mut own, &url);
        assert_eq!(own[AUTHORIZATION], "Bearer b");
        let mut plain = HeaderMap::new();
        add_credentials(&mut plain, &Url::parse("https://h/push").unwrap());
        assert!(plain.is_empty());
    }

    #[test]
    fn an_answer_brings_what_the_sender_uses_and_never_a_location() {
        let answer = headers(&[
            ("retry-after", "7"),
            ("x-prometheus-remote-write-samples-written", "5"),
            ("location", "http://elsewhere/"),
            ("set-cookie", "a=b"),
            ("connection", "close"),
            ("content-type", "text/plain"),
        ]);
        let passed = headers(&[
            ("retry-after", "7"),
            ("x-prometheus-remote-write-samples-written", "5"),
            ("content-type", "text/plain"),
        ]);
        assert_eq!(passed_back(&answer), passed);
    }
}
