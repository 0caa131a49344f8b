//! The rules of the pod's label. Pure: `step(state, input, now) -> (state, actions)`.

use std::time::{Duration, Instant};

use elector_raft::Now;

use super::LABEL;
use super::state::{Action, Applied, Attempts, Elected, Failure, Input, Label, State};
use crate::metrics::RequestCounts;

/// Pause after the first failure; it doubles with each further one.
const RETRY_MIN: Duration = Duration::from_millis(500);
/// Longest pause: a right that is granted later shows within this. Three members cost an API server nothing with it.
const RETRY_MAX: Duration = Duration::from_secs(30);
/// The label is said again after this long: an API server writes nothing for a patch that changes nothing.
const REASSERT_PERIOD: Duration = Duration::from_mins(1);
/// An Event is news: after this many failures it is old.
const RECORD_ATTEMPTS_MAX: u32 = 3;
/// Longest time that a shutdown waits for the label.
const END_WAIT_MAX: Duration = Duration::from_secs(1);

pub(super) fn step(mut state: State, input: Input, now: Now) -> (State, Vec<Action>) {
    let mut actions = Vec::new();
    match input {
        Input::Tick => {}
        Input::Leadership(leadership) => state.leadership = leadership,
        Input::Labelled(result) => labelled(&mut state, result, now.instant, &mut actions),
        Input::Recorded(result) => recorded(&mut state, result, now.instant, &mut actions),
        Input::Shutdown => state.end_by = Some(now.instant + END_WAIT_MAX),
    }
    want(&mut state, now);
    act(&mut state, now.instant, &mut actions);
    state.status.in_force = in_force(&state);
    (state, actions)
}

/// When time alone changes something.
pub(super) fn wake_at(state: &State) -> Option<Instant> {
    let authority = state.leadership.authority_deadline().filter(|_| state.wanted == Label::Leader);
    let reassert = state.applied.as_ref().map(|applied| applied.at + REASSERT_PERIOD);
    let patch = state.patches.retry_at.or(reassert).filter(|_| state.patching.is_none());
    let record = state.records.retry_at.filter(|_| may_record(state));
    [authority, patch, record, state.end_by].into_iter().flatten().min()
}

/// What the label should say, and what is new about it.
fn want(state: &mut State, now: Now) {
    let leads = !state.witness && state.end_by.is_none() && state.leadership.holds_authority(now);
    let wanted = match (state.witness, leads) {
        (true, _) => Label::Witness,
        (false, true) => Label::Leader,
        (false, false) => Label::Follower,
    };
    if wanted != state.wanted {
        state.wanted = wanted;
        state.patches.retry_at = None;
    }
    let term = state.leadership.term;
    if leads && state.led_term != Some(term) {
        state.led_term = Some(term);
        state.elected = Some(Elected { term, note: note(state) });
        state.records.start_anew();
    }
    let leader = state.leadership.leader.as_ref().filter(|leader| !leader.member.witness);
    if let Some(leader) = leader.filter(|leader| state.last_leader.as_ref() != Some(&leader.member.name)) {
        state.last_leader = Some(leader.member.name.clone());
    }
}

fn note(state: &State) -> String {
    let (name, term) = (state.leadership.leader_name(), state.leadership.term);
    match state.last_leader.as_deref() {
        None => format!("{name} leads in term {term}"),
        Some(last) if last == name => format!("{name} leads again, in term {term}"),
        Some(last) => format!("{name} leads in term {term}, after {last}"),
    }
}

fn act(state: &mut State, now: Instant, actions: &mut Vec<Action>) {
    let fresh = state.applied.as_ref().is_some_and(|applied| now < applied.at + REASSERT_PERIOD);
    if state.patching.is_none() && !(in_force(state) && fresh) && state.patches.due(now) {
        state.patching = Some(state.wanted);
        actions.push(Action::Label(state.wanted));
    }
    if may_record(state)
        && state.records.due(now)
        && let Some(elected) = state.elected.take()
    {
        state.recording = Some(elected.clone());
        actions.push(Action::Record(elected, state.applied.as_ref().and_then(|applied| applied.uid.clone())));
    }
    let said = state.patching.is_none() && in_force(state);
    if state.end_by.is_some_and(|end| said || now >= end) {
        actions.push(Action::Finish);
    }
}

fn in_force(state: &State) -> bool {
    state.applied.as_ref().is_some_and(|applied| applied.label == state.wanted)
}

/// The Event follows the label: who may not set that is not asked to write this either, and the patch tells the pod's uid.
fn may_record(state: &State) -> bool {
    state.elected.is_some() && state.recording.is_none() && state.wanted == Label::Leader && in_force(state)
}

fn labelled(state: &mut State, result: Result<Option<String>, Failure>, now: Instant, actions: &mut Vec<Action>) {
    let Some(label) = state.patching.take() else { return };
    count(&mut state.status.label, &result);
    match result {
        Ok(uid) => {
            state.applied = Some(Applied { label, at: now, uid });
            let complained = state.patches.warned_error || state.patches.warned_forbidden;
            state.patches = Attempts::default();
            if complained || state.told != Some(label) {
                state.told = Some(label);
                actions.push(Action::Info(format!("the pod's label {LABEL} says {}", label.as_str())));
            }
        }
        Err(failure) => {
            // A request that was not answered may have been carried out.
            state.applied = None;
            let pause = state.patches.fail(now);
            if label != state.wanted {
                state.patches.retry_at = None;
            }
            let what = format!("cannot set the pod's label {LABEL} to {}", label.as_str());
            let remedy =
                "give the pod's service account the verb patch on its pod (the chart's podLeaderLabel.enabled=true)";
            actions.push(state.patches.complain(&failure, &what, remedy, &format!("tried again in {pause:?}")));
        }
    }
}

fn recorded(state: &mut State, result: Result<(), Failure>, now: Instant, actions: &mut Vec<Action>) {
    let Some(elected) = state.recording.take() else { return };
    count(&mut state.status.event, &result);
    let Err(failure) = result else {
        state.records = Attempts::default();
        return;
    };
    let pause = state.records.fail(now);
    let overtaken = state.elected.is_some();
    let given_up = overtaken || failure.forbidden || state.records.failures >= RECORD_ATTEMPTS_MAX;
    if overtaken {
        state.records.start_anew();
    } else if !given_up {
        state.elected = Some(elected);
    }
    let what = "cannot write the Event about the pod's election";
    let remedy = "give the pod's service account the verb create on events in the group events.k8s.io (the chart's \
                  podLeaderLabel.enabled=true)";
    let next = if given_up { "given up".to_owned() } else { format!("tried again in {pause:?}") };
    actions.push(state.records.complain(&failure, what, remedy, &next));
}

impl Attempts {
    /// For something else; what was warned about stays so.
    fn start_anew(&mut self) {
        self.failures = 0;
        self.retry_at = None;
    }

    /// Returns the pause until the next one.
    fn fail(&mut self, now: Instant) -> Duration {
        let pause = RETRY_MIN.saturating_mul(2_u32.saturating_pow(self.failures)).min(RETRY_MAX);
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(now + pause);
        pause
    }

    /// Loud for the first failure of its kind since the last success.
    fn complain(&mut self, failure: &Failure, what: &str, remedy: &str, next: &str) -> Action {
        let Failure { forbidden, error } = failure;
        let warned = if *forbidden { &mut self.warned_forbidden } else { &mut self.warned_error };
        let text = match forbidden {
            true => format!("{what}: {error}; {remedy}; the election is not affected"),
            false => format!("{what}: {error}; {next}; the election is not affected"),
        };
        if std::mem::replace(warned, true) { Action::Debug(text) } else { Action::Warn(text) }
    }
}

fn count<T>(counts: &mut RequestCounts, result: &Result<T, Failure>) {
    *match result {
        Ok(_) => &mut counts.ok,
        Err(Failure { forbidden: true, .. }) => &mut counts.forbidden,
        Err(_) => &mut counts.error,
    } += 1;
}
