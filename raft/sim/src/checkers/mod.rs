//! What must never happen, one checker in each file. They see facts (what was stored, answered, published), never the
//! internals of the code under test, and agree on nothing but the time.

mod agreement;
mod authority;
mod committed;
mod disks;
mod durable;
mod formation;
mod identity;
mod joint;
mod latch;
mod log_bound;
mod promotion;
mod witness;

use std::collections::BTreeSet;

use super::executor::Nanos;
use super::world::MachineId;
use crate::network::{Message, Reply};
use crate::store::{Identity, Loaded, Write};
use crate::types::LogId;
use crate::{GroupStatus, NodeId, Timing};
use disks::Disks;

/// Authority without a deadline.
pub(crate) const FOR_EVER: Nanos = Nanos::MAX;

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The checker.
    pub rule: &'static str,
    /// True time.
    pub at: Nanos,
    /// One sentence.
    pub what: String,
}

/// A fact.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    /// A process has read its disk.
    Started { machine: MachineId, loaded: &'a Loaded },
    /// A process is dead, or its machine sleeps.
    Down { machine: MachineId },
    /// A disk is gone.
    DiskLost { machine: MachineId },
    /// These are durable.
    Stored { machine: MachineId, writes: &'a [Write] },
    /// A process answers a call; `identity` is its own from before.
    Answered { machine: MachineId, identity: &'a Identity, asked: &'a Message, reply: &'a Reply },
    /// A process has published its right to act: `until` in true time, `None`: none.
    Authority { machine: MachineId, identity: &'a Identity, witness: bool, term: u64, until: Option<Nanos> },
    /// A process has published its status.
    Looked { machine: MachineId, status: &'a GroupStatus, applied: Option<LogId> },
}

/// One promise.
trait Checker {
    /// Its name in reports.
    fn rule(&self) -> &'static str;
    /// Takes a fact; an error is a broken promise.
    fn see(&mut self, at: Nanos, event: &Event<'_>, disks: &Disks) -> Result<(), String>;
}

/// All of them.
pub(crate) struct Checkers {
    disks: Disks,
    all: Vec<Box<dyn Checker>>,
    violation: Option<Violation>,
}

impl Checkers {
    pub(crate) fn new(timing: Timing) -> Self {
        Self {
            disks: Disks::default(),
            all: vec![
                Box::new(authority::OneAuthority::default()),
                Box::new(committed::Committed::default()),
                Box::new(latch::Latch::default()),
                Box::new(formation::FormedOnce::default()),
                Box::new(identity::OwnIdentity),
                Box::new(joint::NoOldJoint::new(timing)),
                Box::new(log_bound::LogBound),
                Box::new(promotion::VotesForHolders::default()),
                Box::new(witness::WitnessNeverActs),
                Box::new(durable::DurableFirst),
                Box::new(agreement::Agreement::default()),
            ],
            violation: None,
        }
    }

    pub(crate) fn see(&mut self, at: Nanos, event: &Event<'_>) {
        self.disks.see(event);
        for checker in &mut self.all {
            if let Err(what) = checker.see(at, event, &self.disks) {
                self.violation.get_or_insert(Violation { rule: checker.rule(), at, what });
            }
        }
    }

    /// Keeps the first violation.
    pub(crate) fn report(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
    }

    pub(crate) fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// The node id under which a machine was known last.
    pub(crate) fn old_node_id(&self, machine: MachineId) -> Option<NodeId> {
        self.disks.last_id(machine)
    }

    /// Whether these machines' disks are a majority of every membership on a disk and of these.
    pub(crate) fn carry_the_group(
        &self,
        machines: &[MachineId],
        without: Option<MachineId>,
        also: &[Vec<BTreeSet<NodeId>>],
    ) -> bool {
        self.disks.carry_the_group(machines, without, also)
    }

    /// Whether a machine's disk is in no group.
    pub(crate) fn is_blank(&self, machine: MachineId) -> bool {
        self.disks.of(machine).is_none_or(|disk| disk.cluster().is_none())
    }
}
