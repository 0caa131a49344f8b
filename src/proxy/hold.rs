//! Holding a request: how long, how many at once, and what it waits for.
//!
//! A request has one budget of waiting, `leader_wait`, over all its holds and vain dials; time in which Prometheus
//! works on it costs nothing. A held request is its head only: its body stays with the client.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep};

use super::metrics::ProxyMetrics;
use super::retry::{PAUSE_MAX, PAUSE_MIN};
use super::routes::Destination;

/// Requests held at once, at a few KiB each; a further one is refused. 200 requests/s for the default wait; half of the
/// connections that the API keeps, so that probes find a place while nobody leads.
pub(super) const HELD_MAX: usize = 1024;

/// Places for held requests.
pub(super) struct Places(Semaphore);

impl Default for Places {
    fn default() -> Self {
        Self(Semaphore::new(HELD_MAX))
    }
}

/// How a hold ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// The destination changed, or the pause is over: look again.
    Released,
    /// The budget is used up.
    OutOfTime,
    /// No place was free.
    NoPlace,
}

/// One request's budget of waiting.
pub(super) struct Patience {
    left: Duration,
    /// Made when the first one is needed.
    pauses: Option<ExponentialBackoff>,
    counted: bool,
}

impl Patience {
    pub(super) fn new(budget: Duration) -> Self {
        Self { left: budget, pauses: None, counted: false }
    }

    /// Takes time that was spent in vain elsewhere.
    pub(super) fn spend(&mut self, time: Duration) {
        self.left = self.left.saturating_sub(time);
    }

    /// Waits until the destination is another than `tried`, and if `paced` no longer than the next pause.
    pub(super) async fn hold(
        &mut self,
        paced: bool,
        tried: &Arc<Destination>,
        destinations: &mut watch::Receiver<Arc<Destination>>,
        places: &Places,
        metrics: &ProxyMetrics,
    ) -> Held {
        if self.left.is_zero() {
            return Held::OutOfTime;
        }
        let Ok(_place) = places.0.try_acquire() else { return Held::NoPlace };
        let _shown = Shown::new(&metrics.held_now);
        if !self.counted {
            self.counted = true;
            metrics.holds.inc();
        }
        let pause =
            if paced { self.pauses.get_or_insert_with(pauses).next().unwrap_or(PAUSE_MAX) } else { Duration::MAX };
        let begin = Instant::now();
        let changed = tokio::select! {
            changed = destinations.wait_for(|now| !Arc::ptr_eq(now, tried)) => changed.is_ok(),
            () = sleep(pause.min(self.left)) => false,
        };
        self.spend(begin.elapsed());
        if changed || !self.left.is_zero() { Held::Released } else { Held::OutOfTime }
    }
}

fn pauses() -> ExponentialBackoff {
    let pauses = ExponentialBuilder::default().with_min_delay(PAUSE_MIN).with_max_delay(PAUSE_MAX);
    pauses.with_jitter().without_max_times().build()
}

/// Counts in a gauge for as long as it lives.
pub(super) struct Shown<'g>(&'g Gauge);

impl<'g> Shown<'g> {
    pub(super) fn new(gauge: &'g Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::super::route::HoldReason;
    use super::*;

    const BUDGET: Duration = Duration::from_secs(5);

    fn nowhere() -> (watch::Sender<Arc<Destination>>, watch::Receiver<Arc<Destination>>) {
        watch::channel(Arc::new(Destination::Hold(HoldReason::NoLeader)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_hold_lasts_for_the_budget_and_counts_once() {
        let (_sender, mut destinations) = nowhere();
        let tried = Arc::clone(&destinations.borrow());
        let (places, metrics) = (Places::default(), ProxyMetrics::default());
        let mut patience = Patience::new(BUDGET);
        patience.spend(Duration::from_secs(2));
        let begin = Instant::now();
        assert_eq!(patience.hold(false, &tried, &mut destinations, &places, &metrics).await, Held::OutOfTime);
        assert_eq!(begin.elapsed(), Duration::from_secs(3));
        assert_eq!(patience.hold(true, &tried, &mut destinations, &places, &metrics).await, Held::OutOfTime);
        assert_eq!((metrics.holds.get(), metrics.held_now.get()), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_releases_at_once() {
        let (sender, mut destinations) = nowhere();
        let tried = Arc::clone(&destinations.borrow());
        let (places, metrics) = (Places::default(), ProxyMetrics::default());
        let mut patience = Patience::new(BUDGET);
        let begin = Instant::now();
        let (held, ()) = tokio::join!(patience.hold(false, &tried, &mut destinations, &places, &metrics), async {
            sleep(Duration::from_secs(1)).await;
            assert_eq!(metrics.held_now.get(), 1);
            sender.send_replace(Arc::new(Destination::Hold(HoldReason::NotFormed)));
        });
        assert_eq!((held, begin.elapsed()), (Held::Released, Duration::from_secs(1)));
        assert_eq!(metrics.held_now.get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn dials_are_paced_until_the_budget_ends() {
        let (_sender, mut destinations) = nowhere();
        let tried = Arc::clone(&destinations.borrow());
        let (places, metrics) = (Places::default(), ProxyMetrics::default());
        let mut patience = Patience::new(BUDGET);
        let begin = Instant::now();
        let mut dials = 0;
        while patience.hold(true, &tried, &mut destinations, &places, &metrics).await == Held::Released {
            dials += 1;
        }
        assert_eq!(begin.elapsed(), BUDGET);
        assert!((8..40).contains(&dials), "{dials} dials");
    }

    #[tokio::test(start_paused = true)]
    async fn places_are_bounded_and_given_back() {
        let (_sender, destinations) = nowhere();
        let (places, metrics) = (Places::default(), ProxyMetrics::default());
        let hold = |budget| {
            let (places, metrics, mut destinations) = (&places, &metrics, destinations.clone());
            let tried = Arc::clone(&destinations.borrow());
            async move { Patience::new(budget).hold(false, &tried, &mut destinations, places, metrics).await }
        };
        let mut waiting: futures_util::stream::FuturesUnordered<_> = (0..HELD_MAX).map(|_| hold(BUDGET)).collect();
        assert!(futures_util::FutureExt::now_or_never(futures_util::StreamExt::next(&mut waiting)).is_none());
        assert_eq!(hold(BUDGET).await, Held::NoPlace);
        // A client that goes away drops its future.
        drop(waiting);
        assert_eq!(metrics.held_now.get(), 0);
        assert_eq!(hold(BUDGET).await, Held::OutOfTime);
    }
}
