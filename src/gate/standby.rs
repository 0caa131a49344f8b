//! The shelf of one remote: its spool together with the phase that decides where a request goes.
//!
//! ```text
//! Standby -> CatchingUp: Open -> Paced -> Closed -> Writer
//!    ^           |                                     |
//!    +-----------+-------------------------------------+   authority ends
//! ```
//!
//! - Standby, and an intake that is Open: a request goes into the spool and is acknowledged.
//! - Paced: the catch-up takes long; a request waits for its turn, one for two batches that have gone out, so that the spool
//!   becomes shorter however fast Prometheus is.
//! - Closed: the spool is nearly empty; requests wait until it is, so that none overtakes it.
//! - No request waits longer than [`HOLD_MAX`]: a lag over 10 s makes Prometheus's shards grow. Then it is spooled all the
//!   same.
//! - Writer: requests pass. The spool is empty, and nothing is put into it.
//!
//! Invariant: a batch is appended only under the spool's lock and in no Writer phase, and the phase becomes Writer only
//! under the same lock with an empty spool. So nothing newer goes out before something older, and nothing stays behind.
//! Failure: a full spool or disk refuses the request (503), Prometheus keeps it. The disk is used on blocking threads.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

use super::fence::Tenure;
use super::lock;
use super::spool::{Batch, Dropped, Recovered, Spool, SpoolError};

/// Longest time for which a request waits for the end of a catch-up.
const HOLD_MAX: Duration = Duration::from_secs(3);

/// What becomes of requests during a catch-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Intake {
    Open,
    Paced,
    Closed,
}

/// Where a remote's requests go.
#[derive(Clone, Debug)]
pub(super) enum Phase {
    Standby,
    CatchingUp { tenure: Arc<Tenure>, intake: Intake },
    Writer(Arc<Tenure>),
}

impl Phase {
    /// The tenure in which requests pass through, while it holds.
    fn writer(&self) -> Option<&Arc<Tenure>> {
        match self {
            Self::Writer(tenure) => Some(tenure).filter(|tenure| tenure.holds()),
            Self::Standby | Self::CatchingUp { .. } => None,
        }
    }

    fn is_catching_up(&self, within: &Arc<Tenure>) -> bool {
        matches!(self, Self::CatchingUp { tenure, .. } if Arc::ptr_eq(tenure, within))
    }
}

/// What became of a request.
#[derive(Debug)]
pub(super) enum Route {
    /// It is in the spool.
    Spooled,
    /// It is to be sent now.
    Through(Arc<Tenure>),
}

/// What a spool holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) batches: u64,
    pub(super) bytes: u64,
    /// Arrival of the oldest batch, in Unix milliseconds.
    pub(super) oldest_ms: Option<i64>,
}

impl Size {
    fn of(spool: &Spool) -> Self {
        Self { batches: spool.len(), bytes: spool.bytes(), oldest_ms: spool.oldest_ms() }
    }
}

/// A remote's spool and phase.
#[derive(Clone)]
pub(super) struct Shelf {
    spool: Arc<Mutex<Spool>>,
    /// What is in it, for those who must not wait for the disk.
    size: Arc<Mutex<Size>>,
    phase: Arc<watch::Sender<Phase>>,
    /// Requests that may enter while the intake is paced.
    turns: Arc<Semaphore>,
}

impl Shelf {
    /// Opens the spool of a directory. Blocking.
    pub(super) fn open(dir: &Path, bytes_max: u64) -> Result<(Self, Recovered), SpoolError> {
        let (spool, recovered) = Spool::open(dir, bytes_max)?;
        let size = Arc::new(Mutex::new(Size::of(&spool)));
        let phase = Arc::new(watch::Sender::new(Phase::Standby));
        let turns = Arc::new(Semaphore::new(0));
        Ok((Self { spool: Arc::new(Mutex::new(spool)), size, phase, turns }, recovered))
    }

    /// Decides about a request, and spools it unless it passes through. `batch` makes it.
    pub(super) async fn route(&self, batch: impl FnOnce() -> Batch + Send + 'static) -> Result<Route, SpoolError> {
        // An error is the time-out: it goes into the spool, and the catch-up goes on.
        let _ = tokio::time::timeout(HOLD_MAX, self.turn()).await;
        if let Some(tenure) = self.phase.borrow().writer() {
            return Ok(Route::Through(tenure.clone()));
        }
        let this = self.clone();
        self.with_spool(move |spool| {
            // The phase may have changed meanwhile; it becomes Writer under this lock only.
            if let Some(tenure) = this.phase.borrow().writer() {
                return Ok(Route::Through(tenure.clone()));
            }
            this.phase.send_if_modified(|phase| {
                let has_ended = matches!(phase, Phase::Writer(tenure) if !tenure.holds());
                if has_ended {
                    *phase = Phase::Standby;
                }
                has_ended
            });
            spool.append(&batch()).map(|()| Route::Spooled)
        })
        .await
    }

    /// Authority has ended.
    pub(super) fn stand_by(&self) {
        self.phase.send_replace(Phase::Standby);
    }

    /// Authority has begun.
    pub(super) fn catch_up(&self, tenure: &Arc<Tenure>) {
        self.phase.send_replace(Phase::CatchingUp { tenure: tenure.clone(), intake: Intake::Open });
    }

    /// Completes when a request may go on.
    async fn turn(&self) {
        let mut phase = self.phase.subscribe();
        let is = |phase: &Phase, wanted| matches!(phase, Phase::CatchingUp { intake, .. } if *intake == wanted);
        loop {
            // The sender is this shelf's own: there is always a value.
            let Ok(now) = phase.wait_for(|phase| !is(phase, Intake::Closed)).await.map(|phase| phase.clone()) else {
                return;
            };
            if !is(&now, Intake::Paced) {
                return;
            }
            tokio::select! {
                turn = self.turns.acquire() => {
                    if let Ok(turn) = turn {
                        turn.forget();
                    }
                    return;
                }
                _ = phase.wait_for(|phase| !is(phase, Intake::Paced)) => {}
            }
        }
    }

    /// Lets requests in while the intake is paced. Turns that nobody takes do not add up.
    pub(super) fn give_turns(&self, turns: usize) {
        self.turns.add_permits(turns.saturating_sub(self.turns.available_permits()));
    }

    /// Says what becomes of new requests.
    pub(super) fn set_intake(&self, within: &Arc<Tenure>, wanted: Intake) {
        self.phase.send_if_modified(|phase| match phase {
            Phase::CatchingUp { tenure, intake } if Arc::ptr_eq(tenure, within) && *intake != wanted => {
                *intake = wanted;
                true
            }
            _ => false,
        });
    }

    /// The oldest batch, and those behind it for as long as `wanted` (the oldest, the next).
    pub(super) async fn fronts(
        &self,
        wanted: impl FnMut(&Batch, &Batch) -> bool + Send + 'static,
    ) -> Result<Vec<Batch>, SpoolError> {
        self.with_spool(|spool| spool.fronts(wanted)).await
    }

    /// Nothing in it is older, in Unix milliseconds.
    pub(super) async fn lowest_ms(&self) -> Option<i64> {
        self.with_spool(|spool| spool.lowest_ms()).await
    }

    /// Removes the oldest batches, which were answered for good. Nothing once another phase has begun: then they may be
    /// other ones.
    pub(super) async fn pop(&self, within: &Arc<Tenure>, batches: usize) -> Result<(), SpoolError> {
        let (this, within) = (self.clone(), within.clone());
        self.with_spool(move |spool| {
            if !this.phase.borrow().is_catching_up(&within) {
                return Ok(());
            }
            (0..batches).try_for_each(|_| spool.pop_front().map(|_| ()))
        })
        .await
    }

    /// Lets requests pass if nothing is left in the spool.
    pub(super) async fn pass_through(&self, tenure: &Arc<Tenure>) -> bool {
        let (this, tenure) = (self.clone(), tenure.clone());
        self.with_spool(move |spool| {
            let may = spool.is_empty() && this.phase.borrow().is_catching_up(&tenure);
            if may {
                this.phase.send_replace(Phase::Writer(tenure));
            }
            may
        })
        .await
    }

    /// Drops what nobody needs, on a standby: what was received up to `bound_ms`, and before `limit_ms`.
    pub(super) async fn retain(&self, bound_ms: Option<i64>, limit_ms: i64) -> Result<Dropped, SpoolError> {
        let this = self.clone();
        self.with_spool(move |spool| {
            if !matches!(*this.phase.borrow(), Phase::Standby) {
                return Ok(Dropped::default());
            }
            let old = spool.drop_received_before(limit_ms)?.batches;
            let finished =
                bound_ms.map_or(Ok(0), |bound_ms| spool.drop_until(bound_ms).map(|dropped| dropped.batches))?;
            Ok(Dropped { batches: old + finished })
        })
        .await
    }

    /// The phase.
    pub(super) fn phase(&self) -> Phase {
        self.phase.borrow().clone()
    }

    /// What the spool holds, as of the last use of it: does not wait for the disk.
    pub(super) fn size(&self) -> Size {
        *lock(&self.size)
    }

    /// Works on the spool, on a blocking thread.
    async fn with_spool<T: Send + 'static>(&self, work: impl FnOnce(&mut Spool) -> T + Send + 'static) -> T {
        let this = self.clone();
        blocking(move || {
            let mut spool = lock(&this.spool);
            let outcome = work(&mut spool);
            *lock(&this.size) = Size::of(&spool);
            outcome
        })
        .await
    }
}

/// Runs on a blocking thread. What has begun ends there also when nobody waits for it any more.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime is shutting down: nobody is there to see an answer.
        Err(_) => std::future::pending().await,
    }
}
