//! Leadership as one member sees it, and its own right to act.
//!
//! Authority is an expiry time compared with now, never a boolean (DESIGN.md, "The group").

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::contacts::{Contact, Contacts};
use crate::rules::{Rule, holds};
use crate::shared::LeaderHeard;
use crate::view::RaftView;
use crate::{Member, NodeId, Now};

/// Who leads, as this member sees it, and what this member itself may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// Raft term that this view belongs to; 0 before the group has formed.
    pub term: u64,
    /// The leader of `term` while it is heard of. `None`: no leader is known, the group is electing or cut off.
    /// A witness may stand here for the short time until it has handed over.
    pub leader: Option<Arc<Leader>>,
    /// This member's own right to act as the leader.
    pub authority: Authority,
}

/// The leader of a term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Its node id.
    pub id: NodeId,
    /// Whether it is this member itself.
    pub is_self: bool,
    /// Its name and addresses.
    pub member: Member,
    /// Where the calls of the process that leads come from and it has answered too, whatever DNS says; `None` if that is not known.
    pub found_at: Option<IpAddr>,
}

/// The right to act as the leader of the group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Authority {
    /// None: another member may hold it.
    #[default]
    None,
    /// Held before `deadline`, provided that the machine was not suspended since.
    Until {
        /// Last quorum acknowledgement plus the renew deadline.
        deadline: Instant,
        /// [`Now::suspended`] when the acknowledgement was seen.
        suspended: Duration,
    },
    /// Held without a deadline: this member is the only voter.
    SoleVoter,
}

impl Leadership {
    /// Whether this member may act as the leader at `now`. Ask right before the act.
    pub fn holds_authority(&self, now: Now) -> bool {
        match self.authority {
            Authority::None => false,
            Authority::Until { deadline, suspended } => now.instant < deadline && !now.slept_since(suspended),
            Authority::SoleVoter => true,
        }
    }

    /// When the present authority ends unless it is renewed; `None` if there is none or no end. A consumer waits for
    /// this instant beside the watch.
    pub fn authority_deadline(&self) -> Option<Instant> {
        match self.authority {
            Authority::Until { deadline, .. } => Some(deadline),
            Authority::None | Authority::SoleVoter => None,
        }
    }

    /// Name of the leader, or the empty string.
    pub fn leader_name(&self) -> &str {
        self.leader.as_ref().map_or("", |leader| leader.member.name.as_str())
    }
}

/// What this member knows beside openraft's metrics.
#[derive(Clone, Debug)]
pub(crate) struct Local {
    pub(crate) witness: bool,
    /// Authority was given up for good in this term.
    pub(crate) latched_term: u64,
    /// Leadership was confirmed once by a read barrier in this term.
    pub(crate) confirmed_term: u64,
    /// The founding members have all taken their place.
    pub(crate) formed: bool,
    pub(crate) leader_heard: Option<LeaderHeard>,
    /// Acknowledgements of heartbeats sent before this instant are void: the machine slept after them.
    pub(crate) acks_void_before: Option<Instant>,
    /// R.
    pub(crate) renew_deadline: Duration,
    /// L.
    pub(crate) lease_duration: Duration,
    /// What is known of the others.
    pub(crate) contacts: Arc<Contacts>,
}

impl Local {
    /// Whether everything but the confirmation speaks for authority.
    pub(crate) fn may_confirm(&self, view: &RaftView) -> bool {
        view.is_leader()
            && view.is_voter(view.id)
            && !(self.witness && holds(Rule::WitnessNeverActs))
            && (view.committed_own_term || !holds(Rule::CommittedTerm))
            && self.latched_term < view.term
            && (self.formed || !holds(Rule::FormedGate))
    }
}

/// Leadership at `now`. Pure; the heart of the promise that no two members hold authority.
pub(crate) fn assess(view: &RaftView, local: &Local, now: Now) -> Leadership {
    let authority = authority(view, local, now);
    let mut leadership = Leadership { term: view.term, leader: None, authority };
    let leader = if view.is_leader() {
        leadership.holds_authority(now).then_some(view.id)
    } else {
        heard_leader(view, local, now)
    };
    leadership.leader = leader.and_then(|id| {
        let member = view.nodes.get(&id)?.clone();
        let found_at = local.contacts.by_id(id).and_then(Contact::found_at).map(|at| at.ip());
        Some(Arc::new(Leader { id, is_self: id == view.id, member, found_at }))
    });
    leadership
}

fn authority(view: &RaftView, local: &Local, now: Now) -> Authority {
    if !local.may_confirm(view) || (local.confirmed_term != view.term && holds(Rule::Confirm)) {
        return Authority::None;
    }
    if view.is_sole_voter() || !holds(Rule::Deadline) {
        return Authority::SoleVoter;
    }
    match view.last_quorum_acked {
        Some(acked) if local.acks_void_before.is_none_or(|void| acked > void) => {
            Authority::Until { deadline: acked + local.renew_deadline, suspended: now.suspended }
        }
        _ => Authority::None,
    }
}

/// A follower believes in a leader for one lease after its last word: openraft keeps naming it for ever.
fn heard_leader(view: &RaftView, local: &Local, now: Now) -> Option<NodeId> {
    let heard = local.leader_heard?;
    let fresh = now.instant.saturating_duration_since(heard.at) < local.lease_duration;
    (fresh && heard.term == view.term && heard.leader != view.id).then_some(heard.leader)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unchecked_time_subtraction)]
    use std::collections::BTreeSet;

    use openraft::ServerState;

    use super::*;
    use crate::store::Standing;
    use crate::testing::{contacts, hello, id, member, view};

    const R: Duration = Duration::from_millis(800);

    fn local() -> Local {
        Local {
            witness: false,
            latched_term: 0,
            confirmed_term: 5,
            formed: true,
            leader_heard: None,
            acks_void_before: None,
            renew_deadline: R,
            lease_duration: Duration::from_secs(1),
            contacts: Arc::default(),
        }
    }

    fn at(instant: Instant) -> Now {
        Now { instant, suspended: Duration::ZERO }
    }

    /// A leader of term 5 among three voters, acknowledged at the returned instant.
    fn leader() -> (RaftView, Instant) {
        let acked = Instant::now();
        let mut view = view(&[1, 2, 3]);
        view.state = ServerState::Leader;
        view.term = 5;
        view.committed_own_term = true;
        view.last_quorum_acked = Some(acked);
        (view, acked)
    }

    #[test]
    fn a_leader_acts_until_the_renew_deadline_after_its_last_quorum_acknowledgement() {
        let (view, acked) = leader();
        let leadership = assess(&view, &local(), at(acked));
        assert_eq!(leadership.authority_deadline(), Some(acked + R));
        assert!(leadership.holds_authority(at(acked + R - Duration::from_nanos(1))));
        assert!(!leadership.holds_authority(at(acked + R)));
        assert_eq!(leadership.leader_name(), "prom-1");
        let late = assess(&view, &local(), at(acked + R));
        assert_eq!(late.leader, None, "an isolated leader names nobody");
    }

    #[test]
    fn each_condition_alone_takes_authority_away() {
        type Spoil = fn(&mut RaftView, &mut Local);
        let spoilers: [(&str, Spoil); 8] = [
            ("not leading", |view, _| view.state = ServerState::Follower),
            ("not a voter", |view, _| view.configs = vec![BTreeSet::from([id(2), id(3)])]),
            ("a witness", |_, local| local.witness = true),
            ("no entry of the term committed", |view, _| view.committed_own_term = false),
            ("latched", |_, local| local.latched_term = 5),
            ("not confirmed", |_, local| local.confirmed_term = 4),
            ("not formed", |_, local| local.formed = false),
            ("never acknowledged", |view, _| view.last_quorum_acked = None),
        ];
        for (what, spoil) in spoilers {
            let ((mut view, acked), mut local) = (leader(), local());
            assert!(assess(&view, &local, at(acked)).holds_authority(at(acked)));
            spoil(&mut view, &mut local);
            assert_eq!(assess(&view, &local, at(acked)).authority, Authority::None, "{what}");
        }
    }

    #[test]
    fn a_sole_voter_needs_no_acknowledgement_but_a_committed_membership() {
        let mut view = view(&[1]);
        view.state = ServerState::Leader;
        view.term = 5;
        view.committed_own_term = true;
        assert_eq!(assess(&view, &local(), at(Instant::now())).authority, Authority::SoleVoter);
        view.membership_committed = false;
        assert_eq!(assess(&view, &local(), at(Instant::now())).authority, Authority::None);
    }

    #[test]
    fn a_suspended_machine_does_not_believe_its_old_lease() {
        let (view, acked) = leader();
        let leadership = assess(&view, &local(), at(acked));
        let woke = Now { instant: acked + Duration::from_millis(1), suspended: Duration::from_secs(60) };
        assert!(!leadership.holds_authority(woke));
        let void = Local { acks_void_before: Some(woke.instant), ..local() };
        assert_eq!(assess(&view, &void, woke).authority, Authority::None, "until a heartbeat sent after waking");
        let renewed = RaftView { last_quorum_acked: Some(woke.instant + Duration::from_millis(1)), ..view };
        assert!(assess(&renewed, &void, woke).holds_authority(woke));
    }

    #[test]
    fn a_follower_believes_in_a_leader_for_one_lease_after_its_last_word() {
        let heard_at = Instant::now();
        let mut follower = view(&[1, 2, 3]);
        follower.term = 5;
        let heard = LeaderHeard { term: 5, leader: id(2), at: heard_at };
        let local = Local { leader_heard: Some(heard), ..local() };
        let soon = assess(&follower, &local, at(heard_at + Duration::from_millis(999)));
        assert_eq!(soon.leader.map(|leader| leader.member.clone()), Some(member(2)));
        assert_eq!(assess(&follower, &local, at(heard_at + Duration::from_secs(1))).leader, None);
        let mut contacts = contacts([], heard_at);
        contacts.called(hello(2, Standing::Blank), Some([10, 0, 0, 2].into()), heard_at);
        contacts.answered(hello(2, Standing::Blank), "10.0.0.2:9096", heard_at);
        let local = Local { contacts: Arc::new(contacts), ..local };
        let found_at = assess(&follower, &local, at(heard_at)).leader.and_then(|leader| leader.found_at);
        assert_eq!(found_at, Some(IpAddr::from([10, 0, 0, 2])));
        follower.term = 6;
        assert_eq!(assess(&follower, &local, at(heard_at)).leader, None, "an older term's leader is none");
    }
}
