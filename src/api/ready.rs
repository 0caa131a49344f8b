//! Readiness, latched (DESIGN.md, group rule 15).
//!
//! Ready once this member was a caught-up voter or witness of a committed, uniform membership; from then on until
//! shutdown, whatever happens to leader or group. A readiness that followed the present leader would take every replica
//! out of its Service during an election, and block a rolling update for ever when a group has lost its majority.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use elector_raft::GroupStatus;
use tokio::sync::watch;

/// The latch. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Waits for the moment and closes the latch, so that a moment between two probes is not missed.
    pub(super) async fn latch(self, mut status: watch::Receiver<Arc<GroupStatus>>) {
        if status.wait_for(|status| status.settled).await.is_ok() {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// Ready, or one sentence why not.
    pub(super) fn verdict(&self, shutting_down: bool, group: &GroupStatus) -> Result<(), String> {
        if group.settled {
            self.0.store(true, Ordering::Relaxed);
        }
        if shutting_down {
            Err("shutting down".to_owned())
        } else if self.0.load(Ordering::Relaxed) {
            Ok(())
        } else if group.reason.is_empty() {
            Err("the election group is starting".to_owned())
        } else {
            Err(format!("this member is not a settled member of the group yet: {}", group.reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(settled: bool) -> GroupStatus {
        GroupStatus { settled, reason: "waits for prom-1".to_owned(), ..GroupStatus::default() }
    }

    #[test]
    fn ready_from_the_first_settled_moment_until_shutdown() {
        let ready = Readiness::default();
        let not_yet = "this member is not a settled member of the group yet: waits for prom-1".to_owned();
        assert_eq!(ready.verdict(false, &group(false)), Err(not_yet));
        assert_eq!(ready.verdict(false, &group(true)), Ok(()));
        assert_eq!(ready.verdict(false, &group(false)), Ok(()), "stays although the group is in trouble");
        assert_eq!(ready.verdict(true, &group(true)), Err("shutting down".to_owned()));
        assert!(Readiness::default().verdict(false, &GroupStatus::default()).is_err());
    }

    #[tokio::test]
    async fn a_settled_moment_between_two_probes_counts() {
        let (sender, receiver) = watch::channel(Arc::new(group(false)));
        let ready = Readiness::default();
        let latch = tokio::spawn(ready.clone().latch(receiver));
        sender.send_replace(Arc::new(group(true)));
        assert!(latch.await.is_ok());
        sender.send_replace(Arc::new(group(false)));
        assert_eq!(ready.verdict(false, &group(false)), Ok(()));
    }
}
