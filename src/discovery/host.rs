//! The host's own names: system -> [`HostNames`].
//!
//! The fully qualified name is what `hostname -f` says from `/etc/hosts`: Kubernetes writes a line such as
//! `10.244.0.10 prom-0.prom.mon.svc.cluster.local prom-0` there for a pod of a `StatefulSet`, so that no flag is needed.
//! Unlike `hostname -f` this never asks DNS (at start the own name may not exist there yet, and the negative answer
//! would be cached), and a name that is not the host's own, such as `localhost.localdomain`, does not count.
//! A missing or unreadable file only means that no fully qualified name is known.

use std::path::Path;

use super::hosts;

/// What the host calls itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostNames {
    /// Host name without domain, e.g. `prom-0`.
    pub host: String,
    /// Fully qualified name with a trailing dot, e.g. `prom-0.prom.mon.svc.cluster.local.`, where the host knows one.
    pub fqdn: Option<String>,
}

/// Reads the host's names.
pub fn read() -> HostNames {
    let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let hosts = hosts::read_text(Path::new(hosts::PATH)).unwrap_or_default();
    from_parts(&node, &hosts)
}

/// The names of a host whose kernel calls it `node` and whose hosts file reads `hosts`.
fn from_parts(node: &str, hosts: &str) -> HostNames {
    let node = node.trim_end_matches('.');
    let host = node.split('.').next().unwrap_or_default();
    // A Kubernetes pod with `setHostnameAsFQDN` carries the whole name in the kernel.
    let own = (host.len() < node.len()).then_some(node);
    let listed = || hosts::lines(hosts).find_map(|line| qualified(host, &line.names));
    HostNames { host: host.to_owned(), fqdn: own.or_else(listed).map(|name| format!("{name}.")) }
}

/// The canonical (first) name of a line about this host, if it is this host's name with a domain.
fn qualified<'a>(host: &str, names: &[&'a str]) -> Option<&'a str> {
    let canonical = names.first()?.trim_end_matches('.');
    let (first, domain) = canonical.split_once('.')?;
    let about_us = names.iter().any(|name| {
        let name = name.trim_end_matches('.');
        name.eq_ignore_ascii_case(host) || name.eq_ignore_ascii_case(canonical)
    });
    (about_us && first.eq_ignore_ascii_case(host) && !domain.is_empty()).then_some(canonical)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn fqdn(node: &str, hosts: &str) -> Option<String> {
        from_parts(node, hosts).fqdn
    }

    #[test]
    fn a_pod_of_a_stateful_set_finds_its_name_in_the_file_that_kubernetes_writes() {
        let hosts = "# Kubernetes-managed hosts file.\n\
                     127.0.0.1\tlocalhost\n\
                     ::1\tlocalhost ip6-localhost ip6-loopback\n\
                     fe00::0\tip6-localnet\n\
                     10.244.0.10\tprom-0.prom.mon.svc.cluster.local\tprom-0\n";
        let expected = HostNames { host: "prom-0".into(), fqdn: Some("prom-0.prom.mon.svc.cluster.local.".into()) };
        assert_eq!(from_parts("prom-0", hosts), expected);
    }

    #[test]
    fn a_name_in_the_kernel_wins_and_is_split() {
        let expected = HostNames { host: "prom-0".into(), fqdn: Some("prom-0.prom.mon.svc.k8s.".into()) };
        assert_eq!(from_parts("prom-0.prom.mon.svc.k8s", "10.0.0.1 prom-0.other prom-0"), expected);
        assert_eq!(from_parts("prom-0.prom.mon.svc.k8s.", ""), expected);
    }

    #[test]
    fn ipv6_lines_comments_case_and_trailing_dots_are_understood() {
        assert_eq!(fqdn("prom-0", "fd00::a prom-0.p.svc prom-0"), Some("prom-0.p.svc.".into()));
        assert_eq!(fqdn("prom-0", "10.0.0.1 prom-0.p.svc # prom-0"), Some("prom-0.p.svc.".into()));
        assert_eq!(fqdn("Prom-0", "10.0.0.1 prom-0.p.svc. PROM-0"), Some("prom-0.p.svc.".into()));
        assert_eq!(fqdn("prom-0", "#10.0.0.1 prom-0.p.svc prom-0"), None);
    }

    #[test]
    fn a_host_without_a_domain_has_no_qualified_name() {
        assert_eq!(fqdn("web", "172.18.0.2\tweb\n"), None);
        assert_eq!(fqdn("web", ""), None);
        assert_eq!(from_parts("web", "garbage\n10.0.0.1\n").host, "web");
    }

    #[test]
    fn names_of_others_do_not_count() {
        assert_eq!(fqdn("vm", "127.0.0.1 localhost.localdomain localhost vm"), None);
        assert_eq!(fqdn("prom-0", "10.0.0.2 prom-1.prom.svc prom-1\n10.0.0.3 prom-01.prom.svc prom-01"), None);
        let own_after_others = "127.0.0.1 localhost vm\n127.0.1.1 vm.example.com vm\n";
        assert_eq!(fqdn("vm", own_after_others), Some("vm.example.com.".into()));
    }
}
