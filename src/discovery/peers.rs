//! Pure: DNS records -> peers.
//!
//! An SRV target names the member by its first label: `prom-0.prom.mon.svc.cluster.local.` is `prom-0`. Kubernetes and
//! Consul give targets made of the address (`10-244-0-10.prom.…`, `0af4000a.addr.dc1.consul.`) to what has no name of
//! its own; such a label is no member name, and the identity handshake tells the name as it does for bare addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use elector_raft::Peer;
use hickory_resolver::proto::rr::{Name, RData, Record};

/// More peers than this are cut off: a group this large is a mistake or an attack, and every peer costs work.
pub const PEERS_MAX: usize = 64;

/// The peers that SRV records list. A target of `.` says that there is none (RFC 2782).
pub(super) fn from_srv(records: &[Record]) -> Vec<Peer> {
    let usable = records.iter().filter_map(|record| match &record.data {
        RData::SRV(srv) if !srv.target.is_root() && srv.port != 0 => Some((&srv.target, srv.port)),
        _ => None,
    });
    // With its trailing dot, so that dialling it never tries search domains.
    usable.map(|(target, port)| Peer { name: member_name(target), address: format!("{target}:{port}") }).collect()
}

/// The peers behind bare addresses.
pub(super) fn from_addresses(ips: &[IpAddr], raft_port: u16) -> Vec<Peer> {
    ips.iter().map(|ip| Peer { name: None, address: SocketAddr::new(*ip, raft_port).to_string() }).collect()
}

/// Sorted, without duplicates, at most [`PEERS_MAX`]; and how many were cut off.
pub(super) fn bounded(mut peers: Vec<Peer>) -> (Vec<Peer>, usize) {
    peers.sort();
    peers.dedup();
    let left_out = peers.len().saturating_sub(PEERS_MAX);
    peers.truncate(PEERS_MAX);
    (peers, left_out)
}

fn member_name(target: &Name) -> Option<String> {
    let mut labels = target.iter();
    let first = String::from_utf8_lossy(labels.next()?).into_owned();
    let from_consul = labels.next().is_some_and(|second| second.eq_ignore_ascii_case(b"addr"));
    (!is_address(&first, from_consul)).then_some(first)
}

fn is_address(label: &str, from_consul: bool) -> bool {
    let hexadecimal = || label.len() == 8 || label.len() == 32;
    label.replace('-', ".").parse::<Ipv4Addr>().is_ok()
        || label.replace('-', ":").parse::<Ipv6Addr>().is_ok()
        || (from_consul && hexadecimal() && label.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use hickory_resolver::proto::rr::rdata::SRV;

    use super::*;

    fn srv(target: &str, port: u16) -> Record {
        let owner = Name::from_ascii("_raft._tcp.prom.mon.svc.").unwrap();
        Record::from_rdata(owner, 5, RData::SRV(SRV::new(0, 50, port, Name::from_ascii(target).unwrap())))
    }

    fn peer(name: Option<&str>, address: &str) -> Peer {
        Peer { name: name.map(str::to_owned), address: address.into() }
    }

    #[test]
    fn srv_records_give_names_and_ports() {
        let records = [srv("prom-0.prom.mon.svc.", 9096), srv("prom-1.prom.mon.svc.", 9196), srv("other.example.", 1)];
        let expected = [
            peer(Some("prom-0"), "prom-0.prom.mon.svc.:9096"),
            peer(Some("prom-1"), "prom-1.prom.mon.svc.:9196"),
            peer(Some("other"), "other.example.:1"),
        ];
        assert_eq!(from_srv(&records), expected);
    }

    #[test]
    fn a_label_made_of_the_address_is_no_member_name() {
        for target in ["10-244-0-10.prom.mon.svc.", "fd00--a.prom.mon.svc.", "c0a80001.addr.dc1.consul."] {
            assert_eq!(from_srv(&[srv(target, 1)]), [peer(None, &format!("{target}:1"))]);
        }
        for (target, name) in [("10-244-0-10-0.p.", "10-244-0-10-0"), ("c0a80001.node.dc1.consul.", "c0a80001")] {
            assert_eq!(from_srv(&[srv(target, 1)]), [peer(Some(name), &format!("{target}:1"))]);
        }
    }

    #[test]
    fn the_root_as_target_and_port_zero_are_no_peers() {
        assert_eq!(from_srv(&[srv(".", 9096), srv("prom-0.p.", 0)]), []);
    }

    #[test]
    fn addresses_give_peers_without_names() {
        let ips = ["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
        assert_eq!(from_addresses(&ips, 9096), [peer(None, "10.0.0.1:9096"), peer(None, "[fd00::1]:9096")]);
    }

    #[test]
    fn the_set_is_sorted_without_duplicates_and_bounded() {
        let (peers, left_out) = bounded(vec![peer(Some("b"), "b:1"), peer(Some("a"), "a:1"), peer(Some("b"), "b:1")]);
        assert_eq!((peers, left_out), (vec![peer(Some("a"), "a:1"), peer(Some("b"), "b:1")], 0));
        let many = (0..PEERS_MAX + 3).map(|n| peer(Some(&format!("m-{n:03}")), "x:1")).collect();
        let (peers, left_out) = bounded(many);
        assert_eq!((peers.len(), left_out), (PEERS_MAX, 3));
    }
}
