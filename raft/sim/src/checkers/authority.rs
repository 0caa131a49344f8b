//! At most one member holds authority at any instant, and at most one member ever holds it in a term.
//!
//! Exact in continuous time: an interval of authority begins or is prolonged only by a publication, so two intervals
//! overlap exactly if one reaches beyond the instant of a publication of the other.

use std::collections::BTreeMap;

use super::disks::Disks;
use super::{Checker, Event};
use crate::NodeId;
use crate::sim::executor::Nanos;
use crate::sim::world::MachineId;
use crate::store::ClusterId;

#[derive(Default)]
pub(super) struct OneAuthority {
    until: BTreeMap<MachineId, (Nanos, u64)>,
    holders: BTreeMap<(Option<ClusterId>, u64), NodeId>,
}

impl Checker for OneAuthority {
    fn rule(&self) -> &'static str {
        "one authority"
    }

    fn see(&mut self, at: Nanos, event: &Event<'_>, _: &Disks) -> Result<(), String> {
        match event {
            Event::Down { machine } | Event::Authority { machine, until: None, .. } => {
                self.until.remove(machine);
            }
            Event::Authority { machine, identity, term, until: Some(until), .. } => {
                self.until.insert(*machine, (*until, *term));
                let others = self.until.iter().filter(|(other, (end, _))| *other != machine && *end > at);
                if let Some((other, (end, other_term))) = others.into_iter().next() {
                    let left = end.saturating_sub(at) / 1_000;
                    return Err(format!(
                        "{machine:?} holds authority in term {term} while {other:?} still holds it in term {other_term} for {left} us"
                    ));
                }
                let holder = *self.holders.entry((identity.standing.joined(), *term)).or_insert(identity.node_id);
                if holder != identity.node_id {
                    return Err(format!("{holder} and {} have both held authority in term {term}", identity.node_id));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
