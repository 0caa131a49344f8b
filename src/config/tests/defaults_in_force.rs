//! What is in force when nothing, and when everything, is said.

use std::net::SocketAddr;
use std::time::Duration;

use super::{REPLICA, pod, run, try_parse};
use crate::config::defaults;
use crate::config::logging::LogFormat;
use crate::discovery::Source;
use crate::role::OutputSettings;

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn a_pod_of_a_stateful_set_needs_three_flags() {
    let settings = run(REPLICA, pod());
    let group = &settings.group;
    assert_eq!(group.member.name, "prom-0");
    assert_eq!(group.group_name, "prometheus-elector");
    assert_eq!(group.listen, address("[::]:9096"));
    assert_eq!(group.data_dir.to_str(), Some("/out/.prometheus-elector-raft"));
    assert_eq!(group.bootstrap_expect, 3);
    assert_eq!(group.lease_duration, Duration::from_millis(900));
    assert_eq!(group.renew_deadline, Duration::from_millis(720));
    assert_eq!(group.retry_period, Duration::from_millis(100));
    assert_eq!(group.member_removal_delay, Duration::from_mins(5));
    assert_eq!(group.token_file, None);
    assert_eq!(settings.discovery.dns_server, None);
    assert_eq!(settings.discovery.refresh_period, Duration::from_secs(1));
    assert_eq!(settings.api.listen, address("[::]:9095"));
    assert_eq!(settings.api.admin_listen, address("127.0.0.1:9097"));
    assert_eq!(settings.shutdown_grace, Duration::from_secs(15));
    assert!(settings.proxy.is_none() && !settings.runtime_metrics);

    let role = settings.role.unwrap();
    assert_eq!(role.source.to_str(), Some("c.yaml"));
    assert_eq!(role.output, Some(OutputSettings { path: "/out/p.yaml".into(), mode: 0o640 }));
    assert_eq!(role.notify.url.as_str(), "http://127.0.0.1:9090/-/reload");
    assert_eq!(role.notify.method, reqwest::Method::POST);
    assert_eq!((role.notify.max_attempts, role.notify.retry_delay), (5, Duration::from_secs(10)));
    assert_eq!(role.notify.timeout, Duration::from_secs(2));
    assert!(role.readiness.is_none() && role.health.url.is_none());
    assert_eq!((role.health.period, role.health.timeout), (Duration::from_secs(5), Duration::from_secs(2)));
    assert_eq!((role.health.success_threshold, role.health.failure_threshold), (3, 3));
    assert_eq!(role.demote_timeout, Duration::from_secs(5));
}

#[test]
fn without_a_token_a_group_is_warned_about() {
    let warnings = run(REPLICA, pod()).warnings;
    assert_eq!(
        warnings,
        ["the election group is NOT authenticated: whoever reaches [::]:9096 can join it and take the lead; \
          give every member the same --raft-token-file"]
    );
    assert!(run(&format!("{REPLICA} -raft-token-file /t"), pod()).warnings.is_empty());
    assert!(run(&format!("{REPLICA} -raft-listen-address [::1]:9096"), pod()).warnings.is_empty());
}

/// The arguments of the Lease-based tool's own example, with every flag that it knows.
const LEASE_BASED: &str = "\
    -lease-name prom -lease-namespace=mon -lease-duration=15s -lease-renew-deadline 10s -lease-retry-period 2s \
    -kubeconfig=/k -config=/etc/c.yaml -output=/out/p.yaml -notify-http-url=http://localhost:9090/-/reload \
    -notify-http-method=put -notify-retry-max-attempts=7 -notify-retry-delay=1.5s -notify-timeout=4s \
    -readiness-http-url=http://localhost:9090/-/ready -readiness-poll-period=1s -readiness-timeout=3s \
    -healthcheck-http-url=http://localhost:9090/-/healthy -healthcheck-period=1m30s -healthcheck-timeout=1s \
    -healthcheck-success-threshold=1 -healthcheck-failure-threshold=2 -api-listen-address=0.0.0.0:9195 \
    -api-proxy-enabled -api-proxy-prometheus-local-port=9091 -api-proxy-prometheus-remote-port=9092 \
    -api-proxy-prometheus-service-name=prom -api-shutdown-grace-delay=6s -runtime-metrics -init=false";

#[test]
fn arguments_of_the_lease_based_tool_keep_their_meaning() {
    let settings = run(LEASE_BASED, pod());
    let group = &settings.group;
    assert_eq!(group.group_name, "prom");
    assert_eq!(group.lease_duration, Duration::from_secs(15));
    assert_eq!(group.renew_deadline, Duration::from_secs(10));
    assert_eq!(group.retry_period, Duration::from_secs(2));
    assert_eq!(group.member.prometheus_url, "http://prom-0.prom.mon.svc.cluster.local:9092");
    let role = settings.role.unwrap();
    assert_eq!(role.notify.method, reqwest::Method::PUT);
    assert_eq!((role.notify.max_attempts, role.notify.retry_delay), (7, Duration::from_millis(1500)));
    assert_eq!(role.notify.timeout, Duration::from_secs(4));
    let readiness = role.readiness.unwrap();
    assert_eq!(readiness.url.as_str(), "http://localhost:9090/-/ready");
    assert_eq!((readiness.poll_period, readiness.timeout), (Duration::from_secs(1), Duration::from_secs(3)));
    assert_eq!(role.health.url.unwrap().as_str(), "http://localhost:9090/-/healthy");
    assert_eq!((role.health.period, role.health.timeout), (Duration::from_secs(90), Duration::from_secs(1)));
    assert_eq!((role.health.success_threshold, role.health.failure_threshold), (1, 2));
    assert_eq!(role.demote_timeout, Duration::from_secs(3), "half of the grace delay");
    assert_eq!(settings.api.listen, address("0.0.0.0:9195"));
    let proxy = settings.proxy.unwrap();
    assert_eq!(proxy.member, "prom-0");
    assert_eq!(proxy.local_url.unwrap().as_str(), "http://127.0.0.1:9091/");
    assert_eq!(proxy.leader_wait, Duration::from_secs(5));
    assert!(settings.runtime_metrics);
    assert_eq!(
        settings.warnings[0],
        "--kubeconfig is not used: the election needs no Kubernetes API; take the flag away"
    );
}

#[test]
fn the_lease_based_tools_own_defaults_are_still_valid_timings() {
    for timing in ["10s 8s 2s", "15s 10s 2s"] {
        let times: Vec<_> = timing.split(' ').collect();
        let flags = format!(
            "{REPLICA} -lease-duration {} -lease-renew-deadline {} -lease-retry-period {}",
            times[0], times[1], times[2]
        );
        assert!(try_parse(&flags, &[], pod()).is_ok(), "{timing}");
    }
}

#[test]
fn an_empty_value_means_not_given_as_manifests_write_it() {
    let line = format!("{REPLICA} -kubeconfig= -readiness-http-url= -healthcheck-http-url= -member-id= -peers=");
    let settings = run(&line, pod());
    assert_eq!(settings.group.member.name, "prom-0");
    assert!(settings.role.unwrap().readiness.is_none());
    assert!(!settings.warnings.iter().any(|warning| warning.contains("kubeconfig")));
}

#[test]
fn the_environment_gives_every_flag_and_the_command_line_wins() {
    let env = [
        ("PROMETHEUS_ELECTOR_CONFIG", "c"),
        ("PROMETHEUS_ELECTOR_OUTPUT", "o"),
        ("PROMETHEUS_ELECTOR_NOTIFY_HTTP_URL", "http://x/"),
        ("PROMETHEUS_ELECTOR_RUNTIME_METRICS", "T"),
        ("PROMETHEUS_ELECTOR_LEASE_NAME", "env"),
        ("PROMETHEUS_ELECTOR_LOG_FORMAT", "json"),
    ];
    let (command, logs) = try_parse("-lease-name typed -log-level debug", &env, pod()).unwrap();
    let super::Command::Run(settings) = command else { panic!("{command:?}") };
    assert!(settings.runtime_metrics);
    assert_eq!(settings.group.group_name, "typed");
    assert_eq!(settings.role.unwrap().source.to_str(), Some("c"));
    assert_eq!((logs.level, logs.format), (tracing::level_filters::LevelFilter::DEBUG, LogFormat::Json));
}

#[test]
fn a_flag_that_is_given_twice_takes_the_last_value() {
    let settings =
        run(&format!("{REPLICA} -lease-name one -runtime-metrics --lease-name=two -runtime-metrics=0"), pod());
    assert_eq!((settings.group.group_name.as_str(), settings.runtime_metrics), ("two", false));
}

#[test]
fn a_variable_that_belongs_to_no_flag_is_warned_about_unless_kubernetes_sets_it() {
    let env = [
        ("PROMETHEUS_ELECTOR_LEASE_DURATON", "2s"),
        ("PROMETHEUS_ELECTOR_SERVICE_HOST", "10.0.0.1"),
        ("PROMETHEUS_ELECTOR_PORT", "tcp://10.0.0.1:9095"),
        ("PROMETHEUS_ELECTOR_PORT_9095_TCP_ADDR", "10.0.0.1"),
        ("PATH", "/bin"),
    ];
    let (command, _) = try_parse(&format!("{REPLICA} -raft-token-file t"), &env, pod()).unwrap();
    let super::Command::Run(settings) = command else { panic!("{command:?}") };
    assert_eq!(
        settings.warnings,
        ["the environment variable PROMETHEUS_ELECTOR_LEASE_DURATON belongs to no flag and has no effect; \
          see --help for the names"]
    );
}

#[test]
fn the_name_of_the_member_is_the_flag_then_the_pod_then_the_host() {
    let name = |line: &str, env: &[(&str, &str)]| {
        let (command, _) = try_parse(&format!("{REPLICA} {line}"), env, pod()).unwrap();
        let super::Command::Run(settings) = command else { panic!("{command:?}") };
        settings.group.member.name
    };
    let pod_name = [("POD_NAME", "from-pod")];
    assert_eq!(name("-member-id flag", &pod_name), "flag");
    assert_eq!(name("", &pod_name), "from-pod");
    assert_eq!(name("", &[("POD_NAME", "")]), "prom-0");
    assert_eq!(name("", &[]), "prom-0");
}

#[test]
fn peers_replace_dns() {
    let line = format!("{REPLICA} -peers prom-1=b:1,prom-0=a:1");
    let settings = run(&line, pod());
    let Source::Static(peers) = settings.discovery.source else { panic!() };
    assert_eq!(peers.iter().map(|peer| peer.address.as_str()).collect::<Vec<_>>(), ["a:1", "b:1"]);
    assert_eq!(settings.group.bootstrap_expect, 2);
    assert!(settings.warnings.iter().any(|warning| warning.starts_with("a group of two members stops")));
}

/// Holds the constants to the relations that are demanded of everybody's values.
#[test]
fn the_defaults_keep_their_own_rules() {
    assert!(defaults::LEASE_RETRY_PERIOD * 7 <= defaults::LEASE_RENEW_DEADLINE);
    assert!(defaults::LEASE_RENEW_DEADLINE * 123 < defaults::LEASE_DURATION * 100);
    assert!(defaults::DEMOTE_TIMEOUT_MAX * 2 <= defaults::API_SHUTDOWN_GRACE_DELAY);
    const { assert!(defaults::RAFT_BOOTSTRAP_EXPECT <= defaults::MEMBERS_MAX) };
}
