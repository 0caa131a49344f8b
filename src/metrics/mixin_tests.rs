//! `chart/mixin` held against `docs/metrics.md`, which `tests.rs` holds against the code: rules and dashboard ask for nothing
//! that no sidecar tells, and nothing that one tells is left out of the dashboard unseen.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use granit_parser::{Event, Parser};
use serde_json::{Value, json};

use super::tests::{documented, promtool};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/chart/mixin");

/// Families without a place in the dashboard.
const NOT_SHOWN: [(&str, &str); 4] = [
    ("prometheus_elector_gate_watermark_timestamp_seconds", "shown as its age"),
    ("prometheus_elector_kubernetes_label_in_force", "few have the label, and nothing depends on it"),
    ("prometheus_elector_kubernetes_requests_total", "likewise"),
    ("process_virtual_memory_bytes", "says nothing about use"),
];

fn read(name: &str) -> String {
    std::fs::read_to_string(format!("{FOLDER}/{name}")).unwrap()
}

/// The scalars of a YAML file in their order, keys and values alike.
fn scalars(file: &str) -> Vec<String> {
    let yaml = read(file);
    let events = Parser::new_from_str(&yaml).map(|event| event.unwrap().0);
    let texts = events.filter_map(|event| match event {
        Event::Scalar(text, ..) => Some(text.into_owned()),
        _ => None,
    });
    texts.collect()
}

/// The scalars that follow one of `keys`.
fn values(file: &str, keys: &[&str]) -> Vec<String> {
    let all = scalars(file);
    let found = all.windows(2).filter(|pair| keys.contains(&pair[0].as_str())).map(|pair| pair[1].clone());
    let found: Vec<_> = found.collect();
    assert!(!found.is_empty(), "{file}: nothing under {keys:?}");
    found
}

fn dashboard() -> Value {
    serde_json::from_str(&read("dashboard.json")).unwrap()
}

fn panels(dashboard: &Value) -> &Vec<Value> {
    dashboard["panels"].as_array().unwrap()
}

/// Expressions of the dashboard's panels.
fn panel_expressions(dashboard: &Value) -> Vec<String> {
    let targets = panels(dashboard).iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

/// Names of our metrics in an expression, also of those that are recorded.
fn names(expression: &str) -> impl Iterator<Item = &str> {
    let tokens = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    tokens.filter(|name| name.contains("prometheus_elector_") || name.starts_with("process_"))
}

/// The family of a series' name.
fn family<'n>(name: &'n str, documented: &BTreeMap<String, String>) -> &'n str {
    let parts = ["_bucket", "_sum", "_count"].iter().filter_map(|suffix| name.strip_suffix(suffix));
    let mut histograms = parts.filter(|base| documented.get(*base).is_some_and(|kind| kind == "histogram"));
    histograms.next().unwrap_or(name)
}

#[test]
fn rules_and_dashboard_ask_for_what_is_there() {
    let documented = documented();
    let recorded = values("rules.yaml", &["record"]);
    let dashboard = dashboard();
    let mut expressions = values("rules.yaml", &["expr"]);
    expressions.extend(values("rules_test.yaml", &["expr", "series", "labels"]));
    expressions.extend(panel_expressions(&dashboard));
    let variables = dashboard["templating"]["list"].as_array().unwrap().iter();
    expressions.extend(variables.filter_map(|variable| Some(variable["query"]["query"].as_str()?.to_owned())));
    for expression in &expressions {
        for name in names(expression) {
            let known =
                documented.contains_key(family(name, &documented)) || recorded.iter().any(|recorded| recorded == name);
            assert!(known, "{name} is neither in docs/metrics.md nor recorded: {expression}");
        }
    }
    let used: BTreeSet<&str> = expressions.iter().flat_map(|expression| names(expression)).collect();
    for name in &recorded {
        assert!(used.contains(name.as_str()), "{name} is recorded for nobody");
    }
}

#[test]
fn every_family_is_in_the_dashboard_or_has_a_reason_not_to_be() {
    let documented = documented();
    let expressions = panel_expressions(&dashboard());
    let shown: BTreeSet<&str> =
        expressions.iter().flat_map(|expression| names(expression)).map(|name| family(name, &documented)).collect();
    let missing: Vec<&str> = documented.keys().map(String::as_str).filter(|name| !shown.contains(name)).collect();
    let excepted: BTreeSet<&str> = NOT_SHOWN.iter().map(|(name, _)| *name).collect();
    assert_eq!(missing.into_iter().collect::<BTreeSet<_>>(), excepted);
}

/// What an operator looks at is on the dashboard once, and in its place.
#[test]
fn no_panel_is_there_twice_or_covers_another_one() {
    let dashboard = dashboard();
    let expressions = panel_expressions(&dashboard);
    let different: BTreeSet<&String> = expressions.iter().collect();
    assert_eq!(different.len(), expressions.len(), "an expression stands in two panels");
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels(&dashboard) {
        let title = &panel["title"];
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id is another panel's");
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
        assert!(x + w <= 24, "{title}: wider than the page");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(cells.insert(cell), "{title} covers another panel at {cell:?}");
        }
        let kind = panel["type"].as_str().unwrap();
        assert!(kind == "row" || panel["datasource"]["uid"] == "${datasource}", "{title}: a data source of its own");
        let has_unit = panel["fieldConfig"]["defaults"]["unit"].is_string();
        assert!(has_unit || kind != "timeseries", "{title}: no unit");
    }
}

#[test]
fn every_expression_of_the_dashboard_is_valid() {
    let expressions = panel_expressions(&dashboard()).into_iter().map(|expression| {
        expression.replace("$__rate_interval", "5m").replace("$namespace", ".*").replace("$job", ".*")
    });
    let rules: Vec<Value> = expressions
        .enumerate()
        .map(|(n, expression)| json!({"record": format!("panel:{n}"), "expr": expression}))
        .collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), json!({"groups": [{"name": "dashboard", "rules": rules}]}).to_string()).unwrap();
    let (content, said) = promtool(&["check", "rules", file.path().to_str().unwrap()], "");
    assert!(content, "{said}");
}

#[test]
fn promtool_is_content_with_the_rules_and_their_tests_pass() {
    for arguments in [["check", "rules", "rules.yaml"], ["test", "rules", "rules_test.yaml"]] {
        let [verb, what, file] = arguments;
        let (content, said) = promtool(&[verb, what, &format!("{FOLDER}/{file}")], "");
        assert!(content, "promtool {verb} {what}: {said}");
    }
}

#[test]
fn every_alert_is_seen_to_fire_and_to_be_quiet_and_says_what_to_do() {
    let alerts: BTreeSet<String> = values("rules.yaml", &["alert"]).into_iter().collect();
    let mut cases: Vec<(String, bool)> = Vec::new();
    let tests = scalars("rules_test.yaml");
    for (at, text) in tests.iter().enumerate() {
        match text.as_str() {
            "alertname" => cases.push((tests[at + 1].clone(), false)),
            "exp_alerts" => cases.last_mut().unwrap().1 = true,
            _ => {}
        }
    }
    for fires in [true, false] {
        let seen = cases.iter().filter(|case| case.1 == fires).map(|case| case.0.clone()).collect();
        assert_eq!(alerts, seen, "rules_test.yaml: alerts with a case where they fire: {fires}");
    }
    let readme = read("README.md");
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    assert_eq!(alerts, rows.map(|name| format!("PrometheusElector{name}")).collect(), "README.md, the table of alerts");
    let rules = scalars("rules.yaml");
    let count = |key: &str| rules.iter().filter(|text| *text == key).count();
    // Two severities of one alert share their annotations.
    assert_eq!(count("severity"), count("alert"));
    assert_eq!((count("summary"), count("description")), (alerts.len(), alerts.len()));
}
