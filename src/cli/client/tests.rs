//! The client subcommands against a real admin listener.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use elector_raft::{
    Authority, CommandError, GroupEnds, GroupHandle, GroupStatus, Leader, Leadership, Member, MemberKind, MemberStatus,
    NodeId, Request as GroupRequest,
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::api::{Api, ApiInputs, ApiSettings, Drain};
use crate::metrics::Metrics;

/// A served witness: it needs no role control, and `step-down` and `member remove` reach the group directly.
fn sidecar() -> (SocketAddr, GroupEnds, AbortOnDropHandle<()>) {
    let (admin, _, ends, served) = sidecar_with_api();
    (admin, ends, served)
}

/// The same, with the address of its API as the second.
fn sidecar_with_api() -> (SocketAddr, SocketAddr, GroupEnds, AbortOnDropHandle<()>) {
    let (group, ends) = GroupHandle::new();
    let loopback = "127.0.0.1:0".parse().unwrap();
    let api = Api::bind(&ApiSettings { listen: loopback, admin_listen: loopback, web_config_file: None }).unwrap();
    let (admin, public) = (api.admin_addr, api.public_addr);
    let inputs = ApiInputs {
        member: "wit-0".to_owned(),
        metrics: Arc::new(Metrics::new("wit-0", &group, None)),
        group,
        role: None,
        warnings: Arc::new(Vec::new),
        shutting_down: CancellationToken::new(),
        fallback: None,
        gate: None,
    };
    let served = tokio::spawn(api.serve(inputs, Drain::default(), Duration::ZERO));
    (admin, public, ends, AbortOnDropHandle::new(served))
}

fn text(output: Output) -> String {
    String::from_utf8(output.text).unwrap()
}

#[tokio::test]
async fn status_is_a_table_or_the_raw_report() {
    let (admin, _ends, _served) = sidecar();
    let table = text(status(&Whom::Own(admin), false).await.unwrap());
    assert!(table.starts_with("wit-0 is a witness; no leader is known; term 0; not ready\n"), "{table}");
    let json = text(status(&Whom::Own(admin), true).await.unwrap());
    let report: StatusReport = serde_json::from_str(&json).unwrap();
    assert_eq!(report.member, "wit-0");
}

#[tokio::test]
async fn a_check_of_any_member_says_what_is_wrong_or_who_leads() {
    let (admin, api, ends, _served) = sidecar_with_api();
    let other = Whom::Other(api.to_string());
    for whom in [Whom::Own(admin), other.clone()] {
        let error = status_check(&whom).await.unwrap_err().to_string();
        assert!(error.starts_with("wit-0: no leader is known; not ready: "), "{error}");
    }
    ends.status.send_modify(|status| Arc::make_mut(status).settled = true);
    let member = Member { name: "prom-1".to_owned(), ..Member::default() };
    let leader = Some(Arc::new(Leader { id: NodeId(7), is_self: false, member, found_at: None }));
    ends.leadership.send_replace(Leadership { term: 4, leader, authority: Authority::None });
    assert_eq!(text(status_check(&other).await.unwrap()), "wit-0 is settled; prom-1 leads, term 4\n");

    let nobody = Whom::Other("127.0.0.1:1".to_owned());
    let error = status_check(&nobody).await.unwrap_err().to_string();
    assert!(error.starts_with("no member's API answers on 127.0.0.1:1 (Connection refused"), "{error}");
    let error = status_check(&Whom::Other("prom-1".to_owned())).await.unwrap_err().to_string();
    assert!(error.starts_with("no member's API answers on prom-1 ("), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_patient_shutdown_waits_until_the_others_have_been_well_for_a_while() {
    let member = |name: &str, eligible, last_contact_ms| {
        let kind = if name == "wit-0" { MemberKind::Witness } else { MemberKind::Voter };
        MemberStatus { name: name.to_owned(), kind, eligible, last_contact_ms, ..MemberStatus::default() }
    };
    let report_of = |members| {
        let group = GroupStatus::<Option<()>> { members, ..GroupStatus::default() };
        let json = serde_json::json!({
            "member": "wit-0", "role": "witness", "term": 4, "authority": false, "authority_left_ms": null, "leader": "prom-1",
            "ready": true, "not_ready_reason": null, "shutting_down": false, "reason": "", "eligible": null,
            "eligibility_reason": "", "cordoned": false, "config": null, "warnings": [], "version": "",
            "group": group
        });
        serde_json::from_value::<StatusReport>(json).unwrap()
    };
    let all = |eligible, ms_0, ms_1| {
        report_of(vec![
            member("prom-0", eligible, Some(ms_0)),
            member("prom-1", Some(true), Some(ms_1)),
            member("wit-0", None, None),
        ])
    };
    let report = |eligible, ms| all(eligible, ms, 100);
    // Second by second: well, about to end, away, starting, well for good.
    let at = |second| match second {
        0..10 | 40.. => report(Some(true), 100),
        10..15 | 25..40 => report(Some(false), 100),
        _ => report(Some(true), 3_000),
    };
    let start = tokio::time::Instant::now();
    let ask = async || Ok(at(start.elapsed().as_secs()));
    others_are_well(ask).await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 60);
    let start = tokio::time::Instant::now();
    others_are_well(async || Ok(all(Some(false), 3_000, 3_000))).await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 20, "nothing is saved by waiting for a majority that is gone");
    let gone = others_are_well(async || Err(CliError::Refused("gone".to_owned()))).await;
    assert!(gone.is_err(), "nobody is waited for");
}

#[tokio::test]
async fn member_list_prints_the_members() {
    let (admin, ends, _served) = sidecar();
    ends.status.send_modify(|status| {
        Arc::make_mut(status).members.push(MemberStatus {
            name: "prom-1".to_owned(),
            id: NodeId(0xab),
            kind: MemberKind::Voter,
            leader: true,
            raft_address: "prom-1.prom:9096".to_owned(),
            eligible: Some(true),
            prepared: Some(true),
            last_contact_ms: Some(20),
            ..MemberStatus::default()
        });
    });
    let expected = "   MEMBER  KIND   NODE ID           RAFT ADDRESS
*  prom-1  voter  00000000000000ab  prom-1.prom:9096
";
    assert_eq!(text(member_list(admin).await.unwrap()), expected);
}

#[tokio::test]
async fn removal_through_a_follower_says_where_to_run_it() {
    let (admin, mut ends, _served) = sidecar();
    tokio::spawn(async move {
        let outcomes = [Ok(NodeId(0xab)), Err(CommandError::NotLeader { leader: "prom-1".to_owned() })];
        for outcome in outcomes {
            let Some(GroupRequest::Remove { name, reply }) = ends.requests.recv().await else { panic!("no removal") };
            assert_eq!(name, "../prom 2/ü");
            reply.send(outcome).unwrap();
        }
        ends
    });
    let name = "../prom 2/ü";
    let done = text(member_remove(admin, name).await.unwrap());
    assert_eq!(done, "removed ../prom 2/ü (node 00000000000000ab) from the group\n");
    let error = member_remove(admin, name).await.unwrap_err().to_string();
    let expected = "this member does not lead the group; ask the leader (prom-1). Run it on that member: \
                    `prometheus-elector member remove ../prom 2/ü`";
    assert_eq!(error, expected);
}

#[tokio::test]
async fn a_refusal_is_shown_in_the_sidecars_own_words() {
    let (admin, _ends, _served) = sidecar();
    for outcome in [cordon(admin).await, uncordon(admin).await, step_down(admin).await] {
        let error = outcome.unwrap_err();
        assert!(matches!(&error, CliError::Refused(words) if words.contains("witness")), "{error}");
    }
}

#[tokio::test]
async fn without_a_sidecar_the_error_names_the_address_and_how_to_change_it() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = status(&Whom::Own(nobody), false).await.unwrap_err().to_string();
    for part in [&nobody.to_string(), "--admin-listen-address", "PROMETHEUS_ELECTOR_ADMIN_LISTEN_ADDRESS", "refused"] {
        assert!(error.contains(part), "{part} in {error}");
    }
}

#[tokio::test]
async fn another_server_is_not_taken_for_a_sidecar() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let app = axum::Router::new().route("/status", axum::routing::get(async || "<html>"));
        axum::serve(listener, app).await
    });
    for outcome in
        [status(&Whom::Own(address), false).await, status(&Whom::Own(address), true).await, cordon(address).await]
    {
        let error = outcome.unwrap_err();
        assert!(matches!(error, CliError::NotASidecar { .. }), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_sidecar_is_not_waited_for_without_end() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let error = status(&Whom::Own(address), false).await.unwrap_err();
    assert!(matches!(error, CliError::NoAnswer { .. }), "{error}");
}
