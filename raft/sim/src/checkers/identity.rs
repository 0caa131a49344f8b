//! A member answers calls of its own group, for its own node id only: a removed or blank one never votes under an old id.

use super::disks::Disks;
use super::{Checker, Event};
use crate::network::Call;
use crate::sim::executor::Nanos;

pub(super) struct OwnIdentity;

impl Checker for OwnIdentity {
    fn rule(&self) -> &'static str {
        "own identity"
    }

    fn see(&mut self, _: Nanos, event: &Event<'_>, disks: &Disks) -> Result<(), String> {
        match event {
            Event::Answered { machine, identity, asked, reply: Ok(_) } => {
                let Call::Raft { cluster, target, .. } = &asked.call else { return Ok(()) };
                if identity.node_id != *target {
                    return Err(format!("{machine:?} answered for {target}, and is {}", identity.node_id));
                }
                if identity.standing.cluster() != Some(*cluster) {
                    return Err(format!("{machine:?} answered group {cluster}, and is {:?}", identity.standing));
                }
                Ok(())
            }
            Event::Started { machine, loaded } if disks.is_retired(loaded.identity.node_id) => {
                Err(format!("{machine:?} starts as {}, whose disk was lost", loaded.identity.node_id))
            }
            _ => Ok(()),
        }
    }
}
