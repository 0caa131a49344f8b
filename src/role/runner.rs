//! The thin runner of role control: one loop that turns what happens into events and carries the actions out.
//!
//! It decides nothing but one thing: right before a leader's configuration is renamed into place, and right before the
//! request that loads it, it asks the leadership watch and the clock once more. Each action that lasts runs in a task
//! of its own and reports back through the queue of events, so the loop never waits for disk or network. Leadership is
//! always taken in before any other event: after a handover the group has published the end of authority before it
//! answers, and the answer must not be read with the old authority still in mind.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use elector_raft::{GroupHandle, Leadership, Now};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::state::{Action, Event, Failure, Others, State};
use super::step::step;
use super::variants::Target;
use super::{Companion, Role, RoleCommand, RoleStatus, reason};
use crate::prometheus::file::{self, Replaced};
use crate::prometheus::reload::Reload;

/// The files that role control writes.
#[derive(Clone, Debug)]
pub(super) struct Output {
    /// Prometheus reads this one.
    pub(super) path: PathBuf,
    /// The newest good follower configuration.
    pub(super) kept: PathBuf,
    pub(super) mode: u32,
}

/// What a runner is made of.
pub(super) struct Parts<R> {
    pub(super) state: State,
    pub(super) group: GroupHandle,
    pub(super) reload: R,
    /// After this long a reload is reported as slow.
    pub(super) slow_after: Duration,
    /// `None`: nothing is written, and Prometheus is told nothing.
    pub(super) output: Option<Output>,
    pub(super) commands: mpsc::Receiver<RoleCommand>,
    pub(super) status: watch::Sender<Arc<RoleStatus>>,
    pub(super) events: (mpsc::Sender<Event>, mpsc::Receiver<Event>),
    /// What gives way before a handover.
    pub(super) companion: Option<Companion>,
}

type Reply = oneshot::Sender<Result<String, String>>;

/// Runs role control.
pub(super) struct Runner<R> {
    state: State,
    group: GroupHandle,
    reload: Arc<R>,
    slow_after: Duration,
    output: Option<Output>,
    commands: mpsc::Receiver<RoleCommand>,
    status: watch::Sender<Arc<RoleStatus>>,
    applied_at_unix_ms: Option<u64>,
    events_tx: mpsc::Sender<Event>,
    events: mpsc::Receiver<Event>,
    companion: Option<Companion>,
    /// Ends all of them when the runner ends.
    tasks: JoinSet<()>,
    replies: HashMap<u64, Reply>,
    last_id: u64,
    group_ended: bool,
    finished: bool,
}

impl<R: Reload> Runner<R> {
    pub(super) fn new(parts: Parts<R>) -> Self {
        Self {
            state: parts.state,
            group: parts.group,
            reload: Arc::new(parts.reload),
            slow_after: parts.slow_after,
            output: parts.output,
            commands: parts.commands,
            status: parts.status,
            applied_at_unix_ms: None,
            events_tx: parts.events.0,
            events: parts.events.1,
            companion: parts.companion,
            tasks: JoinSet::new(),
            replies: HashMap::new(),
            last_id: 0,
            group_ended: false,
            finished: false,
        }
    }

    /// Where other tasks send their events.
    pub(super) fn events(&self) -> mpsc::Sender<Event> {
        self.events_tx.clone()
    }

    /// Runs a task for as long as the runner runs.
    pub(super) fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        let mut commands_open = true;
        let mut status_open = true;
        self.take_leadership(false);
        let others = Others::of(&self.group.status.borrow_and_update());
        self.feed(Event::Others(others));
        self.follow_cover();
        while !self.finished {
            let wake_at = self.state.wake_at().map(Instant::from_std);
            tokio::select! {
                biased;
                changed = self.group.leadership.changed(), if !self.group_ended => self.take_leadership(changed.is_err()),
                () = shutdown.cancelled(), if self.state.shutting_down.is_none() => self.feed(Event::Shutdown),
                Some(event) = self.events.recv() => self.feed(event),
                command = self.commands.recv(), if commands_open => match command {
                    Some(command) => self.take_command(command),
                    None => commands_open = false,
                },
                changed = self.group.status.changed(), if status_open => {
                    status_open = changed.is_ok();
                    let others = Others::of(&self.group.status.borrow_and_update());
                    if others != self.state.others {
                        self.feed(Event::Others(others));
                    }
                }
                () = until(wake_at) => self.feed(Event::Tick),
            }
            while self.tasks.try_join_next().is_some() {}
        }
    }

    fn follow_cover(&mut self) {
        let Some(mut cover) = self.companion.as_ref().map(|companion| companion.cover.clone()) else { return };
        let events = self.events();
        self.spawn(async move {
            loop {
                let now = cover.borrow_and_update().clone();
                if events.send(Event::Cover(now)).await.is_err() || cover.changed().await.is_err() {
                    return;
                }
            }
        });
    }

    fn take_leadership(&mut self, ended: bool) {
        self.group_ended = ended;
        // A group that has ended renews nothing: what it said last must not count as authority.
        let leadership = if ended { Leadership::default() } else { self.group.leadership.borrow_and_update().clone() };
        self.take(Event::Leadership(leadership));
    }

    /// Takes an event in, newest leadership first.
    fn feed(&mut self, event: Event) {
        match self.group.leadership.has_changed() {
            Ok(false) => {}
            Ok(true) => self.take_leadership(false),
            Err(_) if self.group_ended => {}
            Err(_) => self.take_leadership(true),
        }
        self.take(event);
    }

    fn take_command(&mut self, command: RoleCommand) {
        self.last_id += 1;
        let id = self.last_id;
        let (event, reply) = match command {
            RoleCommand::StepDown { reason, reply } => (Event::StepDown { id, reason }, reply),
            RoleCommand::Cordon { reply } => (Event::Cordon { id }, reply),
            RoleCommand::Uncordon { reply } => (Event::Uncordon { id }, reply),
        };
        self.replies.insert(id, reply);
        self.feed(event);
    }

    fn take(&mut self, event: Event) {
        let reloaded = matches!(event, Event::Reloaded(Ok(())));
        let (state, actions, reason) = step(self.state.clone(), event, Now::read());
        self.state = state;
        if reloaded {
            self.applied_at_unix_ms = unix_ms();
        }
        self.publish(reason);
        for action in actions {
            self.act(action);
        }
    }

    fn publish(&mut self, reason: String) {
        let mut status = reason::status(&self.state, reason);
        status.config.applied_at_unix_ms = self.applied_at_unix_ms.filter(|_| status.config.applied_hash.is_some());
        let before = self.status.borrow().clone();
        if *before == status {
            return;
        }
        if before.reason != status.reason {
            let reason = &status.reason;
            if reason::is_trouble(&self.state) {
                warn!(role = ?status.role, "{reason}");
            } else {
                info!(role = ?status.role, "{reason}");
            }
        }
        if (before.eligible, &before.eligibility_reason) != (status.eligible, &status.eligibility_reason) {
            let word = if status.eligible { "eligible to lead" } else { "not eligible to lead" };
            info!("{word}: {}", status.eligibility_reason);
        }
        if before.config.warnings != status.config.warnings {
            for warning in &status.config.warnings {
                warn!("configuration: {warning}");
            }
        }
        self.status.send_replace(Arc::new(status));
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Write(target) => self.write(target),
            Action::Reload(target) => self.reload(target),
            Action::HandOver(reason) => {
                let (group, events, companion) = (self.group.clone(), self.events_tx.clone(), self.companion.clone());
                self.spawn(async move {
                    if let Some(companion) = &companion {
                        (companion.give_way)().await;
                    }
                    let result = group.hand_over(reason).await;
                    if let Some(companion) = &companion {
                        (companion.resume)();
                    }
                    match &result {
                        Ok(leader) => info!("leadership handed over to {leader}"),
                        Err(error) => warn!(%error, "leadership was not handed over"),
                    }
                    let _ = events.send(Event::HandedOver(result)).await;
                });
            }
            Action::Tell(eligibility) => self.group.set_eligibility(eligibility),
            Action::Answer(id, result) => {
                if let Some(reply) = self.replies.remove(&id) {
                    // Who asked may have gone away.
                    let _ = reply.send(result);
                }
            }
            Action::Finish => self.finished = true,
        }
    }

    fn write(&mut self, target: Target) {
        // A write is asked for only while there is a configuration.
        let Some(bytes) = self.state.config.as_ref().map(|config| config.bytes(target.role)) else { return };
        let events = self.events_tx.clone();
        let Some(output) = self.output.clone() else {
            self.spawn(async move { drop(events.send(Event::Wrote(Ok(()))).await) });
            return;
        };
        let may_act = permit(&self.group.leadership, target.role);
        self.spawn(async move {
            let write = move || file::replace_if(&output.path, &bytes, output.mode, may_act);
            let result = match tokio::task::spawn_blocking(write).await {
                Ok(Ok(Replaced::Unchanged | Replaced::Written)) => Ok(()),
                Ok(Ok(Replaced::Withheld)) => Err(Failure::NoAuthority),
                Ok(Err(error)) => Err(Failure::Error(error.to_string())),
                Err(error) => Err(Failure::Error(format!("writing the output file failed: {error}"))),
            };
            let _ = events.send(Event::Wrote(result)).await;
        });
    }

    fn reload(&mut self, target: Target) {
        let (reload, may_act) = (self.reload.clone(), permit(&self.group.leadership, target.role));
        let (events, slow_after) = (self.events_tx.clone(), self.slow_after);
        if self.output.is_none() {
            self.spawn(async move { drop(events.send(Event::Reloaded(Ok(()))).await) });
            return;
        }
        self.spawn(async move {
            if !may_act() {
                let _ = events.send(Event::Reloaded(Err(Failure::NoAuthority))).await;
                return;
            }
            let reloading = reload.reload();
            tokio::pin!(reloading);
            let result = tokio::select! {
                biased;
                result = &mut reloading => result,
                () = tokio::time::sleep(slow_after) => {
                    let _ = events.send(Event::ReloadIsSlow).await;
                    reloading.await
                }
            };
            let result = result.map_err(|error| Failure::Error(error.to_string()));
            let _ = events.send(Event::Reloaded(result)).await;
        });
    }
}

/// The last question before an act that only a leader may do.
pub(super) fn permit(leadership: &watch::Receiver<Leadership>, role: Role) -> impl Fn() -> bool + Send + 'static {
    let leadership = leadership.clone();
    move || {
        // The last word of a group that has ended is worth nothing, above all a sole voter's.
        let group_runs = leadership.has_changed().is_ok();
        role == Role::Follower || (group_runs && leadership.borrow().holds_authority(Now::read()))
    }
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

fn unix_ms() -> Option<u64> {
    SystemTime::now().duration_since(UNIX_EPOCH).ok().and_then(|since| u64::try_from(since.as_millis()).ok())
}
