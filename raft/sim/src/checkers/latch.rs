//! Authority that was given up for a term never comes back in that term, also after a restart.

use std::collections::BTreeMap;

use super::disks::Disks;
use super::{Checker, Event};
use crate::NodeId;
use crate::sim::executor::Nanos;
use crate::store::{Identity, Write};

#[derive(Default)]
pub(super) struct Latch {
    latched: BTreeMap<NodeId, u64>,
}

impl Latch {
    fn note(&mut self, identity: &Identity) -> Result<(), String> {
        let latched = self.latched.entry(identity.node_id).or_default();
        if identity.latched_term < *latched {
            return Err(format!("{} has forgotten its latch of term {latched}", identity.node_id));
        }
        *latched = identity.latched_term;
        Ok(())
    }
}

impl Checker for Latch {
    fn rule(&self) -> &'static str {
        "a latch is final"
    }

    fn see(&mut self, _: Nanos, event: &Event<'_>, _: &Disks) -> Result<(), String> {
        match event {
            Event::Started { loaded, .. } => self.note(&loaded.identity),
            Event::Stored { writes, .. } => writes.iter().try_for_each(|write| match write {
                Write::Identity(identity) => self.note(identity),
                _ => Ok(()),
            }),
            Event::Authority { identity, term, until: Some(_), .. } if identity.latched_term >= *term => {
                Err(format!("{} holds authority in term {term} after giving it up", identity.node_id))
            }
            _ => Ok(()),
        }
    }
}
