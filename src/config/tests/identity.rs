//! Names and addresses, from whatever is known.

use super::{REPLICA, bare, mistakes_with, pod, run};
use crate::config::Settings;
use crate::discovery::Source;
use crate::discovery::host::HostNames;

/// Raft address, API URL and Prometheus URL.
fn advertised(settings: &Settings) -> [&str; 3] {
    let member = &settings.group.member;
    [&member.raft_address, &member.api_url, &member.prometheus_url]
}

fn dns(service: &str, raft_port: u16) -> Source {
    Source::Dns { service: service.into(), raft_port }
}

fn replica(flags: &str, host: HostNames) -> Settings {
    run(&format!("{REPLICA} {flags}"), host)
}

#[test]
fn a_pod_takes_everything_from_its_own_name() {
    let settings = replica("", pod());
    assert_eq!(settings.discovery.source, dns("prom.mon.svc.cluster.local.", 9096));
    assert_eq!(
        advertised(&settings),
        [
            "prom-0.prom.mon.svc.cluster.local.:9096",
            "http://prom-0.prom.mon.svc.cluster.local:9095",
            "http://prom-0.prom.mon.svc.cluster.local:9090"
        ]
    );
}

#[test]
fn ports_follow_the_listen_addresses() {
    let line = "-raft-listen-address :1 -api-listen-address :2 -api-proxy-prometheus-remote-port 3";
    let settings = replica(line, pod());
    assert_eq!(settings.discovery.source, dns("prom.mon.svc.cluster.local.", 1));
    assert_eq!(
        advertised(&settings),
        [
            "prom-0.prom.mon.svc.cluster.local.:1",
            "http://prom-0.prom.mon.svc.cluster.local:2",
            "http://prom-0.prom.mon.svc.cluster.local:3"
        ]
    );
}

#[test]
fn a_named_service_serves_a_host_without_a_qualified_name() {
    for flag in ["-peer-service-name", "-api-proxy-prometheus-service-name"] {
        let settings = replica(&format!("{flag} prom.mon."), bare());
        assert_eq!(settings.discovery.source, dns("prom.mon.", 9096), "{flag}");
        let expected = ["web.prom.mon.:9096", "http://web.prom.mon:9095", "http://web.prom.mon:9090"];
        assert_eq!(advertised(&settings), expected, "{flag}");
    }
}

#[test]
fn the_peer_service_finds_members_and_the_proxy_service_names_their_hosts() {
    let settings = replica("-peer-service-name peers -api-proxy-prometheus-service-name hosts", pod());
    assert_eq!(settings.discovery.source, dns("peers", 9096));
    assert_eq!(
        advertised(&settings),
        ["prom-0.prom.mon.svc.cluster.local.:9096", "http://prom-0.hosts:9095", "http://prom-0.hosts:9090"]
    );
}

#[test]
fn a_short_proxy_service_means_the_own_qualified_name() {
    for service in ["prom", "prom.mon", "prom.mon.svc.cluster.local", "prom.mon.svc.cluster.local."] {
        let settings = replica(&format!("-api-proxy-prometheus-service-name {service}"), pod());
        assert_eq!(advertised(&settings)[1], "http://prom-0.prom.mon.svc.cluster.local:9095", "{service}");
    }
    let other = replica("-api-proxy-prometheus-service-name pro", pod());
    assert_eq!(advertised(&other)[1], "http://prom-0.pro:9095");
}

#[test]
fn static_peers_give_the_own_address() {
    let settings = replica("-peers prom-0=10.0.0.1:19096,prom-1=[fd00::2]:19096,prom-2=c.example.:19096", pod());
    assert_eq!(advertised(&settings), ["10.0.0.1:19096", "http://10.0.0.1:9095", "http://10.0.0.1:9090"]);
    assert_eq!(settings.group.bootstrap_expect, 3);
    let other = |id| {
        let peers = "-peers prom-0=10.0.0.1:19096,prom-1=[fd00::2]:19096,prom-2=c.example.:19096";
        replica(&format!("{peers} -member-id {id}"), bare())
    };
    assert_eq!(advertised(&other("prom-1")), ["[fd00::2]:19096", "http://[fd00::2]:9095", "http://[fd00::2]:9090"]);
    assert_eq!(advertised(&other("prom-2")), ["c.example.:19096", "http://c.example:9095", "http://c.example:9090"]);
}

#[test]
fn what_is_advertised_by_hand_wins() {
    let settings = replica(
        "-raft-advertise-address [fd00::1]:7 -advertise-api-url https://api.example/x/ -advertise-prometheus-url http://p:1",
        pod(),
    );
    assert_eq!(advertised(&settings), ["[fd00::1]:7", "https://api.example/x", "http://p:1"]);
    assert_eq!(settings.discovery.source, dns("prom.mon.svc.cluster.local.", 7));
}

#[test]
fn a_member_on_its_own_needs_no_names() {
    let settings = replica("-raft-bootstrap-expect 1", bare());
    assert_eq!(advertised(&settings), ["web:9096", "http://web:9095", "http://web:9090"]);
    let Source::Static(peers) = &settings.discovery.source else { panic!() };
    assert_eq!((peers.len(), peers[0].name.as_deref(), peers[0].address.as_str()), (1, Some("web"), "web:9096"));
    assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
    let bound = replica("-raft-bootstrap-expect 1 -raft-listen-address 127.0.0.1:0", bare());
    assert_eq!(advertised(&bound)[0], "127.0.0.1:0");
}

/// The domain of a host outside Kubernetes is a company's, and its addresses are somebody else's servers.
#[test]
fn the_domain_of_a_host_outside_kubernetes_is_no_list_of_members() {
    let host = HostNames { host: "web".into(), fqdn: Some("web.example.com.".into()) };
    let expected = "nothing says where the other members of web are, and this host's own names show no headless \
                    service: give --peer-service-name=SERVICE, or --peers=NAME=HOST:PORT,… with all members, or \
                    --raft-bootstrap-expect=1 for a member on its own";
    assert_eq!(mistakes_with(REPLICA, &[], host.clone()), [expected]);
    assert_eq!(mistakes_with(REPLICA, &[], bare()), [expected]);
    let named = replica("-peer-service-name prom.service.consul.", host);
    assert_eq!(
        advertised(&named),
        ["web.example.com.:9096", "http://web.example.com:9095", "http://web.example.com:9090"]
    );
}

#[test]
fn a_name_that_dns_does_not_know_is_warned_about() {
    let settings = replica("-raft-token-file t -member-id other", pod());
    assert_eq!(
        settings.warnings,
        ["this member is called \"other\", but DNS lists it as \"prom-0\" in prom.mon.svc.cluster.local.; names must \
          agree, so take --member-id away or set it to \"prom-0\""]
    );
}

#[test]
fn a_witness_has_no_prometheus_and_may_proxy() {
    let settings = run("-witness -raft-data-dir /state -api-proxy-enabled", pod());
    assert!(settings.role.is_none() && settings.group.member.witness);
    assert_eq!(settings.group.member.prometheus_url, "");
    assert_eq!(settings.group.data_dir.to_str(), Some("/state"));
    assert!(settings.proxy.unwrap().local_url.is_none());
}
