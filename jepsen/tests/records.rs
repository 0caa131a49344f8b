//! Records of runs in which something was wrong on purpose: exactly those checkers fail that watch what was broken.
//!
//! How they were made: jepsen/README.md, "Proof that it bites".
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};

use jepsen::checkers::{Outcome, judge};
use jepsen::history::History;

fn record(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/records").join(format!("{name}.jsonl"))
}

fn failing(name: &str) -> Vec<&'static str> {
    let verdicts = judge(&mut History::read(&record(name)).unwrap());
    let failing = verdicts.iter().filter(|(_, verdict)| verdict.outcome() == Outcome::Fail);
    failing.map(|(checker, _)| checker.name).collect()
}

#[test]
fn each_planted_bug_fails_the_checkers_that_watch_for_it() {
    let table: [(&str, &[&str]); 4] = [
        ("gate-off", &["single writer", "samples"]),
        ("no-quarantine", &["single writer", "single authority"]),
        ("no-deadline", &["single writer", "single authority"]),
        ("no-found-first", &["queries"]),
    ];
    for (name, expected) in table {
        assert_eq!(failing(name), expected, "{name}");
    }
    let files = std::fs::read_dir(record("x").parent().unwrap()).unwrap().count();
    assert_eq!(files, table.len(), "a record without a line here");
}
