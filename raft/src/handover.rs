//! Handover: whom leadership is given to. Pure (DESIGN.md, group rules 3, 6, 11, 12).

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::NodeId;
use crate::contacts::Contacts;
use crate::timing::Timing;
use crate::view::RaftView;

/// What the leader knows of its possible successors.
pub(crate) struct Situation<'a> {
    pub(crate) view: &'a RaftView,
    pub(crate) contacts: &'a Contacts,
    /// Older acknowledgements and words do not count.
    pub(crate) ack_freshness: Duration,
    pub(crate) word_freshness: Duration,
    /// A member that has been up for less refuses to vote and to be handed leadership.
    pub(crate) quarantine: Duration,
    pub(crate) now: Instant,
}

/// A possible successor.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Candidate {
    id: NodeId,
    replica: bool,
    eligible: bool,
    prepared: bool,
    acked: Instant,
}

impl<'a> Situation<'a> {
    pub(crate) fn new(view: &'a RaftView, contacts: &'a Contacts, timing: &Timing, now: Instant) -> Self {
        let (ack_freshness, word_freshness) = (timing.contact_freshness(), timing.hello_freshness());
        Self { view, contacts, ack_freshness, word_freshness, quarantine: timing.quarantine(), now }
    }

    /// Voters that may vote now, hold every entry and acknowledged a heartbeat just now: data replicas after witnesses, of
    /// these those that can lead last, of these the prepared ones, of these the freshest.
    fn candidates(&self) -> Vec<Candidate> {
        let mut candidates: Vec<Candidate> = self
            .view
            .voters()
            .into_iter()
            .filter(|id| *id != self.view.id)
            .filter(|id| !self.is_quarantined(*id))
            .filter(|id| self.view.matched.get(id).is_some_and(|index| *index >= self.view.last_log_index))
            .filter_map(|id| {
                let acked = *self.view.acked.get(&id)?;
                let fresh = self.now.saturating_duration_since(acked) < self.ack_freshness;
                let (eligible, prepared) = (self.is_eligible(id), self.is_prepared(id));
                fresh.then_some(Candidate { id, replica: !self.is_witness(id), eligible, prepared, acked })
            })
            .collect();
        candidates
            .sort_by_key(|candidate| (candidate.replica, candidate.eligible, candidate.prepared, candidate.acked));
        candidates
    }

    fn is_witness(&self, id: NodeId) -> bool {
        self.view.nodes.get(&id).is_none_or(|member| member.witness)
    }

    fn is_eligible(&self, id: NodeId) -> bool {
        self.contacts
            .by_id(id)
            .is_some_and(|contact| contact.hello.eligible && contact.age(self.now) < self.word_freshness)
    }

    fn is_prepared(&self, id: NodeId) -> bool {
        self.contacts.by_id(id).is_some_and(|contact| contact.hello.prepared)
    }

    fn is_quarantined(&self, id: NodeId) -> bool {
        self.contacts.by_id(id).is_some_and(|contact| contact.uptime(self.now) < self.quarantine)
    }

    /// Whether an eligible member only has to catch up, or to be up for long enough.
    pub(crate) fn may_appear(&self) -> bool {
        let others = self.view.voters().into_iter().filter(|id| *id != self.view.id);
        others.filter(|id| self.is_eligible(*id)).any(|id| {
            let acked = self.view.acked.get(&id);
            acked.is_some_and(|at| self.now.saturating_duration_since(*at) < self.ack_freshness)
        })
    }

    /// The best eligible successor not tried yet.
    pub(crate) fn best_eligible(&self, tried: &BTreeSet<NodeId>) -> Option<NodeId> {
        let candidates = self.candidates();
        candidates
            .into_iter()
            .rev()
            .find(|c| c.replica && c.eligible && !tried.contains(&c.id))
            .map(|candidate| candidate.id)
    }

    /// The best successor not tried yet, eligible or not: for a leader that can no longer act in this term, any leader
    /// of a new term is better. A replica without another one gives leadership to a witness, which gives it back in a new
    /// term: otherwise it could not act before another replica is there. A witness would only pass it on to another one.
    pub(crate) fn best(&self, tried: &BTreeSet<NodeId>) -> Option<NodeId> {
        let may_be_witness = !self.is_witness(self.view.id);
        let mut candidates = self.candidates().into_iter().rev();
        candidates.find(|c| (c.replica || may_be_witness) && !tried.contains(&c.id)).map(|candidate| candidate.id)
    }

    /// Why there is no eligible successor, member by member.
    pub(crate) fn explain(&self) -> String {
        let others: Vec<String> = self
            .view
            .voters()
            .iter()
            .filter(|id| **id != self.view.id)
            .map(|id| format!("{}: {}", self.view.name_of(*id).unwrap_or("unknown"), self.obstacle(*id)))
            .collect();
        if others.is_empty() { "there is no other voter".into() } else { others.join("; ") }
    }

    fn obstacle(&self, id: NodeId) -> String {
        if self.is_witness(id) {
            return "a witness".into();
        }
        let acked = self.view.acked.get(&id);
        if acked.is_none_or(|at| self.now.saturating_duration_since(*at) >= self.ack_freshness) {
            return "does not answer".into();
        }
        match self.contacts.by_id(id) {
            Some(_) if self.is_quarantined(id) => "started just now and does not vote yet".into(),
            Some(contact) if contact.hello.eligible => "has not caught up".into(),
            Some(contact) => format!("not eligible ({})", contact.hello.eligibility_reason),
            None => "has not said whether it is eligible".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unchecked_time_subtraction)]
    use std::sync::Arc;

    use super::*;
    use crate::network::Hello;
    use crate::store::{ClusterId, Standing};
    use crate::testing::{contacts, hello, id, view};

    fn world() -> (RaftView, Vec<Hello>, Instant) {
        let now = Instant::now() + Duration::from_secs(60);
        let mut view = view(&[1, 2, 3]);
        for (number, ago) in [(2, 50), (3, 20)] {
            view.matched.insert(id(number), 10);
            view.acked.insert(id(number), now - Duration::from_millis(ago));
        }
        let joined = Standing::Joined(ClusterId(7));
        (view, vec![hello(2, joined), hello(3, joined)], now)
    }

    fn situation<'a>(view: &'a RaftView, contacts: &'a Contacts, now: Instant) -> Situation<'a> {
        Situation {
            view,
            contacts,
            ack_freshness: Duration::from_secs(1),
            word_freshness: Duration::from_secs(3),
            quarantine: Duration::from_millis(1230),
            now,
        }
    }

    #[test]
    fn the_freshest_eligible_replica_comes_first_then_the_next() {
        let (view, hellos, now) = world();
        let contacts = contacts(hellos, now);
        let s = situation(&view, &contacts, now);
        assert_eq!(s.best_eligible(&BTreeSet::new()), Some(id(3)));
        assert_eq!(s.best_eligible(&BTreeSet::from([id(3)])), Some(id(2)));
        assert_eq!(s.best_eligible(&BTreeSet::from([id(2), id(3)])), None);
    }

    #[test]
    fn among_eligible_replicas_a_prepared_one_comes_before_a_fresher_one() {
        let (view, mut hellos, now) = world();
        hellos[1].prepared = false;
        let known = contacts(hellos.clone(), now);
        assert_eq!(situation(&view, &known, now).best_eligible(&BTreeSet::new()), Some(id(2)));
        hellos[0].eligible = false;
        let known = contacts(hellos, now);
        assert_eq!(situation(&view, &known, now).best_eligible(&BTreeSet::new()), Some(id(3)), "but can lead it must");
    }

    #[test]
    fn lagging_silent_unfit_and_witness_members_are_no_target_and_the_reason_is_named() {
        let (mut view, mut hellos, now) = world();
        view.matched.insert(id(3), 9);
        hellos[0].eligible = false;
        hellos[0].eligibility_reason = "cordoned".into();
        let known = contacts(hellos.clone(), now);
        let s = situation(&view, &known, now);
        assert_eq!(s.best_eligible(&BTreeSet::new()), None);
        assert_eq!(s.best(&BTreeSet::new()), Some(id(2)), "but a latched leader takes it all the same");
        assert_eq!(s.explain(), "prom-2: not eligible (cordoned); prom-3: has not caught up");

        view.acked.insert(id(2), now - Duration::from_secs(1));
        if let Some(member) = Arc::make_mut(&mut view.nodes).get_mut(&id(3)) {
            member.witness = true;
        }
        let s = situation(&view, &known, now);
        assert_eq!(s.best(&BTreeSet::new()), None);
        assert_eq!(s.explain(), "prom-2: does not answer; prom-3: a witness");
    }

    #[test]
    fn a_latched_replica_gives_leadership_to_a_witness_last_and_a_witness_never_to_another_one() {
        let (mut view, hellos, now) = world();
        let known = contacts(hellos, now);
        let nobody = BTreeSet::new();
        let is_witness = |view: &mut RaftView, number| {
            if let Some(member) = Arc::make_mut(&mut view.nodes).get_mut(&id(number)) {
                member.witness = true;
            }
        };
        is_witness(&mut view, 3);
        let s = situation(&view, &known, now);
        assert_eq!(s.best(&nobody), Some(id(2)), "though the witness is fresher");
        assert_eq!(s.best(&BTreeSet::from([id(2)])), Some(id(3)), "the replica did not take it");
        assert_eq!(s.best_eligible(&BTreeSet::from([id(2)])), None, "but nobody latches for the sake of a witness");

        is_witness(&mut view, 1);
        let s = situation(&view, &known, now);
        assert_eq!(s.best(&nobody), Some(id(2)));
        assert_eq!(s.best(&BTreeSet::from([id(2)])), None);
    }

    #[test]
    fn a_member_that_started_just_now_is_waited_for() {
        let (view, mut hellos, now) = world();
        hellos[1].uptime_ms = 1229;
        let known = contacts(hellos.clone(), now);
        let s = situation(&view, &known, now);
        assert_eq!(s.best_eligible(&BTreeSet::new()), Some(id(2)), "though 3 is fresher");
        assert_eq!(s.explain(), "prom-2: has not caught up; prom-3: started just now and does not vote yet");
        hellos.remove(0);
        let known = contacts(hellos, now);
        let s = situation(&view, &known, now);
        assert_eq!((s.best_eligible(&BTreeSet::new()), s.may_appear()), (None, true));
    }
}
