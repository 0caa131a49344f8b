//! What a member tells the others about its configuration and remote writes: small, and with each hello of the group.
//!
//! ```text
//! StatusReport -> Digest::of -> text -> GroupHandle::set_digest -> hello -> the others' GroupStatus -> Digest::read -> their report
//! ```
//!
//! Invariants: the text is never longer than the group carries; nothing in it is secret. Failure behaviour: what does not fit
//! is left out and counted; what cannot be read is unknown, and never breaks a report. Other releases may write other fields:
//! those that are not known are ignored, those that are missing have their default.

use std::sync::Arc;
use std::time::Duration;

use elector_raft::DIGEST_BYTES_MAX;
use serde::{Deserialize, Serialize};

use super::Shared;
use super::status::StatusReport;
use crate::gate::RemoteStatus;
use crate::gate::status::RemotePhase;
use crate::role::ConfigStatus;

/// Time between two looks at what there is to tell. The hello that carries it comes about as often.
const PERIOD: Duration = Duration::from_secs(1);
/// Longest sentence in it, in characters: with each of them escaped, two of them still fit.
const SENTENCE_CHARS_MAX: usize = 256;
/// Remotes that are written and read at the most.
const REMOTES_MAX: usize = 32;

/// What a member tells of itself.
#[allow(clippy::struct_excessive_bools)] // independent facts, each one's name is a key that scripts read
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Digest {
    /// Version of its sidecar.
    pub version: String,
    /// Whether it held authority when it told this: about a second ago, so it says nothing of now.
    pub authority: bool,
    /// What its `/_elector/readyz` says.
    pub ready: bool,
    /// Why it is not ready.
    pub not_ready_reason: Option<String>,
    /// An operator has cordoned it.
    pub cordoned: bool,
    /// Its process is going away.
    pub shutting_down: bool,
    /// Number of its warnings.
    pub warnings: usize,
    /// Its configuration; `None` for a witness.
    pub config: Option<ConfigDigest>,
    /// Its gated remotes, by name.
    pub remotes: Vec<RemoteDigest>,
    /// How many more there are.
    pub remotes_left_out: usize,
}

/// A member's configuration: see [`ConfigStatus`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfigDigest {
    /// Hash of what should be in force.
    pub desired_hash: Option<String>,
    /// Hash of what Prometheus surely runs with.
    pub applied_hash: Option<String>,
    /// Unix time in milliseconds when that came into force.
    pub applied_at_unix_ms: Option<u64>,
    /// Why the newest file or reload was not accepted.
    pub last_error: Option<String>,
}

/// One gated remote of a member. The counts are requests since its process began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RemoteDigest {
    /// Name of the entry.
    pub name: String,
    /// Where its requests go: the name of a [`RemotePhase`], or of one that only a newer release knows.
    pub phase: String,
    /// The remote has taken them.
    pub accepted: u64,
    /// They were taken into the spool.
    pub spooled: u64,
    /// Batches in the spool now.
    pub held: u64,
    /// Nobody took them, whatever the reason.
    pub refused: u64,
    /// The watermark that this member knows, in Unix milliseconds.
    pub watermark_ms: Option<i64>,
    /// It could take over without a gap.
    pub covered: bool,
    /// It writes to the remote, and gets through.
    pub shipping: bool,
}

impl Digest {
    /// What there is to tell.
    pub(super) fn of(report: &StatusReport) -> Self {
        let remotes = report.gate.as_ref().map_or(&[][..], |gate| &gate.remotes);
        Self {
            version: report.version.clone(),
            authority: report.authority,
            ready: report.ready,
            not_ready_reason: report.not_ready_reason.as_deref().map(clip),
            cordoned: report.cordoned,
            shutting_down: report.shutting_down,
            warnings: report.warnings.len(),
            config: report.config.as_ref().map(ConfigDigest::of),
            remotes: remotes.iter().take(REMOTES_MAX).map(RemoteDigest::of).collect(),
            remotes_left_out: remotes.len().saturating_sub(REMOTES_MAX),
        }
    }

    /// As text that the group carries, without the last remotes if all are too many.
    pub(super) fn text(mut self) -> String {
        loop {
            let text = serde_json::to_string(&self).unwrap_or_default();
            if text.len() <= DIGEST_BYTES_MAX || self.remotes.pop().is_none() {
                return text;
            }
            self.remotes_left_out += 1;
        }
    }

    /// Reads what another member told; `None`: it told nothing, or nothing that is understood here.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut digest: Self = serde_json::from_str(text).ok()?;
        let beyond = digest.remotes.len().saturating_sub(REMOTES_MAX);
        digest.remotes.truncate(REMOTES_MAX);
        digest.remotes_left_out = digest.remotes_left_out.saturating_add(beyond);
        Some(digest)
    }
}

impl ConfigDigest {
    fn of(config: &ConfigStatus) -> Self {
        Self {
            desired_hash: config.desired_hash.clone(),
            applied_hash: config.applied_hash.clone(),
            applied_at_unix_ms: config.applied_at_unix_ms,
            last_error: config.last_error.as_deref().map(clip),
        }
    }
}

impl RemoteDigest {
    pub(super) fn of(remote: &RemoteStatus) -> Self {
        let counts = &remote.counts;
        let not_taken = [counts.rejected, counts.deferred, counts.denied, counts.unanswered, counts.spool_refused];
        Self {
            name: remote.name.clone(),
            phase: remote.phase.name().to_owned(),
            accepted: counts.accepted,
            spooled: counts.spooled,
            held: remote.spool_batches,
            refused: not_taken.into_iter().fold(0, u64::saturating_add),
            watermark_ms: remote.watermark_ms,
            covered: remote.covered,
            shipping: remote.phase == RemotePhase::Writer && remote.not_shipping.is_none(),
        }
    }
}

fn clip(sentence: &str) -> String {
    sentence.chars().take(SENTENCE_CHARS_MAX).collect()
}

/// Tells the others again and again.
pub(super) async fn tell(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        shared.inputs.group.set_digest(Digest::of(&shared.report()).text());
    }
}
