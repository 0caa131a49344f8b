use elector_raft::{CommandError, Request as GroupRequest};
use serde_json::json;

use super::*;
use crate::api::ADMIN_HEADER;
use crate::api::admin::{COMMAND_TIMEOUT, router};

const GOOD: [(&str, &str); 2] = [(ADMIN_HEADER, "1"), ("host", "127.0.0.1:9097")];

async fn post(router: &Router, path: &str) -> (u16, serde_json::Value) {
    let answer = ask(router, Method::POST, path, &GOOD).await;
    let json = serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("JSON from {path}: {answer:?}"));
    (answer.status.as_u16(), json)
}

#[tokio::test]
async fn every_method_and_path_has_its_answer() {
    let (inputs, _ends) = inputs(true);
    let router = router(shared(inputs));
    let long = format!("/members/{}/remove", "x".repeat(254));
    let table = [
        ("GET", "/status", 200),
        ("POST", "/status", 405),
        ("GET", "/step-down", 405),
        ("GET", "/cordon", 405),
        ("GET", "/members/prom-1/remove", 405),
        ("POST", "/members/remove", 404),
        ("POST", long.as_str(), 400),
        ("GET", "/", 404),
        ("GET", "/_elector/status", 404),
    ];
    for (method, path, status) in table {
        let answer = ask(&router, method.parse().unwrap(), path, &GOOD).await;
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
    }
}

#[tokio::test]
async fn a_browser_gets_nothing_not_even_a_wrong_path() {
    let (inputs, mut ends) = inputs(false);
    let router = router(shared(inputs));
    let marker = (ADMIN_HEADER, "1");
    let attempts: [&[(&str, &str)]; 4] = [
        &[("host", "127.0.0.1:9097")],
        &[marker, ("host", "rebound.example:9097")],
        &[marker],
        &[("host", "127.0.0.1:9097"), ("origin", "http://evil.example"), ("content-type", "text/plain")],
    ];
    for headers in attempts {
        for (method, path) in [(Method::POST, "/cordon"), (Method::GET, "/status"), (Method::GET, "/nothing")] {
            let answer = ask(&router, method, path, headers).await;
            assert_eq!(answer.status, 403, "{path} {headers:?}");
        }
    }
    let preflight = ask(&router, Method::OPTIONS, "/cordon", &[("host", "127.0.0.1:9097")]).await;
    assert_eq!(preflight.status, 403);
    assert!(preflight.headers.get("access-control-allow-origin").is_none());
    assert!(ends.commands.try_recv().is_err(), "no command got through");
}

#[tokio::test]
async fn commands_go_to_role_control_and_its_sentence_comes_back() {
    let (inputs, mut ends) = inputs(false);
    let router = router(shared(inputs));
    let control = tokio::spawn(async move {
        while let Some(command) = ends.commands.recv().await {
            match command {
                RoleCommand::StepDown { reason, reply } => {
                    assert_eq!(reason, "an operator asked for it (step-down)");
                    reply.send(Ok("prom-2".to_owned())).unwrap();
                }
                RoleCommand::Cordon { reply } => reply.send(Ok("cordoned".to_owned())).unwrap(),
                RoleCommand::Uncordon { reply } => reply.send(Err("it was not cordoned".to_owned())).unwrap(),
            }
        }
    });
    assert_eq!(post(&router, "/step-down").await, (200, json!({"message": "stepped down; prom-2 leads now"})));
    assert_eq!(post(&router, "/cordon").await, (200, json!({"message": "cordoned"})));
    assert_eq!(post(&router, "/uncordon").await, (409, json!({"error": "it was not cordoned"})));
    control.abort();
    assert!(control.await.unwrap_err().is_cancelled());
    assert_eq!(post(&router, "/cordon").await, (503, json!({"error": "this member is shutting down"})));
}

#[tokio::test]
async fn a_shutdown_is_begun_and_not_waited_for() {
    let (inputs, _ends) = inputs(false);
    let shutting_down = inputs.shutting_down.clone();
    let router = router(shared(inputs));
    assert!(!shutting_down.is_cancelled());
    for _ in 0..2 {
        let (status, answer) = post(&router, "/shutdown").await;
        assert_eq!(status, 200);
        assert!(answer["message"].as_str().unwrap().starts_with("shutting down: hands over"), "{answer}");
        assert!(shutting_down.is_cancelled());
    }
}

#[tokio::test]
async fn a_witness_hands_over_what_it_leads_and_needs_no_cordon() {
    let (inputs, mut ends) = inputs(true);
    let router = router(shared(inputs));
    let (status, answer) = post(&router, "/cordon").await;
    assert_eq!(status, 409);
    assert!(answer["error"].as_str().unwrap().contains("witness"), "{answer}");
    let (status, answer) = post(&router, "/step-down").await;
    assert_eq!(status, 409);
    assert!(answer["error"].as_str().unwrap().contains("does not lead"), "{answer}");

    ends.leads("prom-0", true, Authority::None);
    tokio::spawn(async move {
        let Some(GroupRequest::HandOver { reply, .. }) = ends.group.requests.recv().await else {
            panic!("no hand-over")
        };
        reply.send(Ok("prom-1".to_owned())).unwrap();
    });
    assert_eq!(post(&router, "/step-down").await, (200, json!({"message": "stepped down; prom-1 leads now"})));
}

#[tokio::test]
async fn removal_names_the_leader_where_another_member_can_do_it() {
    let (inputs, mut ends) = inputs(false);
    let router = router(shared(inputs));
    let group = tokio::spawn(async move {
        let outcomes = [
            Ok(NodeId(255)),
            Err(CommandError::NotLeader { leader: "prom-1".to_owned() }),
            Err(CommandError::NotLeader { leader: String::new() }),
            Err(CommandError::Refused("prom 2 is the last one".to_owned())),
            Err(CommandError::TimedOut { waited_ms: 5000 }),
            Err(CommandError::Stopped),
        ];
        for outcome in outcomes {
            let Some(GroupRequest::Remove { name, reply }) = ends.group.requests.recv().await else {
                panic!("no removal")
            };
            assert_eq!(name, "prom 2");
            reply.send(outcome).unwrap();
        }
    });
    let path = "/members/prom%202/remove";
    let done = json!({"message": "removed prom 2 (node 00000000000000ff) from the group"});
    assert_eq!(post(&router, path).await, (200, done));
    let elsewhere =
        json!({"error": "this member does not lead the group; ask the leader (prom-1)", "leader": "prom-1"});
    assert_eq!(post(&router, path).await, (409, elsewhere));
    let nobody = json!({"error": "this member does not lead the group; ask the leader (none is known now)"});
    assert_eq!(post(&router, path).await, (409, nobody));
    assert_eq!(post(&router, path).await, (409, json!({"error": "prom 2 is the last one"})));
    assert_eq!(post(&router, path).await.0, 504);
    assert_eq!(post(&router, path).await.0, 503);
    group.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_command_without_outcome_is_answered_in_time() {
    let (inputs, ends) = inputs(false);
    let router = router(shared(inputs));
    let start = tokio::time::Instant::now();
    let (status, answer) = post(&router, "/step-down").await;
    assert_eq!((status, start.elapsed()), (504, COMMAND_TIMEOUT));
    assert!(answer["error"].as_str().unwrap().contains("it may still happen"), "{answer}");
    drop(ends);
}
