//! The leader proxy: every request outside `/_elector/` goes to the leader's Prometheus.
//!
//! ```text
//! watch<Leadership> -> route (pure) -> routes: one connection pool per target -> watch<Destination>
//!     watch<Access> ----------------------^
//!                                                                                     |
//! request -> headers (pure) -> hold until somebody leads -> place -> send -> head -> response, streamed
//!                                   ^                         |
//!                                   +---- retry (pure) <------+ no answer, or leadership moved
//! ```
//!
//! - Inputs: a request, the client's address, the leadership watch, a resolver for the leader's host name.
//! - Where the group has found the leader counts more than what DNS says (docs/decisions/member-addresses.md).
//! - Passed on as they are: method, path, query, body, trailers, status, `Host`, `Forwarded` and `X-Forwarded-*`, except that
//!   the client is added to `X-Forwarded-For`. Only scheme and host of the target
//!   URL count: a path in `advertise-prometheus-url` is not joined (as in the Lease-based tool), so with
//!   `--web.route-prefix` the client's path carries the prefix, as it would without the proxy.
//! - Invariants: a request that may have reached Prometheus is sent again only if it is a read; a body is not read
//!   while its request is held; what is buffered per request is bounded by `READ_BODY_BYTES_MAX`; a response
//!   that breaks off is cut on the client's connection, never ended as if it were whole.
//! - TLS and credentials (docs/decisions/proxy-access.md): the member's CA and client certificate are used for every https
//!   target; its credentials only with `add_credentials`, and never in the place of the client's own, unless those were for the
//!   API (`CredentialsTaken`).
//! - Failure: [`ProxyError`] has one status and one sentence for each.
//!
//! Limits: an HTTP/1.0 client without `Content-Length` in the answer cannot tell a cut response from a whole one (the
//! protocol has no mark for it); a response that has begun cannot move to a new leader.

mod body;
mod error;
mod headers;
mod hold;
mod metrics;
mod proxied;
mod retry;
mod route;
mod routes;
mod upstream;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub use error::ProxyError;
#[cfg(test)]
pub(crate) use metrics::Answered;
pub use metrics::ProxyMetrics;
pub(crate) use proxied::CredentialsTaken;
pub use proxied::Proxy;
pub use upstream::connector;

/// Settings of the proxy.
#[derive(Clone, Debug)]
pub struct ProxySettings {
    /// Own member name, for loop detection.
    pub member: String,
    /// Base URL of the own Prometheus, used while this member leads; `None` for a witness.
    pub local_url: Option<reqwest::Url>,
    /// How long a request waits for a leader.
    pub leader_wait: Duration,
    /// Gives the member's credentials to requests that have none.
    pub add_credentials: bool,
}
