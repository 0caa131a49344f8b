//! The one clock that authority is measured with.
//!
//! Two readings make a [`Now`]: the monotonic clock, which drives every deadline, and how long the machine has been
//! suspended since boot (`CLOCK_BOOTTIME - CLOCK_MONOTONIC`), during which the monotonic clock stands still. A lease
//! granted before a suspension is void after it (DESIGN.md, group rule 14).

use std::time::{Duration, Instant};

use crate::rt;
use crate::rules::{Rule, holds};

/// A shorter suspension is not noticed: the two clocks are read one after the other. With the default timings L exceeds
/// 1.23 R by 14 ms, so that it does no harm either.
pub const SUSPENSION_TOLERANCE: Duration = Duration::from_millis(10);

/// One reading of both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic time. Follows tokio's clock, so that tests can pause it.
    pub instant: Instant,
    /// Total time that the machine has been suspended since boot.
    pub suspended: Duration,
}

impl Now {
    /// Reads the clocks.
    pub fn read() -> Self {
        Self { instant: rt::now(), suspended: rt::suspended() }
    }

    /// Whether the machine slept between `earlier` and this reading.
    pub fn slept_since(&self, earlier_suspended: Duration) -> bool {
        holds(Rule::Suspension) && self.suspended > earlier_suspended + SUSPENSION_TOLERANCE
    }
}
