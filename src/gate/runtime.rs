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
use super::remote::{RemoteSettings, hex};
use super::spool::SpoolError;
use super::standby::Shelf;
use super::status::{GateStatus, UngatedStatus};
use super::{lock, margin};

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
    /// The process is going away, and nothing is to be waited for.
    is_leaving: AtomicBool,
    /// One render at a time.
    applying: tokio::sync::Mutex<()>,
}

impl Inner {
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
            is_leaving: AtomicBool::new(false),
            applying,
        }));
        Ok(gate)
    }

    /// Takes what a render gives. Remotes that have not changed go on as they are; a spool that cannot be opened leaves its
    /// entry out, and the others are taken.
    pub async fn apply(&self, routes: Routes) -> Result<(), GateError> {
        let _one = self.0.applying.lock().await;
        *lock(&self.0.ungated) = routes.ungated;
        lock(&self.0.entries).retain(|name, _| routes.remotes.iter().any(|settings| settings.name == *name));
        let mut outcome = Ok(());
        for settings in &routes.remotes {
            let margin_ms = self.margin_ms(settings, routes.longest_interval);
            if self.update(settings, margin_ms) {
                continue;
            }
            match self.open(settings.clone(), margin_ms).await {
                Ok(remote) => {
                    let task = tokio::spawn(work(Arc::downgrade(&self.0), remote.clone())).abort_handle();
                    lock(&self.0.entries).insert(settings.name.clone(), Entry { remote, task });
                }
                Err(error) => outcome = Err(error),
            }
        }
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

    /// Prometheus has started, or its queues were restarted: it knows nothing of before. `None`: all remotes.
    pub fn covered_from(&self, name: Option<&str>, since_ms: i64) {
        for (entry_name, entry) in lock(&self.0.entries).iter() {
            if name.is_none_or(|name| name == entry_name) {
                *lock(&entry.remote.covered_since_ms) = Some(since_ms);
            }
        }
    }

    /// What it is doing.
    pub fn status(&self) -> GateStatus {
        let values = self.0.group.values.borrow().clone();
        let bytes_max = self.0.settings.spool_bytes_max;
        let remotes = self.0.remotes();
        GateStatus {
            remotes: remotes.iter().map(|remote| remote.status(&values, bytes_max)).collect(),
            ungated: lock(&self.0.ungated).clone(),
        }
    }

    fn margin_ms(&self, settings: &RemoteSettings, longest_interval: Duration) -> i64 {
        let Inner { settings: gate, .. } = &*self.0;
        let deadline = settings.queue.batch_send_deadline;
        let margin = margin::margin(longest_interval, gate.extra_interval, deadline, gate.watermark_period);
        i64::try_from(margin.as_millis()).unwrap_or(i64::MAX)
    }

    /// Gives an entry that is there its new settings; `false` if it is not.
    fn update(&self, settings: &RemoteSettings, margin_ms: i64) -> bool {
        let entries = lock(&self.0.entries);
        let Some(entry) = entries.get(&settings.name) else { return false };
        entry.remote.margin_ms.store(margin_ms, Ordering::Relaxed);
        let current = entry.remote.settings();
        // The line says nothing about the remote.
        if *current != (RemoteSettings { line: current.line, ..settings.clone() }) {
            entry.remote.replace_settings(settings.clone(), self.0.settings.watermark_period);
        }
        true
    }

    async fn open(&self, settings: RemoteSettings, margin_ms: i64) -> Result<Arc<Remote>, GateError> {
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
        Ok(Arc::new(Remote::new(settings, margin_ms, gate.tls_base.clone(), opened)))
    }
}

/// Directory of a remote's spool: its name, where that can be one.
fn directory(name: &str) -> String {
    let encoded = utf8_percent_encode(name, NON_ALPHANUMERIC).to_string();
    if encoded.len() <= DIRECTORY_NAME_MAX { encoded } else { format!("%{}", hex(&Sha256::digest(name)[..16])) }
}
