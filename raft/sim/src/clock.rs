//! The clocks of the simulated processes.

use super::executor::Nanos;

const MILLION: u64 = 1_000_000;

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
        let passed = at.saturating_sub(self.since_true);
        // Below some hours it fits, and the division is many times faster.
        let passed = passed.checked_mul(self.rate_ppm).map_or_else(
            || saturating(u128::from(passed) * u128::from(self.rate_ppm) / u128::from(MILLION)),
            |product| product / MILLION,
        );
        self.since_local + passed
    }

    /// When the clock shows `local`, unless the machine is suspended before.
    pub(super) fn true_time(&self, local: Nanos) -> Nanos {
        let ahead = local.saturating_sub(self.since_local);
        let ahead = ahead.checked_mul(MILLION).map_or_else(
            || saturating((u128::from(ahead) * u128::from(MILLION)).div_ceil(u128::from(self.rate_ppm))),
            |product| product.div_ceil(self.rate_ppm),
        );
        self.since_true + ahead
    }
}

fn saturating(nanos: u128) -> Nanos {
    Nanos::try_from(nanos).unwrap_or(Nanos::MAX)
}
