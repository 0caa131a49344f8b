//! Who is listed: discovery's newest answer, the names behind its bare addresses, and since when a name is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::state::clip;
use crate::{Member, Peer, PeerSet};

/// Names that are remembered as missing.
const ABSENT_MAX: usize = 256;

/// The list of possible members. Pure.
#[derive(Clone, Debug)]
pub(crate) struct Roster {
    own: Member,
    peers: PeerSet,
    /// Names that answered at addresses.
    name_at: BTreeMap<String, String>,
    /// Addresses where a member of another election answered: two groups may share a service.
    foreign: BTreeSet<String>,
    /// Why nobody answered at an address the last time.
    failures: BTreeMap<String, String>,
    /// Every name ever listed -> first and newest answer that lacked it in a row.
    missing: BTreeMap<String, Option<(Instant, Instant)>>,
}

impl Roster {
    pub(crate) fn new(own: &Member) -> Self {
        Self {
            own: own.clone(),
            peers: PeerSet::default(),
            name_at: BTreeMap::new(),
            foreign: BTreeSet::new(),
            failures: BTreeMap::new(),
            missing: BTreeMap::new(),
        }
    }

    /// Takes a new answer.
    pub(crate) fn answered(&mut self, peers: PeerSet) {
        let listed = |address: &String| peers.peers.iter().any(|peer| peer.address == *address);
        self.name_at.retain(|address, _| listed(address));
        self.foreign.retain(listed);
        self.failures.retain(|address, _| listed(address));
        self.peers = peers;
        let Some(at) = self.peers.answered_at else { return };
        let names = self.names();
        for name in &names {
            self.missing.insert(name.clone(), None);
        }
        if self.has_unidentified() {
            return; // one of them may be at that address
        }
        for (name, since) in &mut self.missing {
            if !names.contains(name) {
                *since = Some((since.map_or(at, |(first, _)| first), at));
            }
        }
        while self.missing.len() > ABSENT_MAX {
            self.missing.pop_first();
        }
    }

    /// A member of the membership is known, so that its absence counts even if it was never listed here.
    pub(crate) fn expects<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        for name in names {
            if !self.missing.contains_key(name) {
                self.missing.insert(name.to_owned(), None);
            }
        }
    }

    /// Notes who answered at an address.
    pub(crate) fn identified(&mut self, address: String, name: String) {
        if self.peers.peers.iter().any(|peer| peer.address == address) {
            self.foreign.remove(&address);
            self.failures.remove(&address);
            self.name_at.insert(address, name);
        }
    }

    /// Notes that a member of another election answered at an address.
    pub(crate) fn is_foreign(&mut self, address: String) {
        self.name_at.remove(&address);
        self.failures.remove(&address);
        self.foreign.insert(address);
    }

    /// Notes why nobody answered at an address.
    pub(crate) fn failed(&mut self, address: String, why: &str) {
        if self.peers.peers.iter().any(|peer| peer.address == address) {
            self.failures.insert(address, clip(why));
        }
    }

    /// Which listed addresses do not answer, and why, for people.
    pub(crate) fn failures(&self) -> String {
        let texts: Vec<String> = self.failures.iter().map(|(address, why)| format!("{address}: {why}")).collect();
        texts.join("; ")
    }

    /// The same, with the members of another election: for a member that waits for others.
    pub(crate) fn unusable(&self) -> String {
        let foreign = self.foreign.iter();
        let foreign =
            foreign.map(|address| format!("{address}: another election: is lease-name equal on all members?"));
        let silent = Some(self.failures()).filter(|texts| !texts.is_empty());
        silent.into_iter().chain(foreign).collect::<Vec<_>>().join("; ")
    }

    /// Peers that are not known to belong to another election.
    fn peers(&self) -> impl Iterator<Item = &Peer> {
        self.peers.peers.iter().filter(|peer| !self.foreign.contains(&peer.address))
    }

    /// Names listed now, this member's among them if it is.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        let named = self.peers().filter_map(|peer| peer.name.clone());
        named.chain(self.name_at.values().cloned()).collect()
    }

    /// The largest set of peers in one answer: `before`, without those that belong to another election as is known by
    /// now, or the newest answer.
    pub(crate) fn most_seen(&self, before: &BTreeSet<String>) -> BTreeSet<String> {
        let label = |peer: &Peer| peer.name.clone().unwrap_or_else(|| peer.address.clone());
        let foreign = self.peers.peers.iter().filter(|peer| self.foreign.contains(&peer.address));
        let foreign: BTreeSet<String> = foreign.map(label).filter(|label| *label != self.own.name).collect();
        let before: BTreeSet<String> = before.difference(&foreign).cloned().collect();
        let newest: BTreeSet<String> = self.peers().map(label).collect();
        if newest.len() > before.len() { newest } else { before }
    }

    fn has_unidentified(&self) -> bool {
        self.peers().any(|peer| {
            let own = peer.address == self.own.raft_address; // nobody says hello to itself
            peer.name.is_none() && !own && !self.name_at.contains_key(&peer.address)
        })
    }

    /// Addresses to say hello to.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = &str> {
        self.peers
            .peers
            .iter()
            .filter(|peer| peer.name.as_deref() != Some(&self.own.name) && peer.address != self.own.raft_address)
            .map(|peer| peer.address.as_str())
    }

    /// For how long each missing name has been missing, as of the newest answer: an outage of discovery adds nothing.
    pub(crate) fn absent(&self, now: Instant) -> BTreeMap<String, Duration> {
        self.missing
            .iter()
            .filter_map(|(name, since)| {
                let (first, newest) = (*since)?;
                Some((name.clone(), newest.min(now).saturating_duration_since(first)))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::member;

    fn answer(names: &[&str], at: Instant) -> PeerSet {
        let peer = |name: &&str| Peer { name: Some((*name).into()), address: format!("{name}:9096") };
        PeerSet { peers: names.iter().map(peer).collect(), answered_at: Some(at) }
    }

    #[test]
    fn absence_is_measured_between_successful_answers() {
        let start = Instant::now();
        let s = |n: u64| start + Duration::from_secs(n);
        let mut roster = Roster::new(&member(0));
        roster.answered(answer(&["prom-0", "prom-1"], s(0)));
        roster.answered(answer(&["prom-0"], s(10)));
        assert_eq!(roster.absent(s(1000))["prom-1"], Duration::ZERO, "one answer is no duration");
        roster.answered(answer(&["prom-0"], s(40)));
        assert_eq!(roster.absent(s(1000))["prom-1"], Duration::from_secs(30));
        roster.answered(answer(&["prom-0", "prom-1"], s(50)));
        assert!(roster.absent(s(1000)).is_empty());
    }

    #[test]
    fn an_address_whose_name_is_unknown_may_be_anybody() {
        let start = Instant::now();
        let mut roster = Roster::new(&member(0));
        roster.answered(answer(&["prom-1"], start));
        let bare = Peer { name: None, address: "10.0.0.9:9096".into() };
        let at = |s| PeerSet { peers: vec![bare.clone()], answered_at: Some(start + Duration::from_secs(s)) };
        roster.answered(at(10));
        roster.answered(at(20));
        assert!(roster.absent(start + Duration::from_secs(20)).is_empty());
        roster.identified("10.0.0.9:9096".into(), "prom-2".into());
        roster.answered(at(30));
        roster.answered(at(40));
        assert_eq!(roster.absent(start + Duration::from_secs(40))["prom-1"], Duration::from_secs(10));
        assert_eq!(roster.names(), BTreeSet::from(["prom-2".to_owned()]));
    }

    #[test]
    fn members_of_another_election_do_not_count() {
        let mut roster = Roster::new(&member(0));
        roster.answered(answer(&["prom-0", "other-0"], Instant::now()));
        let both = roster.most_seen(&BTreeSet::new());
        assert_eq!(both.len(), 2);
        roster.is_foreign("other-0:9096".into());
        let own = BTreeSet::from(["prom-0".to_owned()]);
        assert_eq!(roster.names(), own);
        assert_eq!(roster.most_seen(&both), own, "it counted until it answered");
        assert_eq!(roster.failures(), "", "it may share the service");
        assert!(roster.unusable().contains("other-0:9096: another election"), "but whoever waits is told");
        roster.identified("other-0:9096".into(), "other-0".into());
        assert_eq!(roster.most_seen(&own), both, "it may be given the right name later");
    }

    #[test]
    fn the_most_peers_of_one_answer_are_remembered_and_not_added_up() {
        let mut roster = Roster::new(&member(0));
        roster.answered(answer(&["prom-0", "prom-1", "prom-2"], Instant::now()));
        let three = roster.most_seen(&BTreeSet::new());
        roster.answered(answer(&["prom-0", "prom-3"], Instant::now()));
        assert_eq!(roster.most_seen(&three), three);
        let bare = |n: u8| Peer { name: None, address: format!("10.0.0.{n}:9096") };
        roster.answered(PeerSet { peers: (0..4).map(bare).collect(), answered_at: Some(Instant::now()) });
        assert_eq!(roster.most_seen(&three).len(), 4);
        roster.is_foreign("10.0.0.3:9096".into());
        assert_eq!(roster.most_seen(&three).len(), 3);
    }

    #[test]
    fn hello_goes_to_everybody_but_this_member() {
        let mut roster = Roster::new(&member(0));
        roster.answered(answer(&["prom-0", "prom-1"], Instant::now()));
        assert_eq!(roster.addresses().collect::<Vec<_>>(), ["prom-1:9096"]);
    }
}
