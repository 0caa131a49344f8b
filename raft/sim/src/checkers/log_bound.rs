//! The log on the disk stays under its bound.

use super::disks::Disks;
use super::{Checker, Event};
use crate::sim::executor::Nanos;

/// Snapshot every 64 entries, 16 kept, 128 of lag, and what is appended while a slow disk stores the snapshot.
const ENTRIES_MAX: usize = 320;

pub(super) struct LogBound;

impl Checker for LogBound {
    fn rule(&self) -> &'static str {
        "the log is bounded"
    }

    fn see(&mut self, _: Nanos, event: &Event<'_>, disks: &Disks) -> Result<(), String> {
        let Event::Stored { machine, .. } = event else { return Ok(()) };
        let entries = disks.of(*machine).map_or(0, |disk| disk.log.len());
        if entries > ENTRIES_MAX { Err(format!("{machine:?} has {entries} entries on its disk")) } else { Ok(()) }
    }
}
