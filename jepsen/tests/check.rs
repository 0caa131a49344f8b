//! `jepsen check` from outside: what it prints and how it ends.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::process::{Command, Output};

use jepsen::history::{Entry, History, Member, Run, What};

/// A record of these entries and an end.
fn record(dir: &Path, entries: Vec<What>) -> String {
    let members = vec![Member { name: "a".into(), witness: false }];
    let run = Run { members, gate: true, scrape_interval_ms: 1_000, ..Run::default() };
    let entries = (1..).zip(entries.into_iter().chain([What::End {}])).map(|(at_ns, what)| Entry { at_ns, what });
    let path = dir.join("history.jsonl");
    History { run, entries: entries.collect() }.write(std::fs::File::create(&path).unwrap()).unwrap();
    path.to_str().unwrap().to_owned()
}

fn check(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_jepsen")).arg("check").args(args).output().expect("jepsen runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn write(term: u64) -> What {
    let (sender, term, status) = ("a".to_owned(), Some(term), Some(204));
    What::Write { end_ns: 9, sender, term, status, samples: 1, first_ms: None, last_ms: None }
}

#[test]
fn a_record_that_tells_little_is_unknown() {
    let dir = tempfile::tempdir().unwrap();
    let out = check(&[&record(dir.path(), vec![write(1)])]);
    assert_eq!(out.status.code(), Some(2));
    let lines = text(&out.stdout);
    assert!(lines.starts_with("pass     single writer     No replica began"), "{lines}");
    assert!(lines.ends_with("\nunknown\n"), "{lines}");
}

#[test]
fn a_violation_fails_and_the_report_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let html = dir.path().join("report.html");
    let out = check(&[&record(dir.path(), vec![write(2), write(1)]), "--html", html.to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(1));
    assert!(
        text(&out.stdout)
            .starts_with("fail     single writer     a began a write of term 1 after a had begun one of term 2")
    );
    assert!(std::fs::read_to_string(html).unwrap().contains("Failed"));
}

#[test]
fn a_file_that_cannot_be_read_is_no_pass() {
    let dir = tempfile::tempdir().unwrap();
    let missing = check(&["/nowhere/history.jsonl"]);
    assert_eq!((missing.status.code(), text(&missing.stderr).contains("/nowhere/history.jsonl")), (Some(2), true));
    let path = record(dir.path(), vec![write(1)]);
    std::fs::OpenOptions::new()
        .append(true)
        .open(&path)
        .map(|mut file| std::io::Write::write_all(&mut file, b"{\"at_ns\":1"))
        .unwrap()
        .unwrap();
    let cut = check(&[&path]);
    assert_eq!((cut.status.code(), text(&cut.stderr).contains("history.jsonl, line 4")), (Some(2), true));
}
