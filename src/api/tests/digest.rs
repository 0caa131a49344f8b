//! What members tell each other of themselves.

use elector_raft::{DIGEST_BYTES_MAX, MemberKind, MemberStatus};

use super::*;
use crate::api::digest::{Digest, RemoteDigest};
use crate::gate::status::{CountsStatus, RemotePhase};
use crate::gate::{GateStatus, RemoteStatus};
use crate::role::ConfigStatus;

fn report() -> StatusReport {
    let (inputs, _ends) = inputs(false);
    StatusReport { version: "1.2.3".to_owned(), ..shared(inputs).report() }
}

fn remote(name: &str) -> RemoteStatus {
    let counts = CountsStatus {
        accepted: 5,
        spooled: 9,
        rejected: 1,
        deferred: 2,
        denied: 4,
        unanswered: 8,
        spool_refused: 16,
        cut: 32,
        ..CountsStatus::default()
    };
    RemoteStatus {
        name: name.to_owned(),
        url: "https://storage.example/push".to_owned(),
        phase: RemotePhase::Writer,
        spool_batches: 3,
        watermark_ms: Some(1_790_000_000_000),
        covered: true,
        counts,
        ..RemoteStatus::default()
    }
}

#[test]
fn a_digest_reads_like_this() {
    let config = ConfigStatus {
        desired_hash: Some("ab12".to_owned()),
        applied_hash: Some("cd34".to_owned()),
        applied_at_unix_ms: Some(1_789_999_700_000),
        last_error: Some("500: bad rule file".to_owned()),
        ..ConfigStatus::default()
    };
    let report = StatusReport {
        authority: true,
        cordoned: true,
        warnings: vec!["a".to_owned(), "b".to_owned()],
        config: Some(config),
        gate: Some(GateStatus { remotes: vec![remote("mimir")], ..GateStatus::default() }),
        ..report()
    };
    let expected = concat!(
        r#"{"version":"1.2.3","authority":true,"ready":false,"#,
        r#""not_ready_reason":"the election group is starting","cordoned":true,"shutting_down":false,"warnings":2,"#,
        r#""config":{"desired_hash":"ab12","applied_hash":"cd34","applied_at_unix_ms":1789999700000,"#,
        r#""last_error":"500: bad rule file"},"#,
        r#""remotes":[{"name":"mimir","phase":"writer","accepted":5,"spooled":9,"held":3,"refused":31,"#,
        r#""watermark_ms":1790000000000,"covered":true,"shipping":true}],"remotes_left_out":0}"#
    );
    let digest = Digest::of(&report);
    assert_eq!(digest.clone().text(), expected);
    assert_eq!(Digest::read(expected), Some(digest));
}

#[test]
fn a_writer_ships_unless_nothing_gets_through_and_a_standby_never_does() {
    let ships = |remote: RemoteStatus| RemoteDigest::of(&remote).shipping;
    assert!(ships(remote("a")));
    assert!(!ships(RemoteStatus { not_shipping: Some("503".to_owned()), ..remote("a") }));
    for phase in [RemotePhase::Standby, RemotePhase::CatchingUp, RemotePhase::HandingOver] {
        assert!(!ships(RemoteStatus { phase, ..remote("a") }), "{phase:?}");
    }
}

#[test]
fn what_does_not_fit_is_left_out_and_counted() {
    let with = |remotes: Vec<RemoteStatus>, last_error: &str| {
        let config = ConfigStatus { last_error: Some(last_error.to_owned()), ..ConfigStatus::default() };
        let gate = Some(GateStatus { remotes, ..GateStatus::default() });
        let why = Some(last_error.to_owned());
        let text = Digest::of(&StatusReport { config: Some(config), not_ready_reason: why, gate, ..report() }).text();
        assert!(text.len() <= DIGEST_BYTES_MAX, "{} bytes", text.len());
        Digest::read(&text).unwrap()
    };
    let many = |count: usize, name: &str| (0..count).map(|n| remote(&format!("{name}{n}"))).collect::<Vec<_>>();
    for (count, name, kept) in [(100, "", 27), (40, "a-long-name-of-a-remote-", 23), (3, "", 3)] {
        let digest = with(many(count, name), "");
        assert_eq!((digest.remotes.len(), digest.remotes_left_out), (kept, count - kept), "{count} of {name}");
        assert_eq!(digest.remotes[0].name, format!("{name}0"), "the first ones stay");
    }
    // The longest that escaping makes of a sentence.
    let digest = with(many(100, ""), &"\u{1}".repeat(5000));
    assert_eq!(digest.config.unwrap().last_error, Some("\u{1}".repeat(256)));
    assert_eq!(digest.remotes.len() + digest.remotes_left_out, 100);
}

#[test]
fn another_release_is_read_and_nonsense_is_unknown() {
    let newer = r#"{"ready":true,"mood":{"is":"good"},"remotes":[{"name":"a","phase":"dancing","steps":3}]}"#;
    let digest = Digest::read(newer).unwrap();
    assert_eq!((digest.ready, &*digest.remotes[0].phase), (true, "dancing"));
    for nonsense in ["", "no", "[]x", r#"{"ready":"perhaps"}"#, r#"{"remotes":[7]}"#, &"[".repeat(4000)] {
        assert_eq!(Digest::read(nonsense), None, "{nonsense}");
    }
    let many = format!(r#"{{"remotes":[{}{{}}],"remotes_left_out":18446744073709551615}}"#, "{},".repeat(1000));
    let digest = Digest::read(&many).unwrap();
    assert_eq!((digest.remotes.len(), digest.remotes_left_out), (32, usize::MAX), "its report stays small");
}

#[tokio::test(start_paused = true)]
async fn the_others_are_told_each_second() {
    let (inputs, ends) = inputs(false);
    let shared = shared(inputs);
    let _task = AbortOnDropHandle::new(tokio::spawn(crate::api::digest::tell(shared)));
    let told = || Digest::read(&ends.group.digest.borrow()).map(|digest| digest.ready);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(told(), Some(false));
    ends.group_status(|status| status.settled = true);
    tokio::time::sleep(Duration::from_millis(998)).await;
    assert_eq!(told(), Some(false));
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(told(), Some(true));
}

#[test]
fn a_report_holds_what_each_member_told_and_knows_the_own_member_at_first_hand() {
    let (inputs, ends) = inputs(false);
    let member = |name: &str, this: bool, digest: &str| MemberStatus {
        name: name.to_owned(),
        kind: MemberKind::Voter,
        this,
        digest: digest.to_owned(),
        ..MemberStatus::default()
    };
    ends.group_status(|status| {
        status.members = vec![
            member("prom-0", true, r#"{"version":"old word"}"#),
            member("prom-1", false, r#"{"version":"its word"}"#),
            member("prom-2", false, ""),
            member("prom-3", false, "nonsense"),
        ];
    });
    let report = serde_json::to_value(shared(inputs).report()).unwrap();
    let versions: Vec<_> = (0..4).map(|n| &report["group"]["members"][n]["digest"]["version"]).collect();
    assert_eq!(
        versions,
        ["own", "its word", "", ""]
            .map(|version| match version {
                "own" => serde_json::json!(env!("CARGO_PKG_VERSION")),
                "" => serde_json::Value::Null,
                other => serde_json::json!(other),
            })
            .iter()
            .collect::<Vec<_>>()
    );
    let again: StatusReport = serde_json::from_value(report).unwrap();
    assert_eq!(again.group.members[2].digest, None);
}
