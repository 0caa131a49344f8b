//! Small makers for unit tests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use openraft::ServerState;

use crate::contacts::Contacts;
use crate::network::Hello;
use crate::store::Standing;
use crate::view::RaftView;
use crate::{Member, NodeId};

pub(crate) fn id(number: u64) -> NodeId {
    NodeId(number)
}

/// Member `prom-<number>`.
pub(crate) fn member(number: u64) -> Member {
    Member {
        name: format!("prom-{number}"),
        raft_address: format!("prom-{number}:9096"),
        api_url: format!("http://prom-{number}:9095"),
        prometheus_url: format!("http://prom-{number}:9090"),
        witness: false,
    }
}

/// A follower, member 1, in a committed group of these voters.
pub(crate) fn view(voters: &[u64]) -> RaftView {
    RaftView {
        id: id(1),
        term: 1,
        state: ServerState::Follower,
        current_leader: None,
        committed_own_term: false,
        last_quorum_acked: None,
        last_log_index: 10,
        applied_index: 10,
        committed_index: 10,
        configs: vec![voters.iter().map(|v| id(*v)).collect()],
        nodes: Arc::new(voters.iter().map(|v| (id(*v), member(*v))).collect()),
        local_committed: None,
        membership_log_id: None,
        membership_committed: true,
        matched: BTreeMap::new(),
        acked: BTreeMap::new(),
    }
}

/// The word of member `number`: eligible, up for a minute.
pub(crate) fn hello(number: u64, standing: Standing) -> Hello {
    Hello {
        member: member(number),
        node_id: id(number),
        incarnation: number,
        standing,
        founds: true,
        uptime_ms: 60_000,
        eligible: true,
        prepared: true,
        eligibility_reason: "ready".into(),
        digest: String::new(),
        seen: BTreeMap::new(),
    }
}

pub(crate) fn contacts(hellos: impl IntoIterator<Item = Hello>, heard_at: Instant) -> Contacts {
    let mut contacts = Contacts::default();
    for hello in hellos {
        contacts.called(hello, None, heard_at);
    }
    contacts
}
