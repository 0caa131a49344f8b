//! The two routers and listeners against the test ends of group and role control.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod admin;
mod attacks;
mod digest;
mod page;
mod public;
mod scrape;
mod sockets;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use elector_raft::{Authority, GroupEnds, GroupStatus, Leader, Leadership, Member, NodeId};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt as _;
use tokio::sync::{mpsc, watch};
use tower::ServiceExt as _;

use super::*;
use crate::metrics::NotifierMetrics;
use crate::role::{RoleCommand, RoleStatus};

/// What stands in for group and role control.
pub(super) struct Ends {
    group: GroupEnds,
    role: watch::Sender<Arc<RoleStatus>>,
    commands: mpsc::Receiver<RoleCommand>,
    notifier: NotifierMetrics,
    shutting_down: CancellationToken,
}

impl Ends {
    fn leads(&self, name: &str, is_self: bool, authority: Authority) {
        let member = Member { name: name.to_owned(), ..Member::default() };
        let leader = Some(Arc::new(Leader { id: NodeId(7), is_self, member, found_at: None }));
        self.group.leadership.send_replace(Leadership { term: 7, leader, authority });
    }

    fn group_status(&self, change: impl FnOnce(&mut GroupStatus)) {
        self.group.status.send_modify(|status| change(Arc::make_mut(status)));
    }
}

fn authority_for(left: Duration) -> Authority {
    let now = Now::read();
    Authority::Until { deadline: now.instant + left, suspended: now.suspended }
}

/// Inputs of a member `prom-0`, and the ends that move them.
pub(super) fn inputs(witness: bool) -> (ApiInputs, Ends) {
    let (group, group_ends) = GroupHandle::new();
    let (role, status) = watch::channel(Arc::new(RoleStatus::default()));
    let (commands, commands_end) = mpsc::channel(4);
    let handle = RoleHandle { status, commands };
    let shutting_down = CancellationToken::new();
    let notifier = NotifierMetrics::default();
    let handle = Some(handle).filter(|_| !witness);
    let inputs = ApiInputs {
        member: "prom-0".to_owned(),
        metrics: Arc::new(Metrics::new("prom-0", &group, handle.as_ref().map(|role| (role, &notifier)))),
        group,
        role: handle,
        warnings: Arc::new(Vec::new),
        shutting_down: shutting_down.clone(),
        fallback: None,
        gate: None,
    };
    (inputs, Ends { group: group_ends, role, commands: commands_end, notifier, shutting_down })
}

pub(super) fn shared(inputs: ApiInputs) -> Arc<Shared> {
    Arc::new(Shared::new(inputs, CancellationToken::new()))
}

/// An answer, read to its end.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

async fn ask(router: &Router, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = http::Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let client: SocketAddr = "192.0.2.1:4711".parse().unwrap();
    let request = request.extension(ConnectInfo(client)).body(Body::empty()).unwrap();
    let (parts, body) = router.clone().oneshot(request).await.unwrap().into_parts();
    let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    Answer { status: parts.status, headers: parts.headers, body }
}

async fn get(router: &Router, path: &str) -> Answer {
    ask(router, Method::GET, path, &[]).await
}
