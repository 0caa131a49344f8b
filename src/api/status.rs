//! The report of one member about itself and its group: `/_elector/status`, and what the subcommands read.
//!
//! Readers ignore fields that they do not know, so that members of different versions can be looked at with either
//! one's subcommands. Whoever adds a field later gives it a `#[serde(default)]`.

use std::time::{SystemTime, UNIX_EPOCH};

use elector_raft::{Authority, GroupStatus, Leadership, MemberKind, MemberStatus, Now};
use serde::{Deserialize, Serialize};

use super::digest::Digest;
use crate::gate::GateStatus;
use crate::role::{ConfigStatus, RoleStatus};

/// A member that is silent for longer is not there: two hellos at least.
const SILENCE_MS_MAX: u64 = 3_000;

/// What a member tells.
#[allow(clippy::struct_excessive_bools)] // independent facts, each one's name is a key that scripts read
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReport {
    /// Own member name.
    pub member: String,
    /// What it is for the group at this moment.
    pub role: MemberRole,
    /// Raft term, 0 before the group has formed.
    pub term: u64,
    /// Whether it may act as the leader at this moment.
    pub authority: bool,
    /// Milliseconds until that ends unless renewed; `None` without authority or without an end (sole voter).
    pub authority_left_ms: Option<u64>,
    /// Name of the leader; `None`: none is known.
    pub leader: Option<String>,
    /// What `/_elector/readyz` says.
    pub ready: bool,
    /// Why it is not ready; `None` if it is.
    pub not_ready_reason: Option<String>,
    /// The process is going away.
    pub shutting_down: bool,
    /// One sentence: what the member does and why.
    pub reason: String,
    /// Whether its Prometheus can do the leader's work; `None` for a witness.
    pub eligible: Option<bool>,
    /// Why it is or is not eligible.
    pub eligibility_reason: String,
    /// An operator has cordoned it.
    pub cordoned: bool,
    /// State of the configuration, with the hashes desired and applied and the last error; `None` for a witness.
    pub config: Option<ConfigStatus>,
    /// The remote-write gate: what each remote gets and what leads past it; `None`: off.
    #[serde(default)]
    pub gate: Option<GateStatus>,
    /// All warnings: of settings, configuration, gate and group.
    pub warnings: Vec<String>,
    /// The group with its members and the newest leadership terms. Each member's `digest` is what it told about a second
    /// before its last contact; `None`: it told nothing that is understood here.
    pub group: GroupStatus<Option<Digest>>,
    /// Version of the sidecar.
    pub version: String,
    /// Unix time in milliseconds when this report was made; 0 if an older release made it.
    #[serde(default)]
    pub at_unix_ms: u64,
}

impl StatusReport {
    /// Whether this member may go: there is a leader, and all others are there and can do their part (one that shuts down says that
    /// it cannot lead); or there is no majority with it either.
    pub(crate) fn may_go(&self) -> bool {
        let is_voter = |member: &&MemberStatus<_>| matches!(member.kind, MemberKind::Voter | MemberKind::Witness);
        let is_heard = |member: &&MemberStatus<_>| member.last_contact_ms.is_some_and(|ms| ms < SILENCE_MS_MAX);
        let others = || self.group.members.iter().filter(|member| member.name != self.member);
        let voters = self.group.members.iter().filter(is_voter).count();
        let has_majority = others().filter(is_voter).filter(is_heard).count() + 1 > voters / 2;
        let all_well = others().all(|other| is_heard(&other) && other.eligible != Some(false));
        !has_majority || (self.leader.is_some() && all_well)
    }

    /// What is not as it should be; empty for a member that is settled in a group with a leader. Each is a sentence.
    pub(crate) fn problems(&self) -> Vec<String> {
        let no_leader = self.leader.is_none().then(|| "no leader is known".to_owned());
        let not_ready = self.not_ready_reason.as_ref().map(|reason| format!("not ready: {reason}"));
        let config = self.config.as_ref().filter(|config| !config.in_force()).map(|config| {
            let why = config.last_error.as_deref().unwrap_or("it is under way");
            format!("the newest configuration is not in force: {why}")
        });
        [no_leader, not_ready, config].into_iter().flatten().collect()
    }
}

/// What a member is for the group at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberRole {
    /// Holds authority.
    Leader,
    /// Does not.
    Follower,
    /// Votes, never acts.
    Witness,
}

/// What a report is made of.
pub(super) struct View<'a> {
    pub(super) member: &'a str,
    pub(super) leadership: &'a Leadership,
    pub(super) group: &'a GroupStatus,
    pub(super) role: Option<&'a RoleStatus>,
    pub(super) gate: Option<GateStatus>,
    pub(super) settings_warnings: &'a [String],
    pub(super) readiness: Result<(), String>,
    pub(super) shutting_down: bool,
}

impl View<'_> {
    pub(super) fn report(self, now: Now, wall: SystemTime) -> StatusReport {
        let authority = self.leadership.holds_authority(now);
        let authority_left_ms = match self.leadership.authority {
            Authority::Until { deadline, .. } if authority => {
                let left = deadline.saturating_duration_since(now.instant).as_millis();
                Some(u64::try_from(left).unwrap_or(u64::MAX))
            }
            _ => None,
        };
        // The group publishes its status about once a heartbeat; within one report nothing may contradict.
        let group = GroupStatus { authority, authority_left_ms, ..self.group.clone() };
        let group = group.map_digests(|text| Digest::read(&text));
        let leader = self.leadership.leader.as_ref().map(|leader| leader.member.name.clone());
        let role = self.role.map(|_| if authority { MemberRole::Leader } else { MemberRole::Follower });
        let reason = self.role.map(|role| &role.reason).filter(|reason| !reason.is_empty()).unwrap_or(&group.reason);
        let mut report = StatusReport {
            member: self.member.to_owned(),
            role: role.unwrap_or(MemberRole::Witness),
            term: self.leadership.term,
            authority,
            authority_left_ms,
            leader,
            ready: self.readiness.is_ok(),
            not_ready_reason: self.readiness.err(),
            shutting_down: self.shutting_down,
            reason: reason.clone(),
            eligible: self.role.map(|role| role.eligible),
            eligibility_reason: self.role.map(|role| role.eligibility_reason.clone()).unwrap_or_default(),
            cordoned: self.role.is_some_and(|role| role.cordoned),
            config: self.role.map(|role| role.config.clone()),
            warnings: warnings(self.settings_warnings, self.role, self.gate.as_ref(), &group.warnings),
            gate: self.gate,
            group,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            at_unix_ms: wall
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0)),
        };
        // Of itself it knows better than by its own hello.
        let own = Digest::of(&report);
        for member in report.group.members.iter_mut().filter(|member| member.this) {
            member.digest = Some(own.clone());
        }
        report
    }
}

fn warnings(
    settings: &[String],
    role: Option<&RoleStatus>,
    gate: Option<&GateStatus>,
    group: &[String],
) -> Vec<String> {
    let config = role.map(|role| role.config.warnings.as_slice()).unwrap_or_default();
    let mut all: Vec<String> = Vec::new();
    let gate: Vec<String> = gate.into_iter().flat_map(GateStatus::warnings).collect();
    for warning in settings.iter().chain(config).chain(&gate).chain(group) {
        if !all.contains(warning) {
            all.push(warning.clone());
        }
    }
    all
}
