//! Every flag exists, has its variable, and is named by the message about its bad value.

use std::collections::BTreeSet;

use super::{REPLICA, pod, try_parse};
use crate::config::{UsageError, env_name, help};

/// Flags of the Lease-based tool with the defaults that we give them; `None`: required, or none.
const REFERENCE: [(&str, Option<&str>); 27] = [
    ("config", None),
    ("output", None),
    ("init", Some("false")),
    ("notify-http-url", None),
    ("notify-http-method", Some("POST")),
    ("notify-retry-max-attempts", Some("5")),
    ("notify-retry-delay", Some("10s")),
    ("notify-timeout", Some("2s")),
    ("readiness-http-url", None),
    ("readiness-poll-period", Some("5s")),
    ("readiness-timeout", Some("2s")),
    ("healthcheck-http-url", None),
    ("healthcheck-period", Some("5s")),
    ("healthcheck-timeout", Some("2s")),
    ("healthcheck-success-threshold", Some("3")),
    ("healthcheck-failure-threshold", Some("3")),
    ("api-listen-address", Some(":9095")),
    ("api-proxy-enabled", Some("false")),
    ("api-proxy-prometheus-local-port", Some("9090")),
    ("api-proxy-prometheus-remote-port", Some("9090")),
    ("api-proxy-prometheus-service-name", None),
    ("api-shutdown-grace-delay", Some("15s")),
    ("lease-name", Some("prometheus-elector")),
    ("lease-namespace", None),
    ("lease-duration", Some("900ms")),
    ("lease-renew-deadline", Some("720ms")),
    ("lease-retry-period", Some("100ms")),
];

/// The rest of the Lease-based tool's flags, and our own.
const OTHERS: [(&str, Option<&str>); 40] = [
    ("prometheus-ca-file", None),
    ("prometheus-client-cert-file", None),
    ("prometheus-client-key-file", None),
    ("prometheus-tls-server-name", None),
    ("prometheus-basic-auth-file", None),
    ("api-web-config-file", None),
    ("prometheus-bearer-token-file", None),
    ("proxy-add-credentials", Some("false")),
    ("gate-only", Some("false")),
    ("gate-extra-interval", None),
    ("remote-write-gate", Some("on")),
    ("gate-spool-size", Some("256MiB")),
    ("gate-spool-dir", None),
    ("watermark-period", Some("2s")),
    ("kubeconfig", None),
    ("runtime-metrics", Some("false")),
    ("member-id", None),
    ("raft-listen-address", Some(":9096")),
    ("raft-advertise-address", None),
    ("raft-data-dir", None),
    ("raft-bootstrap-expect", None),
    ("raft-token-file", None),
    ("raft-tls-ca-file", None),
    ("raft-tls-cert-file", None),
    ("raft-tls-key-file", None),
    ("raft-tls-mode", None),
    ("peer-service-name", None),
    ("peers", None),
    ("dns-server", None),
    ("dns-refresh-period", Some("1s")),
    ("advertise-prometheus-url", None),
    ("advertise-api-url", None),
    ("witness", Some("false")),
    ("pod-leader-label", Some("false")),
    ("admin-listen-address", Some("127.0.0.1:9097")),
    ("member-removal-delay", Some("5m")),
    ("proxy-leader-wait", Some("5s")),
    ("output-mode", Some("0640")),
    ("event-log", None),
    ("log-level", Some("info")),
    ("log-format", Some("logfmt")),
];

#[test]
fn every_flag_of_the_lease_based_tool_and_every_new_one_exists_with_its_default() {
    let command = help::command();
    let mut found = BTreeSet::new();
    for arg in command.get_arguments() {
        let default = arg.get_default_values().first().map(|value| value.to_string_lossy().into_owned());
        found.insert((arg.get_long().unwrap().to_owned(), default));
    }
    let all = REFERENCE.iter().chain(&OTHERS);
    let expected: BTreeSet<_> = all.map(|(flag, default)| ((*flag).to_owned(), default.map(str::to_owned))).collect();
    assert_eq!(found, expected);
}

#[test]
fn help_names_topic_variable_and_default_of_every_flag_and_fits_a_terminal() {
    let help = help::command().term_width(100).render_help().to_string();
    let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for (flag, default) in REFERENCE.iter().chain(&OTHERS) {
        assert!(words.contains(&format!("--{flag}")), "{flag}");
        let default = default.map(|default| format!("[default: {default}] ")).unwrap_or_default();
        assert!(words.contains(&format!("{default}[env: {}]", env_name(flag))), "{flag}");
    }
    let topics = [
        "Configuration",
        "Prometheus",
        "API",
        "Remote-write gate",
        "Proxy",
        "Member",
        "Election group",
        "Discovery",
        "Logs and metrics",
    ];
    for topic in topics {
        assert!(help.contains(&format!("\n{topic}:\n")), "{topic}");
    }
    let longest = help.lines().map(|line| line.chars().count()).max().unwrap();
    assert!(longest <= 100, "{longest} columns");
}

/// Paths and file names, of which any text may be one, and flags that do nothing.
const ANY_TEXT: [&str; 16] = [
    "api-web-config-file",
    "config",
    "output",
    "gate-spool-dir",
    "raft-data-dir",
    "raft-token-file",
    "raft-tls-ca-file",
    "raft-tls-cert-file",
    "raft-tls-key-file",
    "lease-namespace",
    "kubeconfig",
    "prometheus-ca-file",
    "prometheus-client-cert-file",
    "prometheus-client-key-file",
    "prometheus-basic-auth-file",
    "prometheus-bearer-token-file",
];

/// Catches a flag that is read under another one's name.
#[test]
fn a_bad_value_of_every_flag_is_refused_by_its_name_and_by_its_variable() {
    const BAD: &str = "://bad/";
    for (flag, _) in REFERENCE.iter().chain(&OTHERS).filter(|(flag, _)| !ANY_TEXT.contains(flag)) {
        let typed = try_parse(&format!("{REPLICA} --{flag}={BAD}"), &[], pod());
        let Err(UsageError::Settings(errors)) = typed else { panic!("{flag}: {typed:?}") };
        let text = errors[0].to_string();
        assert!(errors.len() == 1 && text.starts_with(&format!("--{flag}={BAD} ")), "{flag}: {errors:?}");

        let replica = REPLICA.split_whitespace().collect::<Vec<_>>();
        let without: Vec<_> =
            replica.chunks(2).filter(|pair| pair[0] != format!("-{flag}")).flatten().copied().collect();
        let variable = env_name(flag);
        let from_env = try_parse(&without.join(" "), &[(variable.as_str(), BAD)], pod());
        let Err(UsageError::Settings(errors)) = from_env else { panic!("{flag}: {from_env:?}") };
        let expected = format!("{variable}={BAD} (flag --{flag}) ");
        assert!(errors.len() == 1 && errors[0].to_string().starts_with(&expected), "{flag}: {errors:?}");
    }
}

#[test]
fn every_subcommand_says_what_it_does_to_the_disk() {
    let command = help::command();
    let mut leaves = Vec::new();
    for subcommand in command.get_subcommands() {
        let nested: Vec<_> = subcommand.get_subcommands().collect();
        if nested.is_empty() { leaves.push(subcommand) } else { leaves.extend(nested) }
    }
    assert_eq!(leaves.len(), 11);
    for leaf in leaves {
        let about = leaf.get_long_about().map(ToString::to_string).unwrap_or_default();
        assert!(about.contains("disk") || about.contains("writes --output"), "{}: {about}", leaf.get_name());
    }
}

#[test]
fn no_flag_has_the_name_of_a_variable_that_kubernetes_sets_for_a_service_of_our_name() {
    let command = help::command();
    for flag in command.get_arguments().filter_map(|arg| arg.get_long()) {
        assert!(flag != "port" && !flag.starts_with("port-") && !flag.starts_with("service-"), "{flag}");
    }
}
