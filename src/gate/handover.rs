//! Giving way before leadership is handed over: nothing more is forwarded, what is on its way may end, and the next writer
//! learns how far this one has got.
//!
//! ```text
//! give_way -> requests enter the spool -> those on their way end (FLIGHT_MAX) -> final watermarks (PUBLISH_MAX) -> transfer
//! resume   -> the handover did not happen: the spool goes out, then requests pass again
//! ```
//!
//! Authority is kept meanwhile: only its use ends. What enters the spool counts as not finished, so that the final
//! watermark does not claim it. Should the handover succeed, it is a standby's spool like any other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::forward::Remote;
use super::runtime::{Gate, Inner};
use super::standby::Phase;
use super::watermark::key;

/// Time for requests that are on their way; then they are cut with the rest of the tenure, and Prometheus repeats them.
const FLIGHT_MAX: Duration = Duration::from_secs(1);
/// Time for the final watermarks. Without them the next writer sends a little more twice.
const PUBLISH_MAX: Duration = Duration::from_millis(500);

impl Gate {
    /// Stops forwarding, although this member may go on to hold authority.
    pub async fn give_way(&self) {
        self.0.yields.send_replace(true);
        let remotes = self.0.remotes();
        join_all(remotes.iter().map(|remote| give_way(&self.0, remote))).await;
    }

    /// The handover has ended, one way or the other.
    pub fn resume(&self) {
        self.0.yields.send_replace(false);
    }
}

async fn give_way(gate: &Inner, remote: &Arc<Remote>) {
    let Phase::Writer(tenure) = remote.shelf.phase() else {
        // A spool that goes out stops where it is.
        remote.shelf.stand_by();
        return;
    };
    remote.shelf.stand_by();
    if tokio::time::timeout(FLIGHT_MAX, remote.is_idle()).await.is_err() {
        tracing::warn!(remote = %remote.settings().name, "requests were still on their way when leadership was handed over");
    }
    let last = remote.with_progress(&tenure, |progress| {
        let now = Instant::now();
        progress.watermark.expire(now);
        progress.publisher.last(progress.watermark.value(now))
    });
    let Some(value) = last.flatten().filter(|_| tenure.holds()) else { return };
    let key = key(&remote.settings().name);
    if tokio::time::timeout(PUBLISH_MAX, gate.group.publish(key, value)).await.is_err() {
        tracing::warn!(remote = %remote.settings().name, "the final watermark was not published in time");
    }
}
