//! The hosts file: text -> lines -> addresses by name.

use std::collections::HashMap;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::Path;

/// Where the system keeps it.
pub(super) const PATH: &str = "/etc/hosts";
/// More than this is not read: a hosts file is small, and what is kept of it stays in memory.
const BYTES_MAX: u64 = 1024 * 1024;

/// One line about an address.
pub(super) struct Line<'a> {
    pub(super) ip: IpAddr,
    /// Canonical name first, then aliases.
    pub(super) names: Vec<&'a str>,
}

/// Lines that name an address and at least one name; everything else is skipped, as the system's resolver does.
pub(super) fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.split('#').next().unwrap_or_default().split_whitespace();
        let ip = fields.next()?.parse().ok()?;
        let names: Vec<&str> = fields.collect();
        (!names.is_empty()).then_some(Line { ip, names })
    })
}

/// Reads a small text file, at most its first mebibyte; bytes that are not UTF-8 are replaced.
pub(super) fn read_text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Addresses by name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Hosts(HashMap<String, Vec<IpAddr>>);

impl Hosts {
    /// What the text says.
    pub(super) fn parse(text: &str) -> Self {
        let mut by_name: HashMap<String, Vec<IpAddr>> = HashMap::new();
        for line in lines(text) {
            for name in line.names {
                let ips = by_name.entry(normal(name)).or_default();
                if !ips.contains(&line.ip) {
                    ips.push(line.ip);
                }
            }
        }
        Self(by_name)
    }

    /// The addresses of a name, with or without a trailing dot; `None`: ask DNS. `localhost` and names below it are
    /// the loopback addresses even where the file does not say so, and never a question to DNS (RFC 6761, 6.3).
    pub(super) fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
        let name = normal(name);
        if let Some(ips) = self.0.get(&name) {
            return Some(ips.clone());
        }
        let loopback = [IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])];
        (name == "localhost" || name.ends_with(".localhost")).then(|| loopback.to_vec())
    }
}

fn normal(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn names_are_found_in_any_spelling_and_others_go_to_dns() {
        let hosts = Hosts::parse("10.0.0.1\tprom-0.p.svc Prom-0 # prom-9\nfd00::1 prom-0\nnonsense prom-8\n");
        let both: Vec<IpAddr> = vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
        assert_eq!(hosts.addresses("PROM-0."), Some(both.clone()));
        assert_eq!(hosts.addresses("prom-0.p.svc"), Some(both[..1].to_vec()));
        assert_eq!(hosts.addresses("prom-8"), None);
        assert_eq!(hosts.addresses("prom-9"), None);
    }

    #[test]
    fn localhost_is_known_without_a_file() {
        let loopback: Vec<IpAddr> = vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
        assert_eq!(Hosts::default().addresses("localhost"), Some(loopback.clone()));
        assert_eq!(Hosts::default().addresses("a.localhost."), Some(loopback));
        assert_eq!(Hosts::parse("127.0.0.1 localhost").addresses("localhost").map(|ips| ips.len()), Some(1));
        assert_eq!(Hosts::default().addresses("notlocalhost"), None);
    }
}
