//! Pure: what role control says about itself, for log, status and ledger at once.

use std::fmt::Write as _;

use elector_raft::Eligibility;

use super::state::{Cause, Leaving, State};
use super::{ConfigStatus, Role, RoleStatus};
use crate::prometheus::health::Running;

/// One sentence: what it does and why.
pub(super) fn sentence(state: &State) -> String {
    let mut sentence = match &state.leaving {
        Some(Leaving::HandingOver { cause, forced }) => {
            let mut text = format!("hands leadership over: {}", handover(cause));
            if *forced {
                let _ = write!(
                    text,
                    ", although Prometheus has not taken the follower configuration within {:?}",
                    state.policy.demote_timeout
                );
            }
            text
        }
        Some(Leaving::AwaitingCover { cause, .. }) => {
            let why = handover(cause);
            format!(
                "leads on, and gives leadership up ({why}) as soon as a member could take over without a gap; {}",
                progress(state)
            )
        }
        Some(Leaving::Demoting { cause, .. }) if state.leads() => {
            let why = handover(cause);
            format!("gives leadership up ({why}) once the follower configuration is in force; {}", progress(state))
        }
        _ if state.shutting_down.is_some() => format!("shuts down; {}", progress(state)),
        _ if state.held && !can_lead(state) => {
            format!("has authority but no valid leader configuration; {}", progress(state))
        }
        _ if state.held => format!("leads; {}", progress(state)),
        _ => {
            let leader = match &state.leadership.leader {
                Some(leader) if leader.is_self => "was elected, without authority yet".to_owned(),
                Some(leader) => format!("follows {}", leader.member.name),
                None => "follows; no leader is known".to_owned(),
            };
            format!("{leader}; {}", progress(state))
        }
    };
    match (&state.source_error, &state.config) {
        (Some(error), Some(_)) => {
            let _ = write!(sentence, "; the last good configuration stays because the newest is invalid: {error}");
        }
        (Some(error), None) => {
            let _ = write!(sentence, "; {error}");
        }
        (None, _) => {}
    }
    sentence
}

/// How far the wanted configuration is.
fn progress(state: &State) -> String {
    if !state.policy.renders {
        return "Prometheus is configured by somebody else".to_owned();
    }
    let Some(wanted) = state.wanted else {
        return "there is no valid configuration, and Prometheus is left alone: if this member led before it was \
                restarted, its Prometheus may still run with the leader configuration"
            .to_owned();
    };
    let name = role_name(wanted.role);
    if state.in_force() {
        return format!("the {name} configuration is in force");
    }
    match (state.reloading, &state.retry.error) {
        (Some(reloading), _) if reloading.slow => {
            let running = role_name(reloading.target.role);
            format!("Prometheus is slow to load the {running} configuration and is waited for")
        }
        (_, Some(error)) => format!("the {name} configuration is not in force and is tried again: {error}"),
        _ => format!("puts the {name} configuration in force"),
    }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Follower => "follower",
        Role::Leader => "leader",
    }
}

/// Whether the sentence tells of something that a person should look at.
pub(super) fn is_trouble(state: &State) -> bool {
    state.source_error.is_some()
        || state.retry.error.is_some()
        || state.reloading.is_some_and(|reloading| reloading.slow)
        || matches!(state.leaving, Some(Leaving::HandingOver { forced: true, .. }))
}

/// Why leadership is handed over, for ledger and logs.
pub(super) fn handover(cause: &Cause) -> String {
    match cause {
        Cause::StepDown { reason, .. } => reason.clone(),
        Cause::Cordon => "cordoned by an operator".to_owned(),
        Cause::Shutdown => "the sidecar shuts down".to_owned(),
    }
}

/// Says what a cordon will do.
pub(super) fn cordon_answer(state: &State) -> String {
    if !state.leads() {
        "cordoned: this member does not lead until it is uncordoned or its sidecar restarts".to_owned()
    } else if state.others.eligible {
        "cordoned: this member hands leadership over as soon as the follower configuration is in force".to_owned()
    } else {
        format!(
            "cordoned: this member leads on until another one can take over; now none can ({})",
            state.others.detail
        )
    }
}

/// Whether this member can do the leader's work, for people.
pub(super) fn eligibility(state: &State) -> Eligibility {
    if state.shutting_down.is_some() {
        no("the sidecar shuts down")
    } else if state.cordoned {
        no("cordoned by an operator")
    } else {
        ability(state)
    }
}

/// The same for the group, from which a planned handover is kept until it is due.
pub(super) fn told(state: &State) -> Eligibility {
    // Also while it hands over: told earlier, the group would do so itself, before the companion has given way.
    let waits = state.leaving.is_some() || (state.cordoned && !state.cordon_left_to_group);
    if !(waits && state.leads()) {
        return eligibility(state);
    }
    let mut ability = ability(state);
    let waits_for = match &state.leaving {
        Some(Leaving::AwaitingCover { .. }) => "leads until a member could take over without a gap",
        Some(Leaving::Demoting { .. }) => "leads until the follower configuration is in force",
        Some(Leaving::HandingOver { .. }) => return ability,
        None => "cordoned, and leads until another member can take over",
    };
    if ability.eligible {
        waits_for.clone_into(&mut ability.reason);
    }
    ability
}

fn ability(state: &State) -> Eligibility {
    let prometheus = &state.prometheus;
    let because = |text: &str, why: &str| match why {
        "" => no(&format!("{text}: it has not been checked yet")),
        why => no(&format!("{text}: {why}")),
    };
    if !can_lead(state) {
        let error = state.source_error.as_deref().unwrap_or("none was read yet");
        return no(&format!("there is no valid configuration: {error}"));
    }
    if prometheus.running == Running::No {
        return because("Prometheus does not run", &prometheus.not_healthy);
    }
    // One that ends may be the only one that has what the remote lacks, or a planned handover is under way already.
    let leads_on = state.ends() && state.leads() && (state.leaving.is_some() || state.awaits_cover());
    if !prometheus.ready && !leads_on {
        return because("Prometheus is not ready", &prometheus.not_ready);
    }
    if !prometheus.healthy {
        return because("Prometheus is not healthy", &prometheus.not_healthy);
    }
    if let Some(why) = &state.cover.unfit {
        return no(why);
    }
    if !state.asserted {
        let error = state.retry.error.as_deref().unwrap_or("it is being asked");
        return no(&format!("Prometheus has not loaded a configuration of this sidecar yet: {error}"));
    }
    let reason = if leads_on {
        "Prometheus ends; leads until another member has taken over"
    } else {
        "Prometheus is ready and healthy"
    };
    Eligibility { eligible: true, prepared: state.cover.prepared, reason: reason.to_owned() }
}

fn can_lead(state: &State) -> bool {
    state.config.as_ref().is_some_and(|config| config.can_lead())
}

fn no(reason: &str) -> Eligibility {
    Eligibility { reason: reason.to_owned(), ..Eligibility::default() }
}

/// The status for the API; `applied_at_unix_ms` is the runner's to fill in.
pub(super) fn status(state: &State, reason: String) -> RoleStatus {
    let Eligibility { eligible, reason: eligibility_reason, .. } = eligibility(state);
    let errors: Vec<_> = state.source_error.iter().chain(&state.retry.error).cloned().collect();
    // Equal configurations need no reload when the role changes: then the role in force is the wanted one.
    let applied_role = if state.in_force() { state.wanted } else { state.applied }.map(|target| target.role);
    RoleStatus {
        role: state.wanted.map_or(Role::Follower, |wanted| wanted.role),
        reason,
        eligible,
        eligibility_reason,
        cordoned: state.cordoned,
        shutting_down: state.shutting_down.is_some(),
        config: ConfigStatus {
            desired_hash: state.wanted.map(|wanted| wanted.hash.to_string()),
            applied_hash: state.applied.map(|applied| applied.hash.to_string()),
            applied_role,
            applied_at_unix_ms: None,
            last_error: (!errors.is_empty()).then(|| errors.join("; ")),
            source_errors: state.source_errors,
            warnings: state.config.as_ref().map_or_else(Vec::new, |config| config.warnings.clone()),
        },
    }
}
