//! HTTP on the API address and on the loopback admin address.

use std::net::SocketAddr;

/// Settings of the two listeners.
#[derive(Clone, Debug)]
pub struct ApiSettings {
    /// Where the API and the proxy listen; an unspecified IPv6 address means all addresses of both families.
    pub listen: SocketAddr,
    /// Where admin requests are taken: always a loopback address.
    pub admin_listen: SocketAddr,
}
