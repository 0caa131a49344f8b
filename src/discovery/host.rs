//! The host's own names.

/// What the host calls itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostNames {
    /// Host name without domain, e.g. `prom-0`.
    pub host: String,
    /// Fully qualified name with a trailing dot, e.g. `prom-0.prom.mon.svc.cluster.local.`, where the host knows one.
    pub fqdn: Option<String>,
}
