//! Whose certificate it is: the second half of a member's proof, after the CA's.
//!
//! ```text
//! hello            its own word: the member that it introduces
//! any other call   node id -> the membership's word, and the member's own word under the same name (a new address)
//! an answer        the same, by the node id that was called
//! ```
//!
//! A certificate counts for a member if it holds its name, or the host of its Raft address. Whoever is not known by node id
//! yet is refused for the moment: its hello comes within a lease. A member that starts again knows the others at once, from
//! its log.

use std::sync::{Arc, OnceLock};

use openraft::async_runtime::WatchReceiver;
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error};

use super::{Answer, Call, CallError, Message, Party, Refusal, Reply};
use crate::contacts::Contacts;
use crate::shared::Shared;
use crate::state::clip;
use crate::{Member, NodeId};

/// Whether a certificate is for a member; the error says whom it is for.
pub(super) fn proves(certificate: &CertificateDer<'_>, member: &Member) -> Result<(), String> {
    let parsed = ParsedCertificate::try_from(certificate).map_err(|error| format!("cannot be read: {error}"))?;
    let host = member.raft_host();
    let mut presented = Vec::new();
    for name in [member.name.as_str(), host] {
        let Ok(name) = ServerName::try_from(name) else { continue };
        match verify_server_name(&parsed, &name) {
            Ok(()) => return Ok(()),
            Err(Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented: names, .. })) => {
                presented = names.iter().map(|name| plain(name).to_owned()).collect();
            }
            Err(_) => {}
        }
    }
    let names = if presented.is_empty() { "nobody".to_owned() } else { presented.join(", ") };
    Err(clip(&format!("is for {names}, and neither for {} nor for {host}", member.name)))
}

/// `DnsName("a")` -> `a`.
fn plain(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
    inner.trim_matches('"')
}

/// Who the caller of a message is, by its certificate; or why the message does not count.
pub(super) fn vouch(shared: &Shared, certificate: &CertificateDer<'_>, message: &Message) -> Result<(), Refusal> {
    let known = match &message.call {
        Call::Hello(hello) => vec![hello.member.clone()],
        _ => members_of(shared, message.from),
    };
    if known.is_empty() {
        let why =
            format!("it has not heard a hello of node {} yet, so it cannot tell whose calls these are", message.from);
        return Err(Refusal::Failed(why));
    }
    any_proves(certificate, &known).map_err(|why| Refusal::Other(format!("the caller's certificate {why}")))
}

fn any_proves(certificate: &CertificateDer<'_>, members: &[Member]) -> Result<(), String> {
    let mut judged = Err("is for a member that is not known".to_owned());
    for member in members {
        judged = proves(certificate, member);
        if judged.is_ok() {
            break;
        }
    }
    judged
}

/// The members that a node id may be; none if it was never heard of.
fn members_of(shared: &Shared, id: NodeId) -> Vec<Member> {
    let voted = shared.raft().and_then(|raft| {
        let metrics = raft.metrics();
        let metrics = metrics.borrow_watched();
        let found = metrics.membership_config.nodes().find(|(node, _)| **node == id);
        found.map(|(_, member)| member.clone())
    });
    candidates(voted, &shared.contacts(), id)
}

/// What the membership says counts more than what somebody says of itself: only its addresses may be newer.
fn candidates(voted: Option<Member>, contacts: &Contacts, id: NodeId) -> Vec<Member> {
    let told = contacts.iter().filter(|contact| contact.hello.node_id == id).map(|contact| &contact.hello.member);
    let told: Vec<Member> =
        told.filter(|told| voted.as_ref().is_none_or(|voted| voted.name == told.name)).cloned().collect();
    voted.into_iter().chain(told).collect()
}

/// What the calling side knows of the others: nothing until it is introduced.
#[derive(Clone, Default)]
pub(super) struct Directory(Arc<OnceLock<Shared>>);

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Directory")
    }
}

impl Directory {
    pub(super) fn introduce(&self, shared: Shared) {
        let _ = self.0.set(shared);
    }

    /// Whether the answer of `address` to `message` comes from the member that was meant, by its certificate. A refusal of a
    /// hello says nothing of its sender, so the CA is enough.
    pub(super) fn check(
        &self,
        address: &str,
        certificate: &CertificateDer<'_>,
        message: &Message,
        reply: &Reply,
    ) -> Result<(), CallError> {
        let known = match (&message.call, reply) {
            (Call::Hello(_), Ok(Answer::Hello(hello))) => vec![hello.member.clone()],
            (Call::Hello(_), _) => return Ok(()),
            (Call::Promise { target, .. } | Call::Dismiss { target, .. } | Call::Raft { target, .. }, _) => {
                self.0.get().map(|shared| members_of(shared, *target)).unwrap_or_default()
            }
        };
        any_proves(certificate, &known).map_err(|why| self.distrust(address, &format!("its certificate {why}")))
    }

    /// Notes that what answers at an address is not believed.
    pub(super) fn distrust(&self, address: &str, why: &str) -> CallError {
        if let Some(shared) = self.0.get() {
            shared.refused(Party::Answerer(address.to_owned()), why);
        }
        CallError::Unreachable(why.to_owned())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tls_testing::Ca;
    use super::*;
    use crate::store::Standing;
    use crate::testing::{contacts, hello, member as testing_member};

    fn member(name: &str, raft_address: &str) -> Member {
        Member { name: name.into(), raft_address: raft_address.into(), ..Member::default() }
    }

    #[test]
    fn a_certificate_counts_for_its_member_by_name_by_host_and_by_address() {
        let ca = Ca::new();
        let is_for = |names: &[&str], name: &str, address: &str| {
            proves(&ca.issue(names).certificate, &member(name, address)).is_ok()
        };
        assert!(is_for(&["prom-1"], "prom-1", "10.0.0.1:9096"));
        assert!(is_for(&["x", "PROM-1.prom.mon.svc"], "prom-1", "prom-1.prom.mon.svc.:9096"));
        assert!(is_for(&["*.prom.mon.svc"], "prom-1", "prom-1.prom.mon.svc:9096"));
        assert!(is_for(&["10.0.0.1"], "prom-1", "10.0.0.1:9096"));
        assert!(is_for(&["::1"], "prom-1", "[::1]:9096"));
        assert!(!is_for(&["prom-2"], "prom-1", "10.0.0.1:9096"));
        assert!(!is_for(&["10.0.0.2"], "prom-1", "10.0.0.1:9096"));
        assert!(!is_for(&["*.prom.mon.svc"], "prom-1", "prom-1.other.mon.svc:9096"));
        assert!(!is_for(&[], "prom-1", "prom-1:9096"));
    }

    #[test]
    fn the_membership_says_who_a_node_is_and_its_own_word_only_where_it_is() {
        let now = std::time::Instant::now();
        let mut moved = hello(2, Standing::Blank);
        moved.member.raft_address = "10.0.0.2:9096".into();
        let mut borrowed = hello(3, Standing::Blank);
        borrowed.node_id = NodeId(2);
        let contacts = contacts([borrowed.clone(), moved.clone()], now);
        let known = candidates(Some(testing_member(2)), &contacts, NodeId(2));
        assert_eq!(known, [testing_member(2), moved.member.clone()], "not prom-3, which says that it is node 2");
        assert_eq!(candidates(None, &contacts, NodeId(2)), [moved.member, borrowed.member], "nobody knows better");
        assert_eq!(candidates(Some(testing_member(2)), &Contacts::default(), NodeId(2)), [testing_member(2)]);
        assert_eq!(candidates(None, &contacts, NodeId(9)), []);
    }

    #[test]
    fn the_reason_names_what_the_certificate_is_for_and_the_member() {
        let ca = Ca::new();
        let why = |names: &[&str]| proves(&ca.issue(names).certificate, &member("prom-1", "p1.svc:9096")).unwrap_err();
        assert_eq!(why(&["prom-9", "10.0.0.9"]), "is for prom-9, 10.0.0.9, and neither for prom-1 nor for p1.svc");
        assert_eq!(why(&[]), "is for nobody, and neither for prom-1 nor for p1.svc");
    }
}
