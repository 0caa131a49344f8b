//! A witness never holds authority.

use super::disks::Disks;
use super::{Checker, Event};
use crate::sim::executor::Nanos;

pub(super) struct WitnessNeverActs;

impl Checker for WitnessNeverActs {
    fn rule(&self) -> &'static str {
        "a witness never acts"
    }

    fn see(&mut self, _: Nanos, event: &Event<'_>, _: &Disks) -> Result<(), String> {
        match event {
            Event::Authority { machine, witness: true, until: Some(_), term, .. } => {
                Err(format!("the witness {machine:?} holds authority in term {term}"))
            }
            _ => Ok(()),
        }
    }
}
