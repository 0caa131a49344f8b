//! The binary's command line from outside: help, version, exit codes, messages, and `docs/flags.md`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use prometheus_elector::config;

fn elector() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_prometheus-elector"));
    command.env_clear().env("POD_NAME", "prom-0");
    command
}

fn run(line: &str) -> (Option<i32>, String, String) {
    parts(&elector().args(line.split_whitespace()).output().expect("the binary starts"))
}

fn parts(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("output is text");
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn help_goes_to_standard_output_and_names_topics_commands_and_variables() {
    for line in ["--help", "-help", "-h", "help"] {
        let (code, stdout, stderr) = run(line);
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{line}");
        for part in ["Election group:", "Commands:", "--lease-duration <DURATION>", "PROMETHEUS_ELECTOR_LEASE_DURATION"]
        {
            assert!(stdout.contains(part), "{line}: {part}");
        }
    }
}

#[test]
fn help_of_a_subcommand_says_what_it_does_to_the_disk() {
    let (code, stdout, _) = run("recover --help");
    assert_eq!(code, Some(0));
    let words = stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("Gives up the group's state in --raft-data-dir"), "{stdout}");
    assert!(words.contains("can make two groups"), "{stdout}");
}

#[test]
fn a_watch_goes_on_without_a_sidecar_and_ends_with_its_reader() {
    let mut command = elector();
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    command.args(["status", "--watch", "-admin-listen-address", &address.to_string()]).stdout(Stdio::piped());
    let mut watch = command.spawn().expect("the binary starts");
    let lines = BufReader::new(watch.stdout.take().unwrap()).lines().map(Result::unwrap);
    let shown: Vec<_> = lines.take_while(|line| line != "(trying again)").chain([String::new()]).collect();
    assert!(shown[0].starts_with(&format!("no sidecar answers on {address} ")), "{shown:?}");
    assert!(!shown.concat().contains('\x1b'), "no terminal, no cursor: {shown:?}");
    assert!(watch.wait().unwrap().success(), "its reader has gone");
}

#[test]
fn version_prints_name_and_version() {
    let expected = format!("prometheus-elector {}\n", env!("CARGO_PKG_VERSION"));
    for line in ["--version", "-version", "-V"] {
        assert_eq!(run(line), (Some(0), expected.clone(), String::new()), "{line}");
    }
}

#[test]
fn mistakes_are_reported_together_on_standard_error_with_exit_code_2() {
    let mut command = elector();
    command.args(["-config", "c", "--output=c", "-lease-duration", "1x", "-notify-http-url=http://127.0.0.1:1/"]);
    let (code, stdout, stderr) =
        parts(&command.env("PROMETHEUS_ELECTOR_API_PROXY_ENABLED", "yes").output().expect("the binary starts"));
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    for mistake in [
        "mistakes in flags or environment:\n",
        "\n  - --lease-duration=1x has the unknown unit \"x\"; the units are ns, us, ms, s, m and h\n",
        "\n  - --config=c and --output=c exclude each other: ",
        "\n  - PROMETHEUS_ELECTOR_API_PROXY_ENABLED=yes (flag --api-proxy-enabled) is not a boolean; write true or false\n",
    ] {
        assert!(stderr.contains(mistake), "{mistake:?} in {stderr}");
    }
}

#[test]
fn an_unknown_flag_is_answered_with_the_one_that_was_meant() {
    let (code, stdout, stderr) = run("-lease-duratoin 1s");
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert!(stderr.contains("'--lease-duratoin'") && stderr.contains("'--lease-duration'"), "{stderr}");
}

#[test]
fn an_argument_that_is_not_text_ends_with_exit_code_2() {
    let output = elector().arg(OsStr::from_bytes(b"-config=\xff")).output().expect("the binary starts");
    let (code, _, stderr) = parts(&output);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("argument 1 (\"-config=\u{fffd}\") is not UTF-8 text"), "{stderr}");
}

#[test]
fn an_unconfirmed_recover_touches_nothing() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("state"), "kept").unwrap();
    let output =
        elector().arg("recover").arg("-raft-data-dir").arg(directory.path()).output().expect("the binary starts");
    let (code, _, stderr) = parts(&output);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("repeat it with --yes"), "{stderr}");
    assert_eq!(std::fs::read_to_string(directory.path().join("state")).unwrap(), "kept");
}

/// `UPDATE_GOLDEN=1 cargo test --test cli` writes the file anew.
#[test]
fn the_documented_flags_are_those_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/flags.md");
    let generated = config::flags_markdown();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &generated).unwrap();
    }
    let documented = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(documented == generated, "docs/flags.md is out of date: run UPDATE_GOLDEN=1 cargo test --test cli");
}

/// The README shows every flag with its default, folded away.
#[test]
fn the_readme_lists_every_flag_with_its_default() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let rows = config::flags_markdown();
    let rows = rows.lines().filter(|line| line.starts_with("| `")).map(|line| {
        let cells: Vec<&str> = line.split(" | ").collect();
        format!("{} | {} | {}", cells[0], cells[1], cells[3])
    });
    let table = format!("| flag | default | meaning |\n|---|---|---|\n{}\n", rows.collect::<Vec<_>>().join("\n"));
    let readme = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once("<!-- flags: generated -->\n").expect("the README marks where flags begin");
    let (listed, after) = rest.split_once("<!-- flags: end -->").expect("the README marks where flags end");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let text = format!("{before}<!-- flags: generated -->\n\n{table}\n<!-- flags: end -->{after}");
        std::fs::write(&path, text).unwrap();
        return;
    }
    assert!(listed.trim() == table.trim(), "README.md is out of date: run UPDATE_GOLDEN=1 cargo test --test cli");
}

/// Init container, `render` and `check-config` see what the running sidecar writes, with the gate and without.
#[test]
fn what_is_rendered_without_the_sidecar_is_what_it_writes() {
    let golden =
        |kind: &str, case: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/render").join(kind).join(case);
    let directory = tempfile::tempdir().unwrap();
    for (case, flags) in [
        (golden("golden-gate", "typical"), ""),
        (golden("golden-gate", "what-a-hop-would-break-is-not-gated"), ""),
        (golden("golden", "typical"), "-remote-write-gate=off"),
    ] {
        let read = |file: &str| std::fs::read_to_string(case.join(file)).unwrap_or_default();
        let input = case.join("input.yaml").display().to_string();
        let warnings = read("warnings.txt").lines().fold(String::new(), |all, line| all + "warning: " + line + "\n");
        for role in ["follower", "leader"] {
            let outcome = run(&format!("render -role {role} -config {input} {flags}"));
            assert_eq!(outcome, (Some(0), read(&format!("{role}.yaml")), warnings.clone()), "{input}");
        }
        let (code, stdout, stderr) = run(&format!("check-config -config {input} {flags}"));
        assert_eq!((code, stderr), (Some(0), warnings.clone()), "{input}");
        assert!(stdout.contains(&format!("{} bytes for Prometheus", read("follower.yaml").len())), "{stdout}");
        let output = directory.path().join("prometheus.yml");
        let (code, _, stderr) = run(&format!("-init -config {input} -output {} {flags}", output.display()));
        assert_eq!(code, Some(0), "{stderr}");
        assert_eq!(std::fs::read_to_string(&output).unwrap(), read("follower.yaml"), "{input}");
    }
}
