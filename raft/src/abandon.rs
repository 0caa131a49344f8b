//! Leaving a group that can never be confirmed. Pure (docs/decisions/group-formation.md).
//!
//! A member joins a group durably before the group is confirmed, because the confirmation needs every founding member.
//! When one of them has joined another group instead, or has lost its disk, the confirmation can never come, and the members
//! that wait for it would veto every other formation for ever. Such a member starts anew, under a new node id.
//!
//! That is safe because it then makes the group impossible, if it was not so before: the leader confirms only what every
//! founding member, under its founding node id, has acknowledged at the same time ([`crate::membership`]), and a node id
//! that was given up never acknowledges anything again. So a member first stops to answer, then asks, then leaves if the
//! answers say so: what it hears otherwise may be older than its silence.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::NodeId;
use crate::contacts::{Contact, Contacts};
use crate::store::{ClusterId, Standing};
use crate::view::RaftView;

/// What a member of an unconfirmed group knows.
pub(crate) struct Situation<'a> {
    pub(crate) view: &'a RaftView,
    pub(crate) cluster: ClusterId,
    pub(crate) contacts: &'a Contacts,
    /// It holds an entry of the group.
    pub(crate) holds_entries: bool,
    /// It has heard a leader of the group just now.
    pub(crate) led: bool,
    /// Words from before this instant do not count.
    pub(crate) heard_since: Instant,
}

/// Why the group can never be confirmed; `None`: it may be yet.
pub(crate) fn lost_cause(s: &Situation<'_>) -> Option<String> {
    if !s.holds_entries {
        let why = "it has voted in a group that no leader came out of, and holds nothing of it";
        return (!s.led).then(|| why.into());
    }
    let founders: BTreeSet<NodeId> = s.view.voters().into_iter().filter(|id| *id != s.view.id).collect();
    if let Some(elsewhere) = founders.iter().find_map(|id| s.elsewhere(*id)) {
        return Some(format!("{} has joined another group instead", elsewhere.hello.member.name));
    }
    let reborn: Vec<&str> = founders.iter().filter_map(|id| s.reborn(*id)).collect();
    let leads = s.view.is_leader() && s.view.committed_own_term;
    let left = founders.len() + 1 - reborn.len();
    let no_majority = left <= founders.len().div_ceil(2);
    let lost = !reborn.is_empty() && (leads || no_majority);
    lost.then(|| format!("{} lost its disk before the group was confirmed", reborn.join(", ")))
}

impl Situation<'_> {
    fn fresh(&self) -> impl Iterator<Item = &Contact> {
        self.contacts.iter().filter(|contact| contact.heard_at >= self.heard_since)
    }

    /// A founding member that has promised itself to, or joined, another group: under this node id it has never joined ours.
    fn elsewhere(&self, id: NodeId) -> Option<&Contact> {
        self.fresh().find(|contact| {
            let other = contact.hello.standing.cluster().is_some_and(|cluster| cluster != self.cluster);
            contact.hello.node_id == id && other && contact.hello.standing != Standing::Blank
        })
    }

    /// The name of a founding member that is there under another node id.
    fn reborn(&self, id: NodeId) -> Option<&str> {
        let name = self.view.name_of(id)?;
        self.fresh().any(|contact| contact.hello.member.name == name && contact.hello.node_id != id).then_some(name)
    }
}

/// How long a group may take to be confirmed before a member doubts it.
pub(crate) fn patience(hello_period: Duration, quarantine: Duration) -> Duration {
    hello_period * 3 + quarantine
}

#[cfg(test)]
mod tests {
    use openraft::ServerState;

    use super::*;
    use crate::network::Hello;
    use crate::testing::{contacts, hello, id, view};

    const X: ClusterId = ClusterId(7);
    const Y: ClusterId = ClusterId(8);

    /// Member 1 of the founding members 1 to 3, which has heard these.
    fn cause(hellos: &[Hello], change: impl FnOnce(&mut Situation<'_>)) -> Option<String> {
        let now = Instant::now();
        let (view, contacts) = (view(&[1, 2, 3]), contacts(hellos.iter().cloned(), now));
        let mut situation = Situation {
            view: &view,
            cluster: X,
            contacts: &contacts,
            holds_entries: true,
            led: false,
            heard_since: now,
        };
        change(&mut situation);
        lost_cause(&situation)
    }

    /// Member `number` with a new disk.
    fn reborn(number: u64) -> Hello {
        Hello { node_id: id(number + 100), ..hello(number, Standing::Blank) }
    }

    #[test]
    fn a_group_whose_founding_members_are_in_it_or_may_join_it_is_waited_for() {
        for standing in [Standing::Joined(X), Standing::Promised(X), Standing::Blank] {
            assert_eq!(cause(&[hello(2, standing), hello(3, Standing::Joined(X))], |_| ()), None, "{standing:?}");
        }
        assert_eq!(cause(&[], |_| ()), None, "silence tells nothing");
    }

    #[test]
    fn a_founding_member_in_another_group_ends_it_for_whoever_hears_that_now() {
        for standing in [Standing::Joined(Y), Standing::Promised(Y)] {
            let why = cause(&[hello(2, standing)], |_| ());
            assert!(why.is_some_and(|why| why.contains("prom-2 has joined another")), "{standing:?}");
        }
        let late = |s: &mut Situation<'_>| s.heard_since += Duration::from_millis(1);
        assert_eq!(cause(&[hello(2, Standing::Joined(Y))], late), None, "an old word counts for nothing");
    }

    #[test]
    fn a_lost_disk_ends_it_for_its_leader_and_for_whoever_is_left_without_a_majority() {
        assert_eq!(cause(&[reborn(2)], |_| ()), None, "the leader knows whether it was confirmed before");
        let mut leader = view(&[1, 2, 3]);
        leader.state = ServerState::Leader;
        leader.committed_own_term = true;
        let (known, now) = (contacts([reborn(2)], Instant::now()), Instant::now());
        let situation = Situation {
            view: &leader,
            cluster: X,
            contacts: &known,
            holds_entries: true,
            led: false,
            heard_since: now,
        };
        assert_eq!(lost_cause(&situation), None, "an old word counts for nothing");
        let situation = Situation { heard_since: known.iter().map(|c| c.heard_at).min().unwrap_or(now), ..situation };
        assert!(lost_cause(&situation).is_some());
        assert!(cause(&[reborn(2), reborn(3)], |_| ()).is_some());
    }

    #[test]
    fn a_vote_alone_binds_nobody_once_no_leader_comes() {
        assert!(cause(&[], |s| s.holds_entries = false).is_some());
        assert_eq!(cause(&[], |s| (s.holds_entries, s.led) = (false, true)), None);
    }
}
