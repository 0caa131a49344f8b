//! The runtime: clocks, timers, tasks, chance. Nothing else in this crate reads a clock, starts a task or draws a number,
//! so that the simulation (`raft/sim`) can run the very same code with its own in the place of this file.

use std::future::Future;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use openraft::Instant as _;
use rustix::time::{ClockId, Timespec, clock_gettime};
use tokio::time::MissedTickBehavior;

use crate::types::RaftInstant;

/// openraft's runtime.
pub(crate) type Runtime = openraft::impls::TokioRuntime;
/// Tasks that end with their owner.
pub(crate) type Tasks<T> = tokio::task::JoinSet<T>;
/// A regular wake-up.
pub(crate) type Interval = tokio::time::Interval;

/// How far apart the readings of two clocks may be, and how often they are tried.
const CLOCK_READINGS_APART: Duration = Duration::from_millis(1);
const CLOCK_READINGS_MAX: u32 = 4;

/// Monotonic time. Follows tokio's clock, so that tests can pause it.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Total time that the machine has been suspended since boot.
pub(crate) fn suspended() -> Duration {
    let boot = || to_duration(clock_gettime(ClockId::Boottime));
    let read = || {
        let before = boot();
        let monotonic = to_duration(clock_gettime(ClockId::Monotonic));
        (before.saturating_sub(monotonic), boot().saturating_sub(before))
    };
    // Whoever is taken off the processor between the readings reads again.
    let mut readings = (0..CLOCK_READINGS_MAX).map(|_| read());
    let close = readings.find(|(_, apart)| *apart < CLOCK_READINGS_APART);
    close.unwrap_or_else(read).0
}

fn to_duration(time: Timespec) -> Duration {
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Wall-clock time in milliseconds since 1970. For people only: nothing is decided by it.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A random number.
pub(crate) fn random() -> u64 {
    rand::random()
}

/// Starts a task that nobody waits for.
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}

/// Waits.
pub(crate) async fn sleep(time: Duration) {
    tokio::time::sleep(time).await;
}

/// The time is up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Elapsed;

/// Waits for `future`, but no longer than `time`.
pub(crate) async fn timeout<F: Future>(time: Duration, future: F) -> Result<F::Output, Elapsed> {
    tokio::time::timeout(time, future).await.map_err(|_| Elapsed)
}

/// Wakes at once and then each `period`; a late wake-up delays those after it.
pub(crate) fn interval(period: Duration) -> Interval {
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// openraft's instants hide the clock's own. A pair of readings taken once translates them; the standard one is taken
/// first, so that the error makes a deadline earlier, never later.
pub(crate) fn to_std(at: RaftInstant) -> Instant {
    static PAIR: OnceLock<(Instant, RaftInstant)> = OnceLock::new();
    let (standard, raft) = *PAIR.get_or_init(|| (now(), RaftInstant::now()));
    if at >= raft { standard + (at - raft) } else { standard.checked_sub(raft - at).unwrap_or(standard) }
}
