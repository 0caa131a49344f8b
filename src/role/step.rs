//! Pure: the rules of role control, `step(state, event, now) -> (state, actions, reason)`.
//!
//! Level-triggered: each step compares what should be in force with what is, and asks for the next act towards it. No
//! transition has code of its own, so none can be missed. Two things are followed down to Prometheus:
//!
//! ```text
//!   wanted ----Write----> file ----Reload----> applied          applied != wanted: go on, for ever
//!     ^
//!     | authority, and no planned handover: Leader, else Follower
//! ```
//!
//! A planned handover (step-down, cordon, shutdown) keeps authority until the follower configuration is in force, so
//! that no two Prometheus run as leader; bounded by `demote_timeout`, because the group must not wait for a hung one, and not waited
//! for where Prometheus ends, loads nothing any more, and sends through the gate only:
//!
//! ```text
//!            StepDown, Cordon, Shutdown            follower in force, or out of time
//!   (none) ------------------------------> Demoting -------------------------------> HandingOver
//!     ^  ^   |                              ^ | uncordoned; shutdown of a follower        |
//!     |  |   +------> AwaitingCover --------+ |                                           |
//!     |  +----------------------------------- + <- also from AwaitingCover                |
//!     +-----------------------------------------------------------------------------------+
//!        handed over: follower; refused: leader again while authority holds; shutdown: finished
//! ```
//!
//! While nobody could take over without a loss (`Cover`), a leader leads on in `AwaitingCover`: until `cover_timeout` after it
//! was told to shut down, else for `demote_timeout`; or until its own Prometheus has stopped, which has flushed everything
//! then.
//!
//! Invariants
//! - `Write` and `Reload` of a leader's configuration are asked for only with authority; the runner asks the clock
//!   again right before each.
//! - One reload in flight at most, one write in flight at most. While a reload is in flight the file is replaced only
//!   by a follower's configuration: a demotion never waits to reach the disk, a promotion waits for its turn.
//! - `applied` is known only after Prometheus accepted a reload during which the file stayed as it was and nobody saw
//!   Prometheus gone. A failed reload may have been applied in part: nothing is known then.
//! - Until a planned handover has ended, the group goes on to hear that this member can lead: it would hand over before
//!   the follower configuration is in force otherwise (group rule 12).
//!
//! Failure: an attempt that fails is repeated without end, after `retry_delay` for `max_attempts` times, then after
//! pauses that double up to [`RETRY_PAUSE_MAX`]. A demotion is urgent and begins at [`URGENT_RETRY_DELAY`]. A new
//! wanted configuration, or Prometheus coming up, retries at once.

use std::time::Duration;

use elector_raft::{CommandError, Now};

use super::Role;
use super::reason;
use super::state::{Action, Cause, Event, Failure, Leaving, Policy, Reloading, Retry, State};
use super::variants::Target;
use crate::prometheus::health::{PrometheusState, Running};

/// Longest pause between attempts, unless `notify-retry-delay` itself is longer.
pub(super) const RETRY_PAUSE_MAX: Duration = Duration::from_mins(1);

/// Pause between attempts while Prometheus may run as a leader without being one: each second counts.
pub(super) const URGENT_RETRY_DELAY: Duration = Duration::from_secs(1);

/// Takes one event in; gives the new state, what to do, and one sentence that says what it does and why.
pub(super) fn step(mut state: State, event: Event, now: Now) -> (State, Vec<Action>, String) {
    let mut actions = Vec::new();
    state.held = state.leadership.holds_authority(now);
    take(&mut state, event, now, &mut actions);
    obey_cordon(&mut state, now);
    await_cover(&mut state, now);
    control(&mut state, now, &mut actions);
    leave(&mut state, now, &mut actions);
    let eligibility = reason::told(&state);
    if state.told.as_ref() != Some(&eligibility) {
        state.told = Some(eligibility.clone());
        actions.push(Action::Tell(eligibility));
    }
    let sentence = reason::sentence(&state);
    (state, actions, sentence)
}

fn take(state: &mut State, event: Event, now: Now, actions: &mut Vec<Action>) {
    match event {
        Event::Tick => {}
        Event::Leadership(leadership) => {
            state.leadership = leadership;
            state.held = state.leadership.holds_authority(now);
            if !state.leads() {
                state.cordon_left_to_group = false;
            }
        }
        Event::Others(others) => state.others = others,
        Event::Cover(cover) => state.cover = cover,
        Event::Prometheus(prometheus) => take_prometheus(state, prometheus),
        Event::Source(Ok(config)) => {
            state.config = Some(config);
            state.source_error = None;
        }
        Event::Source(Err(error)) => {
            state.source_error = Some(error);
            state.source_errors += 1;
        }
        Event::Wrote(result) => take_write(state, result, now),
        Event::ReloadIsSlow => {
            if let Some(reloading) = &mut state.reloading {
                reloading.slow = true;
            }
        }
        Event::Reloaded(result) => take_reload(state, result, now),
        Event::StepDown { id, reason } => match refusal(state) {
            Some(refusal) => actions.push(Action::Answer(id, Err(refusal))),
            None => begin_leaving(state, Cause::StepDown { id, reason }, now),
        },
        Event::Cordon { id } => {
            state.cordoned = true;
            actions.push(Action::Answer(id, Ok(reason::cordon_answer(state))));
        }
        Event::Uncordon { id } => {
            state.cordoned = false;
            state.cordon_left_to_group = false;
            if matches!(
                state.leaving,
                Some(
                    Leaving::AwaitingCover { cause: Cause::Cordon, .. }
                        | Leaving::Demoting { cause: Cause::Cordon, .. }
                )
            ) {
                state.leaving = None;
            }
            actions.push(Action::Answer(id, Ok("uncordoned: this member may lead again".to_owned())));
        }
        Event::Shutdown => {
            state.shutting_down = Some(now.instant);
            match &mut state.leaving {
                None => begin_leaving(state, Cause::Shutdown, now),
                // Else uncordoning would end it.
                Some(
                    Leaving::AwaitingCover { cause: cause @ Cause::Cordon, .. }
                    | Leaving::Demoting { cause: cause @ Cause::Cordon, .. },
                ) => *cause = Cause::Shutdown,
                Some(_) => {}
            }
        }
        Event::HandedOver(result) => take_handover(state, result, now, actions),
    }
}

/// Why a step-down is not even begun: a refusal must cost nothing.
fn refusal(state: &State) -> Option<String> {
    if state.leaving.is_some() || state.shutting_down.is_some() {
        return Some("this member is giving leadership up already".to_owned());
    }
    if !state.leads() {
        return Some(CommandError::NotLeader { leader: state.leadership.leader_name().to_owned() }.to_string());
    }
    (!state.others.eligible).then(|| CommandError::NoTarget(state.others.detail.clone()).to_string())
}

fn begin_leaving(state: &mut State, cause: Cause, now: Now) {
    let Policy { demote_timeout, cover_timeout, .. } = state.policy;
    let until = match state.shutting_down.filter(|_| cause == Cause::Shutdown) {
        // What was under way when it was asked for has taken from its time.
        Some(since) => since + cover_timeout,
        None => now.instant + demote_timeout,
    };
    state.leaving = Some(Leaving::AwaitingCover { cause, until });
    await_cover(state, now);
}

/// Goes on once somebody is prepared, or nobody is worth waiting for.
fn await_cover(state: &mut State, now: Now) {
    let Some(Leaving::AwaitingCover { cause, until }) = &state.leaving else { return };
    if !state.awaits_cover() || now.instant >= *until {
        state.leaving =
            Some(Leaving::Demoting { cause: cause.clone(), deadline: now.instant + state.policy.demote_timeout });
    }
}

/// A cordoned leader hands over as soon as somebody can take over, and leads on until then.
fn obey_cordon(state: &mut State, now: Now) {
    let free = state.leaving.is_none() && state.shutting_down.is_none() && !state.cordon_left_to_group;
    if state.cordoned && free && state.leads() && state.others.eligible {
        begin_leaving(state, Cause::Cordon, now);
    }
}

fn take_prometheus(state: &mut State, prometheus: PrometheusState) {
    let was = std::mem::replace(&mut state.prometheus, prometheus).running;
    let is = state.prometheus.running;
    // Also when it was not seen to be back: a reload that it accepted meanwhile is as void. And whoever ended and does not any
    // more is another process.
    if is == Running::No || (was == Running::Ending && is == Running::Yes) {
        state.applied = None;
        if let Some(reloading) = &mut state.reloading {
            reloading.stale = true;
        }
    }
    if was != Running::Yes && is == Running::Yes {
        state.retry = Retry::default();
    }
}

fn take_write(state: &mut State, result: Result<(), Failure>, now: Now) {
    let Some(target) = state.writing.take() else { return };
    match result {
        Ok(()) => state.file = Some(target.hash),
        Err(Failure::NoAuthority) => {}
        Err(Failure::Error(error)) => schedule_retry(state, target, error, now),
    }
}

fn take_reload(state: &mut State, result: Result<(), Failure>, now: Now) {
    let Some(reloading) = state.reloading.take() else { return };
    match result {
        Ok(()) => {
            state.retry = Retry::default();
            state.asserted = true;
            if !reloading.stale {
                state.applied = Some(reloading.target);
                state.may_lead = reloading.target.role == Role::Leader;
            }
        }
        Err(Failure::NoAuthority) => {}
        Err(Failure::Error(error)) => schedule_retry(state, reloading.target, error, now),
    }
}

fn schedule_retry(state: &mut State, failed: Target, error: String, now: Now) {
    // Something newer is wanted and is tried at once: it must not wait for the failure of what it replaces.
    if state.wanted != Some(failed) {
        return;
    }
    let policy = state.policy;
    let urgent = state.may_lead && state.wanted.is_some_and(|wanted| wanted.role == Role::Follower);
    let delay = if urgent { policy.retry_delay.min(URGENT_RETRY_DELAY) } else { policy.retry_delay };
    let retry = &mut state.retry;
    retry.failures = retry.failures.saturating_add(1);
    let doublings = retry.failures.saturating_sub(policy.max_attempts).min(16);
    let pause = delay.saturating_mul(1 << doublings).min(RETRY_PAUSE_MAX.max(delay));
    retry.at = Some(now.instant + pause);
    retry.error = Some(error);
}

fn take_handover(state: &mut State, result: Result<String, CommandError>, now: Now, actions: &mut Vec<Action>) {
    let Some(Leaving::HandingOver { cause, .. }) = state.leaving.take() else { return };
    // Who leads already is as good an answer as who was made to lead.
    let result = match result {
        Err(CommandError::NotLeader { leader }) if !leader.is_empty() => Ok(leader),
        other => other.map_err(|error| error.to_string()),
    };
    match cause {
        Cause::Shutdown => {
            actions.push(Action::Finish);
            return;
        }
        Cause::Cordon => state.cordon_left_to_group = result.is_err(),
        Cause::StepDown { id, .. } => actions.push(Action::Answer(id, result)),
    }
    if state.shutting_down.is_some() {
        begin_leaving(state, Cause::Shutdown, now);
    }
}

/// The next act towards the wanted configuration.
fn control(state: &mut State, now: Now, actions: &mut Vec<Action>) {
    let Some(config) = state.config.clone() else { return };
    let wanted = config.target(if state.acts() { Role::Leader } else { Role::Follower });
    if state.wanted != Some(wanted) {
        state.wanted = Some(wanted);
        state.retry = Retry::default();
    }
    if state.retry.at.is_some_and(|at| now.instant < at) {
        return;
    }
    state.retry.at = None;
    if state.file != Some(wanted.hash) || state.writing.is_some() {
        let held_back = wanted.role == Role::Leader && state.reloading.is_some();
        if state.writing.is_none() && !held_back {
            write(state, wanted, actions);
        }
    } else if state.reloading.is_none() && !state.in_force() {
        state.applied = None;
        state.reloading = Some(Reloading { target: wanted, stale: false, slow: false });
        actions.push(Action::Reload(wanted));
    }
}

fn write(state: &mut State, target: Target, actions: &mut Vec<Action>) {
    state.file = None;
    state.writing = Some(target);
    if target.role == Role::Leader {
        // A Prometheus that restarts by itself reads what is being written, and that may go unseen.
        state.may_lead = true;
        state.applied = None;
    }
    if let Some(reloading) = &mut state.reloading {
        reloading.stale = true;
    }
    actions.push(Action::Write(target));
}

/// Hands over once the follower configuration is in force, or it has taken too long.
fn leave(state: &mut State, now: Now, actions: &mut Vec<Action>) {
    let Some(Leaving::Demoting { cause, deadline }) = &state.leaving else { return };
    let demoted = state.demoted();
    if !demoted && now.instant < *deadline {
        return;
    }
    if *cause == Cause::Shutdown && !state.leads() {
        state.leaving = None;
        actions.push(Action::Finish);
        return;
    }
    actions.push(Action::HandOver(reason::handover(cause)));
    state.leaving = Some(Leaving::HandingOver { cause: cause.clone(), forced: !demoted });
}
