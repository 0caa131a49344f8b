//! Who refuses whom, for the status: calls of this member that others refuse, and calls that it refuses itself. Pure.
//!
//! Bounded, and forgotten after a while: a call that is refused is repeated. A passing reason (a quarantine, a start) is none
//! to tell.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Refusal;

/// Refusals that are remembered.
const KEPT_MAX: usize = 32;
/// For how long: several rounds of hello.
const KEPT_FOR: Duration = Duration::from_secs(30);

/// The other side of a refused call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Party {
    /// It refuses calls of this member: its name.
    Callee(String),
    /// Its calls are refused here: what is known of it.
    Caller(String),
    /// What answers this member's calls at this address is not believed.
    Answerer(String),
}

/// The newest refusal of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Refusals {
    by_party: BTreeMap<Party, (String, Instant)>,
}

impl Refusals {
    /// Notes a refusal. Returns whether it is news.
    pub(crate) fn note(&mut self, party: Party, why: &str, now: Instant) -> bool {
        self.by_party.retain(|_, (_, at)| now.saturating_duration_since(*at) < KEPT_FOR);
        if self.by_party.len() >= KEPT_MAX && !self.by_party.contains_key(&party) {
            let oldest = self.by_party.iter().min_by_key(|(_, (_, at))| *at).map(|(party, _)| party.clone());
            oldest.map(|party| self.by_party.remove(&party));
        }
        let before = self.by_party.insert(party, (why.to_owned(), now));
        before.is_none_or(|(text, _)| text != why)
    }

    /// The other side has accepted a call.
    pub(crate) fn accepted(&mut self, party: &Party) {
        self.by_party.remove(party);
    }

    /// One sentence each.
    pub(crate) fn warnings(&self, now: Instant) -> Vec<String> {
        let fresh = self.by_party.iter().filter(|(_, (_, at))| now.saturating_duration_since(*at) < KEPT_FOR);
        fresh.map(|(party, (why, _))| sentence(party, why)).collect()
    }
}

/// The sentence about one refusal.
pub(crate) fn sentence(party: &Party, why: &str) -> String {
    match party {
        Party::Callee(name) => format!("{name} refuses the calls of this member: {why}"),
        Party::Caller(who) => format!("calls of {who} are refused: {why}"),
        Party::Answerer(address) => format!("answers of {address} are not believed: {why}"),
    }
}

impl Refusal {
    /// Whether it lasts until somebody does something, as seen by the caller.
    pub(crate) fn is_lasting(&self) -> bool {
        !matches!(self, Self::Quarantined | Self::NotRunning | Self::Failed(_))
    }

    /// Why this member refuses a caller, in its own words. Nothing to tell of another election, which may share the
    /// service, nor of a passing reason.
    pub(crate) fn to_tell(&self) -> Option<String> {
        match self {
            Self::Version { .. } | Self::Malformed(_) => Some(self.to_string()),
            Self::OtherCluster(own) => Some(format!("they are for another group than this member's ({own})")),
            Self::OtherTarget(own) => Some(format!(
                "they are for another node id than this member's ({own}): its disk was replaced, or it was made blank"
            )),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NodeId;

    fn callee(name: &str) -> Party {
        Party::Callee(name.into())
    }

    #[test]
    fn a_refusal_is_told_until_it_is_old_or_a_call_is_accepted() {
        let start = Instant::now();
        let mut refusals = Refusals::default();
        assert!(refusals.note(callee("prom-1"), "no", start));
        assert!(!refusals.note(callee("prom-1"), "no", start + Duration::from_secs(1)), "no news");
        assert!(refusals.note(callee("prom-1"), "never", start + Duration::from_secs(2)));
        assert!(refusals.note(Party::Caller("prom-1".into()), "old", start + Duration::from_secs(2)));
        let told = ["prom-1 refuses the calls of this member: never", "calls of prom-1 are refused: old"];
        assert_eq!(refusals.warnings(start + Duration::from_secs(31)), told);
        assert!(refusals.warnings(start + Duration::from_secs(32)).is_empty());
        refusals.accepted(&callee("prom-1"));
        assert_eq!(refusals.warnings(start + Duration::from_secs(3)), told[1..]);
    }

    #[test]
    fn a_flood_of_callers_leaves_the_newest() {
        let start = Instant::now();
        let mut refusals = Refusals::default();
        for number in 0..100 {
            let at = start + Duration::from_millis(number);
            refusals.note(Party::Caller(format!("{number:03}")), "no", at);
        }
        let told = refusals.warnings(start);
        assert_eq!((told.len(), told[0].as_str()), (KEPT_MAX, "calls of 068 are refused: no"));
    }

    #[test]
    fn passing_reasons_and_other_elections_are_not_told() {
        assert_eq!(Refusal::Quarantined.to_tell(), None);
        assert_eq!(Refusal::OtherName("a".into()).to_tell(), None);
        assert!(Refusal::OtherTarget(NodeId(1)).to_tell().is_some_and(|text| text.contains("its disk was replaced")));
        assert!(!Refusal::NotRunning.is_lasting() && Refusal::OtherName("a".into()).is_lasting());
    }
}
