//! Batches that are open in the watermark for as long as something is held.

use std::sync::Arc;
use std::time::Instant;

use super::fence::Tenure;
use super::forward::Remote;
use super::lock;
use super::watermark::{BatchKey, Outcome};

/// An attempt at a batch, which ends when it is dropped: without an answer it comes again.
pub(super) struct Attempt<'a> {
    pub(super) remote: &'a Remote,
    pub(super) tenure: Arc<Tenure>,
    pub(super) key: BatchKey,
    pub(super) outcome: Outcome,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.remote.in_flight.send_modify(|count| *count = count.saturating_sub(1));
        let now = Instant::now();
        if self.outcome == (Outcome::Final { accepted: true }) {
            lock(&self.remote.seen).accepted = Some(now);
            lock(&self.remote.unfit).take();
        }
        self.remote.with_progress(&self.tenure, |progress| progress.watermark.end(self.key, self.outcome, now));
    }
}

/// A request on its way into the spool, or past it.
pub(super) struct Waiting<'a> {
    pub(super) remote: &'a Remote,
    pub(super) tenure: Arc<Tenure>,
    pub(super) key: BatchKey,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.remote.with_progress(&self.tenure, |progress| progress.watermark.withdraw(self.key));
    }
}
