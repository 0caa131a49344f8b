//! The three timings of the lease, and every wait that follows from them.
//!
//! ```text
//! H  retry period     a leader sends a heartbeat each H; an RPC fails after H
//! R  renew deadline   a leader may act until R after it SENT the newest heartbeat that a majority acknowledged
//! L  lease duration   a voter that heard a leader grants nobody a vote for L
//!
//! safe:  R * 1.23 < L      both clocks off by 10 %, in opposite directions: 1.1 / 0.9 = 1.222…
//! live:  H * 3 <= R        two heartbeats may be lost before authority lapses
//! ```

use std::time::Duration;

use crate::rules::{Rule, holds};

/// What a wait that leans on a lease is stretched by, as a ratio: two clocks whose rates are off by 10 % in opposite
/// directions.
const CLOCK_ERROR: (u32, u32) = (123, 100);

/// The timings of a group; equal on all members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// L: no voter grants a vote for this long after it has heard from a leader.
    pub lease_duration: Duration,
    /// R: how long after the last quorum acknowledgement a leader may still act.
    pub renew_deadline: Duration,
    /// H: heartbeat interval and RPC time-out.
    pub retry_period: Duration,
    /// A member absent from discovery and silent for this long is removed.
    pub member_removal_delay: Duration,
}

impl Timing {
    /// How long a member neither votes nor stands for election after its start, because it has forgotten the lease
    /// that it may have granted (DESIGN.md, group rule 1).
    pub fn quarantine(&self) -> Duration {
        if holds(Rule::ClockMargin) { stretch(self.lease_duration) } else { self.lease_duration }
    }

    /// Shortest wait of a voter, once its lease has ended, before it stands for election. The longest is L.
    pub fn election_timeout_min(&self) -> Duration {
        (self.lease_duration / 4).max(self.retry_period * 2)
    }

    /// Time between two words to every possible member.
    pub fn hello_period(&self) -> Duration {
        self.lease_duration
    }

    /// Age at which a word from a member counts as old: two of three may be lost.
    pub fn hello_freshness(&self) -> Duration {
        self.hello_period() * 3 + self.retry_period
    }

    /// Age at which an acknowledged heartbeat counts as old: its member is then no target of a handover and no reason
    /// to change the membership.
    pub fn contact_freshness(&self) -> Duration {
        self.lease_duration
    }

    /// Checks the relations between the timings; each message carries the numbers.
    pub fn validate(&self) -> Result<(), String> {
        let (l, r, h) = (self.lease_duration, self.renew_deadline, self.retry_period);
        if h < Duration::from_millis(10) {
            return Err(format!("lease-retry-period {h:?} must be at least 10ms"));
        }
        if h * 3 > r {
            return Err(format!(
                "lease-renew-deadline {r:?} must be at least 3 times lease-retry-period {h:?} (= {:?})",
                h * 3
            ));
        }
        if stretch(r) >= l {
            return Err(format!(
                "lease-duration {l:?} must be longer than lease-renew-deadline {r:?} times 1.23 (= {:?}), so that two clocks that are each off by 10 % agree that a lease has ended",
                stretch(r)
            ));
        }
        Ok(())
    }
}

fn stretch(time: Duration) -> Duration {
    time * CLOCK_ERROR.0 / CLOCK_ERROR.1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing(l: u64, r: u64, h: u64) -> Timing {
        let ms = Duration::from_millis;
        Timing { lease_duration: ms(l), renew_deadline: ms(r), retry_period: ms(h), member_removal_delay: ms(300_000) }
    }

    #[test]
    fn the_defaults_hold_and_each_relation_names_its_numbers() {
        assert_eq!(timing(1000, 800, 100).validate(), Ok(()));
        assert_eq!(timing(1000, 813, 100).validate().map_err(|e| e.contains("999.99ms")), Ok(()));
        let lease = timing(1000, 814, 100).validate();
        assert!(lease.as_ref().is_err_and(|e| e.contains("814ms") && e.contains("1.00122s")), "{lease:?}");
        let retry = timing(1000, 800, 267).validate();
        assert!(retry.as_ref().is_err_and(|e| e.contains("267ms") && e.contains("801ms")), "{retry:?}");
    }

    #[test]
    fn quarantine_outlasts_the_lease_by_the_clock_error() {
        assert_eq!(timing(1000, 800, 100).quarantine(), Duration::from_millis(1230));
    }
}
