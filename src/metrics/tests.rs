#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use elector_raft::observer::{Observer as _, Outcome, Side};
use elector_raft::{
    Authority, GroupEnds, GroupHandle, GroupStatus, Leadership, Member, MemberKind, MemberStatus, TlsMode,
};
use tokio::sync::{mpsc, watch};

use super::*;
use crate::gate::status::{CatchUpStatus, CountsStatus, RemotePhase};
use crate::gate::{GateStatus, RemoteStatus};
use crate::proxy::{Answered, ProxyMetrics};
use crate::raft_files::{RaftFiles, RaftTlsSettings};
use crate::role::{ConfigStatus, RoleStatus};
use crate::tls::testing::Ca;

/// Whoever adds families in another piece registers them here too, so that promtool and `docs/metrics.md` see them.
fn everything() -> (Metrics, GroupEnds) {
    let (group, ends) = GroupHandle::new();
    ends.leadership.send_replace(Leadership { term: 7, leader: None, authority: Authority::SoleVoter });
    let member = |name: &str, kind| MemberStatus { name: name.to_owned(), kind, ..MemberStatus::default() };
    ends.status.send_replace(Arc::new(GroupStatus {
        settled: true,
        members: vec![
            member("a", MemberKind::Voter),
            member("b", MemberKind::Voter),
            member("w", MemberKind::Witness),
            member("c", MemberKind::Candidate),
        ],
        warnings: vec!["one".to_owned()],
        ..GroupStatus::default()
    }));
    let config = ConfigStatus {
        desired_hash: Some("aa".to_owned()),
        applied_hash: Some("aa".to_owned()),
        applied_at_unix_ms: Some(1_700_000_000_250),
        ..ConfigStatus::default()
    };
    let (_, status) = watch::channel(Arc::new(RoleStatus { eligible: true, config, ..RoleStatus::default() }));
    let role = RoleHandle { status, commands: mpsc::channel(1).0 };
    let notifier = NotifierMetrics::default();
    let mut metrics = Metrics::new("prom-\"0\"", &group, Some((&role, &notifier)));
    let lookups = LookupStatus { answered: 3, not_found: 1, failed: 2, ..LookupStatus::default() };
    metrics.register_discovery(watch::channel(lookups).1);
    metrics.register_gate(Box::new(gate_status));
    metrics.register_certificates(certificate());
    let label = RequestCounts { ok: 4, forbidden: 2, error: 1 };
    metrics.register_pod_label(watch::channel(PodLabelStatus { in_force: true, label, ..PodLabelStatus::default() }).1);
    let proxy = ProxyMetrics::default();
    proxy.answered(Answered::Leader, http::StatusCode::OK, Duration::from_millis(20));
    proxy.register(metrics.registry_mut());
    let traffic = GroupMetrics::default();
    traffic.called("append", Outcome::Answered, Duration::from_millis(2));
    traffic.called("append", Outcome::TimedOut, Duration::from_millis(100));
    traffic.heartbeat(Side::Leader, Duration::from_millis(3));
    metrics.register_group(&traffic);
    metrics.register_process();
    notifier.calls.inc_by(5);
    notifier.errors.inc_by(2);
    notifier.duration.observe(0.02);
    (metrics, ends)
}

/// The certificate of a member; rcgen has all of them expire in the year 4096.
fn certificate() -> RaftFilesStatus {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let (certificate, key) = ca.issue(&["prom-0"]);
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let [ca_file, cert_file, key_file] = [file("ca", &ca.pem), file("cert", &certificate), file("key", &key)];
    let tls = RaftTlsSettings { ca_file, cert_file, key_file, mode: TlsMode::Required };
    let member = Member { name: "prom-0".into(), ..Member::default() };
    RaftFiles::read(None, Some(&tls), &member).unwrap().status()
}

/// A writer in the middle of a takeover, and a standby that has just begun.
fn gate_status() -> GateStatus {
    let counts = CountsStatus { bytes: 4096, spooled: 3, accepted: 2, cut: 1, ..CountsStatus::default() };
    let writer = RemoteStatus {
        name: "mimir".to_owned(),
        phase: RemotePhase::CatchingUp,
        last_accepted_age_ms: Some(1_500),
        watermark_ms: Some(1_700_000_000_250),
        watermark_age_ms: Some(-250),
        covered: true,
        spool_batches: 7,
        spool_bytes: 700,
        spool_bytes_max: 1 << 20,
        spool_oldest_age_ms: Some(9_000),
        catch_up: Some(CatchUpStatus { for_ms: 10, batches_sent: 3, batches_left: 7 }),
        counts,
        ..RemoteStatus::default()
    };
    let standby = RemoteStatus { name: "b\"c".to_owned(), ..RemoteStatus::default() };
    GateStatus { remotes: vec![standby, writer], ..GateStatus::default() }
}

/// The exposition without the families of the process, whose values nobody knows.
fn golden(metrics: &Metrics, format: Format) -> String {
    let text = metrics.encode(format).unwrap();
    let is_about_the_process = |line: &str| {
        let line = line.trim_start_matches("# HELP ").trim_start_matches("# TYPE ");
        line.starts_with("process_") || line.starts_with("prometheus_elector_thread_")
    };
    let lines = text.lines().filter(|line| !is_about_the_process(line));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// Compares with the file; `UPDATE_GOLDEN=1` writes it anew.
fn assert_golden(file: &str, text: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/metrics/testdata").join(file);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap(), "{file}");
}

#[test]
fn the_prometheus_format_is_exactly_this() {
    let (metrics, _ends) = everything();
    assert_golden("exposition.prom", &golden(&metrics, Format::Prometheus));
}

#[test]
fn the_open_metrics_format_is_exactly_this() {
    let (metrics, _ends) = everything();
    assert_golden("exposition.om", &golden(&metrics, Format::OpenMetrics));
}

#[test]
fn a_witness_has_no_family_about_a_prometheus() {
    let (group, _ends) = GroupHandle::new();
    let text = Metrics::new("w", &group, None).encode(Format::Prometheus).unwrap();
    assert!(text.contains("prometheus_elector_election_is_leader{member_id=\"w\"} 0\n"), "{text}");
    for absent in ["_notifier_", "_config_", "_eligible"] {
        assert!(!text.contains(absent), "{absent} in {text}");
    }
}

#[test]
fn promtool_finds_nothing_but_the_one_name_that_users_rely_on() {
    let (metrics, _ends) = everything();
    let (_, said) = promtool(&["check", "metrics"], &metrics.encode(Format::Prometheus).unwrap());
    let known = "prometheus_elector_notifier_calls_errors counter metrics should have \"_total\" suffix\n";
    assert_eq!(said, known);
}

/// Whether promtool is content with `input`, and what it says.
pub(super) fn promtool(arguments: &[&str], input: &str) -> (bool, String) {
    let promtool = std::env::var("PROMTOOL").unwrap_or_else(|_| "/usr/bin/promtool".to_owned());
    let mut child = Command::new(&promtool)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {promtool} ({error}): install the package prometheus"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

#[test]
fn the_process_tells_believable_values_about_itself() {
    let (metrics, _ends) = everything();
    let text = metrics.encode(Format::Prometheus).unwrap();
    let value = |name: &str| -> f64 {
        let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let age = now - value("process_start_time_seconds");
    assert!((-2.0..3600.0).contains(&age), "started {age} s ago");
    assert!((0.0..3600.0).contains(&value("process_cpu_seconds_total")));
    assert!((1e6..1e10).contains(&value("process_resident_memory_bytes")));
    assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
    assert!(value("process_threads") >= 1.0);
    assert!((3.0..value("process_max_fds")).contains(&value("process_open_fds")));
}

/// `name -> type`, as a scraper of the Prometheus format sees them.
fn families(metrics: &Metrics) -> BTreeMap<String, String> {
    let text = metrics.encode(Format::Prometheus).unwrap();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
}

/// `name -> type`, as the table in `docs/metrics.md` has them.
pub(super) fn documented() -> BTreeMap<String, String> {
    let mut documented = BTreeMap::new();
    for line in include_str!("../../docs/metrics.md").lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let name = cells[1].trim_matches('`').split('{').next().unwrap();
        documented.insert(name.to_owned(), cells[2].to_owned());
    }
    documented
}

#[test]
fn the_documentation_lists_exactly_the_families_there_are() {
    let (metrics, _ends) = everything();
    assert_eq!(documented(), families(&metrics));
}
