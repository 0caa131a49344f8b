//! The gate of a process: its remotes, the thread of the fence, and the work of every period.
//!
//! - Inputs: the group's handle; the remotes of each render ([`Gate::apply`]); requests ([`Gate::handle`]).
//! - Outputs: answers; watermarks among the group's values; [`Gate::status`].
//! - A remote whose settings have not changed is left alone by a render: its queue, connections and watermark go on.
//! - The fence follows leadership on a thread of its own, so that connections are cut in time however busy this runtime is.
//!
//! What is done between requests is in `chores`, what is told in `status`.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use elector_raft::GroupHandle;
use http::{HeaderMap, Response, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::answer::refusal;
use super::chores::work;
use super::fence::{Tenure, tenures};
use super::forward::Remote;
use super::lock;
use super::prometheus::{GateCover, Known, QueueSince, watch_cover};
use super::remote::{RemoteSettings, hex};
use super::spool::SpoolError;
use super::standby::Shelf;
use super::status::{GateStatus, UngatedStatus};

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

/// What a render gives the gate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    /// The entries to serve.
    pub remotes: Vec<RemoteSettings>,
    /// Entries that lead past the gate, to be shown.
    pub ungated: Vec<UngatedStatus>,
    /// The longest scrape or evaluation interval.
    pub longest_interval: Duration,
}

/// One gated entry at work.
struct Entry {
    remote: Arc<Remote>,
    task: AbortHandle,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) struct Inner {
    pub(super) settings: GateSettings,
    pub(super) group: GroupHandle,
    pub(super) tenure: watch::Receiver<Option<Arc<Tenure>>>,
    entries: Mutex<HashMap<String, Entry>>,
    ungated: Mutex<Vec<UngatedStatus>>,
    /// Leadership is being handed over: nothing more is forwarded.
    pub(super) yields: watch::Sender<bool>,
    /// The longest interval of the newest render.
    pub(super) longest_interval: Mutex<Duration>,
    pub(super) known: Mutex<Known>,
    pub(super) cover: watch::Sender<GateCover>,
    /// A render has been taken.
    has_applied: AtomicBool,
    /// The process is going away, and nothing is to be waited for.
    is_leaving: AtomicBool,
    /// One render at a time.
    applying: tokio::sync::Mutex<()>,
}

impl Inner {
    pub(super) fn has_applied(&self) -> bool {
        self.has_applied.load(Ordering::Relaxed)
    }

    /// The remotes, by name.
    pub(super) fn remotes(&self) -> Vec<Arc<Remote>> {
        let mut all: Vec<(String, Arc<Remote>)> =
            lock(&self.entries).iter().map(|(name, entry)| (name.clone(), entry.remote.clone())).collect();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        all.into_iter().map(|(_, remote)| remote).collect()
    }
}

/// The gate. Cheap to clone.
#[derive(Clone)]
pub struct Gate(pub(super) Arc<Inner>);

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
            ungated: Mutex::default(),
            yields: watch::Sender::new(false),
            longest_interval: Mutex::default(),
            known: Mutex::default(),
            cover: watch::Sender::new(GateCover::starting()),
            has_applied: AtomicBool::new(false),
            is_leaving: AtomicBool::new(false),
            applying,
        }));
        tokio::spawn(watch_cover(Arc::downgrade(&gate.0)));
        Ok(gate)
    }

    /// Takes what a render gives. Remotes that have not changed go on as they are; a spool that cannot be opened leaves its
    /// entry out, and the others are taken.
    pub async fn apply(&self, routes: Routes) -> Result<(), GateError> {
        let _one = self.0.applying.lock().await;
        *lock(&self.0.longest_interval) = routes.longest_interval;
        *lock(&self.0.ungated) = routes.ungated;
        lock(&self.0.entries).retain(|name, _| routes.remotes.iter().any(|settings| settings.name == *name));
        let mut outcome = Ok(());
        for settings in &routes.remotes {
            if self.update(settings) {
                continue;
            }
            match self.open(settings.clone()).await {
                Ok(remote) => {
                    let task = tokio::spawn(work(Arc::downgrade(&self.0), remote.clone())).abort_handle();
                    lock(&self.0.entries).insert(settings.name.clone(), Entry { remote, task });
                }
                Err(error) => outcome = Err(error),
            }
        }
        self.0.settle().await;
        self.0.has_applied.store(true, Ordering::Relaxed);
        outcome
    }

    /// Answers a request of the own Prometheus.
    pub async fn handle(&self, name: &str, headers: &HeaderMap, body: Bytes) -> Response<Body> {
        let remote = lock(&self.0.entries).get(name).map(|entry| entry.remote.clone());
        let response = match remote {
            Some(remote) => remote.handle(headers, body).await,
            None => refusal(StatusCode::SERVICE_UNAVAILABLE, "no gated remote_write entry has this name (yet)"),
        };
        let would_wait = response.status() == StatusCode::SERVICE_UNAVAILABLE && self.0.tenure.borrow().is_none();
        if would_wait && self.0.is_leaving.load(Ordering::Relaxed) {
            return refusal(StatusCode::BAD_REQUEST, "this member is going away, and another one writes");
        }
        response
    }

    /// The process is going away and another member writes: what cannot be spooled is refused for good (400) from now on, so
    /// that the own Prometheus ends at once instead of repeating what the next writer has. Call it only when that one is
    /// covered.
    pub fn leave(&self) {
        self.0.is_leaving.store(true, Ordering::Relaxed);
    }

    /// What it is doing.
    pub fn status(&self) -> GateStatus {
        let values = self.0.group.values.borrow().clone();
        let bytes_max = self.0.settings.spool_bytes_max;
        let remotes = self.0.remotes();
        GateStatus {
            remotes: remotes.iter().map(|remote| remote.status(&values, bytes_max)).collect(),
            ungated: lock(&self.0.ungated).clone(),
            warnings: self.0.labels_warning(&values).into_iter().collect(),
        }
    }

    /// Gives an entry that is there its new settings; `false` if it is not.
    fn update(&self, settings: &RemoteSettings) -> bool {
        let entries = lock(&self.0.entries);
        let Some(entry) = entries.get(&settings.name) else { return false };
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
        let open = {
            let dir = dir.clone();
            move || Shelf::open(&dir, bytes_max).map(|opened| (opened, QueueSince::read(&dir)))
        };
        let outcome = tokio::task::spawn_blocking(open).await;
        let outcome = outcome.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        let ((opened, recovered), since) = outcome.map_err(|source| GateError::Spool { name: name.clone(), source })?;
        if recovered.damaged_bytes > 0 {
            tracing::warn!(remote = %name, bytes = recovered.damaged_bytes, "a damaged part of the spool was dropped");
        }
        tracing::info!(remote = %name, url = %settings.url, batches = recovered.batches, "remote_write goes through the gate");
        let since = since.filter(|_| recovered.damaged_bytes == 0);
        Ok(Arc::new(Remote::new(settings, gate.tls_base.clone(), dir, opened, since)))
    }
}

/// Directory of a remote's spool: its name, where that can be one.
fn directory(name: &str) -> String {
    let encoded = utf8_percent_encode(name, NON_ALPHANUMERIC).to_string();
    if encoded.len() <= DIRECTORY_NAME_MAX { encoded } else { format!("%{}", hex(&Sha256::digest(name)[..16])) }
}
