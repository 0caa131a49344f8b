//! The simulated DNS: what is true, what was true, and what a member is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use super::chance::Chance;
use super::executor::Nanos;
use crate::{Peer, PeerSet};

/// Port of every member.
pub(crate) const PORT: &str = "9096";

/// Name -> address.
pub(super) type Records = BTreeMap<String, String>;

/// How a member sees the records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// As they are.
    #[default]
    Fresh,
    /// As they were so long ago.
    Stale(Nanos),
    /// As they were then.
    AsOf(Nanos),
    /// Without these names.
    Missing(BTreeSet<String>),
    /// These names lead to the address of another one.
    Wrong(BTreeMap<String, String>),
    /// Each lookup lacks each name every second time.
    Flapping,
    /// No lookup succeeds.
    Outage,
}

/// The records over time.
#[derive(Debug, Default)]
pub struct Dns {
    history: Vec<(Nanos, Arc<Records>)>,
    /// Answers have addresses only, no names (no SRV records).
    pub bare: bool,
}

impl Dns {
    /// The records now.
    pub fn records(&self) -> Records {
        Records::clone(&self.shared())
    }

    fn shared(&self) -> Arc<Records> {
        self.history.last().map(|(_, records)| records.clone()).unwrap_or_default()
    }

    fn as_of(&self, then: Nanos) -> Arc<Records> {
        let old = self.history.iter().rev().find(|(at, _)| *at <= then).or_else(|| self.history.first());
        old.map(|(_, records)| records.clone()).unwrap_or_default()
    }

    /// Changes the records.
    pub fn change(&mut self, now: Nanos, change: impl FnOnce(&mut Records)) {
        let mut records = self.records();
        change(&mut records);
        self.history.push((now, Arc::new(records)));
    }

    /// What a lookup finds; `None`: it fails.
    pub fn lookup(&self, view: &View, now: Nanos, chance: &mut Chance) -> Option<Arc<Records>> {
        let mut records = self.shared();
        match view {
            View::Fresh => {}
            View::Stale(age) => records = self.as_of(now.saturating_sub(*age)),
            View::AsOf(then) => records = self.as_of(*then),
            View::Missing(names) => Arc::make_mut(&mut records).retain(|name, _| !names.contains(name)),
            View::Wrong(swapped) => {
                let truth = records.clone();
                let records = Arc::make_mut(&mut records);
                for (name, other) in swapped {
                    if let (Some(place), Some(address)) = (records.get_mut(name), truth.get(other)) {
                        place.clone_from(address);
                    }
                }
            }
            View::Flapping => Arc::make_mut(&mut records).retain(|_, _| chance.percent(50)),
            View::Outage => return None,
        }
        Some(records)
    }

    /// An answer as discovery publishes it.
    pub fn peers(&self, records: &Records, answered_at: Instant) -> PeerSet {
        let peer = |(name, ip): (&String, &String)| {
            if self.bare {
                Peer { name: None, address: format!("{ip}:{PORT}") }
            } else {
                Peer { name: Some(name.clone()), address: format!("{name}:{PORT}") }
            }
        };
        let mut peers: Vec<Peer> = records.iter().map(peer).collect();
        peers.sort();
        peers.dedup();
        PeerSet { peers, answered_at: Some(answered_at) }
    }
}
