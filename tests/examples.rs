//! The examples and the real binary cannot drift apart. What the API server says to the manifests, and that a group runs
//! with their arguments, is shown by `make test-cluster`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn examples() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples"))
}

fn elector(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_prometheus-elector")).args(arguments).output().expect("the binary starts")
}

fn rendered(role: &str, gate: &str, config: &str) -> String {
    let rendered = elector(&["render", "--role", role, gate, config]);
    assert!(rendered.status.success(), "render: {}", String::from_utf8_lossy(&rendered.stderr));
    String::from_utf8(rendered.stdout).unwrap()
}

#[test]
fn the_example_configuration_is_valid_and_only_the_leader_ships() {
    let config = format!("--config={}", examples().join("config.yaml").display());
    let checked = elector(&["check-config", &config]);
    assert!(checked.status.success(), "check-config: {}", String::from_utf8_lossy(&checked.stderr));
    for (role, ships) in [("leader", true), ("follower", false)] {
        let ungated = rendered(role, "--remote-write-gate=off", &config);
        assert_eq!(ungated.contains("remote_write:"), ships, "{role}:\n{ungated}");
        // With the gate the sidecar decides, and the queues of all replicas run.
        let gated = rendered(role, "--remote-write-gate=on", &config);
        assert!(gated.contains("url: \"http://127.0.0.1:9097/write/"), "{role}:\n{gated}");
    }
}

/// Our arguments have one dash in the manifests, those of Prometheus have two.
#[test]
fn every_flag_in_the_manifests_is_in_the_help() {
    let help = String::from_utf8(elector(&["--help"]).stdout).unwrap();
    // `--config <FILE>`, `--init[=<BOOL>]`
    let flags: Vec<_> = help.split([' ', '[', '\n']).filter_map(|word| word.strip_prefix("--")).collect();
    let mut seen = 0;
    for entry in fs::read_dir(examples()).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        for argument in text.lines().filter_map(|line| line.trim_start().strip_prefix("- -")) {
            if argument.starts_with('-') {
                continue;
            }
            let flag = argument.split_once('=').map_or(argument, |(flag, _)| flag);
            assert!(flags.contains(&flag), "{}: -{flag} is not in `--help`, which has {flags:?}", path.display());
            seen += 1;
        }
    }
    assert!(seen >= 20, "only {seen} flags found in {}: this test looks at nothing", examples().display());
}
