//! What the gate learns from the own Prometheus: since when each queue keeps what it has not sent (cover), the longest
//! interval (margin), and whether its external labels are those of the leader.
//!
//! ```text
//! Observed (API of Prometheus) -> Known -> settle: since when, margin     on each remote
//!                                       -> external labels -> the leader publishes theirs, the others compare
//! ```
//!
//! Since when a queue has run is kept beside its spool: a sidecar that is restarted alone finds the same Prometheus, and what
//! that could not send meanwhile is still in its write-ahead log. A spool that has lost something begins anew.
//!
//! Without the API cover is counted from the moment at which this process was ready to take requests.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::cover::cover;
use super::runtime::{Gate, Inner};
use super::watermark::outdated;
use super::{lock, wall_ms};
use crate::prometheus::running::Observed;
use crate::render::{RunningConfig, read_running};

/// Time between two looks at the cover.
const COVER_PERIOD: Duration = Duration::from_millis(500);
/// The leader's external labels among the group's values, hashed.
const LABELS_KEY: &str = "external-labels";
/// Prometheus's default for scrapes and rules.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(60);
/// File beside the spool.
pub(super) const FILE: &str = "cover";
/// Prometheus tells the time of a reload in whole seconds.
const RELOAD_PRECISION_MS: i64 = 1_000;

/// What is known of the own Prometheus.
#[derive(Clone, Debug, Default)]
pub(super) enum Known {
    /// It has not been seen.
    #[default]
    Nothing,
    /// It cannot be asked.
    Unasked,
    /// It runs.
    Runs { started_ms: i64, loaded_ms: i64, config: Arc<RunningConfig> },
}

impl Known {
    /// The longest interval, with that of the rendered configuration.
    fn longest_interval(&self, rendered: Option<Duration>) -> Duration {
        match self {
            Self::Runs { config, .. } => config.longest_interval.max(rendered.unwrap_or_default()),
            // Nothing is dropped until it is known.
            Self::Nothing => rendered.unwrap_or(Duration::MAX),
            Self::Unasked => rendered.unwrap_or(DEFAULT_INTERVAL),
        }
    }
}

/// Whether this member could take over without a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateCover {
    /// Something is gated.
    pub matters: bool,
    /// It could, or one sentence why not.
    pub verdict: Result<(), String>,
    /// Why another member should write: a remote has been refusing this replica.
    pub unfit: Option<String>,
}

impl GateCover {
    pub(super) fn starting() -> Self {
        Self { matters: false, verdict: Err("the gate is starting".to_owned()), unfit: None }
    }
}

/// Since when one queue keeps what it has not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct QueueSince {
    /// Start of that Prometheus, in Unix milliseconds.
    started_ms: i64,
    /// What tells the queue from another one of the same name.
    queue: String,
    /// Unix milliseconds.
    pub(super) since_ms: i64,
}

impl QueueSince {
    /// What holds for a queue that is seen now. Where nothing is known of before, its last reload may have restarted it.
    fn now(known: Option<&Self>, started_ms: i64, loaded_ms: i64, queue: &str) -> Self {
        let known = known.filter(|known| known.started_ms == started_ms);
        if let Some(known) = known.filter(|known| known.queue == queue) {
            return known.clone();
        }
        let since_ms = started_ms.max(loaded_ms.saturating_add(RELOAD_PRECISION_MS));
        Self { started_ms, queue: queue.to_owned(), since_ms }
    }

    /// Reads what an earlier process has left beside a spool. Blocking.
    pub(super) fn read(dir: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(dir.join(FILE)).ok()?;
        let mut words = text.strip_suffix('\n')?.split(' ');
        let known = Self {
            started_ms: words.next()?.parse().ok()?,
            queue: words.next()?.to_owned(),
            since_ms: words.next()?.parse().ok()?,
        };
        words.next().is_none().then_some(known)
    }

    fn write(&self, dir: &Path) {
        let text = format!("{} {} {}\n", self.started_ms, self.queue, self.since_ms);
        if let Err(error) = std::fs::write(dir.join(FILE), text) {
            tracing::warn!(%error, dir = %dir.display(), "a restarted sidecar will not know since when it is covered");
        }
    }
}

impl Gate {
    /// Learns from the own Prometheus until the gate is gone. `address`: where its configuration leads to.
    pub async fn follow_prometheus(&self, mut running: watch::Receiver<Observed>, address: SocketAddr) {
        let gate = Arc::downgrade(&self.0);
        loop {
            let seen = running.borrow_and_update().clone();
            let known = match seen {
                Observed::NotSeen => Known::Nothing,
                Observed::Unknown => Known::Unasked,
                Observed::Seen(seen) => {
                    let read = move || read_running(&seen.config, address).map(Arc::new);
                    match tokio::task::spawn_blocking(read).await {
                        Ok(Ok(config)) => {
                            Known::Runs { started_ms: seen.started_ms, loaded_ms: seen.loaded_ms, config }
                        }
                        Ok(Err(error)) => {
                            tracing::warn!(%error, "the configuration that Prometheus runs with cannot be read");
                            Known::Unasked
                        }
                        Err(_) => return,
                    }
                }
            };
            let Some(inner) = gate.upgrade() else { return };
            *lock(&inner.known) = known;
            inner.settle().await;
            drop(inner);
            if running.changed().await.is_err() {
                return;
            }
        }
    }

    /// Whether this member could take over without a gap at this moment, and else one sentence why not.
    pub fn covered(&self) -> Result<(), String> {
        // Not borrowed meanwhile: the group must be able to write.
        let values = self.0.group.values.borrow().clone();
        self.0.judge_cover(&values)
    }

    /// The same, twice a second.
    pub fn cover(&self) -> watch::Receiver<GateCover> {
        self.0.cover.subscribe()
    }
}

impl Inner {
    /// Gives every remote its margin and the time since when it is covered.
    pub(super) async fn settle(&self) {
        let known = lock(&self.known).clone();
        let longest_interval = known.longest_interval(*lock(&self.longest_interval));
        let mut writes: Vec<(PathBuf, QueueSince)> = Vec::new();
        for remote in self.remotes() {
            remote.set_margin(&self.settings, longest_interval);
            let name = remote.settings().name.clone();
            let mut since = lock(&remote.since);
            match &known {
                Known::Nothing => {}
                Known::Unasked => {
                    let unknown = || QueueSince { started_ms: 0, queue: String::new(), since_ms: wall_ms() };
                    let own = since.take().filter(|since| since.started_ms == 0);
                    *since = Some(own.unwrap_or_else(unknown));
                }
                Known::Runs { started_ms, loaded_ms, config } => {
                    let queue = config.queues.get(&name);
                    let now = queue.map(|queue| QueueSince::now(since.as_ref(), *started_ms, *loaded_ms, queue));
                    // One that is gone for a reload is another one when it comes back.
                    if let Some(now) = now.as_ref().filter(|now| Some(*now) != since.as_ref()) {
                        writes.push((remote.dir.clone(), now.clone()));
                    }
                    *since = now;
                }
            }
        }
        // Also when the runtime is shutting down nothing is lost but this.
        let _ = tokio::task::spawn_blocking(move || writes.iter().for_each(|(dir, since)| since.write(dir))).await;
    }

    /// Covered with every remote, or one sentence why not.
    fn judge_cover(&self, values: &BTreeMap<String, String>) -> Result<(), String> {
        if !self.has_applied() {
            return Err("the gate has no valid configuration yet".to_owned());
        }
        for remote in self.remotes() {
            cover(remote.reach(values)).map_err(|why| format!("remote_write `{}`: {why}", remote.settings().name))?;
        }
        Ok(())
    }

    /// Why another member should write.
    fn judge_fitness(&self) -> Option<String> {
        let now = Instant::now();
        self.remotes().iter().find_map(|remote| {
            let why = remote.unfit(now)?;
            Some(format!("remote_write `{}`: {why}", remote.settings().name))
        })
    }

    /// Takes a watermark of an entry that is gone out of the group's values, which are bounded in number.
    async fn forget_outdated(&self, values: &BTreeMap<String, String>) {
        let names: Vec<String> = self.remotes().iter().map(|remote| remote.settings().name.clone()).collect();
        let Some(key) = outdated(values, &names, wall_ms()).filter(|_| self.has_applied()) else { return };
        match self.group.publish(key, "").await {
            Ok(()) => tracing::info!(key, "the watermark of an entry that is gone was forgotten"),
            Err(error) => tracing::debug!(key, %error, "an outdated watermark was not forgotten"),
        }
    }

    /// A warning where the external labels are not the leader's.
    pub(super) fn labels_warning(&self, values: &BTreeMap<String, String>) -> Option<String> {
        let (Known::Runs { config, .. }, Some(leaders)) = (&*lock(&self.known), values.get(LABELS_KEY)) else {
            return None;
        };
        let tenure = self.tenure.borrow().clone();
        let leads = tenure.is_some_and(|tenure| tenure.holds());
        (!leads && !self.remotes().is_empty() && *leaders != config.external_labels).then(|| {
            "global.external_labels of this member's Prometheus differ from the leader's: each takeover begins new series at \
             the remote; make them equal on all replicas (prometheus-operator: replicaExternalLabelName: \"\")"
                .to_owned()
        })
    }
}

/// Keeps [`Gate::cover`] and the group's values up to date until the gate is gone.
pub(super) async fn watch_cover(gate: Weak<Inner>) {
    let Some(mut values) = gate.upgrade().map(|gate| gate.group.values.clone()) else { return };
    loop {
        let Some(inner) = gate.upgrade() else { return };
        let current = values.borrow_and_update().clone();
        let matters = !inner.remotes().is_empty();
        let now = GateCover { matters, verdict: inner.judge_cover(&current), unfit: inner.judge_fitness() };
        inner.cover.send_if_modified(|cover| {
            let changed = *cover != now;
            *cover = now;
            changed
        });
        let labels = match &*lock(&inner.known) {
            Known::Runs { config, .. } => Some(config.external_labels.clone()),
            Known::Nothing | Known::Unasked => None,
        };
        let leads = inner.tenure.borrow().is_some();
        if let Some(labels) = labels.filter(|labels| leads && current.get(LABELS_KEY) != Some(labels))
            && let Err(error) = inner.group.publish(LABELS_KEY, labels).await
        {
            tracing::debug!(%error, "the external labels were not published");
        }
        if leads {
            inner.forget_outdated(&current).await;
        }
        drop(inner);
        // Without the group the time alone matters.
        tokio::select! { () = tokio::time::sleep(COVER_PERIOD) => {} Ok(()) = values.changed() => {} }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_queue_keeps_its_time_until_its_prometheus_or_its_entry_is_another_one() {
        let first = QueueSince::now(None, 5_500, 5_000, "a");
        assert_eq!(first.since_ms, 6_000, "the reload may have come at the end of its second");
        let later = |started_ms, loaded_ms, queue| QueueSince::now(Some(&first), started_ms, loaded_ms, queue).since_ms;
        assert_eq!(later(5_500, 90_000, "a"), 6_000, "a reload that left it alone");
        assert_eq!(later(5_500, 90_000, "b"), 91_000, "a reload that changed it");
        assert_eq!(later(80_300, 80_000, "a"), 81_000, "a restart");
    }

    #[test]
    fn the_margin_of_a_foreign_prometheus_is_that_of_its_configuration_and_unbounded_until_it_is_known() {
        let config = Arc::new(RunningConfig { longest_interval: Duration::from_secs(15), ..RunningConfig::default() });
        let runs = Known::Runs { started_ms: 0, loaded_ms: 0, config };
        assert_eq!(runs.longest_interval(None), Duration::from_secs(15));
        assert_eq!(runs.longest_interval(Some(Duration::from_secs(30))), Duration::from_secs(30));
        assert_eq!(Known::Nothing.longest_interval(None), Duration::MAX);
        assert_eq!(Known::Unasked.longest_interval(None), Duration::from_secs(60));
    }

    #[test]
    fn what_is_known_outlives_the_process_and_nothing_else_is_believed() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(QueueSince::read(dir.path()), None);
        let since = QueueSince { started_ms: 5, queue: "ab12".to_owned(), since_ms: 7 };
        since.write(dir.path());
        assert_eq!(QueueSince::read(dir.path()), Some(since));
        for torn in ["", "5 ab12 7", "5 ab12\n", "5 ab12 7 8\n", "x ab12 7\n"] {
            std::fs::write(dir.path().join(FILE), torn).unwrap();
            assert_eq!(QueueSince::read(dir.path()), None, "{torn}");
        }
    }
}
