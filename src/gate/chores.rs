//! What the gate does between requests, for each remote: it follows tenures, and does the work of every period.
//!
//! ```text
//! tenure begins -> spool goes out -> requests pass -> tenure ends -> standby
//! every period:  writer, also while it catches up: the watermark into the group's values
//!                standby: what is finished is dropped
//! ```

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::drain::drain;
use super::fence::Tenure;
use super::forward::Remote;
use super::runtime::Inner;
use super::spool::AGE_MAX;
use super::standby::Phase;
use super::wall_ms;
use super::watermark::{key, usable};

/// Time between two looks at the files of `tls_config`.
const FILES_PERIOD: Duration = Duration::from_secs(30);

/// The life of one remote: follows tenures, and does the work of every period.
pub(super) async fn work(gate: Weak<Inner>, remote: Arc<Remote>) {
    let Some((mut tenure, yields, period)) =
        gate.upgrade().map(|gate| (gate.tenure.clone(), gate.yields.subscribe(), gate.settings.watermark_period))
    else {
        return;
    };
    let chores = async {
        let mut files_due = Instant::now() + FILES_PERIOD;
        loop {
            tokio::time::sleep(period).await;
            let Some(gate) = gate.upgrade() else { return };
            chores(&gate, &remote).await;
            if Instant::now() >= files_due {
                files_due = Instant::now() + FILES_PERIOD;
                remote.refresh_client().await;
            }
        }
    };
    let follow = async {
        loop {
            let current = tenure.borrow_and_update().clone();
            if let Some(current) = current {
                let Some(gate) = gate.upgrade() else { return };
                let name = remote.settings().name.clone();
                let value = gate.group.values.borrow().get(&key(&name)).cloned();
                drop(gate);
                remote.begin_tenure(&current, period, value.as_deref());
                tokio::select! {
                    biased;
                    () = current.ended() => {}
                    () = act(&remote, &current, yields.clone()) => {}
                }
                remote.end_tenure();
            }
            if tenure.changed().await.is_err() {
                return;
            }
        }
    };
    tokio::join!(chores, follow);
}

/// Acts as the writer, except while leadership is being handed over. To be dropped when the tenure ends.
async fn act(remote: &Remote, tenure: &Arc<Tenure>, mut yields: watch::Receiver<bool>) {
    loop {
        let writes = async {
            drain(remote, tenure).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            () = is(&mut yields, true) => remote.shelf.stand_by(),
            () = writes => {}
        }
        is(&mut yields, false).await;
        remote.shelf.catch_up(tenure);
    }
}

/// Completes when the gate gives way, or no longer does; never once the gate is gone.
async fn is(yields: &mut watch::Receiver<bool>, wanted: bool) {
    if yields.wait_for(|yields| *yields == wanted).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The writer publishes how far it has got; a standby forgets what it need not keep.
async fn chores(gate: &Arc<Inner>, remote: &Arc<Remote>) {
    let settings = remote.settings();
    let key = key(&settings.name);
    match remote.shelf.phase() {
        Phase::CatchingUp { tenure, .. } | Phase::Writer(tenure) => {
            let now = Instant::now();
            let reached = remote.with_progress(&tenure, |progress| {
                let expired = progress.watermark.expire(now);
                if expired.given_up > 0 {
                    tracing::warn!(
                        remote = %settings.name, batches = expired.given_up,
                        "Prometheus has given up batches that the remote had not taken"
                    );
                }
                progress.watermark.value(now)
            });
            // What is in the spool has not begun: the watermark does not know of it. Asked only now: what enters the spool
            // meanwhile was open before.
            let floor_ms = remote.shelf.lowest_ms().await.map(|lowest_ms| lowest_ms.saturating_sub(1));
            let reached =
                reached.flatten().map(|reached_ms| floor_ms.map_or(reached_ms, |floor| floor.min(reached_ms)));
            let due = remote.with_progress(&tenure, |progress| progress.publisher.due(reached, now));
            let Some(value) = due.flatten().filter(|_| tenure.holds()) else { return };
            match gate.group.publish(key, value.clone()).await {
                Ok(()) => {
                    remote.with_progress(&tenure, |progress| progress.publisher.published(&value));
                }
                Err(error) => tracing::debug!(remote = %settings.name, %error, "the watermark was not published"),
            }
        }
        Phase::Standby => {
            let now_ms = wall_ms();
            let value = gate.group.values.borrow().get(&key).cloned();
            let watermark_ms = value.and_then(|value| usable(&value, &settings.url.id(), now_ms));
            let margin_ms = remote.margin_ms.load(Ordering::Relaxed);
            let bound_ms = watermark_ms.map(|watermark_ms| watermark_ms.saturating_sub(margin_ms));
            let age_ms = i64::try_from(AGE_MAX.as_millis()).unwrap_or(i64::MAX);
            match remote.shelf.retain(bound_ms, now_ms.saturating_sub(age_ms)).await {
                Ok(dropped) => {
                    remote.counts.retained_dropped.fetch_add(dropped.batches, Ordering::Relaxed);
                }
                Err(error) => tracing::warn!(remote = %settings.name, %error, "the spool cannot be shortened"),
            }
        }
    }
}
