//! The clocks of the simulated processes.

use super::executor::Nanos;

const MILLION: u128 = 1_000_000;

/// A process's clock: `local = since_local + (true - since_true) * rate`.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    pub(super) since_true: Nanos,
    pub(super) since_local: Nanos,
    /// Local nanoseconds in a million true ones.
    pub(super) rate_ppm: u64,
    /// Since when the machine has been suspended: its monotonic clock stands still.
    pub(super) suspended_since: Option<Nanos>,
    pub(super) suspended_total: Nanos,
}

impl Clock {
    pub(super) fn local(&self, at: Nanos) -> Nanos {
        let at = self.suspended_since.map_or(at, |since| since.min(at));
        let passed = u128::from(at.saturating_sub(self.since_true)) * u128::from(self.rate_ppm) / MILLION;
        self.since_local + u64::try_from(passed).unwrap_or(u64::MAX)
    }

    /// When the clock shows `local`, unless the machine is suspended before.
    pub(super) fn true_time(&self, local: Nanos) -> Nanos {
        let ahead = u128::from(local.saturating_sub(self.since_local)) * MILLION;
        self.since_true + u64::try_from(ahead.div_ceil(u128::from(self.rate_ppm))).unwrap_or(u64::MAX)
    }
}
