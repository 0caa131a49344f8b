use elector_raft::GroupState;
use http::header;

use super::*;
use crate::api::public::router;
use crate::api::status::MemberRole;
use crate::role::ConfigStatus;

#[tokio::test]
async fn every_method_and_path_has_its_answer_with_the_proxy_off() {
    let (inputs, _ends) = inputs(false);
    let router = router(shared(inputs));
    let table = [
        ("GET", "/_elector/healthz", 200),
        ("HEAD", "/_elector/healthz", 200),
        ("POST", "/_elector/healthz", 405),
        ("GET", "/_elector/livez", 200),
        ("GET", "/_elector/readyz", 503),
        ("GET", "/_elector/leader", 200),
        ("DELETE", "/_elector/leader", 405),
        ("GET", "/_elector/role/leader", 503),
        ("GET", "/_elector/role/follower", 200),
        ("GET", "/_elector/role/other", 404),
        ("GET", "/_elector/status", 200),
        ("PUT", "/_elector/status", 405),
        ("GET", "/_elector/metrics", 200),
        ("POST", "/_elector/metrics", 405),
        ("POST", "/_elector/events", 405),
        ("GET", "/_elector", 308),
        ("HEAD", "/_elector/", 200),
        ("POST", "/_elector/", 405),
        ("GET", "/_elector/healthz/", 404),
        ("POST", "/_elector/nothing/here", 404),
        ("POST", "/_elector/step-down", 404),
        ("GET", "/", 404),
        ("GET", "/api/v1/query?query=up", 404),
        ("POST", "/api/v1/query", 404),
        ("GET", "/step-down", 404),
    ];
    for (method, path, status) in table {
        let answer = ask(&router, method.parse().unwrap(), path, &[]).await;
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        assert!(
            [200, 308].contains(&status) || answer.body.ends_with('\n'),
            "{method} {path} explains itself: {answer:?}"
        );
    }
}

#[tokio::test]
async fn refusals_say_what_there_is_instead() {
    let (inputs, _ends) = inputs(false);
    let router = router(shared(inputs));
    assert_eq!(get(&router, "/_elector/healthz").await.body, "", "the Lease-based tool's body is empty");
    assert!(get(&router, "/_elector/lead").await.body.contains("/_elector/leader"));
    assert!(get(&router, "/graph").await.body.contains("--api-proxy-enabled"));
    let answer = ask(&router, Method::POST, "/_elector/leader", &[]).await;
    assert_eq!(answer.headers[header::ALLOW], "GET,HEAD");
    assert!(answer.body.contains("GET and HEAD"), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn leadership_is_judged_by_the_clock_and_not_by_the_last_news() {
    let (inputs, ends) = inputs(false);
    let router = router(shared(inputs));
    assert_eq!(get(&router, "/_elector/leader").await.body, r#"{"is_leader":false,"current_leader":"","term":0}"#);

    ends.leads("prom-0", true, authority_for(Duration::from_millis(800)));
    let answer = get(&router, "/_elector/leader").await;
    assert_eq!(answer.headers[header::CONTENT_TYPE], "application/json");
    assert_eq!(answer.body, r#"{"is_leader":true,"current_leader":"prom-0","term":7}"#);
    assert_eq!(get(&router, "/_elector/role/leader").await.status, 200);
    assert_eq!(get(&router, "/_elector/role/follower").await.status, 503);

    tokio::time::advance(Duration::from_millis(800)).await;
    let answer = get(&router, "/_elector/leader").await;
    assert_eq!(answer.body, r#"{"is_leader":false,"current_leader":"prom-0","term":7}"#);
    let answer = get(&router, "/_elector/role/leader").await;
    assert_eq!(
        (answer.status.as_u16(), &*answer.body),
        (503, "this member leads the group without the right to act\n")
    );
    assert_eq!(get(&router, "/_elector/role/follower").await.status, 200);

    ends.leads("prom-1", false, Authority::None);
    let answer = get(&router, "/_elector/role/leader").await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (503, "this member is not the leader: prom-1 is\n"));
    ends.shutting_down.cancel();
    assert_eq!(get(&router, "/_elector/role/follower").await.status, 503);
}

#[tokio::test]
async fn a_witness_is_neither_leader_nor_follower_for_a_load_balancer() {
    let (inputs, ends) = inputs(true);
    let router = router(shared(inputs));
    ends.leads("prom-0", true, Authority::None);
    assert_eq!(get(&router, "/_elector/role/leader").await.status, 503);
    assert_eq!(get(&router, "/_elector/role/follower").await.status, 503);
}

#[tokio::test]
async fn readiness_is_latched_and_says_why_not() {
    let (inputs, ends) = inputs(false);
    let router = router(shared(inputs));
    ends.group_status(|status| status.reason = "waits for prom-1".to_owned());
    let answer = get(&router, "/_elector/readyz").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.body, "not ready: this member is not a settled member of the group yet: waits for prom-1\n");

    ends.group_status(|status| status.settled = true);
    assert_eq!(get(&router, "/_elector/readyz").await.status, 200);
    ends.group_status(|status| status.settled = false);
    ends.group.leadership.send_replace(Leadership::default());
    assert_eq!(get(&router, "/_elector/readyz").await.status, 200, "no leader, no matter");

    ends.shutting_down.cancel();
    let answer = get(&router, "/_elector/readyz").await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (503, "not ready: shutting down\n"));
}

#[tokio::test]
async fn a_failed_group_is_not_alive() {
    let (inputs, ends) = inputs(false);
    let router = router(shared(inputs));
    assert_eq!(get(&router, "/_elector/livez").await.status, 200);
    ends.group_status(|status| {
        status.state = GroupState::Failed;
        status.reason = "disk full".to_owned();
    });
    let answer = get(&router, "/_elector/livez").await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (503, "the election group has failed: disk full\n"));
}

#[tokio::test(start_paused = true)]
async fn the_report_is_consistent_and_its_warnings_complete() {
    let (mut inputs, ends) = inputs(false);
    inputs.warnings = Arc::new(|| vec!["no token".to_owned(), "twice".to_owned()]);
    let router = router(shared(inputs));
    ends.leads("prom-0", true, authority_for(Duration::from_millis(800)));
    ends.group_status(|status| {
        status.authority = false; // published before the authority above
        status.settled = true;
        status.reason = "leads".to_owned();
        status.warnings = vec!["two members of three".to_owned()];
    });
    ends.role.send_replace(Arc::new(RoleStatus {
        reason: "leads and ships".to_owned(),
        eligible: true,
        config: ConfigStatus { warnings: vec!["twice".to_owned(), "labels differ".to_owned()], ..Default::default() },
        ..RoleStatus::default()
    }));
    tokio::time::advance(Duration::from_millis(300)).await;
    let report: StatusReport = serde_json::from_str(&get(&router, "/_elector/status").await.body).unwrap();
    assert_eq!((report.role, report.authority, report.authority_left_ms), (MemberRole::Leader, true, Some(500)));
    assert_eq!((report.group.authority, report.group.authority_left_ms), (true, Some(500)));
    assert_eq!(report.leader.as_deref(), Some("prom-0"));
    assert_eq!((report.ready, report.not_ready_reason), (true, None));
    assert_eq!(report.reason, "leads and ships");
    assert_eq!(report.eligible, Some(true));
    assert_eq!(report.warnings, ["no token", "twice", "labels differ", "two members of three"]);
    assert_eq!(report.version, env!("CARGO_PKG_VERSION"));
}

#[tokio::test]
async fn a_report_of_another_version_is_read() {
    let (inputs, _ends) = inputs(true);
    let router = router(shared(inputs));
    let mut value: serde_json::Value = serde_json::from_str(&get(&router, "/_elector/status").await.body).unwrap();
    value["from_the_future"] = serde_json::json!({"a": 1});
    value["group"]["from_the_future"] = serde_json::json!([]);
    let report: StatusReport = serde_json::from_value(value).unwrap();
    assert_eq!((report.role, report.config, report.eligible), (MemberRole::Witness, None, None));
}

#[tokio::test]
async fn metrics_come_in_the_format_that_was_asked_for() {
    let (inputs, _ends) = inputs(false);
    let router = router(shared(inputs));
    let plain = get(&router, "/_elector/metrics").await;
    assert_eq!(plain.headers[header::CONTENT_TYPE], "text/plain; version=0.0.4; charset=utf-8");
    assert!(!plain.body.contains("# EOF"));
    assert!(plain.body.contains("# TYPE prometheus_elector_notifier_calls_errors counter\n"));
    let accept = [("accept", "text/html"), ("accept", "application/openmetrics-text;version=1.0.0")];
    let open = ask(&router, Method::GET, "/_elector/metrics", &accept).await;
    assert_eq!(open.headers[header::CONTENT_TYPE], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(open.body.ends_with("\n# EOF\n"));
    assert!(open.body.contains("# TYPE prometheus_elector_notifier_calls_errors unknown\n"));
}
