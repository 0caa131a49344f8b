//! What role control knows, what can happen to it, and what it can do. Plain data; the rules are in `step`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use elector_raft::{CommandError, Eligibility, GroupStatus, Leadership, MemberKind};

use super::variants::{Config, ConfigHash, Target};
use super::{Cover, Role};
use crate::prometheus::health::{PrometheusState, Running};

/// Settings that decisions depend on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    /// Failed attempts before the pause between them grows.
    pub(super) max_attempts: u32,
    /// Pause between those attempts.
    pub(super) retry_delay: Duration,
    /// Longest time that a planned handover waits for the follower configuration to be in force.
    pub(super) demote_timeout: Duration,
    /// Longest time that a shutdown waits for a prepared successor.
    pub(super) cover_timeout: Duration,
    /// Whether Prometheus is configured by this sidecar.
    pub(super) renders: bool,
}

/// Something happened.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// Nothing but time: [`State::wake_at`] has come.
    Tick,
    /// The group's view of leadership changed, or this member's authority was renewed.
    Leadership(Leadership),
    /// Whether other members could lead.
    Others(Others),
    /// Whether this member could take over without losing anything.
    Cover(Cover),
    /// The local Prometheus changed.
    Prometheus(PrometheusState),
    /// The source file changed: its configuration, or why it is invalid.
    Source(Result<Arc<Config>, String>),
    /// The write in flight ended.
    Wrote(Result<(), Failure>),
    /// The reload in flight lasts long.
    ReloadIsSlow,
    /// The reload in flight ended.
    Reloaded(Result<(), Failure>),
    /// An operator asks to give leadership up.
    StepDown {
        /// Names the answer.
        id: u64,
        /// Why, for ledger and logs.
        reason: String,
    },
    /// An operator asks not to lead.
    Cordon {
        /// Names the answer.
        id: u64,
    },
    /// An operator takes a cordon back.
    Uncordon {
        /// Names the answer.
        id: u64,
    },
    /// The process goes away.
    Shutdown,
    /// The group's answer to [`Action::HandOver`].
    HandedOver(Result<String, CommandError>),
}

/// Why a write or reload did not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Authority had ended right before it: nothing was done.
    NoAuthority,
    /// An error for people.
    Error(String),
}

/// Something to do. The runner does them in order; writes, reloads and handovers report back by an [`Event`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Replace the output file. A leader's only with authority right before the rename.
    Write(Target),
    /// Tell Prometheus to reload. For a leader's only with authority right before the request.
    Reload(Target),
    /// Hand leadership over, for this reason.
    HandOver(String),
    /// Tell the group whether this member can lead.
    Tell(Eligibility),
    /// Answer a command.
    Answer(u64, Result<String, String>),
    /// All is done: the runner ends.
    Finish,
}

/// Whether other members could lead, as the group's status tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Others {
    pub(super) eligible: bool,
    /// One of these could take over without losing anything.
    pub(super) prepared: bool,
    /// Why none could lead, member by member.
    pub(super) detail: String,
}

impl Others {
    pub(super) fn of(status: &GroupStatus) -> Self {
        let others: Vec<_> = status
            .members
            .iter()
            .filter(|m| !m.this && matches!(m.kind, MemberKind::Voter | MemberKind::Learner))
            .collect();
        let mut able = others.iter().filter(|m| m.kind == MemberKind::Voter && m.eligible == Some(true)).peekable();
        if able.peek().is_some() {
            let prepared = able.any(|m| m.prepared == Some(true));
            return Self { eligible: true, prepared, detail: String::new() };
        }
        let words: Vec<_> = others
            .iter()
            .map(|m| match (m.kind, m.eligible) {
                (_, None) => format!("{} has not answered yet", m.name),
                (_, Some(true)) => format!("{} has no vote yet", m.name),
                (_, Some(false)) => format!("{} cannot: {}", m.name, m.eligibility_reason),
            })
            .collect();
        let detail = if words.is_empty() { "there is no other data replica".to_owned() } else { words.join("; ") };
        Self { eligible: false, prepared: false, detail }
    }
}

/// A reload in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reloading {
    pub(super) target: Target,
    /// The file was replaced, or Prometheus was seen gone, meanwhile: success says nothing about what is in force.
    pub(super) stale: bool,
    pub(super) slow: bool,
}

/// Failed attempts to bring the wanted configuration into force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Retry {
    pub(super) failures: u32,
    pub(super) at: Option<Instant>,
    pub(super) error: Option<String>,
}

/// Why this member gives leadership up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    StepDown { id: u64, reason: String },
    Cordon,
    Shutdown,
}

/// A planned handover under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    /// A member is waited for that could take over without losing anything; this one leads on meanwhile.
    AwaitingCover { cause: Cause, until: Instant },
    /// The follower configuration is being put in force; authority is kept meanwhile.
    Demoting { cause: Cause, deadline: Instant },
    /// The group hands over.
    HandingOver {
        cause: Cause,
        /// The follower configuration was not in force in time.
        forced: bool,
    },
}

/// All that role control knows.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own; none excludes another")]
pub(super) struct State {
    pub(super) policy: Policy,

    pub(super) leadership: Leadership,
    /// Authority at the last step.
    pub(super) held: bool,
    pub(super) others: Others,
    pub(super) cover: Cover,
    pub(super) prometheus: PrometheusState,
    /// The last good configuration.
    pub(super) config: Option<Arc<Config>>,
    /// Why the newest source file is not `config`.
    pub(super) source_error: Option<String>,
    /// Source files so far that were invalid.
    pub(super) source_errors: u64,
    pub(super) cordoned: bool,
    /// A planned handover because of the cordon failed: the group does it in its own way (group rule 12).
    pub(super) cordon_left_to_group: bool,
    /// Since when the process goes away.
    pub(super) shutting_down: Option<Instant>,
    pub(super) leaving: Option<Leaving>,

    /// What should be in force.
    pub(super) wanted: Option<Target>,
    /// What the output file holds; `None`: not known.
    pub(super) file: Option<ConfigHash>,
    pub(super) writing: Option<Target>,
    /// What Prometheus surely runs with; `None`: not known.
    pub(super) applied: Option<Target>,
    pub(super) reloading: Option<Reloading>,
    /// Prometheus may run with a leader's configuration.
    pub(super) may_lead: bool,
    /// Prometheus has accepted a configuration from this process.
    pub(super) asserted: bool,
    pub(super) retry: Retry,
    /// What the group was told last.
    pub(super) told: Option<Eligibility>,
}

impl State {
    /// The state at the start: a follower whose file was written, and a Prometheus that nothing is known of.
    pub(super) fn new(policy: Policy, config: Option<Arc<Config>>, source_error: Option<String>) -> Self {
        Self {
            policy,
            leadership: Leadership::default(),
            held: false,
            others: Others::default(),
            cover: Cover::default(),
            prometheus: PrometheusState::default(),
            file: config.as_ref().map(|config| config.target(Role::Follower).hash),
            config,
            source_errors: u64::from(source_error.is_some()),
            source_error,
            cordoned: false,
            cordon_left_to_group: false,
            shutting_down: None,
            leaving: None,
            wanted: None,
            writing: None,
            applied: None,
            reloading: None,
            may_lead: true,
            asserted: false,
            retry: Retry::default(),
            told: None,
        }
    }

    /// Whether this member leads, be it that its authority is not confirmed yet.
    pub(super) fn leads(&self) -> bool {
        self.held || self.leadership.leader.as_ref().is_some_and(|leader| leader.is_self)
    }

    /// Whether it acts as the leader: with authority, and not giving it up already.
    pub(super) fn acts(&self) -> bool {
        match &self.leaving {
            None => self.held && self.shutting_down.is_none(),
            Some(Leaving::AwaitingCover { .. }) => self.held,
            Some(Leaving::Demoting { .. } | Leaving::HandingOver { .. }) => false,
        }
    }

    /// Whether Prometheus answers nothing any more. It may flush yet, for as long as it takes.
    pub(super) fn ends(&self) -> bool {
        self.prometheus.running == Running::Ending
    }

    /// Whether a handover would lose something that waiting could save.
    pub(super) fn awaits_cover(&self) -> bool {
        let flushes = self.prometheus.running != Running::No;
        self.cover.matters && self.leads() && !self.others.prepared && flushes
    }

    /// Whether the wanted configuration is in force.
    pub(super) fn in_force(&self) -> bool {
        self.wanted.is_some_and(|wanted| self.applied.is_some_and(|applied| applied.hash == wanted.hash))
    }

    /// Whether Prometheus does not run with a leader's overrides, or will not when it comes up, or can do no harm with them.
    pub(super) fn demoted(&self) -> bool {
        let Some(config) = &self.config else { return true };
        let follower = config.target(Role::Follower).hash;
        let told = self.applied.is_some_and(|applied| applied.hash == follower);
        // What it still sends through the gate goes no further without authority; only the rest could disturb the next writer.
        let is_harmless = self.prometheus.running == Running::No || (self.ends() && self.cover.matters);
        self.file == Some(follower) && (told || is_harmless)
    }

    /// When time alone asks for a step: authority ends, a retry is due, or a handover has waited long enough.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        let authority = self.held.then(|| self.leadership.authority_deadline()).flatten();
        let handover = match &self.leaving {
            Some(Leaving::AwaitingCover { until, .. }) => Some(*until),
            Some(Leaving::Demoting { deadline, .. }) => Some(*deadline),
            _ => None,
        };
        [authority, handover, self.retry.at].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use elector_raft::MemberStatus;

    use super::*;

    fn member(name: &str, kind: MemberKind, eligible: Option<bool>) -> MemberStatus {
        MemberStatus {
            name: name.to_owned(),
            kind,
            this: name == "pod-0",
            eligible,
            prepared: Some(false),
            eligibility_reason: "Prometheus does not run".to_owned(),
            ..MemberStatus::default()
        }
    }

    fn others(members: &[MemberStatus]) -> Others {
        Others::of(&GroupStatus { members: members.to_vec(), ..GroupStatus::default() })
    }

    #[test]
    fn only_another_eligible_voter_can_take_over_and_else_each_member_says_why_not() {
        let mut members = vec![
            member("pod-0", MemberKind::Voter, Some(true)),
            member("pod-1", MemberKind::Voter, Some(false)),
            member("pod-2", MemberKind::Learner, Some(true)),
            member("pod-3", MemberKind::Voter, None),
            member("witness", MemberKind::Witness, Some(true)),
            member("stranger", MemberKind::Candidate, Some(true)),
        ];
        let detail = "pod-1 cannot: Prometheus does not run; pod-2 has no vote yet; pod-3 has not answered yet";
        let expected = Others { eligible: false, prepared: false, detail: detail.to_owned() };
        assert_eq!(others(&members), expected);
        assert_eq!(others(&members[..1]).detail, "there is no other data replica");
        members.push(member("pod-4", MemberKind::Voter, Some(true)));
        assert_eq!(others(&members), Others { eligible: true, prepared: false, detail: String::new() });
        members[5].prepared = Some(true);
        assert!(!others(&members).prepared, "a stranger does not count");
        members.push(MemberStatus { prepared: Some(true), ..member("pod-6", MemberKind::Voter, Some(true)) });
        assert!(others(&members).prepared);
    }
}
