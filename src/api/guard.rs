//! Keeps browsers out of the admin listener.
//!
//! A page that a browser on this host shows can send requests to loopback: from its own origin (cross-site request
//! forgery), or after its name was made to resolve to 127.0.0.1 (DNS rebinding). Against the first, every request must
//! carry a header that no page may set without asking first, and nobody answers that question. Against the second, the
//! `Host` must be a loopback name. Neither authenticates: whoever can run a process in the pod can administer the
//! member, as with `kill`.

use std::net::IpAddr;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::uri::Authority;
use http::{HeaderMap, StatusCode, header};

use super::admin::Refusal;

/// Header that every admin request carries, with the value `1`.
pub const ADMIN_HEADER: &str = "x-prometheus-elector-admin";

/// Middleware of the admin router.
pub(super) async fn guard(request: Request, next: Next) -> Response {
    match check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(sentence) => Refusal::new(StatusCode::FORBIDDEN, sentence).into_response(),
    }
}

fn check(headers: &HeaderMap) -> Result<(), &'static str> {
    if headers.get(ADMIN_HEADER).is_none_or(|value| value.as_bytes() != b"1") {
        return Err("an admin request carries the header `X-Prometheus-Elector-Admin: 1`; the subcommands of \
                    prometheus-elector send it");
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if host.to_str().is_ok_and(is_loopback) => Ok(()),
        _ => Err("the Host of an admin request is localhost or a loopback address"),
    }
}

fn is_loopback(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_loopback_hosts_pass() {
        for host in ["localhost", "LOCALHOST:9097", "127.0.0.1", "127.0.0.1:9097", "127.1.2.3:1", "[::1]", "[::1]:9097"]
        {
            assert!(is_loopback(host), "{host}");
        }
        let others = [
            "",
            "evil.example",
            "evil.example:9097",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "0.0.0.0:9097",
            "10.0.0.1",
            "[::]:9097",
            "[fe80::1]",
            "localhost@evil.example",
            "127.0.0.1:9097, evil.example",
        ];
        for host in others {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn both_the_header_and_one_loopback_host_are_needed() {
        let headers = |pairs: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(*name, value.parse().unwrap());
            }
            headers
        };
        let marker = (ADMIN_HEADER, "1");
        assert!(check(&headers(&[marker, ("host", "127.0.0.1:9097")])).is_ok());
        assert!(check(&headers(&[("host", "127.0.0.1:9097")])).is_err(), "no marker");
        assert!(check(&headers(&[(ADMIN_HEADER, "0"), ("host", "127.0.0.1")])).is_err(), "wrong marker");
        assert!(check(&headers(&[marker])).is_err(), "no host");
        assert!(check(&headers(&[marker, ("host", "rebound.example")])).is_err(), "rebound name");
        assert!(check(&headers(&[marker, ("host", "localhost"), ("host", "rebound.example")])).is_err(), "two hosts");
    }
}
