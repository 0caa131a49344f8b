//! What this member knows of the others at first hand: their last word, when it came, and where they are.
//!
//! DNS may name an old address for as long as caches hold it, or a wrong one. A member itself is better evidence: its calls
//! come from somewhere (`called_from`), and once it has answered there too it surely listens there (`found_at`). Where two
//! members cannot find each other, because DNS has the old address of both, a third one tells them (`Hello::seen`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::network::Hello;
use crate::rules::{Rule, holds};
use crate::state::clip;
use crate::store::{ClusterId, Standing};
use crate::{Member, NodeId};

/// Contacts that are kept at once; discovery is bounded below that.
const CONTACTS_MAX: usize = 256;
/// Addresses of others that one hello tells, and that are kept of what was told.
pub(crate) const SEEN_MAX: usize = 64;

/// The last word of one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contact {
    pub(crate) hello: Hello,
    pub(crate) heard_at: Instant,
    /// Where its newest call came from. It need not listen there: address translation may be between.
    called_from: Option<IpAddr>,
    /// Where its calls came from and this very process has answered: one of both may be a translator's or a balancer's address.
    found_at: Option<SocketAddr>,
}

impl Contact {
    fn name(&self) -> &str {
        &self.hello.member.name
    }

    fn port(&self) -> Option<u16> {
        self.hello.member.raft_address.rsplit_once(':').and_then(|(_, port)| port.parse().ok())
    }

    fn called_from(&self) -> Option<SocketAddr> {
        self.called_from.zip(self.port()).map(SocketAddr::from)
    }

    pub(crate) fn calls_from(&self, ip: IpAddr) -> bool {
        self.called_from == Some(ip)
    }

    /// Where it surely listens.
    pub(crate) fn found_at(&self) -> Option<SocketAddr> {
        self.found_at
    }

    /// Where its calls come from, as long as it is not known to listen there.
    fn unproven(&self) -> Option<SocketAddr> {
        self.called_from().filter(|from| self.found_at.is_none_or(|at| at.ip() != from.ip()))
    }

    /// Where its Raft listener may be reached, likeliest first; one at least.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let found = self.found_at.map(|at| at.to_string());
        let advertised = Some(self.hello.member.raft_address.clone()).filter(|address| found.as_ref() != Some(address));
        let observed = self.unproven().map(|at| at.to_string()).filter(|address| advertised.as_ref() != Some(address));
        [found, advertised, observed].into_iter().flatten().collect()
    }

    /// Age of the word.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.heard_at)
    }

    /// How long the member has been up by now.
    pub(crate) fn uptime(&self, now: Instant) -> Duration {
        Duration::from_millis(self.hello.uptime_ms) + self.age(now)
    }
}

/// All contacts, by member name; the newest word under a name counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contacts {
    by_name: BTreeMap<String, Contact>,
    /// Where others have found members, by name, and when they said so.
    told: BTreeMap<String, (SocketAddr, Instant)>,
}

impl Contacts {
    /// Notes the word of a member that called.
    pub(crate) fn called(&mut self, hello: Hello, from: Option<IpAddr>, now: Instant) {
        let contact = self.note(hello, now);
        contact.called_from = from.or(contact.called_from);
    }

    /// Notes the word of a member that answered at an address.
    pub(crate) fn answered(&mut self, hello: Hello, address: &str, now: Instant) {
        let contact = self.note(hello, now);
        let at = address.parse().ok();
        if holds(Rule::FoundFirst) && at.is_some_and(|at: SocketAddr| contact.calls_from(at.ip())) {
            contact.found_at = at;
        }
    }

    /// Notes where another call of a known member came from.
    pub(crate) fn call_came_from(&mut self, id: NodeId, from: IpAddr) {
        if let Some(contact) = self.by_name.values_mut().find(|contact| contact.hello.node_id == id) {
            contact.called_from = Some(from);
        }
    }

    /// What is known of a process that another one under the same name replaces counts no more.
    fn note(&mut self, mut hello: Hello, now: Instant) -> &mut Contact {
        hello.eligibility_reason = clip(&hello.eligibility_reason);
        for (name, at) in std::mem::take(&mut hello.seen) {
            self.tell(name, at, now);
        }
        let name = hello.member.name.clone();
        if self.by_name.len() >= CONTACTS_MAX && !self.by_name.contains_key(&name) {
            let oldest = self.by_name.iter().min_by_key(|(_, contact)| contact.heard_at);
            if let Some(name) = oldest.map(|(name, _)| name.clone()) {
                self.by_name.remove(&name);
            }
        }
        let known = self.by_name.remove(&name).filter(|known| known.hello.incarnation == hello.incarnation);
        let (called_from, found_at) = known.map_or((None, None), |known| (known.called_from, known.found_at));
        self.by_name.entry(name).or_insert(Contact { hello, heard_at: now, called_from, found_at })
    }

    fn tell(&mut self, name: String, at: SocketAddr, now: Instant) {
        if self.told.len() >= SEEN_MAX && !self.told.contains_key(&name) {
            let oldest = self.told.iter().min_by_key(|(_, (_, since))| *since);
            if let Some(name) = oldest.map(|(name, _)| name.clone()) {
                self.told.remove(&name);
            }
        }
        self.told.insert(name, (at, now));
    }

    /// Notes that a member has promised itself: its last word said something else.
    pub(crate) fn promised(&mut self, id: NodeId, cluster: ClusterId) {
        let known = self.by_name.values_mut().find(|contact| contact.hello.node_id == id);
        if let Some(contact) = known.filter(|contact| contact.hello.standing.joined() != Some(cluster)) {
            contact.hello.standing = Standing::Promised(cluster);
        }
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<&Contact> {
        self.by_name.get(name)
    }

    pub(crate) fn by_id(&self, id: NodeId) -> Option<&Contact> {
        self.by_name.values().find(|contact| contact.hello.node_id == id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Contact> {
        self.by_name.values()
    }

    /// Members heard within `freshness`.
    fn fresh(&self, freshness: Duration, now: Instant) -> impl Iterator<Item = &Contact> {
        self.iter().filter(move |contact| contact.age(now) < freshness)
    }

    /// Where a member may be reached, likeliest first and one at least; `member` is what the membership says of it.
    pub(crate) fn addresses_of(&self, id: NodeId, member: &Member) -> Vec<String> {
        let mut addresses = self.by_id(id).map_or_else(|| vec![member.raft_address.clone()], Contact::addresses);
        let told = self.told.get(&member.name).map(|(at, _)| at.to_string());
        addresses.extend(told.filter(|told| !addresses.contains(told)));
        addresses
    }

    /// Where the member that advertises `address` surely listens.
    pub(crate) fn found(&self, address: &str, freshness: Duration, now: Instant) -> Option<SocketAddr> {
        self.fresh(freshness, now).find(|contact| contact.hello.member.raft_address == address)?.found_at
    }

    /// Where else than at their advertised addresses members may be: where calls come from that nobody has answered yet; and
    /// of those that are `missed` by name and silent, where they were and where others say they are.
    pub(crate) fn elsewhere(
        &self,
        missed: impl Fn(&str) -> bool,
        freshness: Duration,
        now: Instant,
    ) -> BTreeSet<SocketAddr> {
        let recent = |since: Instant| now.saturating_duration_since(since) < freshness;
        let heard = |name: &str| self.by_name.get(name).is_some_and(|contact| recent(contact.heard_at));
        let silent = |name: &str| missed(name) && !heard(name);
        let unproven = self.fresh(freshness, now).filter_map(Contact::unproven);
        let before = self.by_name.iter().filter(|(name, _)| silent(name));
        let before = before.flat_map(|(_, contact)| [contact.found_at, contact.unproven()]).flatten();
        let told = self.told.iter().filter(|(name, (_, since))| silent(name) && recent(*since));
        unproven.chain(before).chain(told.map(|(_, (at, _))| *at)).collect()
    }

    /// Where this member has found others, for those that have not.
    pub(crate) fn seen(&self, freshness: Duration, now: Instant) -> BTreeMap<String, SocketAddr> {
        let found =
            self.fresh(freshness, now).filter_map(|contact| Some((contact.name().to_owned(), contact.found_at?)));
        found.take(SEEN_MAX).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::{hello, id, member};

    const FRESH: Duration = Duration::from_secs(3);
    const ADVERTISED: &str = "prom-2:9096";

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn at(last: u8) -> SocketAddr {
        SocketAddr::new(ip(last), 9096)
    }

    /// Member 2 has called from an address.
    fn called(from: u8, now: Instant) -> Contacts {
        let mut contacts = Contacts::default();
        contacts.called(hello(2, Standing::Blank), Some(ip(from)), now);
        contacts
    }

    /// Member 3 has found these.
    fn tells(found: &[u8]) -> Hello {
        let seen = found.iter().map(|number| (member((*number).into()).name, at(*number))).collect();
        Hello { seen, ..hello(3, Standing::Blank) }
    }

    fn addresses(contacts: &Contacts) -> Vec<String> {
        contacts.addresses_of(id(2), &member(2))
    }

    #[test]
    fn a_member_is_found_where_it_calls_from_once_it_has_answered_there() {
        let now = Instant::now();
        let mut contacts = called(7, now);
        assert_eq!(addresses(&contacts), [ADVERTISED, "10.0.0.7:9096"]);
        assert_eq!(
            contacts.elsewhere(|_| true, FRESH, now),
            BTreeSet::from([at(7)]),
            "it has to prove that it is there"
        );
        contacts.answered(hello(2, Standing::Blank), "10.0.0.7:9096", now);
        assert_eq!(addresses(&contacts), ["10.0.0.7:9096", ADVERTISED]);
        assert_eq!(contacts.found(ADVERTISED, FRESH, now), Some(at(7)));
        assert_eq!(contacts.found(ADVERTISED, FRESH, now + FRESH), None);
        assert!(contacts.elsewhere(|_| true, FRESH, now).is_empty());
    }

    #[test]
    fn an_answer_at_a_name_or_at_another_address_does_not_move_a_member_that_was_found_where_it_calls_from() {
        let now = Instant::now();
        let mut contacts = called(7, now);
        contacts.answered(hello(2, Standing::Blank), ADVERTISED, now);
        assert_eq!(contacts.found(ADVERTISED, FRESH, now), None, "a name is no address");
        contacts.answered(hello(2, Standing::Blank), "10.0.0.8:9096", now);
        assert_eq!(contacts.found(ADVERTISED, FRESH, now), None, "many may answer at an address");
        contacts.answered(hello(2, Standing::Blank), "10.0.0.7:9096", now);
        contacts.answered(hello(2, Standing::Blank), "10.0.0.8:9096", now);
        contacts.answered(hello(2, Standing::Blank), ADVERTISED, now);
        assert_eq!(contacts.found(ADVERTISED, FRESH, now), Some(at(7)));
    }

    #[test]
    fn another_process_under_the_name_may_be_anywhere() {
        let now = Instant::now();
        let mut contacts = called(7, now);
        contacts.answered(hello(2, Standing::Blank), "10.0.0.7:9096", now);
        contacts.called(Hello { incarnation: 99, ..hello(2, Standing::Blank) }, Some(ip(9)), now);
        assert_eq!(addresses(&contacts), [ADVERTISED, "10.0.0.9:9096"]);
        assert_eq!(contacts.elsewhere(|_| true, FRESH, now), BTreeSet::from([at(9)]));
    }

    #[test]
    fn a_call_of_the_group_tells_where_a_member_is_too() {
        let now = Instant::now();
        let mut contacts = called(7, now);
        contacts.answered(hello(2, Standing::Blank), "10.0.0.7:9096", now);
        contacts.call_came_from(id(2), ip(8));
        contacts.call_came_from(id(3), ip(9));
        assert_eq!(contacts.elsewhere(|_| true, FRESH, now), BTreeSet::from([at(8)]));
        assert_eq!(addresses(&contacts), ["10.0.0.7:9096", ADVERTISED, "10.0.0.8:9096"], "found until found elsewhere");
    }

    #[test]
    fn others_tell_where_a_silent_member_of_the_group_is() {
        let now = Instant::now();
        let mut contacts = called(7, now);
        contacts.called(tells(&[2, 4, 5]), None, now);
        let missed = |name: &str| name != "prom-5";
        assert_eq!(contacts.elsewhere(missed, FRESH, now), BTreeSet::from([at(7), at(4)]), "2 is known at first hand");
        assert_eq!(contacts.addresses_of(id(4), &member(4)), ["prom-4:9096", "10.0.0.4:9096"]);
        let later = now + FRESH;
        contacts.called(tells(&[2]), None, later);
        assert_eq!(contacts.elsewhere(missed, FRESH, later), BTreeSet::from([at(7), at(2)]), "4 was told too long ago");
    }

    #[test]
    fn only_those_found_and_heard_lately_are_told_of() {
        let now = Instant::now();
        let mut contacts = called(7, now);
        assert!(contacts.seen(FRESH, now).is_empty());
        contacts.answered(hello(2, Standing::Blank), "10.0.0.7:9096", now);
        assert_eq!(contacts.seen(FRESH, now), BTreeMap::from([("prom-2".to_owned(), at(7))]));
        assert!(contacts.seen(FRESH, now + FRESH).is_empty());
    }

    #[test]
    fn what_is_told_is_bounded() {
        let (mut contacts, now) = (Contacts::default(), Instant::now());
        (0..255).for_each(|number| contacts.called(tells(&[number]), None, now));
        assert_eq!(contacts.told.len(), SEEN_MAX);
    }
}
