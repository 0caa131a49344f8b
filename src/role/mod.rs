//! Level-triggered role control: pure `step(state, event, now) -> (state, actions, reason)`; a thin runner does the I/O.
//!
//! ```text
//!  leadership, other members --+                        +--> output file, reload of Prometheus
//!  source file, Prometheus ----+--> step (pure rules) --+--> eligibility, handover (to the group)
//!  commands, shutdown ---------+                        +--> status, log: one sentence
//! ```

mod controller;
#[cfg(test)]
mod controller_tests;
mod reason;
mod runner;
#[cfg(test)]
mod runner_tests;
mod state;
mod step;
#[cfg(test)]
mod step_tests;
mod variants;

pub use controller::{RoleController, RoleError};
pub use variants::Renderer;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};

use crate::prometheus::{HealthSettings, NotifySettings, ReadinessSettings};

/// Settings of role control.
#[derive(Clone, Debug)]
pub struct RoleSettings {
    /// The two-section source file.
    pub source: PathBuf,
    /// The rendered Prometheus configuration; `None`: somebody else configures Prometheus, nothing is written or reloaded.
    pub output: Option<OutputSettings>,
    /// Reload of Prometheus.
    pub notify: NotifySettings,
    /// Readiness before candidacy; `None`: do not wait.
    pub readiness: Option<ReadinessSettings>,
    /// Health checks.
    pub health: HealthSettings,
    /// Longest time that a planned handover waits for the follower configuration to be in force.
    pub demote_timeout: Duration,
    /// Longest time that a leader which shuts down waits for a member that is prepared; another handover waits for
    /// `demote_timeout`.
    pub cover_timeout: Duration,
}

/// The file that Prometheus reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputSettings {
    /// Its path.
    pub path: PathBuf,
    /// Its mode, e.g. 0o640.
    pub mode: u32,
}

/// Role whose configuration is wanted or in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The `follower` section alone.
    #[default]
    Follower,
    /// With the overrides of the `leader` section.
    Leader,
}

/// What role control tells about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleStatus {
    /// Role that is wanted now.
    pub role: Role,
    /// One sentence: what it does and why.
    pub reason: String,
    /// Whether this member's Prometheus can do the leader's work.
    pub eligible: bool,
    /// Why it is or is not eligible.
    pub eligibility_reason: String,
    /// An operator has cordoned this member: it does not lead.
    pub cordoned: bool,
    /// The process is going away.
    pub shutting_down: bool,
    /// State of the configuration.
    pub config: ConfigStatus,
}

/// State of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigStatus {
    /// SHA-256 (hexadecimal) of the configuration that should be in force; `None` until a source file was read.
    pub desired_hash: Option<String>,
    /// SHA-256 of the configuration that Prometheus surely runs with; `None` while that is not known: before its first
    /// reload, while one is in flight or has failed, after it was seen gone.
    pub applied_hash: Option<String>,
    /// Role of that configuration.
    pub applied_role: Option<Role>,
    /// Unix time in milliseconds when it came into force.
    pub applied_at_unix_ms: Option<u64>,
    /// Why the newest source file or the newest reload was not accepted; `None` when all is in force.
    pub last_error: Option<String>,
    /// Source files that were read and found invalid since this process started.
    #[serde(default)]
    pub source_errors: u64,
    /// Warnings of the source file in use.
    pub warnings: Vec<String>,
}

impl ConfigStatus {
    /// Whether Prometheus runs with what should be in force.
    pub(crate) fn in_force(&self) -> bool {
        self.desired_hash.is_some() && self.desired_hash == self.applied_hash
    }
}

/// Whether this member could take the leader's work over without losing anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cover {
    /// There is something that can be lost: a handover waits a while for a member that is prepared.
    pub matters: bool,
    /// This member is prepared.
    pub prepared: bool,
    /// Why this member cannot do the leader's work, and another one should.
    pub unfit: Option<String>,
}

impl Default for Cover {
    fn default() -> Self {
        Self { matters: false, prepared: true, unfit: None }
    }
}

/// What works beside role control on the leader's authority, and is asked to give way before that is handed over.
#[derive(Clone)]
pub struct Companion {
    /// Whether this member is prepared.
    pub cover: watch::Receiver<Cover>,
    /// Stops acting as the leader, within a bound of its own.
    pub give_way: Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>,
    /// The handover has ended, one way or the other.
    pub resume: Arc<dyn Fn() + Send + Sync>,
}

/// A request to role control.
#[derive(Debug)]
pub enum RoleCommand {
    /// Put the follower configuration in force, then hand leadership over. Answered with the new leader's name.
    StepDown {
        /// One sentence for ledger and logs.
        reason: String,
        /// The answer, or an error for people.
        reply: oneshot::Sender<Result<String, String>>,
    },
    /// Do not lead until uncordoned (in memory: a restart uncordons); a leader steps down.
    Cordon {
        /// The answer: a sentence that says what will happen.
        reply: oneshot::Sender<Result<String, String>>,
    },
    /// Undo a cordon.
    Uncordon {
        /// The answer.
        reply: oneshot::Sender<Result<String, String>>,
    },
}

/// Handle of role control for API and shutdown. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RoleHandle {
    /// Its status.
    pub status: watch::Receiver<Arc<RoleStatus>>,
    /// Its commands, in order.
    pub commands: mpsc::Sender<RoleCommand>,
}
