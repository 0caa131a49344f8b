//! The renderer with the gate on, against golden files and as properties.
//!
//! `render/golden-gate/*`: `input.yaml` with the exact output (`follower.yaml`, `leader.yaml`, `warnings.txt`), what the
//! gate's client gets (`gate.txt`), or the exact message (`error.txt`). `UPDATE_GOLDEN=1 cargo test --test render_corpus`
//! rewrites them: read the difference.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use prometheus_elector::render::{Gated, render, render_gated};

use super::{cases, reader, text};

const GATE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9097);

fn gate_text(gated: &Gated) -> String {
    let Gated { remotes, ungated, longest_interval, .. } = gated;
    format!("longest interval: {longest_interval:?}\n\nremotes: {remotes:#?}\n\nungated: {ungated:#?}\n")
}

#[test]
fn outputs_and_messages_are_the_golden_ones_and_show_no_secret() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let cases = cases("golden-gate");
    assert!(!cases.is_empty());
    for case in cases {
        let actual = match render_gated(&fs::read(case.join("input.yaml")).unwrap(), GATE) {
            Ok(gated) => {
                let warnings = gated.rendered.warnings.join("\n");
                [
                    ("follower.yaml", Some(text(&gated.rendered.follower))),
                    ("leader.yaml", Some(text(&gated.rendered.leader))),
                    ("warnings.txt", (!warnings.is_empty()).then(|| warnings + "\n")),
                    ("gate.txt", Some(gate_text(&gated))),
                    ("error.txt", None),
                ]
            }
            Err(error) => [
                ("follower.yaml", None),
                ("leader.yaml", None),
                ("warnings.txt", None),
                ("gate.txt", None),
                ("error.txt", Some(format!("{error}\n"))),
            ],
        };
        for (file, actual) in actual {
            let path = case.join(file);
            let shown = !["follower.yaml", "leader.yaml"].contains(&file);
            assert!(!(shown && actual.as_ref().is_some_and(|text| text.contains("hunter2"))), "{}", path.display());
            if update {
                match &actual {
                    Some(actual) => fs::write(&path, actual).unwrap(),
                    None => drop(fs::remove_file(&path)),
                }
            }
            let expected = fs::read_to_string(&path).ok();
            assert_eq!(actual, expected, "{} differs", path.display());
        }
    }
}

/// Without `remote_write` in the `leader` section the gate has nothing to do, and nothing else may change.
#[test]
fn a_file_without_remote_write_in_the_leader_section_is_rendered_as_with_the_gate_off() {
    let mut compared = 0;
    for case in cases("corpus") {
        let source = fs::read(case.join("input.yaml")).unwrap();
        let (Ok(off), Ok(on)) = (render(&source), render_gated(&source, GATE)) else {
            assert!(render(&source).is_err() || render_gated(&source, GATE).is_err());
            continue;
        };
        if on.remotes.is_empty() {
            assert_eq!((off.follower, off.leader), (on.rendered.follower, on.rendered.leader), "{}", case.display());
            compared += 1;
        }
    }
    assert!(compared > 40, "{compared}");
}

fn names(source: &str) -> Vec<String> {
    render_gated(source.as_bytes(), GATE).unwrap().remotes.into_iter().map(|remote| remote.name).collect()
}

#[test]
fn a_name_outlives_the_order_of_entries_a_new_password_and_changes_to_other_entries() {
    let a = r#"{url: "http://bob:one@a/w"}"#;
    let b = r#"{url: "http://b/w"}"#;
    let source = |entries: &[&str]| format!("follower: {{}}\nleader: {{remote_write: [{}]}}\n", entries.join(", "));
    let [first, second] = names(&source(&[a, b])).try_into().unwrap();
    assert_ne!(first, second);
    assert_eq!(names(&source(&[b, a])), [second.clone(), first.clone()]);
    assert_eq!(names(&source(&[&a.replace("one", "two"), b])), [first.clone(), second.clone()]);
    let changed = r#"{url: "http://b/w", headers: {x: y}, queue_config: {max_shards: 1}}"#;
    assert_eq!(names(&source(&[a, changed])), [first.clone(), second]);
    // The other entry is the same to the letter: its queue goes on.
    let entry = |source: &str| {
        let rendered = render_gated(source.as_bytes(), GATE).unwrap().rendered;
        let text = text(&rendered.leader);
        text.split("- url").find(|entry| entry.contains(&first)).unwrap().to_owned()
    };
    assert_eq!(entry(&source(&[a, changed])), entry(&source(&[a, b])));
}

#[test]
fn what_is_rendered_reads_back() {
    for case in cases("golden-gate") {
        let Ok(gated) = render_gated(&fs::read(case.join("input.yaml")).unwrap(), GATE) else { continue };
        for output in [&gated.rendered.follower, &gated.rendered.leader] {
            let output = std::str::from_utf8(output).unwrap();
            assert_eq!(reader::style_faults(output), [""; 0], "{}", case.display());
            reader::configuration(&reader::read(output).unwrap()).unwrap();
        }
    }
}
