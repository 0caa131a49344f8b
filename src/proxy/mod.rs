//! The leader proxy: pure routing decision | streaming I/O | headers | errors.

use std::time::Duration;

/// Settings of the proxy.
#[derive(Clone, Debug)]
pub struct ProxySettings {
    /// Own member name, for loop detection.
    pub member: String,
    /// Base URL of the own Prometheus, used while this member leads; `None` for a witness.
    pub local_url: Option<reqwest::Url>,
    /// How long a request waits for a leader.
    pub leader_wait: Duration,
}
