//! Readiness, latched (DESIGN.md, group rule 15).
//!
//! Ready once this member was a caught-up voter or witness of a committed, uniform membership, and nobody else is the only one
//! to take over without a gap; from then on until shutdown, whatever happens to leader or group. A rolling update waits for it:
//! else it restarts the last Prometheus that knows what the remote has not taken yet. Where no such Prometheus is left, there is
//! nothing to wait for. A readiness that followed the present leader would take every replica out of its Service during an
//! election, and block a rolling update for ever when a group has lost its majority.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use elector_raft::{GroupStatus, MemberKind};
use tokio::sync::watch;

/// Covered, or one sentence why not.
pub(super) type Covered = Result<(), String>;

/// Time between two looks at the cover of a settled member.
const COVER_POLL: Duration = Duration::from_millis(250);

/// A member that is silent for longer is not there to take over: several times what a busy machine makes of a hello.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// The latch. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Waits for the moment and closes the latch, so that a moment between two probes is not missed. `covered`: whether this
    /// member could take over without a gap.
    pub(super) async fn latch(self, mut status: watch::Receiver<Arc<GroupStatus>>, covered: impl Fn() -> Covered) {
        while status.wait_for(|status| status.settled).await.is_ok() {
            let group = status.borrow().clone();
            if settled_verdict(&group, &covered).is_ok() {
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
            settled_verdict(group, covered)?;
            self.0.store(true, Ordering::Relaxed);
            return Ok(());
        }
        if group.reason.is_empty() {
            return Err("the election group is starting".to_owned());
        }
        Err(format!("this member is not a settled member of the group yet: {}", group.reason))
    }
}

fn settled_verdict(group: &GroupStatus, covered: impl Fn() -> Covered) -> Result<(), String> {
    let Err(why) = covered() else { return Ok(()) };
    let Some(needed) = needed(group) else { return Ok(()) };
    Err(format!("this member could not take over without a gap yet, so {needed} is needed until then: {why}"))
}

/// Another member that could take over without a gap, or of which that is not known yet.
fn needed(group: &GroupStatus) -> Option<&str> {
    let silence_max_ms = u64::try_from(SILENCE_MAX.as_millis()).unwrap_or(u64::MAX);
    let mut others = group.members.iter().filter(|member| !member.this && member.kind == MemberKind::Voter);
    let is_there = |last_contact_ms: Option<u64>| last_contact_ms.is_none_or(|age_ms| age_ms < silence_max_ms);
    let needed = others.find(|member| member.prepared.unwrap_or(true) && is_there(member.last_contact_ms))?;
    Some(&needed.name)
}

#[cfg(test)]
mod tests {
    use elector_raft::MemberStatus;

    use super::*;

    /// Seen by a member beside prom-1, which could take over without a gap.
    fn group(settled: bool) -> GroupStatus {
        let members = vec![other(MemberKind::Voter, Some(true), Some(0))];
        GroupStatus { settled, reason: "waits for prom-1".to_owned(), members, ..GroupStatus::default() }
    }

    fn other(kind: MemberKind, prepared: Option<bool>, last_contact_ms: Option<u64>) -> MemberStatus {
        MemberStatus { name: "prom-1".to_owned(), kind, prepared, last_contact_ms, ..MemberStatus::default() }
    }

    #[expect(clippy::unnecessary_wraps, reason = "a verdict like any other")]
    fn ok() -> Covered {
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn a_settled_member_is_ready_only_when_it_is_covered_and_stays_so() {
        let ready = Readiness::default();
        let young = || Err("it started 3 s ago".to_owned());
        let words =
            "this member could not take over without a gap yet, so prom-1 is needed until then: it started 3 s ago";
        assert_eq!(ready.verdict(false, &group(true), young), Err(words.to_owned()));
        let (sender, receiver) = watch::channel(Arc::new(group(true)));
        let looks = AtomicBool::new(false);
        let covered = || if looks.swap(true, Ordering::Relaxed) { Ok(()) } else { young() };
        ready.clone().latch(receiver, covered).await;
        assert_eq!(ready.verdict(false, &group(false), young), Ok(()));
        drop(sender);
    }

    #[test]
    fn nobody_waits_for_cover_when_nobody_else_has_it() {
        let young = || Err("it started 3 s ago".to_owned());
        for (kind, prepared, last_contact_ms, is_waiting) in [
            (MemberKind::Voter, Some(true), Some(9_999), true),
            (MemberKind::Voter, Some(true), Some(10_000), false),
            (MemberKind::Voter, Some(false), Some(0), false),
            (MemberKind::Voter, None, None, true),
            (MemberKind::Witness, Some(true), Some(0), false),
            (MemberKind::Learner, Some(true), Some(0), false),
        ] {
            let own = MemberStatus { this: true, ..other(MemberKind::Voter, Some(true), Some(0)) };
            let members = vec![own, other(kind, prepared, last_contact_ms)];
            let group = GroupStatus { members, ..group(true) };
            let verdict = Readiness::default().verdict(false, &group, young);
            assert_eq!(verdict.is_err(), is_waiting, "{kind:?} {prepared:?} {last_contact_ms:?}");
        }
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
