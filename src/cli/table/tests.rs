#![allow(clippy::unwrap_used)]

use elector_raft::{LedgerEntry, NodeId};

use super::*;
use crate::api::digest::{ConfigDigest, RemoteDigest};
use crate::gate::status::RemotePhase;
use crate::gate::{GateStatus, UngatedStatus};

const NOW: Duration = Duration::from_secs(1_790_000_000);

fn member(name: &str, id: u64, kind: MemberKind) -> MemberStatus<Option<Digest>> {
    MemberStatus {
        name: name.to_owned(),
        id: NodeId(id),
        kind,
        leader: false,
        this: false,
        raft_address: format!("{name}.prom.monitoring.svc.cluster.local.:9096"),
        api_url: format!("http://{name}.prom:9095"),
        prometheus_url: format!("http://{name}.prom:9090"),
        eligible: Some(true),
        prepared: Some(true),
        eligibility_reason: "its Prometheus is healthy".to_owned(),
        last_contact_ms: Some(41),
        silent: false,
        digest: None,
    }
}

fn told(hash: &str, remotes: Vec<RemoteDigest>) -> Digest {
    let config = ConfigDigest {
        desired_hash: Some("5f1d8ad10a3c44b2e6".to_owned()),
        applied_hash: Some(hash.to_owned()),
        applied_at_unix_ms: Some(1_789_999_700_000),
        last_error: None,
    };
    Digest { config: Some(config), remotes, ..Digest::default() }
}

fn told_remote(name: &str, phase: &str) -> RemoteDigest {
    RemoteDigest {
        name: name.to_owned(),
        phase: phase.to_owned(),
        shipping: phase == "writer",
        ..RemoteDigest::default()
    }
}

fn report() -> StatusReport {
    let this = MemberStatus {
        this: true,
        last_contact_ms: Some(0),
        digest: Some(told("5f1d8ad10a3c44b2e6", Vec::new())),
        ..member("prom-0", 0x1f, MemberKind::Voter)
    };
    let leader = MemberStatus { leader: true, ..member("prom-1", 0xabc, MemberKind::Voter) };
    let ill = MemberStatus {
        eligible: Some(false),
        eligibility_reason: "its Prometheus refuses connections on 127.0.0.1:9090 for 12 s".to_owned(),
        last_contact_ms: Some(12_345),
        silent: true,
        digest: Some(told("001122334455", vec![told_remote("mimir", "writer")])),
        ..member("prom-2", 0xdef, MemberKind::Learner)
    };
    let witness = MemberStatus { last_contact_ms: None, silent: true, ..member("wit-0", 0x77, MemberKind::Witness) };
    let entry = |term, leader: &str, reason: &str| LedgerEntry {
        term,
        leader: leader.to_owned(),
        since_unix_ms: 1_789_990_000_000 + term * 1000,
        until_unix_ms: None,
        reason: reason.to_owned(),
    };
    let group = GroupStatus {
        reason: "follows prom-1".to_owned(),
        term: 7,
        members: vec![this, leader, ill, witness],
        ledger: vec![
            entry(3, "prom-0", "formed the group"),
            entry(7, "prom-1", "elected after prom-0 handed over: an operator asked for it (step-down)"),
        ],
        ..GroupStatus::default()
    };
    StatusReport {
        member: "prom-0".to_owned(),
        role: MemberRole::Follower,
        term: 7,
        authority: false,
        authority_left_ms: None,
        leader: Some("prom-1".to_owned()),
        ready: true,
        not_ready_reason: None,
        shutting_down: false,
        reason: "follower: prom-1 leads".to_owned(),
        eligible: Some(true),
        eligibility_reason: "its Prometheus is healthy".to_owned(),
        cordoned: true,
        config: Some(ConfigStatus {
            desired_hash: Some("5f1d8ad10a3c44b2e6".to_owned()),
            applied_hash: Some("0011223344556677".to_owned()),
            applied_role: Some(Role::Leader),
            applied_at_unix_ms: Some(1_789_999_700_000),
            last_error: Some("Prometheus answered the reload with 500: bad rule file".to_owned()),
            source_errors: 1,
            warnings: Vec::new(),
        }),
        gate: None,
        warnings: vec![
            "no token: anybody who reaches the Raft port can vote and lead; give --raft-token-file a file with a \
             shared secret"
                .to_owned(),
            "one of three voters is silent".to_owned(),
        ],
        group,
        version: "0.1.0".to_owned(),
        at_unix_ms: 0,
    }
}

fn assert_golden(text: &str, golden: &str) {
    assert_eq!(text, golden, "\n--- got ---\n{text}\n--- want ---\n{golden}");
    let width = text.lines().map(str::len).max();
    // The member list keeps addresses whole.
    assert!(text.contains("RAFT ADDRESS") || width <= Some(usize::from(COLUMNS)), "80 columns:\n{text}");
    assert!(text.is_ascii(), "no colours, no lines:\n{text}");
}

#[test]
fn a_follower_in_trouble_reads_like_this() {
    assert_golden(&status(&report(), NOW), include_str!("testdata/follower.txt"));
}

#[test]
fn a_healthy_leader_reads_like_this() {
    let mut report = report();
    report.member = "prom-1".to_owned();
    report.role = MemberRole::Leader;
    report.authority = true;
    report.cordoned = false;
    report.reason = "leader: holds authority".to_owned();
    report.group.reason = report.reason.clone();
    report.group.members.truncate(2);
    report.group.members[0].this = false;
    report.group.members[1].this = true;
    report.authority_left_ms = Some(640);
    let stuck = RemoteDigest { shipping: false, refused: 12, ..told_remote("b", "writer") };
    let shipping =
        RemoteDigest { accepted: 1_234_567, watermark_ms: Some(1_789_999_998_000), ..told_remote("mimir", "writer") };
    let keeps = RemoteDigest {
        held: 17,
        spooled: 99,
        watermark_ms: Some(1_789_999_997_000),
        ..told_remote("mimir", "standby")
    };
    report.group.members[0].digest = Some(told("5f1d8ad10a3c44b2e6", vec![told_remote("b", "dances"), keeps]));
    report.group.members[1].digest = Some(told("5f1d8ad10a3c44b2e6", vec![stuck, shipping]));
    report.group.members[1].digest.as_mut().unwrap().remotes_left_out = 2;
    report.group.ledger.clear();
    report.warnings.clear();
    let config = report.config.as_mut().unwrap();
    config.applied_hash = config.desired_hash.clone();
    config.last_error = None;
    let writer = RemoteStatus {
        name: "mimir".to_owned(),
        url: "https://mimir.example/api/v1/push".to_owned(),
        phase: RemotePhase::Writer,
        last_accepted_age_ms: Some(1_200),
        ..RemoteStatus::default()
    };
    let young = RemoteStatus {
        name: "b".to_owned(),
        phase: RemotePhase::CatchingUp,
        not_covered_reason: Some("its Prometheus started 3 s ago".to_owned()),
        spool_bytes: 1025,
        ..RemoteStatus::default()
    };
    let stuck = RemoteStatus { name: "c".to_owned(), not_shipping: Some("503".to_owned()), ..young.clone() };
    let reason = "`sigv4` does not survive a local hop".to_owned();
    let ungated = UngatedStatus { label: "aws".to_owned(), reason, line: 7 };
    report.gate =
        Some(GateStatus { remotes: vec![young, stuck, writer], ungated: vec![ungated], ..GateStatus::default() });
    assert_golden(&status(&report, NOW), include_str!("testdata/leader.txt"));
}

#[test]
fn a_member_without_a_group_says_what_it_waits_for() {
    let mut report = report();
    report.leader = None;
    report.term = 0;
    report.ready = false;
    report.not_ready_reason = Some("this member is not a settled member of the group yet".to_owned());
    report.reason = "waits: 1 of 3 expected members found".to_owned();
    report.cordoned = false;
    report.shutting_down = true;
    report.config = Some(ConfigStatus::default());
    report.group = GroupStatus { reason: report.reason.clone(), ..GroupStatus::default() };
    report.warnings.clear();
    assert_golden(&status(&report, NOW), include_str!("testdata/waiting.txt"));
    assert_eq!(members(&report.group), "no members are known yet: waits: 1 of 3 expected members found\n");
}

#[test]
fn the_member_list_reads_like_this() {
    assert_golden(&members(&report().group), include_str!("testdata/members.txt"));
}

#[test]
fn long_names_stay_whole() {
    let mut report = report();
    let name = format!("prometheus-{}-0", "x".repeat(50));
    report.group.members[1].name.clone_from(&name);
    assert!(status(&report, NOW).contains(&format!("\n*  {name}  voter")));
}

#[test]
fn another_member_cannot_steer_the_terminal() {
    let mut report = report();
    report.group.members[2].eligibility_reason = "\u{1b}[2J\u{7}gone\r".to_owned();
    let text = status(&report, NOW);
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
}

#[test]
fn ages_are_told_in_their_largest_useful_unit() {
    let cases = [
        (0, "0 ms ago"),
        (999, "999 ms ago"),
        (1000, "1 s ago"),
        (119_999, "119 s ago"),
        (120_000, "2 min ago"),
        (7_199_999, "119 min ago"),
        (7_200_000, "2 h ago"),
        (172_799_999, "47 h ago"),
        (172_800_000, "2 days ago"),
    ];
    for (ms, expected) in cases {
        assert_eq!(ago(Duration::from_millis(ms)), expected);
    }
}
