//! Subcommands: what each needs, and what it does not.

use std::path::PathBuf;
use std::time::Duration;

use super::{bare, mistakes_with, pod, try_parse};
use crate::config::{ClientSettings, Command, InitSettings, StatusForm, UsageError, Whom};
use crate::role::Role;

fn command(line: &str, env: &[(&str, &str)]) -> Command {
    try_parse(line, env, bare()).map_err(|error| error.to_string()).expect(line).0
}

fn client(api: &str, admin: &str) -> ClientSettings {
    ClientSettings { api: api.parse().unwrap(), admin: admin.parse().unwrap() }
}

#[test]
fn init_needs_the_two_files_and_nothing_else() {
    let Command::Init(settings) = command("-init -config c -output o -output-mode 0644", &[]) else { panic!() };
    let gate = Some("127.0.0.1:9097".parse().unwrap());
    assert_eq!(settings, InitSettings { source: "c".into(), output: "o".into(), output_mode: 0o644, gate });
}

#[test]
fn what_is_rendered_leads_to_the_gate_of_a_sidecar_with_the_same_flags() {
    let gate = |flags: &str| match command(&format!("render -role leader -config c {flags}"), &[]) {
        Command::Render { gate, .. } => gate.map(|address| address.to_string()),
        other => panic!("{other:?}"),
    };
    assert_eq!(gate("").as_deref(), Some("127.0.0.1:9097"));
    assert_eq!(gate("-admin-listen-address [::1]:1234").as_deref(), Some("[::1]:1234"));
    assert_eq!(gate("-remote-write-gate=off -admin-listen-address=127.0.0.1:0"), None);
    let mistakes = mistakes_with("check-config -config c -admin-listen-address 127.0.0.1:0", &[], bare());
    assert_eq!(
        mistakes,
        ["--admin-listen-address=127.0.0.1:0 has port 0, but the gate listens there and its port stands in the \
            configuration; write a port, or turn the gate off with --remote-write-gate=off"]
    );
}

#[test]
fn render_and_check_config_need_the_source_only() {
    for (line, wanted) in
        [("render -role leader -config c", Role::Leader), ("-config c render --role=follower", Role::Follower)]
    {
        let Command::Render { source, role, .. } = command(line, &[]) else { panic!("{line}") };
        assert_eq!((source, role), (PathBuf::from("c"), wanted));
    }
    let Command::CheckConfig { source, .. } = command("check-config", &[("PROMETHEUS_ELECTOR_CONFIG", "c")]) else {
        panic!()
    };
    assert_eq!(source, PathBuf::from("c"));
    let missing = "--config (or PROMETHEUS_ELECTOR_CONFIG) is missing: the path of the file with the sections `follower` \
                   and `leader`";
    assert_eq!(mistakes_with("render -role leader", &[], pod()), [missing]);
    assert_eq!(mistakes_with("check-config", &[], pod()), [missing]);
}

#[test]
fn clients_find_the_sidecar_of_the_same_container_without_an_argument() {
    let defaults = client("127.0.0.1:9095", "127.0.0.1:9097");
    for (line, found) in [
        (
            "step-down",
            match command("step-down", &[]) {
                Command::StepDown(client) => client,
                other => panic!("{other:?}"),
            },
        ),
        (
            "cordon",
            match command("cordon", &[]) {
                Command::Cordon(client) => client,
                other => panic!("{other:?}"),
            },
        ),
        (
            "shutdown",
            match command("shutdown", &[]) {
                Command::Shutdown { client, wait_for_others: None } => client,
                other => panic!("{other:?}"),
            },
        ),
        (
            "uncordon",
            match command("uncordon", &[]) {
                Command::Uncordon(client) => client,
                other => panic!("{other:?}"),
            },
        ),
        (
            "list",
            match command("member list", &[]) {
                Command::MemberList(client) => client,
                other => panic!("{other:?}"),
            },
        ),
    ] {
        assert_eq!(found, defaults, "{line}");
    }
    let Command::MemberRemove { client: found, name } = command("member remove prom-2", &[]) else { panic!() };
    assert_eq!((found, name.as_str()), (defaults, "prom-2"));
}

#[test]
fn status_asks_this_member_or_another_one_and_shows_it_in_one_form() {
    let own = Whom::Own("127.0.0.1:9097".parse().unwrap());
    let other = Whom::Other("prom-1.prom:9095".to_owned());
    for (line, whom, form) in [
        ("status", &own, StatusForm::Once { json: false }),
        ("status -json", &own, StatusForm::Once { json: true }),
        ("status -watch --json", &own, StatusForm::Watch { json: true }),
        ("status --check", &own, StatusForm::Check),
        ("status -check -of prom-1.prom:9095", &other, StatusForm::Check),
        ("status -of=prom-1.prom:9095", &other, StatusForm::Once { json: false }),
    ] {
        let Command::Status { whom: found, form: shown } = command(line, &[]) else { panic!("{line}") };
        assert_eq!((&found, shown), (whom, form), "{line}");
    }
}

#[test]
fn a_shutdown_may_wait_for_the_others() {
    let Command::Shutdown { wait_for_others, .. } = command("shutdown --wait-for-others=4m", &[]) else { panic!() };
    assert_eq!(wait_for_others, Some(Duration::from_mins(4)));
}

#[test]
fn check_flags_finds_what_the_start_would() {
    let Command::CheckFlags(warnings) = command("check-flags -witness -raft-data-dir=d -peer-service-name=prom", &[])
    else {
        panic!()
    };
    assert!(warnings.iter().any(|warning| warning.contains("raft-token-file")), "{warnings:?}");
    let Command::CheckFlags(warnings) = command("check-flags -init -config=c -output=o", &[]) else { panic!() };
    assert_eq!(warnings, Vec::<String>::new());
    let missing =
        "--output (or PROMETHEUS_ELECTOR_OUTPUT) is missing: the path of the Prometheus configuration to write";
    assert_eq!(mistakes_with("check-flags -init -config=c", &[], pod()), [missing]);
}

#[test]
fn clients_obey_the_sidecars_flags_and_environment() {
    let env = [
        ("PROMETHEUS_ELECTOR_API_LISTEN_ADDRESS", "0.0.0.0:1"),
        ("PROMETHEUS_ELECTOR_ADMIN_LISTEN_ADDRESS", "[::1]:2"),
        ("PROMETHEUS_ELECTOR_LEASE_DURATION", "nonsense that a client does not need"),
    ];
    let Command::Cordon(found) = command("cordon", &env) else { panic!() };
    assert_eq!(found, client("127.0.0.1:1", "[::1]:2"));
    for (listen, api) in
        [(":5", "127.0.0.1:5"), ("[::]:5", "127.0.0.1:5"), ("[::1]:5", "[::1]:5"), ("10.0.0.1:5", "10.0.0.1:5")]
    {
        for line in
            [format!("step-down -api-listen-address {listen}"), format!("-api-listen-address={listen} step-down")]
        {
            let Command::StepDown(client) = command(&line, &env) else { panic!() };
            assert_eq!(client.api, api.parse().unwrap(), "{line}");
        }
    }
    assert_eq!(
        mistakes_with("status -api-listen-address :0", &[], bare()),
        ["--api-listen-address=:0 has port 0, which says nothing to a client; write the port that the sidecar logged"]
    );
}

#[test]
fn recover_finds_the_directory_as_the_sidecar_does_and_wants_a_yes() {
    for (line, dir) in [
        ("recover -yes -raft-data-dir /d -output /out/p.yaml", "/d"),
        ("recover --yes -output /out/p.yaml", "/out/.prometheus-elector-raft"),
        ("-output p.yaml recover --yes", ".prometheus-elector-raft"),
    ] {
        let Command::Recover { data_dir, .. } = command(line, &[]) else { panic!("{line}") };
        assert_eq!(data_dir, PathBuf::from(dir), "{line}");
    }
    assert_eq!(
        mistakes_with("recover", &[], bare()),
        [
            "--raft-data-dir (or PROMETHEUS_ELECTOR_RAFT_DATA_DIR) is missing: the directory of the group's state (or \
             --output, beside which it is by default)",
            "recover gives this member's part of the group up for good and can make two groups while other members live: \
             read `prometheus-elector recover --help`, then repeat it with --yes",
        ]
    );
}

#[test]
fn what_clap_cannot_read_ends_with_exit_code_2() {
    for line in [
        "-confg x",
        "--no-such-flag",
        "rendr",
        "-init false",
        "render",
        "render -role king",
        "member",
        "status x",
        "-config",
    ] {
        match try_parse(line, &[], pod()) {
            Err(error @ UsageError::Arguments(_)) => assert_eq!(error.exit_code(), 2, "{line}"),
            other => panic!("{line}: {other:?}"),
        }
    }
    let error = try_parse("-lease-nam x", &[], pod()).unwrap_err().to_string();
    assert!(error.contains("--lease-name"), "the message suggests the right flag: {error}");
}

#[test]
fn help_and_version_are_no_mistakes() {
    for line in ["-h", "-help", "--help", "--version", "-version", "-V", "help", "status -help", "help recover"] {
        match try_parse(line, &[], pod()) {
            Err(error @ UsageError::Arguments(_)) => assert_eq!(error.exit_code(), 0, "{line}"),
            other => panic!("{line}: {other:?}"),
        }
    }
}
