//! `event-log`: a record for tests of what this process did and when, one JSON object a line. An interface: docs/event-log.md.
//!
//! ```text
//! group's thread: every published leadership --+
//! role control: status watch ------------------+--> bounded queue --> a thread of its own --> file, line by line
//! app: start, shutdown ------------------------+
//! ```
//!
//! Times are nanoseconds of `CLOCK_MONOTONIC`, which all processes of one machine share. Nobody waits for the disk: what does not fit
//! the queue is counted, and the next line tells how many are missing, so that a reader never takes a gap for silence. A file that
//! cannot be written to any more is said once in the log, and nothing else comes of it.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use elector_raft::observer::{Outcome, Side};
use elector_raft::{Authority, Leadership, Observer};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use tokio::sync::watch;

use crate::role::{Role, RoleStatus};

/// Lines that may wait for the disk: several minutes of a leader's.
const QUEUE_MAX: usize = 4096;

/// What happened.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event {
    Start { pid: u32, version: &'static str },
    Authority { state: AuthorityState, term: u64, until_ns: Option<u64> },
    Leader { term: u64, leader: Option<String> },
    Role { role: Role },
    Config { state: ConfigState, role: Option<Role>, hash: Option<String>, error: Option<String> },
    Shutdown { state: ShutdownState },
    Lost { lines: u64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum AuthorityState {
    Gained,
    Extended,
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum ConfigState {
    /// Prometheus has accepted it.
    InForce,
    /// It, or the source file, was not accepted.
    Failed,
}

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ShutdownState {
    /// Leadership is given up from now on.
    Begun,
    /// The process ends.
    Ended,
}

#[derive(Serialize)]
struct Line<'a> {
    at_ns: u64,
    member: &'a str,
    #[serde(flatten)]
    event: Event,
}

/// The record. Cheap to clone.
#[derive(Clone, Debug)]
pub struct EventLog(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    queue: SyncSender<(u64, Event)>,
    lost: AtomicU64,
    /// What was told last; a change is relative to it.
    leadership: Mutex<Leadership>,
    clock: Clock,
}

/// The same clock in both of its forms.
#[derive(Clone, Copy, Debug)]
struct Clock {
    instant: Instant,
    ns: u64,
}

impl Clock {
    fn read() -> Self {
        let now = clock_gettime(ClockId::Monotonic);
        let ns = u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0);
        Self { instant: Instant::now(), ns }
    }

    fn ns(&self, instant: Instant) -> u64 {
        let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        match instant.checked_duration_since(self.instant) {
            Some(after) => self.ns.saturating_add(nanos(after)),
            None => self.ns.saturating_sub(nanos(self.instant.saturating_duration_since(instant))),
        }
    }
}

impl EventLog {
    /// Opens the file, which is appended to, and notes the start.
    pub fn open(path: &Path, member: &str) -> anyhow::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.with_context(|| format!("event-log {}: cannot be opened", path.display()))?;
        let (queue, lines) = sync_channel(QUEUE_MAX);
        let member = member.to_owned();
        std::thread::Builder::new().name("event-log".into()).spawn(move || write(file, &member, &lines))?;
        let log = Self(Arc::new(Inner {
            queue,
            lost: AtomicU64::new(0),
            leadership: Mutex::default(),
            clock: Clock::read(),
        }));
        log.note(Event::Start { pid: std::process::id(), version: env!("CARGO_PKG_VERSION") });
        Ok(log)
    }

    /// Notes how far the end has come.
    pub fn shutdown(&self, state: ShutdownState) {
        self.note(Event::Shutdown { state });
    }

    /// Notes the changes of role and configuration until role control ends.
    pub async fn follow_role(self, mut status: watch::Receiver<Arc<RoleStatus>>) {
        let mut told: Option<Arc<RoleStatus>> = None;
        loop {
            let now = Arc::clone(&status.borrow_and_update());
            for event in role_events(told.as_deref(), &now) {
                self.note(event);
            }
            told = Some(now);
            if status.changed().await.is_err() {
                return;
            }
        }
    }

    fn note(&self, event: Event) {
        let Inner { queue, lost, clock, .. } = &*self.0;
        let at_ns = clock.ns(Instant::now());
        let missing = lost.swap(0, Ordering::Relaxed);
        if missing > 0 && queue.try_send((at_ns, Event::Lost { lines: missing })).is_err() {
            lost.fetch_add(missing, Ordering::Relaxed);
        }
        if queue.try_send((at_ns, event)).is_err() {
            lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Observer for EventLog {
    fn called(&self, _: &'static str, _: Outcome, _: Duration) {}
    fn heartbeat(&self, _: Side, _: Duration) {}

    fn leadership(&self, leadership: &Leadership) {
        let before = {
            let mut told = self.0.leadership.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *told, leadership.clone())
        };
        for event in leadership_events(&before, leadership, &self.0.clock) {
            self.note(event);
        }
    }
}

/// What of a new leadership is new. An authority of another term is another one.
fn leadership_events(before: &Leadership, now: &Leadership, clock: &Clock) -> Vec<Event> {
    let until = |leadership: &Leadership| leadership.authority_deadline().map(|deadline| clock.ns(deadline));
    let authority = |state, of: &Leadership| Event::Authority { state, term: of.term, until_ns: until(of) };
    let held = |leadership: &Leadership| leadership.authority != Authority::None;
    let mut events = Vec::new();
    let is_same = before.term == now.term;
    if held(before) && !(held(now) && is_same) {
        events.push(authority(AuthorityState::Ended, before));
    }
    if (before.term, before.leader_name()) != (now.term, now.leader_name()) {
        let leader = now.leader.as_ref().map(|leader| leader.member.name.clone());
        events.push(Event::Leader { term: now.term, leader });
    }
    if held(now) {
        let state = if held(before) && is_same { AuthorityState::Extended } else { AuthorityState::Gained };
        events.push(authority(state, now));
    }
    events
}

fn role_events(before: Option<&RoleStatus>, now: &RoleStatus) -> Vec<Event> {
    let mut events = Vec::new();
    if before.is_none_or(|before| before.role != now.role) {
        events.push(Event::Role { role: now.role });
    }
    let old = before.map(|before| &before.config);
    let config = |state, role, hash, error| Event::Config { state, role, hash, error };
    let new = &now.config;
    let applied = (new.applied_at_unix_ms, &new.applied_hash, new.applied_role);
    let is_applied = old.is_none_or(|old| (old.applied_at_unix_ms, &old.applied_hash, old.applied_role) != applied);
    if is_applied && new.applied_hash.is_some() {
        events.push(config(ConfigState::InForce, new.applied_role, new.applied_hash.clone(), None));
    }
    if new.last_error.is_some() && old.is_none_or(|old| old.last_error != new.last_error) {
        events.push(config(ConfigState::Failed, None, new.desired_hash.clone(), new.last_error.clone()));
    }
    events
}

/// Writes until the last log is dropped. What a full disk swallowed is counted, like what the queue did not take.
fn write(mut file: impl Write, member: &str, lines: &Receiver<(u64, Event)>) {
    let mut missing = 0;
    for (at_ns, event) in lines {
        // In one write: a reader sees no half of a line, and nothing of a killed process is left in a buffer. After a failure half a
        // line may stand there: it is ended first.
        let mut bytes = Vec::new();
        if missing > 0 {
            bytes.push(b'\n');
            append(&mut bytes, &Line { at_ns, member, event: Event::Lost { lines: missing } });
        }
        append(&mut bytes, &Line { at_ns, member, event });
        match file.write_all(&bytes) {
            Ok(()) => missing = 0,
            Err(error) => {
                if missing == 0 {
                    tracing::warn!(%error, "the event log cannot be written; what happens is not recorded");
                }
                missing += 1;
            }
        }
    }
}

fn append(bytes: &mut Vec<u8>, line: &Line<'_>) {
    // Nothing in a line can fail to be written into memory.
    let _ = serde_json::to_writer(&mut *bytes, line);
    bytes.push(b'\n');
}

#[cfg(test)]
mod tests;
