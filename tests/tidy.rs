//! Rules of the repository itself, checked on the files that git knows. Each failure lists every place at once.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A longer file holds two ideas.
const LINES_MAX: usize = 400;

/// Words that must not stand in Rust files, written so that this file does not contain them itself.
const FORBIDDEN: [(&str, &str); 6] = [
    (concat!("todo", "!("), "finish it, or leave it out and say so in the issue"),
    (concat!("unimplemented", "!("), "finish it, or leave it out and say so in the issue"),
    (concat!("#[ig", "nore"), "a test that nobody runs proves nothing"),
    (concat!("dbg", "!("), "use tracing"),
    (concat!("FIX", "ME"), "mend it, or file an issue"),
    (concat!("allow(dead", "_code"), "delete what nothing uses"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files of the repository, tracked or new, whose name ends with `suffix`: path relative to the root, and content.
fn files(suffix: &str) -> Vec<(PathBuf, String)> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git runs");
    assert!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
    let names = String::from_utf8(listed.stdout).unwrap();
    let found: Vec<_> = names
        .lines()
        .filter(|name| name.ends_with(suffix))
        // A file that was deleted and not yet committed is still listed.
        .filter_map(|name| Some((PathBuf::from(name), fs::read_to_string(root().join(name)).ok()?)))
        .collect();
    assert!(!found.is_empty(), "no *{suffix} found: this test looks at nothing");
    found
}

fn assert_none(what: &str, places: &[String]) {
    assert!(places.is_empty(), "{what}:\n  {}", places.join("\n  "));
}

#[test]
fn no_rust_file_is_longer_than_400_lines() {
    let long: Vec<_> = files(".rs")
        .iter()
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(path, lines)| format!("{}: {lines} lines", path.display()))
        .collect();
    assert_none("files that hold two ideas", &long);
}

#[test]
fn nothing_unfinished_or_skipped_is_left_in_the_code() {
    let mut found = Vec::new();
    for (path, text) in files(".rs") {
        for (number, line) in text.lines().enumerate() {
            for (word, instead) in FORBIDDEN.iter().filter(|(word, _)| line.contains(word)) {
                found.push(format!("{}:{}: `{word}`: {instead}", path.display(), number + 1));
            }
        }
    }
    assert_none("words that must not stay", &found);
}

#[test]
fn every_decision_is_in_the_index() {
    let index = fs::read_to_string(root().join("docs/decisions/README.md")).unwrap();
    let missing: Vec<_> = files(".md")
        .iter()
        .filter(|(path, _)| path.starts_with("docs/decisions") && !path.ends_with("README.md"))
        .map(|(path, _)| path.file_name().unwrap().to_str().unwrap().to_owned())
        .filter(|name| !index.contains(&format!("({name})")))
        .collect();
    assert_none("records that docs/decisions/README.md does not link", &missing);
}

#[test]
fn every_relative_link_in_the_documents_leads_somewhere() {
    let mut broken = Vec::new();
    for (path, text) in files(".md") {
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            if file.contains("://") {
                continue;
            }
            let at = if file.is_empty() { path.clone() } else { path.with_file_name(file) };
            let leads = if anchor.is_empty() {
                root().join(&at).exists()
            } else {
                fs::read_to_string(root().join(&at)).is_ok_and(|text| anchors(&text).iter().any(|name| name == anchor))
            };
            if !leads {
                broken.push(format!("{}: {target}", path.display()));
            }
        }
    }
    assert_none("links that lead nowhere", &broken);
}

/// Anchors of a document's headings, as GitHub makes them.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect::<String>().replace(' ', "-")
        })
        .collect()
}
