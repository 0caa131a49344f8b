//! The gate of a process: its remotes, the thread of the fence, and the work of every period.
//!
//! - Inputs: the group's handle; the remotes of each render ([`Gate::apply`]); requests ([`Gate::handle`]).
//! - Outputs: answers; watermarks among the group's values; [`Gate::status`].
//! - A remote whose settings have not changed is left alone by a render: its queue, connections and watermark go on.
//! - The fence follows leadership on a thread of its own, so that connections are cut in time however busy this runtime is.
//!
//! A spool stays on disk when its entry leaves the configuration, and is found again should it come back.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use elector_raft::GroupHandle;
use http::{HeaderMap, Response, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::answer::refusal;
use super::drain::drain;
use super::fence::{Tenure, tenures};
use super::forward::Remote;
use super::remote::{RemoteSettings, hex};
use super::spool::SpoolError;
use super::standby::{Phase, Shelf};
use super::watermark::{key, usable};
use super::{lock, margin, wall_ms};

/// Receivers refuse what is older than their head block, about two hours.
const SPOOL_AGE_MAX: Duration = Duration::from_secs(2 * 60 * 60);
/// Time between two looks at the files of `tls_config`.
const FILES_PERIOD: Duration = Duration::from_secs(30);
/// Longest name of a directory that is the entry's own name.
const DIRECTORY_NAME_MAX: usize = 100;

/// Settings of the gate.
#[derive(Clone, Debug)]
pub struct GateSettings {
    /// Directory of the spools.
    pub spool_dir: PathBuf,
    /// Largest spool of one remote, in bytes.
    pub spool_bytes_max: u64,
    /// Shortest time between two watermarks of a remote.
    pub watermark_period: Duration,
    /// An interval that the configuration does not show (`margin`).
    pub extra_interval: Option<Duration>,
    /// Directory of Prometheus's configuration file, where relative files of `tls_config` start from.
    pub tls_base: PathBuf,
}

/// Why the gate cannot work.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// The thread of the fence.
    #[error("the gate cannot start the thread of its fence: {0}")]
    Thread(#[source] io::Error),
    /// A spool.
    #[error("remote_write `{name}`: {source}")]
    Spool {
        /// The entry.
        name: String,
        /// Why.
        source: SpoolError,
    },
}

/// What one remote is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteStatus {
    /// The entry's name.
    pub name: String,
    /// The true URL, without secrets.
    pub url: String,
    /// `standby`, `catching up` or `writer`.
    pub phase: &'static str,
    /// Batches in the spool.
    pub spool_batches: u64,
    /// Bytes of the spool on disk.
    pub spool_bytes: u64,
    /// The watermark among the group's values, in Unix milliseconds.
    pub watermark_ms: Option<i64>,
    /// Since when this member could take over without a gap, in Unix milliseconds.
    pub covered_since_ms: i64,
    /// How long the remote has been refusing this replica.
    pub refused_for: Option<Duration>,
    /// Since the remote has last taken something.
    pub last_accepted: Option<Duration>,
    /// Requests acknowledged into the spool.
    pub spooled: u64,
    /// Requests that a full spool or disk has refused.
    pub spool_refused: u64,
    /// Requests with an answer of the remote.
    pub passed: u64,
    /// Requests without one.
    pub unanswered: u64,
    /// Requests that were cut when authority ended.
    pub cut: u64,
    /// Bodies that could not be read.
    pub unreadable: u64,
    /// Bytes of all bodies.
    pub bytes: u64,
    /// Batches of the spool that were sent in takeovers.
    pub caught_up: u64,
    /// Requests that this has taken.
    pub catch_up_requests: u64,
    /// Batches of which the remote has refused a part for good.
    pub catch_up_lost: u64,
    /// Batches that were dropped because the writer had finished them, or for their age.
    pub retained_dropped: u64,
}

/// One gated entry at work.
struct Entry {
    remote: Arc<Remote>,
    margin_ms: i64,
    task: AbortHandle,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Inner {
    settings: GateSettings,
    group: GroupHandle,
    tenure: watch::Receiver<Option<Arc<Tenure>>>,
    entries: Mutex<HashMap<String, Entry>>,
    /// The process is going away, and what its Prometheus still flushes is the next writer's to send.
    is_leaving: AtomicBool,
    /// One render at a time.
    applying: tokio::sync::Mutex<()>,
}

/// The gate. Cheap to clone.
#[derive(Clone)]
pub struct Gate(Arc<Inner>);

impl Gate {
    /// Starts the gate without remotes; to be called within the runtime that it lives in.
    pub fn start(settings: GateSettings, group: GroupHandle) -> Result<Self, GateError> {
        let (current, tenure) = watch::channel(None);
        let leadership = group.leadership.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(GateError::Thread)?;
        let thread = std::thread::Builder::new().name("gate-fence".into());
        thread.spawn(move || runtime.block_on(tenures(leadership, current))).map_err(GateError::Thread)?;
        let applying = tokio::sync::Mutex::new(());
        let gate = Self(Arc::new(Inner {
            settings,
            group,
            tenure,
            entries: Mutex::default(),
            is_leaving: AtomicBool::new(false),
            applying,
        }));
        Ok(gate)
    }

    /// Takes the remotes of a render. Those that have not changed go on as they are; a spool that cannot be opened leaves
    /// its entry out, and the others are taken.
    pub async fn apply(&self, remotes: &[RemoteSettings], longest_interval: Duration) -> Result<(), GateError> {
        let _one = self.0.applying.lock().await;
        lock(&self.0.entries).retain(|name, _| remotes.iter().any(|settings| settings.name == *name));
        let mut outcome = Ok(());
        for settings in remotes {
            let margin_ms = self.margin_ms(settings, longest_interval);
            if self.update(settings, margin_ms) {
                continue;
            }
            match self.open(settings.clone()).await {
                Ok(remote) => {
                    let task = tokio::spawn(work(Arc::downgrade(&self.0), remote.clone())).abort_handle();
                    lock(&self.0.entries).insert(settings.name.clone(), Entry { remote, margin_ms, task });
                }
                Err(error) => outcome = Err(error),
            }
        }
        outcome
    }

    /// Answers a request of the own Prometheus.
    pub async fn handle(&self, name: &str, headers: &HeaderMap, body: Bytes) -> Response<Body> {
        if self.0.is_leaving.load(Ordering::Relaxed) && self.0.tenure.borrow().is_none() {
            return refusal(StatusCode::BAD_REQUEST, "this member is going away, and another one writes");
        }
        let remote = lock(&self.0.entries).get(name).map(|entry| entry.remote.clone());
        match remote {
            Some(remote) => remote.handle(headers, body).await,
            None => refusal(StatusCode::SERVICE_UNAVAILABLE, "no gated remote_write entry has this name (yet)"),
        }
    }

    /// The process is going away: from now on, and once another member writes, requests are refused for good (400), so that
    /// the own Prometheus ends at once instead of flushing what the next writer has. Call it only when that one is covered.
    pub fn leave(&self) {
        self.0.is_leaving.store(true, Ordering::Relaxed);
    }

    /// Prometheus has started, or its queues were restarted: it knows nothing of before. `None`: all remotes.
    pub fn covered_from(&self, name: Option<&str>, since_ms: i64) {
        for (entry_name, entry) in lock(&self.0.entries).iter() {
            if name.is_none_or(|name| name == entry_name) {
                *lock(&entry.remote.covered_since_ms) = since_ms;
            }
        }
    }

    /// What every remote is doing, by name.
    pub fn status(&self) -> Vec<RemoteStatus> {
        let values = self.0.group.values.borrow().clone();
        let remotes: Vec<Arc<Remote>> = lock(&self.0.entries).values().map(|entry| entry.remote.clone()).collect();
        let mut all: Vec<RemoteStatus> =
            remotes.iter().map(|remote| status(remote, |name| values.get(&key(name)).map(String::as_str))).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    fn margin_ms(&self, settings: &RemoteSettings, longest_interval: Duration) -> i64 {
        let Inner { settings: gate, .. } = &*self.0;
        let deadline = settings.queue.batch_send_deadline;
        let margin = margin::margin(longest_interval, gate.extra_interval, deadline, gate.watermark_period);
        i64::try_from(margin.as_millis()).unwrap_or(i64::MAX)
    }

    /// Gives an entry that is there its new settings; `false` if it is not.
    fn update(&self, settings: &RemoteSettings, margin_ms: i64) -> bool {
        let mut entries = lock(&self.0.entries);
        let Some(entry) = entries.get_mut(&settings.name) else { return false };
        entry.margin_ms = margin_ms;
        let current = entry.remote.settings();
        // The line says nothing about the remote.
        if *current != (RemoteSettings { line: current.line, ..settings.clone() }) {
            entry.remote.replace_settings(settings.clone(), self.0.settings.watermark_period);
        }
        true
    }

    async fn open(&self, settings: RemoteSettings) -> Result<Arc<Remote>, GateError> {
        let gate = &self.0.settings;
        let dir = gate.spool_dir.join(directory(&settings.name));
        let bytes_max = gate.spool_bytes_max;
        let name = settings.name.clone();
        let outcome = tokio::task::spawn_blocking(move || Shelf::open(&dir, bytes_max)).await;
        let outcome = outcome.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        let (opened, recovered) = outcome.map_err(|source| GateError::Spool { name: name.clone(), source })?;
        if recovered.damaged_bytes > 0 {
            tracing::warn!(remote = %name, bytes = recovered.damaged_bytes, "a damaged part of the spool was dropped");
        }
        tracing::info!(remote = %name, url = %settings.url, batches = recovered.batches, "remote_write goes through the gate");
        Ok(Arc::new(Remote::new(settings, gate.tls_base.clone(), opened)))
    }
}

/// Directory of a remote's spool: its name, where that can be one.
fn directory(name: &str) -> String {
    let encoded = utf8_percent_encode(name, NON_ALPHANUMERIC).to_string();
    if encoded.len() <= DIRECTORY_NAME_MAX { encoded } else { format!("%{}", hex(&Sha256::digest(name)[..16])) }
}

fn status<'v>(remote: &Remote, value: impl Fn(&str) -> Option<&'v str>) -> RemoteStatus {
    let settings = remote.settings();
    let (spool_batches, spool_bytes) = remote.shelf.size();
    let counts = &remote.counts;
    let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let refused_since = lock(&remote.progress).as_ref().and_then(|progress| progress.watermark.refused_since());
    RemoteStatus {
        url: settings.url.to_string(),
        phase: match remote.shelf.phase() {
            Phase::Standby => "standby",
            Phase::CatchingUp { .. } => "catching up",
            Phase::Writer(_) => "writer",
        },
        spool_batches,
        spool_bytes,
        watermark_ms: value(&settings.name).and_then(|value| usable(value, &settings.url.id(), i64::MAX)),
        covered_since_ms: *lock(&remote.covered_since_ms),
        refused_for: refused_since.map(|since| since.elapsed()),
        last_accepted: lock(&remote.last_accepted).map(|at| at.elapsed()),
        spooled: load(&counts.spooled),
        spool_refused: load(&counts.spool_refused),
        passed: load(&counts.passed),
        unanswered: load(&counts.unanswered),
        cut: load(&counts.cut),
        unreadable: load(&counts.unreadable),
        bytes: load(&counts.bytes),
        caught_up: load(&counts.caught_up),
        catch_up_requests: load(&counts.catch_up_requests),
        catch_up_lost: load(&counts.catch_up_lost),
        retained_dropped: load(&counts.retained_dropped),
        name: settings.name.clone(),
    }
}

/// The life of one remote: follows tenures, and does the work of every period.
async fn work(gate: std::sync::Weak<Inner>, remote: Arc<Remote>) {
    let Some((mut tenure, period)) = gate.upgrade().map(|gate| (gate.tenure.clone(), gate.settings.watermark_period))
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
                    () = drain(&remote, &current) => current.ended().await,
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

/// The writer publishes how far it has got; a standby forgets what it need not keep.
async fn chores(gate: &Arc<Inner>, remote: &Arc<Remote>) {
    let settings = remote.settings();
    let key = key(&settings.name);
    match remote.shelf.phase() {
        // What is in the spool has not begun: the watermark does not know of it.
        Phase::CatchingUp { .. } => {}
        Phase::Writer(tenure) => {
            let now = Instant::now();
            let due = remote.with_progress(&tenure, |progress| {
                let expired = progress.watermark.expire(now);
                if expired.given_up > 0 {
                    tracing::warn!(
                        remote = %settings.name, batches = expired.given_up,
                        "Prometheus has given up batches that the remote had not taken"
                    );
                }
                progress.publisher.due(progress.watermark.value(now), now)
            });
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
            let margin_ms = lock(&gate.entries).get(&settings.name).map_or(i64::MAX, |entry| entry.margin_ms);
            let bound_ms = watermark_ms.map(|watermark_ms| watermark_ms.saturating_sub(margin_ms));
            let age_ms = i64::try_from(SPOOL_AGE_MAX.as_millis()).unwrap_or(i64::MAX);
            match remote.shelf.retain(bound_ms, now_ms.saturating_sub(age_ms)).await {
                Ok(dropped) => {
                    remote.counts.retained_dropped.fetch_add(dropped.batches, Ordering::Relaxed);
                }
                Err(error) => tracing::warn!(remote = %settings.name, %error, "the spool cannot be shortened"),
            }
        }
    }
}
