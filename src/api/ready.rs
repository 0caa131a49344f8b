//! Readiness, latched (DESIGN.md, group rule 15).
//!
//! Ready once this member was a caught-up voter or witness of a committed, uniform membership, and could take over without a
//! gap; from then on until shutdown, whatever happens to leader or group. A rolling update waits for it: else it restarts
//! the last Prometheus that knows what the leader has not written yet. A readiness that followed the present leader would take every replica
//! out of its Service during an election, and block a rolling update for ever when a group has lost its majority.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use elector_raft::GroupStatus;
use tokio::sync::watch;

/// Covered, or one sentence why not.
pub(super) type Covered = Result<(), String>;

/// Time between two looks at the cover of a settled member.
const COVER_POLL: Duration = Duration::from_millis(250);

/// The latch. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Waits for the moment and closes the latch, so that a moment between two probes is not missed. `covered`: whether this
    /// member could take over without a gap.
    pub(super) async fn latch(self, mut status: watch::Receiver<Arc<GroupStatus>>, covered: impl Fn() -> Covered) {
        while status.wait_for(|status| status.settled).await.is_ok() {
            if covered().is_ok() {
                self.0.store(true, Ordering::Relaxed);
                return;
            }
            tokio::time::sleep(COVER_POLL).await;
        }
    }

    /// Ready, or one sentence why not.
    pub(super) fn verdict(
        &self,
        shutting_down: bool,
        group: &GroupStatus,
        covered: impl Fn() -> Covered,
    ) -> Result<(), String> {
        if shutting_down {
            return Err("shutting down".to_owned());
        }
        if self.0.load(Ordering::Relaxed) {
            return Ok(());
        }
        if group.settled {
            covered().map_err(|why| format!("this member could not take over without a gap yet: {why}"))?;
            self.0.store(true, Ordering::Relaxed);
            return Ok(());
        }
        if group.reason.is_empty() {
            return Err("the election group is starting".to_owned());
        }
        Err(format!("this member is not a settled member of the group yet: {}", group.reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(settled: bool) -> GroupStatus {
        GroupStatus { settled, reason: "waits for prom-1".to_owned(), ..GroupStatus::default() }
    }

    #[expect(clippy::unnecessary_wraps, reason = "a verdict like any other")]
    fn ok() -> Covered {
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn a_settled_member_is_ready_only_when_it_is_covered_and_stays_so() {
        let ready = Readiness::default();
        let young = || Err("it started 3 s ago".to_owned());
        let words = "this member could not take over without a gap yet: it started 3 s ago".to_owned();
        assert_eq!(ready.verdict(false, &group(true), young), Err(words));
        let (sender, receiver) = watch::channel(Arc::new(group(true)));
        let looks = AtomicBool::new(false);
        let covered = || if looks.swap(true, Ordering::Relaxed) { Ok(()) } else { young() };
        ready.clone().latch(receiver, covered).await;
        assert_eq!(ready.verdict(false, &group(false), young), Ok(()));
        drop(sender);
    }

    #[test]
    fn ready_from_the_first_settled_moment_until_shutdown() {
        let ready = Readiness::default();
        let not_yet = "this member is not a settled member of the group yet: waits for prom-1".to_owned();
        assert_eq!(ready.verdict(false, &group(false), ok), Err(not_yet));
        assert_eq!(ready.verdict(false, &group(true), ok), Ok(()));
        assert_eq!(ready.verdict(false, &group(false), ok), Ok(()), "stays although the group is in trouble");
        assert_eq!(ready.verdict(true, &group(true), ok), Err("shutting down".to_owned()));
        assert!(Readiness::default().verdict(false, &GroupStatus::default(), ok).is_err());
    }

    #[tokio::test]
    async fn a_settled_moment_between_two_probes_counts() {
        let (sender, receiver) = watch::channel(Arc::new(group(false)));
        let ready = Readiness::default();
        let latch = tokio::spawn(ready.clone().latch(receiver, ok));
        sender.send_replace(Arc::new(group(true)));
        assert!(latch.await.is_ok());
        sender.send_replace(Arc::new(group(false)));
        assert_eq!(ready.verdict(false, &group(false), ok), Ok(()));
    }
}
