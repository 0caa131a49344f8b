//! Who this member is, where it is reached, and where its peers come from. Pure.
//!
//! With a member name and a headless service known everything has a default, so that a `StatefulSet` needs no flag:
//!
//! ```text
//! name      member-id, else $POD_NAME, else the host name
//! service   peer-service-name, else api-proxy-prometheus-service-name, else the own name without its first label
//! Raft      raft-advertise-address, else own entry of peers, else own name, else <name>.<service>
//! URLs      advertise-*-url, else own name, else <name>.<service>, else host of the own entry of peers
//! ```
//!
//! The own name counts as a service's only in the shape that Kubernetes gives it (`<pod>.<service>.<namespace>.svc.…`):
//! on any other host the domain is no list of members, and its addresses are somebody else's.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use elector_raft::{Member, Peer};

use super::check::{Check, present};
use super::error::ConfigError;
use super::raw::RawFlags;
use super::value::{self, HostPort};
use super::{Facts, access, defaults};
use crate::discovery::Source;

/// Listen addresses that advertised ones are made from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listen {
    pub api: SocketAddr,
    pub raft: SocketAddr,
}

/// What was found out.
#[derive(Debug)]
pub(super) struct Identity {
    pub member: Member,
    pub source: Source,
    pub bootstrap_expect: usize,
    /// No other member is expected.
    pub alone: bool,
}

pub(super) fn resolve(
    raw: &RawFlags,
    facts: &Facts,
    listen: Option<Listen>,
    witness: bool,
    check: &mut Check,
) -> Option<Identity> {
    let name = member_name(raw, facts, check);
    let peers = peers(raw, check);
    let peer_service = check.read_optional("peer-service-name", raw.discovery.peer_service_name.as_deref(), service);
    let proxy_service = check.read_optional(
        "api-proxy-prometheus-service-name",
        raw.proxy.api_proxy_prometheus_service_name.as_deref(),
        service,
    );
    let remote_port = &raw.proxy.api_proxy_prometheus_remote_port;
    let remote_port = check.read("api-proxy-prometheus-remote-port", remote_port, value::port);
    let advertised = Advertised::read(raw, check);
    excluded(raw, witness, check);
    let expect = bootstrap_expect(raw, peers.as_deref(), check);
    let (name, peers, expect, listen) = (name?, peers?, expect?, listen?);
    let (peer_service, proxy_service, remote_port, advertised) =
        (peer_service?, proxy_service?, remote_port?, advertised?);

    let own_entry = own_entry(&name, &peers, raw, check)?;
    let derived = facts.host.fqdn.as_deref().and_then(kubernetes_service).map(str::to_owned);
    let service = peer_service.or_else(|| proxy_service.clone()).or(derived);
    let alone = peers.is_empty() && service.is_none();
    if alone && expect != 1 {
        check.push(ConfigError::NoPeers { member: name });
        return None;
    }
    let names = Names { name: &name, fqdn: facts.host.fqdn.as_deref(), service: service.as_deref(), own_entry };
    let lone_host = lone_host(listen.raft, facts);
    let raft_address = advertised.raft.or_else(|| names.raft_address(listen.raft.port()));
    let raft_address = raft_address.unwrap_or_else(|| format!("{lone_host}:{}", listen.raft.port()));
    if listen.raft.port() == 0 && raft_address.ends_with(":0") && !alone {
        let rule = "takes any free port, which other members cannot know; give a port, or raft-advertise-address";
        check.value("raft-listen-address", &raw.group.raft_listen_address, rule);
        return None;
    }
    let host = names.host(proxy_service.as_deref()).unwrap_or(lone_host);
    let url = |port: u16| format!("http://{host}:{port}");
    let prometheus_url = || format!("{}://{host}:{remote_port}", access::scheme(&raw.prometheus, remote_port));
    let member = Member {
        raft_address: raft_address.clone(),
        api_url: advertised.api.unwrap_or_else(|| url(listen.api.port())),
        prometheus_url: if witness { String::new() } else { advertised.prometheus.unwrap_or_else(prometheus_url) },
        witness,
        name: name.clone(),
    };
    let source = match service {
        _ if !peers.is_empty() => Source::Static(peers),
        Some(service) => Source::Dns { service, raft_port: port_of(&raft_address).unwrap_or(listen.raft.port()) },
        None => Source::Static(vec![Peer { name: Some(name), address: raft_address }]),
    };
    Some(Identity { member, source, bootstrap_expect: expect, alone })
}

/// What the user says about this member's addresses.
#[derive(Debug)]
struct Advertised {
    raft: Option<String>,
    api: Option<String>,
    prometheus: Option<String>,
}

impl Advertised {
    fn read(raw: &RawFlags, check: &mut Check) -> Option<Self> {
        let raft = raw.group.raft_advertise_address.as_deref();
        let raft = check.read_optional("raft-advertise-address", raft, value::host_port);
        let api = raw.member.advertise_api_url.as_deref();
        let api = check.read_optional("advertise-api-url", api, value::public_url);
        let prometheus = raw.member.advertise_prometheus_url.as_deref();
        let prometheus = check.read_optional("advertise-prometheus-url", prometheus, value::public_url);
        let raft = raft?.map(|HostPort { host, port }| format!("{host}:{port}"));
        Some(Self { raft, api: api?, prometheus: prometheus? })
    }
}

/// The names by which other members may reach this one.
#[derive(Debug)]
struct Names<'a> {
    name: &'a str,
    fqdn: Option<&'a str>,
    service: Option<&'a str>,
    own_entry: Option<HostPort>,
}

impl Names<'_> {
    fn raft_address(&self, port: u16) -> Option<String> {
        let entry = self.own_entry.as_ref().map(|HostPort { host, port }| format!("{host}:{port}"));
        let own = || self.fqdn.map(|fqdn| format!("{fqdn}:{port}"));
        let in_service = || self.service.map(|service| format!("{}.{service}:{port}", self.name));
        entry.or_else(own).or_else(in_service)
    }

    /// Host for URLs. A service that the user named for them counts most.
    fn host(&self, proxy_service: Option<&str>) -> Option<String> {
        let in_service = |service: &str| format!("{}.{}", self.name, service.trim_end_matches('.'));
        let fqdn = self.fqdn.map(|fqdn| fqdn.trim_end_matches('.').to_owned());
        if let Some(named) = proxy_service.map(in_service) {
            let longer = fqdn.filter(|fqdn| fqdn.starts_with(&format!("{named}.")));
            return Some(longer.unwrap_or(named));
        }
        let entry = self.own_entry.as_ref().map(|entry| entry.host.trim_end_matches('.').to_owned());
        entry.or(fqdn).or_else(|| self.service.map(in_service))
    }
}

fn member_name(raw: &RawFlags, facts: &Facts, check: &mut Check) -> Option<String> {
    if let Some(name) = present(raw.member.member_id.as_deref()) {
        return check.read("member-id", name, value::name);
    }
    let (source_name, name) = match present(facts.pod_name.as_deref()) {
        Some(name) => ("$POD_NAME", name),
        None => ("the host name", facts.host.host.as_str()),
    };
    let unusable = |rule| ConfigError::MemberName { source_name, name: name.to_owned(), rule };
    value::name(name).map_err(|rule| check.push(unusable(rule))).ok()
}

fn service(text: &str) -> Result<String, String> {
    value::host_name(text).map(|()| text.to_owned())
}

/// The headless service in the name that Kubernetes gives a pod of a `StatefulSet`, with its dot at the end.
fn kubernetes_service(fqdn: &str) -> Option<&str> {
    let (_, service) = fqdn.split_once('.')?;
    (service.split('.').nth(2) == Some("svc")).then_some(service)
}

/// Reads `name=host:port,…`; empty if there is no list.
fn peers(raw: &RawFlags, check: &mut Check) -> Option<Vec<Peer>> {
    let Some(list) = present(raw.discovery.peers.as_deref()) else { return Some(Vec::new()) };
    let (mut names, mut addresses, mut peers) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    let mut good = true;
    for entry in list.split(',').map(str::trim) {
        match peer(entry) {
            Ok((name, address)) => {
                if !names.insert(name.clone()) {
                    good = false;
                    check.value("peers", list, format!("names {name:?} twice; names must be unique"));
                }
                if !addresses.insert(address.key()) {
                    good = false;
                    check.value("peers", list, format!("has the address in {entry:?} twice; addresses must be unique"));
                }
                peers.push(Peer { name: Some(name), address: format!("{}:{}", address.host, address.port) });
            }
            Err(rule) => {
                good = false;
                check.value("peers", list, format!("has the entry {entry:?}, which {rule}"));
            }
        }
    }
    if peers.len() > defaults::MEMBERS_MAX {
        good = false;
        let (count, max) = (peers.len(), defaults::MEMBERS_MAX);
        check.value("peers", list, format!("has {count} members; a group has at most {max}"));
    }
    peers.sort();
    good.then_some(peers)
}

fn peer(entry: &str) -> Result<(String, HostPort), String> {
    let (name, address) = entry.split_once('=').ok_or("is not NAME=HOST:PORT")?;
    let name = value::name(name.trim()).map_err(|rule| format!("has a name that {rule}"))?;
    let address = value::host_port(address.trim()).map_err(|rule| format!("has an address that {rule}"))?;
    Ok((name, address))
}

/// The own entry of the list, `Some(None)` if there is no list, `None` if the list lacks it.
#[expect(clippy::option_option, reason = "no list and no entry are different answers")]
fn own_entry(name: &str, peers: &[Peer], raw: &RawFlags, check: &mut Check) -> Option<Option<HostPort>> {
    if peers.is_empty() {
        return Some(None);
    }
    let Some(own) = peers.iter().find(|peer| peer.name.as_deref() == Some(name)) else {
        let listed: Vec<_> = peers.iter().filter_map(|peer| peer.name.as_deref()).collect();
        let rule = format!(
            "lists {}, but not this member, {name:?}; add it, or set the name with --member-id",
            listed.join(", ")
        );
        check.value("peers", raw.discovery.peers.as_deref().unwrap_or_default(), rule);
        return None;
    };
    value::host_port(&own.address).ok().map(Some)
}

/// Values that contradict each other.
fn excluded(raw: &RawFlags, witness: bool, check: &mut Check) {
    let peers = present(raw.discovery.peers.as_deref());
    let service = present(raw.discovery.peer_service_name.as_deref());
    if let (Some(peers), Some(service)) = (peers, service) {
        let first = check.setting("peers", peers);
        let second = check.setting("peer-service-name", service);
        let rule = "both say where the members are; give one of them".to_owned();
        check.push(ConfigError::Conflict { first, second, rule });
    }
    if witness && let Some(url) = present(raw.member.advertise_prometheus_url.as_deref()) {
        let first = check.setting("witness", "true");
        let second = check.setting("advertise-prometheus-url", url);
        let rule = "a witness has no Prometheus; take one of them away".to_owned();
        check.push(ConfigError::Conflict { first, second, rule });
    }
}

fn bootstrap_expect(raw: &RawFlags, peers: Option<&[Peer]>, check: &mut Check) -> Option<usize> {
    let listed = peers.map_or(0, <[Peer]>::len);
    let parse = |text: &str| value::number(text, 1, defaults::MEMBERS_MAX);
    let given = check.read_optional("raft-bootstrap-expect", raw.group.raft_bootstrap_expect.as_deref(), parse)?;
    let Some(expect) = given else {
        return Some(if listed > 0 { listed } else { defaults::RAFT_BOOTSTRAP_EXPECT });
    };
    if listed > 0 && expect > listed {
        let first = check.setting("raft-bootstrap-expect", expect);
        let second = check.setting("peers", raw.discovery.peers.as_deref().unwrap_or_default());
        let rule = format!("only {listed} members are listed; list all {expect}, or expect {listed}");
        check.push(ConfigError::Relation { first, second, rule });
        return None;
    }
    Some(expect)
}

/// A host for a member on its own, which nobody else dials.
fn lone_host(listen: SocketAddr, facts: &Facts) -> String {
    match listen {
        SocketAddr::V6(address) if !address.ip().is_unspecified() => format!("[{}]", address.ip()),
        SocketAddr::V4(address) if !address.ip().is_unspecified() => address.ip().to_string(),
        _ if !facts.host.host.is_empty() => facts.host.host.clone(),
        _ => "localhost".to_owned(),
    }
}

fn port_of(address: &str) -> Option<u16> {
    address.rsplit_once(':').and_then(|(_, port)| port.parse().ok())
}
