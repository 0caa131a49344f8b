//! Headers at the two crossings, client to Prometheus and back: pure.
//!
//! Fields of one connection end here (RFC 9110 section 7.6.1), end-to-end ones pass as they are. `Trailer` passes,
//! because trailers do. `Expect` ends here: hyper asks the client to go on as soon as the body is wanted, which is when
//! Prometheus is connected. Which these are: [`crate::hop_by_hop`].

use std::net::IpAddr;

use http::header::{CONNECTION, EXPECT, HOST, TE, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use super::ProxyError;
use crate::hop_by_hop::{self, list};

/// Name of the member whose Prometheus answered; in every response that came from one.
pub(super) const LEADER: HeaderName = HeaderName::from_static("x-prometheus-elector-leader");
/// Names of the members whose proxies a request has passed, in order, separated by commas.
const VIA: HeaderName = HeaderName::from_static("x-prometheus-elector-via");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Proxies that one request may pass. A right setup has one, a chain of sidecars two.
pub(super) const HOPS_MAX: usize = 4;

/// Makes a client's request headers those of the request to Prometheus. `uri` is the request's target: one that
/// carries an authority replaces `Host` (RFC 9112 section 3.2.2). `member` is the own name as [`member_token`] gives it.
pub(super) fn to_upstream(headers: &mut HeaderMap, uri: &Uri, client: IpAddr, member: &HeaderValue) {
    let trailers = wants_trailers(headers);
    hop_by_hop::strip(headers);
    headers.remove(EXPECT);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    if let Some(host) = uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok()) {
        headers.insert(HOST, host);
    }
    if let Ok(client) = HeaderValue::try_from(client.to_canonical().to_string()) {
        append_to_list(headers, FORWARDED_FOR, client);
    }
    append_to_list(headers, VIA, member.clone());
}

/// Makes Prometheus' response headers those of the response to the client.
pub(super) fn to_client(headers: &mut HeaderMap, leader: &HeaderValue) {
    hop_by_hop::strip(headers);
    headers.insert(LEADER, leader.clone());
}

/// Refuses a request that has passed this member's proxy before, or too many proxies.
pub(super) fn check_loop(headers: &HeaderMap, member: &HeaderValue) -> Result<(), ProxyError> {
    let mut hops = 0;
    for name in list(headers, &VIA) {
        if name == member.as_bytes() {
            return Err(ProxyError::Loop { member: String::from_utf8_lossy(name).into_owned() });
        }
        hops += 1;
    }
    if hops >= HOPS_MAX { Err(ProxyError::TooManyHops { max: HOPS_MAX }) } else { Ok(()) }
}

/// Whether the client asks for a web socket. Other upgrades are optional for the server and just not taken.
pub(super) fn asks_for_websocket(headers: &HeaderMap) -> bool {
    list(headers, &UPGRADE).any(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
}

/// A member name as an element of a list header: what cannot stand there becomes `_`.
pub(super) fn member_token(name: &str) -> HeaderValue {
    let token: String = name.chars().map(|c| if c.is_ascii_graphic() && c != ',' { c } else { '_' }).collect();
    HeaderValue::from_str(&token).unwrap_or(HeaderValue::from_static("_"))
}

fn wants_trailers(headers: &HeaderMap) -> bool {
    list(headers, &TE).any(|coding| coding.eq_ignore_ascii_case(b"trailers"))
}

fn append_to_list(headers: &mut HeaderMap, name: HeaderName, element: HeaderValue) {
    if headers.contains_key(&name) {
        let mut elements: Vec<&[u8]> = list(headers, &name).collect();
        elements.push(element.as_bytes());
        // Cannot fail: the elements come from header values.
        if let Ok(value) = HeaderValue::from_bytes(&elements.join(&b", "[..])) {
            headers.insert(name, value);
        }
    } else {
        headers.insert(name, element);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap()))
            .collect()
    }

    fn sorted(headers: &HeaderMap) -> Vec<(&str, &str)> {
        let mut lines: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        lines.sort_unstable();
        lines
    }

    /// One case: the client's lines, and what reaches Prometheus.
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a [(&'a str, &'a str)]);

    #[test]
    fn a_request_loses_the_fields_of_its_connection_and_gains_two() {
        let added = [("x-forwarded-for", "10.0.0.9"), ("x-prometheus-elector-via", "p-0")];
        let table: [Case; 10] = [
            (&[], &added),
            (
                &[("host", "grafana:80"), ("accept-encoding", "gzip")],
                &[("accept-encoding", "gzip"), ("host", "grafana:80"), added[0], added[1]],
            ),
            (&[("connection", "close, X-One"), ("connection", " x-two ,"), ("x-one", "1"), ("x-two", "2")], &added),
            // A client cannot make its own address disappear by naming the field.
            (&[("connection", "x-forwarded-for"), ("x-forwarded-for", "6.6.6.6")], &added),
            (
                &[
                    ("keep-alive", "timeout=5"),
                    ("proxy-connection", "keep-alive"),
                    ("proxy-authorization", "Basic c2VjcmV0"),
                    ("transfer-encoding", "chunked"),
                    ("upgrade", "h2c"),
                    ("expect", "100-continue"),
                ],
                &added,
            ),
            (&[("te", "gzip")], &added),
            (
                &[("forwarded", "for=1.1.1.1;proto=https"), ("x-forwarded-host", "a"), ("x-forwarded-proto", "https")],
                &[
                    ("forwarded", "for=1.1.1.1;proto=https"),
                    added[0],
                    ("x-forwarded-host", "a"),
                    ("x-forwarded-proto", "https"),
                    added[1],
                ],
            ),
            (
                &[("te", "gzip, Trailers"), ("trailer", "x-sum")],
                &[("connection", "te"), ("te", "trailers"), ("trailer", "x-sum"), added[0], added[1]],
            ),
            (
                &[("x-forwarded-for", "1.1.1.1, 2.2.2.2"), ("x-forwarded-for", "3.3.3.3")],
                &[("x-forwarded-for", "1.1.1.1, 2.2.2.2, 3.3.3.3, 10.0.0.9"), added[1]],
            ),
            (&[("x-prometheus-elector-via", "p-1")], &[added[0], ("x-prometheus-elector-via", "p-1, p-0")]),
        ];
        for (lines, expected) in table {
            let mut passed = headers(lines);
            to_upstream(&mut passed, &"/".parse().unwrap(), "::ffff:10.0.0.9".parse().unwrap(), &member_token("p-0"));
            assert_eq!(sorted(&passed), expected, "{lines:?}");
        }
    }

    #[test]
    fn the_authority_of_an_absolute_target_is_the_host() {
        let mut passed = headers(&[("host", "other")]);
        let uri = "http://prom.example:9095/graph".parse().unwrap();
        to_upstream(&mut passed, &uri, "::1".parse().unwrap(), &member_token("p-0"));
        assert_eq!(passed[HOST], "prom.example:9095");
        assert_eq!(passed[FORWARDED_FOR], "::1");
    }

    #[test]
    fn a_response_loses_the_fields_of_its_connection_and_names_the_leader() {
        let mut passed = headers(&[
            ("connection", "keep-alive, x-hop"),
            ("keep-alive", "timeout=5"),
            ("x-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("content-encoding", "gzip"),
            ("trailer", "x-sum"),
            ("x-prometheus-elector-leader", "forged"),
        ]);
        to_client(&mut passed, &member_token("p-1"));
        let expected = [("content-encoding", "gzip"), ("trailer", "x-sum"), ("x-prometheus-elector-leader", "p-1")];
        assert_eq!(sorted(&passed), expected);
    }

    #[test]
    fn a_request_that_came_back_is_a_loop() {
        let own = member_token("p-0");
        let check = |via: &[&str]| {
            let lines: Vec<_> = via.iter().map(|via| ("x-prometheus-elector-via", *via)).collect();
            check_loop(&headers(&lines), &own)
        };
        assert!(check(&[]).is_ok());
        assert!(check(&["p-1, p-00", "p-2"]).is_ok(), "names are compared whole");
        assert!(matches!(check(&["p-1, p-0"]), Err(ProxyError::Loop { member }) if member == "p-0"));
        assert!(matches!(check(&["p-1", "p-0"]), Err(ProxyError::Loop { .. })));
        assert!(matches!(check(&["a,b,c,d"]), Err(ProxyError::TooManyHops { max: HOPS_MAX })));
    }

    #[test]
    fn a_member_name_cannot_break_a_list() {
        assert_eq!(member_token("p-0.prom"), "p-0.prom");
        assert_eq!(member_token("a, b\r\nc\u{e9}"), "a__b__c_");
    }

    #[test]
    fn a_websocket_is_recognized() {
        assert!(asks_for_websocket(&headers(&[("upgrade", "h2c, WebSocket")])));
        assert!(!asks_for_websocket(&headers(&[("upgrade", "h2c")])));
    }
}
