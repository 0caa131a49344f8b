//! The system's resolver configuration: `/etc/resolv.conf` and `/etc/hosts` -> [`System`].
//!
//! Neither file must exist: static peers with IP addresses need none, and `--dns-server` stands in for name servers.
//! What is missing is said once it is needed, in the error of the lookup.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use hickory_resolver::proto::rr::Name;

use super::hosts::{self, Hosts};

/// More name servers than this are not asked; the system's resolver stops there too.
const SERVERS_MAX: usize = 3;
/// More search domains than this are not tried (the bound of Kubernetes).
const SEARCH_MAX: usize = 32;

/// Where the configuration is; tests have their own.
#[derive(Clone, Debug)]
pub(super) struct Files {
    pub(super) resolv_conf: PathBuf,
    pub(super) hosts: PathBuf,
}

impl Default for Files {
    fn default() -> Self {
        Self { resolv_conf: "/etc/resolv.conf".into(), hosts: hosts::PATH.into() }
    }
}

/// The configuration as it is used.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct System {
    /// Name servers in the order in which they are asked.
    pub(super) servers: Vec<SocketAddr>,
    /// Search domains, absolute.
    pub(super) search: Vec<Name>,
    /// A name with at least this many dots is tried as it is before the search domains.
    pub(super) ndots: usize,
    /// The hosts file.
    pub(super) hosts: Hosts,
    /// Why there is no name server.
    pub(super) problem: String,
}

impl System {
    /// Reads the files; `dns_server` replaces the name servers of the system and keeps its search domains.
    pub(super) fn read(files: &Files, dns_server: Option<SocketAddr>) -> Self {
        let hosts = hosts::read_text(&files.hosts).map(|text| Hosts::parse(&text)).unwrap_or_default();
        let path = files.resolv_conf.display();
        let (text, problem) = match hosts::read_text(&files.resolv_conf) {
            Ok(text) => (text, format!("{path} names none")),
            Err(error) => (String::new(), format!("{path} cannot be read ({error})")),
        };
        let mut system = Self::parse(&text, hosts, problem);
        if let Some(server) = dns_server {
            system.servers = vec![server];
        }
        system
    }

    fn parse(text: &str, hosts: Hosts, problem: String) -> Self {
        // Lines that it cannot read are left out, as the system's resolver does.
        let (config, _) = resolv_conf::Config::parse_with_errors(text.as_bytes());
        let servers = config.nameservers.iter().take(SERVERS_MAX);
        let search = config.get_last_search_or_domain().take(SEARCH_MAX);
        Self {
            servers: servers.map(|server| SocketAddr::new(IpAddr::from(server), 53)).collect(),
            search: search.filter_map(|domain| absolute(domain)).collect(),
            ndots: usize::try_from(config.ndots).unwrap_or(1),
            hosts,
            problem,
        }
    }

    /// The absolute names that a name may mean, in the order in which they are tried (resolv.conf(5), `ndots`).
    /// Empty: not a valid name. A name with a trailing dot is absolute already.
    pub(super) fn candidates(&self, name: &str) -> Vec<Name> {
        let Some(as_it_is) = absolute(name) else { return Vec::new() };
        if name.ends_with('.') {
            return vec![as_it_is];
        }
        let mut relative = as_it_is.clone();
        relative.set_fqdn(false);
        // A name that grows too long with a domain is not tried with it.
        let completed = self.search.iter().filter_map(|domain| relative.clone().append_domain(domain).ok());
        let mut names: Vec<Name> = completed.collect();
        let first = if name.matches('.').count() >= self.ndots { 0 } else { names.len() };
        names.insert(first, as_it_is);
        names
    }
}

/// A name made absolute; `None` when it is none.
pub(super) fn absolute(name: &str) -> Option<Name> {
    let mut name = Name::from_ascii(name).ok().filter(|name| name.num_labels() > 0)?;
    name.set_fqdn(true);
    Some(name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    const POD: &str = "search mon.svc.cluster.local svc.cluster.local cluster.local\n\
                       nameserver 10.96.0.10\noptions ndots:5\n";

    fn system(resolv_conf: &str) -> System {
        System::parse(resolv_conf, Hosts::default(), "none".into())
    }

    fn candidates(resolv_conf: &str, name: &str) -> Vec<String> {
        system(resolv_conf).candidates(name).iter().map(Name::to_ascii).collect()
    }

    #[test]
    fn the_file_of_a_pod_is_understood() {
        let system = system(POD);
        assert_eq!(system.servers, ["10.96.0.10:53".parse().unwrap()]);
        assert_eq!(system.ndots, 5);
        assert_eq!(system.search.len(), 3);
    }

    #[test]
    fn a_broken_or_missing_file_leaves_defaults_and_a_reason() {
        let system = system("nameserver nonsense\noptions ndots:x\n");
        assert_eq!((system.servers.len(), system.ndots, system.search.len()), (0, 1, 0));
        let files = Files { resolv_conf: "/nonexistent/resolv.conf".into(), hosts: "/nonexistent/hosts".into() };
        let problem = System::read(&files, None).problem;
        assert!(problem.starts_with("/nonexistent/resolv.conf cannot be read ("), "{problem}");
        let server = "127.0.0.1:5353".parse().unwrap();
        assert_eq!(System::read(&files, Some(server)).servers, [server]);
    }

    #[test]
    fn only_three_servers_are_asked_and_ipv6_is_one() {
        let servers = system("nameserver fd00::a\nnameserver 1.1.1.1\nnameserver 1.1.1.2\nnameserver 1.1.1.3").servers;
        assert_eq!(servers.len(), 3);
        assert_eq!(servers[0], "[fd00::a]:53".parse().unwrap());
    }

    #[test]
    fn an_absolute_name_is_asked_once_whatever_ndots_says() {
        assert_eq!(candidates(POD, "prom.mon.svc.cluster.local."), ["prom.mon.svc.cluster.local."]);
    }

    #[test]
    fn a_relative_name_is_completed_in_the_order_of_the_search_domains() {
        let expected = ["prom.mon.svc.cluster.local.", "prom.svc.cluster.local.", "prom.cluster.local.", "prom."];
        assert_eq!(candidates(POD, "prom"), expected);
        assert_eq!(candidates("search example.com\n", "a.b"), ["a.b.", "a.b.example.com."]);
        assert_eq!(candidates("", "prom"), ["prom."]);
    }

    #[test]
    fn what_is_no_name_has_no_candidates() {
        for name in ["", ".", "a..b", &"x".repeat(64)] {
            assert!(candidates(POD, name).is_empty(), "{name}");
        }
    }
}
