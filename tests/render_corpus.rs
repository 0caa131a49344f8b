//! The renderer against data as Go reads it, and against golden files.
//!
//! `render/corpus/*`: `input.yaml` with `expected-follower.json` and `expected-leader.json`, made with gopkg.in/yaml.v2
//! v2.4.0 and mergo v0.3.16 (what Prometheus and the Lease-based tool use); `{"!error": …}` must be refused.
//! `render/golden/*`: `input.yaml` with the exact output (`follower.yaml`, `leader.yaml`, `warnings.txt`) or the exact
//! message (`error.txt`). `UPDATE_GOLDEN=1 cargo test --test render_corpus` rewrites them: read the difference.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "render/gate.rs"]
mod gate;
#[path = "render/reader.rs"]
mod reader;

use std::fs;
use std::path::{Path, PathBuf};

use prometheus_elector::render::{Rendered, render};
use prometheus_elector::role::Role;
use serde_json::Value;

/// Cases that differ from the Lease-based tool on purpose: it renders one variant at a time and accepts what Prometheus
/// then refuses. Here both variants are always checked.
const REFUSED_ON_PURPOSE: [&str; 4] =
    ["m17-list-over-map", "r53-list-over-scalar", "r54-list-over-empty-map", "t01-anchors"];

fn cases(kind: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/render").join(kind);
    let mut cases: Vec<PathBuf> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

fn name(case: &Path) -> String {
    case.file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn every_case_of_the_corpus_is_read_back_as_go_reads_it() {
    let cases = cases("corpus");
    assert!(cases.len() >= 85, "the corpus is incomplete: {} cases", cases.len());
    let faults: Vec<String> = cases.iter().flat_map(|case| judge(case)).collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

fn judge(case: &Path) -> Vec<String> {
    let source = fs::read(case.join("input.yaml")).unwrap();
    let rendered = render(&source);
    if REFUSED_ON_PURPOSE.contains(&name(case).as_str()) {
        return if rendered.is_err() { vec![] } else { vec![format!("{}: accepted", name(case))] };
    }
    [Role::Follower, Role::Leader]
        .into_iter()
        .filter_map(|role| {
            let file = if role == Role::Follower { "expected-follower.json" } else { "expected-leader.json" };
            let expected: Value = serde_json::from_slice(&fs::read(case.join(file)).unwrap()).unwrap();
            let fault = match (&rendered, expected.get("!error")) {
                (Err(_), Some(_)) => return None,
                (Ok(_), Some(error)) => format!("accepted, expected an error: {error}"),
                (Err(error), None) => format!("refused: {error}"),
                (Ok(rendered), None) => compare(&source, rendered, role, &expected)?,
            };
            Some(format!("{} {role:?}: {fault:.600}", name(case)))
        })
        .collect()
}

fn compare(source: &[u8], rendered: &Rendered, role: Role, expected: &Value) -> Option<String> {
    let output = std::str::from_utf8(rendered.variant(role)).unwrap();
    let faults = reader::style_faults(output);
    if !faults.is_empty() {
        return Some(faults.join(", "));
    }
    let node = match reader::read(output) {
        Ok(node) => node,
        Err(error) => return Some(format!("unreadable: {error}")),
    };
    match reader::configuration(&node) {
        Ok(value) if !reader::equal(&value, expected) => return Some(format!("wrong data: {value} for {expected}")),
        Ok(_) => {}
        Err(error) => return Some(error),
    }
    let source = std::str::from_utf8(source).unwrap().trim_start_matches('\u{feff}');
    if role == Role::Leader || output == "{}\n" {
        return None;
    }
    let Ok(reader::Node::Mapping(sections)) = reader::read(source) else { return None };
    let section = sections.into_iter().find_map(|(key, below)| {
        matches!(key, reader::Node::Scalar { text, .. } if text == "follower").then_some(below)
    })?;
    if reader::has_merge_key(&section) || reader::texts(&section) == reader::texts(&node) {
        return None;
    }
    Some("the text of a scalar changed".to_owned())
}

#[test]
fn the_judge_finds_differences() {
    let read = |text| reader::value(&reader::read(text).unwrap()).unwrap();
    assert!(reader::equal(&read("{a: 0x10, b: [yes, ~]}"), &read("{b: [on, null], a: 16.0}")));
    assert!(!reader::equal(&read("a: yes"), &read("a: 'yes'")));
    assert!(!reader::equal(&read("a: 08"), &read("a: '08'")));
    assert!(!reader::equal(&read("{1: a}"), &read("{'1': a}")));
    assert_ne!(reader::texts(&reader::read("a: 1.10").unwrap()), reader::texts(&reader::read("a: 1.1").unwrap()));
    assert_eq!(reader::style_faults("a: [1]"), ["line 1: flow style"]);
    assert_eq!(reader::style_faults("a: &x 1"), ["line 1: anchor or alias"]);
    assert_eq!(reader::style_faults("a: {}\nb: []\nc: '<<'\n"), [""; 0]);
}

#[test]
fn outputs_and_messages_are_the_golden_ones() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let cases = cases("golden");
    assert!(!cases.is_empty());
    for case in cases {
        let actual = match render(&fs::read(case.join("input.yaml")).unwrap()) {
            Ok(rendered) => [
                ("follower.yaml", Some(text(&rendered.follower))),
                ("leader.yaml", Some(text(&rendered.leader))),
                ("warnings.txt", (!rendered.warnings.is_empty()).then(|| rendered.warnings.join("\n") + "\n")),
                ("error.txt", None),
            ],
            Err(error) => [
                ("follower.yaml", None),
                ("leader.yaml", None),
                ("warnings.txt", None),
                ("error.txt", Some(format!("{error}\n"))),
            ],
        };
        for (file, actual) in actual {
            let path = case.join(file);
            if update {
                match &actual {
                    Some(actual) => fs::write(&path, actual).unwrap(),
                    None => drop(fs::remove_file(&path)),
                }
            }
            let expected = fs::read_to_string(&path).ok();
            assert_eq!(actual, expected, "{} differs: {}", file, name(&case));
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
