//! The examples and the real binary cannot drift apart: every configuration is valid, every argument list and every set of
//! variables is one that the sidecar would start with. (Those of the chart's values: `make test-chart`. That groups run with them:
//! `make test-cluster`.)
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What a Kubernetes pod gets without a flag, and this process does not: its name, and the headless Service in it.
const POD: [(&str, &str); 2] = [("POD_NAME", "prometheus-0"), ("PROMETHEUS_ELECTOR_PEER_SERVICE_NAME", "prometheus")];
const OWN_VARIABLE: &str = "PROMETHEUS_ELECTOR_";

type Variables = Vec<(String, String)>;

fn examples() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples"))
}

fn folders() -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(examples()).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.is_dir());
    found.sort();
    found
}

/// Files below `folder` whose name ends with `suffix`, in order.
fn files(folder: &Path, suffix: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.extend(files(&path, suffix));
        } else if path.to_string_lossy().ends_with(suffix) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn elector(arguments: &[&str], variables: &Variables) -> Output {
    let variables = variables.iter().map(|(name, value)| (name, value));
    let mut command = Command::new(env!("CARGO_BIN_EXE_prometheus-elector"));
    command.args(arguments).envs(variables).output().expect("the binary starts")
}

fn rendered(role: &str, gate: &str, config: &str) -> String {
    let rendered = elector(&["render", "--role", role, gate, config], &Vec::new());
    assert!(rendered.status.success(), "{config}: render: {}", String::from_utf8_lossy(&rendered.stderr));
    String::from_utf8(rendered.stdout).unwrap()
}

#[test]
fn every_configuration_is_valid_and_only_the_leader_ships() {
    let configs = files(examples(), "config.yaml");
    assert!(configs.len() >= 5, "only {configs:?}: this test looks at nothing");
    for path in configs {
        let config = format!("--config={}", path.display());
        let checked = elector(&["check-config", &config], &Vec::new());
        assert!(checked.status.success(), "{config}: {}", String::from_utf8_lossy(&checked.stderr));
        for (role, ships) in [("leader", true), ("follower", false)] {
            let ungated = rendered(role, "--remote-write-gate=off", &config);
            assert_eq!(ungated.contains("remote_write:"), ships, "{config}, {role}:\n{ungated}");
            // With the gate the sidecar decides, and the queues of all replicas run.
            let gated = rendered(role, "--remote-write-gate=on", &config);
            assert!(gated.contains("url: \"http://127.0.0.1:9097/write/"), "{config}, {role}:\n{gated}");
        }
    }
}

#[test]
fn the_sidecar_would_start_with_every_argument_list_of_a_manifest() {
    let mut seen = 0;
    for path in folders().iter().flat_map(|folder| files(folder, "manifests.yaml")) {
        let pod = POD.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        for arguments in argument_lists(&fs::read_to_string(&path).unwrap()) {
            check(&path, &arguments, &pod);
            seen += 1;
        }
    }
    assert!(seen >= 6, "only {seen} argument lists found: this test looks at nothing");
}

#[test]
fn the_sidecar_would_start_in_every_service_of_compose() {
    let path = examples().join("compose/compose.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let (lists, members) = (argument_lists(&text), variables_of_services(&text));
    assert_eq!((lists.len(), members.len()), (2, 3), "{lists:?} {members:?}");
    for arguments in &lists {
        for variables in &members {
            check(&path, arguments, variables);
        }
    }
}

#[test]
fn the_sidecar_would_start_by_the_units_of_systemd() {
    let folder = examples().join("systemd");
    let file = fs::read_to_string(folder.join("elector.env")).unwrap();
    let variables: Variables = file.lines().filter_map(|line| variable(line, "=")).collect();
    assert_eq!(variables.len(), 2, "{variables:?}");
    let mut seen = Vec::new();
    for path in files(&folder, ".service") {
        for command in fs::read_to_string(&path).unwrap().replace("\\\n", " ").lines() {
            let Some((key, command)) = command.split_once('=').filter(|(key, _)| key.starts_with("Exec")) else {
                continue;
            };
            let Some(arguments) = command.trim_start_matches('-').strip_prefix("/usr/local/bin/prometheus-elector ")
            else {
                continue;
            };
            let arguments: Vec<_> = arguments.split_whitespace().map(str::to_owned).collect();
            if key == "ExecStop" {
                assert!(elector(&[&arguments[0], "--help"], &Vec::new()).status.success(), "{arguments:?}");
            } else {
                check(&path, &arguments, &variables);
            }
            seen.push(key.to_owned());
        }
    }
    assert_eq!(seen, ["ExecStartPre", "ExecStart", "ExecStop"]);
}

/// Everybody who tries an example wants to know these.
#[test]
fn every_example_says_what_to_expect_and_how_to_see_a_takeover() {
    let index = fs::read_to_string(examples().join("README.md")).unwrap();
    let folders = folders();
    assert!(folders.len() >= 9, "only {folders:?}");
    for folder in folders {
        let name = folder.file_name().unwrap().to_str().unwrap();
        let text =
            fs::read_to_string(folder.join("README.md")).unwrap_or_else(|error| panic!("{name}/README.md: {error}"));
        for needed in ["## What to expect\n", "## A takeover\n", "## Remove\n", "status --watch"] {
            assert!(text.contains(needed), "{name}/README.md lacks {needed:?}");
        }
        assert!(index.contains(&format!("({name}/README.md)")), "examples/README.md does not link {name}");
    }
}

fn check(path: &Path, arguments: &[String], variables: &Variables) {
    let with_command: Vec<_> = ["check-flags"].into_iter().chain(arguments.iter().map(String::as_str)).collect();
    let checked = elector(&with_command, variables);
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && !said.contains("warning"), "{}: {arguments:?}: {said}", path.display());
}

/// Lists of arguments of the sidecar: items in a row, between which comments may stand. Our arguments have one dash, those of
/// Prometheus have two.
fn argument_lists(text: &str) -> Vec<Vec<String>> {
    let mut lists = vec![Vec::new()];
    for line in text.lines().map(str::trim_start) {
        match line.strip_prefix("- -").filter(|argument| !argument.starts_with('-')) {
            Some(argument) => {
                let argument = argument.split(" #").next().unwrap_or_default();
                lists.last_mut().unwrap().push(format!("-{argument}"));
            }
            None if line.starts_with('#') => {}
            None => lists.push(Vec::new()),
        }
    }
    lists.retain(|list| !list.is_empty());
    lists
}

/// Our variables, by the lines that stand together.
fn variables_of_services(text: &str) -> Vec<Variables> {
    let mut services = vec![Variables::new()];
    for line in text.lines() {
        match variable(line.trim_start(), ": ") {
            Some(found) => services.last_mut().unwrap().push(found),
            None => services.push(Variables::new()),
        }
    }
    services.retain(|service| !service.is_empty());
    services
}

fn variable(line: &str, separator: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(separator).filter(|(name, _)| name.starts_with(OWN_VARIABLE))?;
    Some((name.to_owned(), value.to_owned()))
}
