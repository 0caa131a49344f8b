//! Header fields of one connection (RFC 9110, section 7.6.1), which end at every hop. Pure; for proxy and gate.
//!
//! Own code because no maintained library fits: `docs/decisions/proxy-hop-by-hop.md`.

use http::header::{CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName};

/// Hop-by-hop fields whether or not `Connection` names them.
const HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Removes them, and what `Connection` names.
pub(crate) fn strip(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> =
            list(headers, &CONNECTION).filter_map(|name| HeaderName::from_bytes(name).ok()).collect();
        for name in named {
            headers.remove(name);
        }
    }
    // Most have none: to look at the few that there are costs less than to look each of these up.
    let found: Vec<HeaderName> = headers.keys().filter(|name| HOP_BY_HOP.contains(name)).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

/// Elements of a list header over all its lines, trimmed, without empty ones.
pub(crate) fn list<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h [u8]> {
    headers
        .get_all(name)
        .into_iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}
