//! The words for mistakes, exactly, because an operator acts on them.

use super::{bare, mistakes, mistakes_with, pod, try_parse};
use crate::config::Command;

fn one(line: &str) -> String {
    let mistakes = mistakes(line);
    assert_eq!(mistakes.len(), 1, "{mistakes:?}");
    mistakes.into_iter().next().unwrap()
}

#[test]
fn several_mistakes_are_one_message() {
    let line = "-config c.yaml -output ./c.yaml -lease-duration 1 -output-mode rw -log-level loud";
    let env = [("PROMETHEUS_ELECTOR_NOTIFY_TIMEOUT", "2d")];
    let error = try_parse(line, &env, pod()).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert_eq!(
        error.to_string(),
        "prometheus-elector: 6 mistakes in flags or environment:\n  \
         - --log-level=loud is not a level; write error, warn, info, debug or trace\n  \
         - --lease-duration=1 has no unit; write it like 300ms, 1.5s, 1m30s or 2h\n  \
         - --config=c.yaml and --output=./c.yaml exclude each other: the output would overwrite its source; give the \
         output another path\n  \
         - --output-mode=rw is not a file mode of octal digits from 0400 to 0775, such as 0640\n  \
         - --notify-http-url (or PROMETHEUS_ELECTOR_NOTIFY_HTTP_URL) is missing: where Prometheus is told to reload, \
         for example http://127.0.0.1:9090/-/reload\n  \
         - PROMETHEUS_ELECTOR_NOTIFY_TIMEOUT=2d (flag --notify-timeout) has the unknown unit \"d\"; the units are ns, us, \
         ms, s, m and h\n\
         See `prometheus-elector --help` for every flag."
    );
}

#[test]
fn a_replica_needs_its_files_and_its_prometheus() {
    assert_eq!(
        mistakes_with("", &[], pod()),
        [
            "--config (or PROMETHEUS_ELECTOR_CONFIG) is missing: the path of the file with the sections `follower` and \
             `leader`",
            "--output (or PROMETHEUS_ELECTOR_OUTPUT) is missing: the path of the Prometheus configuration to write",
            "--notify-http-url (or PROMETHEUS_ELECTOR_NOTIFY_HTTP_URL) is missing: where Prometheus is told to reload, \
             for example http://127.0.0.1:9090/-/reload",
        ]
    );
}

#[test]
fn a_witness_excludes_what_needs_a_prometheus_and_needs_a_directory() {
    let both = |flag: &str| {
        format!("--witness=true and --{flag} exclude each other: a witness has no Prometheus; take one of them away")
    };
    assert_eq!(
        mistakes_with(
            "-witness -config c -output o -notify-http-url http://x -api-proxy-prometheus-local-port 1 \
             -advertise-prometheus-url http://y",
            &[],
            pod()
        ),
        [
            both("advertise-prometheus-url=http://y"),
            "--raft-data-dir (or PROMETHEUS_ELECTOR_RAFT_DATA_DIR) is missing: a witness has no output beside which its \
             state could go; give a directory that is kept"
                .into(),
            both("config=c"),
            both("output=o"),
            both("notify-http-url=http://x"),
            both("api-proxy-prometheus-local-port=1"),
        ]
    );
    assert_eq!(
        mistakes_with("-witness -init -raft-data-dir d", &[], pod()),
        [
            "--init=true and --witness=true exclude each other: a witness has no configuration to write; take one of them \
          away"
        ]
    );
}

#[test]
fn a_sidecar_that_only_gates_needs_no_output_and_contradicts_what_writes_one() {
    let line = "-config /c/x.yaml -gate-only -raft-data-dir d -api-proxy-prometheus-local-port 1234";
    let (Command::Run(settings), _) = try_parse(line, &[], pod()).unwrap() else { panic!() };
    let role = settings.role.unwrap();
    assert_eq!((role.output, role.notify.url.as_str()), (None, "http://127.0.0.1:1234/-/reload"));
    let gate = settings.gate.unwrap();
    assert_eq!((gate.tls_base.to_str(), gate.spool_dir.to_str()), (Some("/c"), Some("d/gate")));
    assert_eq!(
        mistakes_with("-config c -gate-only -output o -remote-write-gate off", &[], pod()),
        [
            "--gate-only=true and --output=o exclude each other: with gate-only nothing is written; take one of them away",
            "--gate-only=true and --remote-write-gate=off exclude each other: then there is nothing at all; take one of them \
             away"
        ]
    );
    assert_eq!(
        mistakes_with("-config c -gate-only", &[], pod()),
        [
            "--raft-data-dir (or PROMETHEUS_ELECTOR_RAFT_DATA_DIR) is missing: with gate-only there is no output beside which \
             its state could go; give a directory that is kept"
        ]
    );
}

#[test]
fn the_admin_address_never_leaves_the_host() {
    for address in [":9097", "0.0.0.0:9097", "10.0.0.1:9097", "[::]:9097"] {
        assert_eq!(
            one(&format!("-admin-listen-address {address}")),
            format!(
                "--admin-listen-address={address} is reachable from other hosts, but whoever reaches it may depose and \
                 remove members; write a loopback address such as 127.0.0.1:9097"
            )
        );
    }
    for address in ["[::1]:9097", "localhost:9097", "127.9.9.9:0"] {
        let line = format!("{} -admin-listen-address {address}", super::REPLICA);
        assert!(try_parse(&line, &[], pod()).is_ok(), "{address}");
    }
}

#[test]
fn two_listeners_on_one_port_are_named() {
    assert_eq!(
        one("-api-listen-address :9096"),
        "--api-listen-address=:9096 and --raft-listen-address=:9096 (the default) exclude each other: both listen on port \
         9096; give each a port of its own"
    );
    for different in [
        "-api-listen-address 127.0.0.1:1 -raft-listen-address 127.0.0.2:1",
        "-api-listen-address :0 -admin-listen-address 127.0.0.1:0",
    ] {
        assert!(try_parse(&format!("{} {different}", super::REPLICA), &[], pod()).is_ok(), "{different}");
    }
}

#[test]
fn mistakes_in_a_list_of_peers_name_the_entry() {
    for (list, rule) in [
        ("prom-0", "has the entry \"prom-0\", which is not NAME=HOST:PORT"),
        ("prom-0=a:1,", "has the entry \"\", which is not NAME=HOST:PORT"),
        ("prom-0=a:1,prom-0=b:1", "names \"prom-0\" twice; names must be unique"),
        ("prom-0=a:1,prom-1=A.:1", "has the address in \"prom-1=A.:1\" twice; addresses must be unique"),
        (
            "prom-0=a",
            "has the entry \"prom-0=a\", which has an address that has no port; write it like :9095 or 127.0.0.1:9095",
        ),
        (
            "prom/0=a:1",
            "has the entry \"prom/0=a:1\", which has a name that is not a name of 1 to 253 letters, digits, dots, hyphens \
             and underscores",
        ),
        (
            "prom-1=a:1,prom-2=b:1",
            "lists prom-1, prom-2, but not this member, \"prom-0\"; add it, or set the name with --member-id",
        ),
    ] {
        assert_eq!(one(&format!("-peers {list}")), format!("--peers={list} {rule}"));
    }
    let many: Vec<_> = (0..32).map(|n| format!("prom-{n}=a:{}", n + 1)).collect();
    assert!(one(&format!("-peers {}", many.join(","))).ends_with("has 32 members; a group has at most 31"));
}

#[test]
fn a_group_cannot_expect_more_members_than_are_listed() {
    assert_eq!(
        one("-peers prom-0=a:1,prom-1=b:1 -raft-bootstrap-expect 3"),
        "--raft-bootstrap-expect=3 does not go with --peers=prom-0=a:1,prom-1=b:1: only 2 members are listed; list all 3, \
         or expect 2"
    );
    for (count, shown) in [("0", "0"), ("32", "32"), ("x", "x")] {
        let rule = "is not a whole number from 1 to 31";
        assert_eq!(one(&format!("-raft-bootstrap-expect {count}")), format!("--raft-bootstrap-expect={shown} {rule}"));
    }
}

#[test]
fn two_sources_of_peers_exclude_each_other() {
    assert_eq!(
        one("-peers prom-0=a:1 -peer-service-name prom"),
        "--peers=prom-0=a:1 and --peer-service-name=prom exclude each other: both say where the members are; give one of \
         them"
    );
}

#[test]
fn a_name_from_the_system_that_cannot_be_used_says_where_it_is_from() {
    let line = super::REPLICA;
    let rule = "is not a name of 1 to 253 letters, digits, dots, hyphens and underscores; give --member-id (or \
                PROMETHEUS_ELECTOR_MEMBER_ID)";
    let env = [("POD_NAME", "a b")];
    assert_eq!(mistakes_with(line, &env, pod()), [format!("the member's name \"a b\" (from $POD_NAME) {rule}")]);
    let nameless = crate::discovery::host::HostNames { host: String::new(), ..bare() };
    assert_eq!(mistakes_with(line, &[], nameless), [format!("the member's name \"\" (from the host name) {rule}")]);
}

#[test]
fn other_members_cannot_guess_a_free_port() {
    assert_eq!(
        one("-raft-listen-address :0"),
        "--raft-listen-address=:0 takes any free port, which other members cannot know; give a port, or \
         raft-advertise-address"
    );
}

#[test]
fn a_secret_in_a_url_is_not_shown() {
    let shown = one("-notify-http-url ftp://me:secret@prom/-/reload");
    assert_eq!(shown, "--notify-http-url=ftp://***@prom/-/reload has the scheme \"ftp\"; it must be http or https");
}

#[test]
fn thresholds_attempts_and_periods_have_a_least_value() {
    for (flag, value, rule) in [
        ("notify-retry-max-attempts", "0", "is not a whole number from 1 to 65535"),
        ("healthcheck-success-threshold", "0", "is not a whole number from 1 to 65535"),
        ("healthcheck-failure-threshold", "-1", "is not a whole number from 1 to 65535"),
        ("healthcheck-period", "0", "is too short; it must be at least 10ms"),
        ("notify-timeout", "0s", "is too short; it must be at least 10ms"),
        ("readiness-poll-period", "1ns", "is too short; it must be at least 10ms"),
        ("dns-refresh-period", "-1s", "is negative"),
        ("output-mode", "0666", "lets everybody write what Prometheus obeys; take 0002 away"),
    ] {
        assert_eq!(one(&format!("-{flag} {value}")), format!("--{flag}={value} {rule}"));
    }
    let zero = "-notify-retry-delay 0 -api-shutdown-grace-delay 0 -proxy-leader-wait 0";
    assert!(try_parse(&format!("{} {zero}", super::REPLICA), &[], pod()).is_ok());
}
