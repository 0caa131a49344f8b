//! Waits for a condition with a deadline, so that no test sleeps a guessed time.

use std::fmt::Debug;
use std::future::Future;
use std::time::{Duration, Instant};

/// Time between two looks at the condition.
const POLL_PERIOD: Duration = Duration::from_millis(5);

/// Looks at `probe` until `accept` takes its value, and returns that value.
///
/// # Panics
/// When the deadline passes first; the message holds what was waited for and the last value seen.
pub async fn eventually<T: Debug, F: Future<Output = T>>(
    what: &str,
    within: Duration,
    mut probe: impl FnMut() -> F,
    mut accept: impl FnMut(&T) -> bool,
) -> T {
    let start = Instant::now();
    loop {
        let value = probe().await;
        if accept(&value) {
            return value;
        }
        assert!(start.elapsed() < within, "not within {within:?}: {what}; last seen: {value:?}");
        tokio::time::sleep(POLL_PERIOD).await;
    }
}
