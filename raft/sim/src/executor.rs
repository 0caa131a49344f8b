//! A deterministic executor: one thread, virtual time, and a life for every simulated process.
//!
//! A task belongs to a life. A life has a clock of its own (rate and offset), can be paused (no task of it is polled) and
//! killed (its tasks are dropped where they stand). Which of the runnable tasks runs next is drawn from the seed, so that
//! other interleavings than first-come-first-served are seen too. Time passes only when nothing can run.
//!
//! Everything is kept in a thread-local, because the code under test reaches its runtime through free functions.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use super::chance::Chance;
use super::clock::Clock;
use super::tasks::{Job, TaskId, Tasks, Woken};

/// A simulated process; 0 is the simulation itself, with the true clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LifeId(pub u32);

/// True time since the start of the run, in nanoseconds.
pub type Nanos = u64;

/// Steps at one instant: more is a loop without end.
const STEPS_MAX: u64 = 1_000_000;

struct Life {
    clock: Clock,
    dead: bool,
    paused: bool,
    /// Tasks that became runnable while the life was paused.
    stalled: Vec<TaskId>,
}

struct Executor {
    now: Nanos,
    current: LifeId,
    next_timer: u64,
    tasks: Tasks,
    timers: BTreeMap<(Nanos, u64), Waker>,
    lives: Vec<Life>,
    ready: VecDeque<TaskId>,
    woken: Woken,
    chance: Chance,
    trace: u64,
    polls: u64,
}

thread_local! {
    static EXECUTOR: RefCell<Option<Executor>> = const { RefCell::new(None) };
}

fn with<R>(use_it: impl FnOnce(&mut Executor) -> R) -> Option<R> {
    EXECUTOR.try_with(|cell| cell.try_borrow_mut().ok().and_then(|mut slot| slot.as_mut().map(use_it))).ok().flatten()
}

/// Like [`with`], inside a run.
#[allow(clippy::expect_used, reason = "a mistake of the simulation itself")]
fn inside<R>(use_it: impl FnOnce(&mut Executor) -> R) -> R {
    with(use_it).expect("only inside a simulation")
}

/// Starts a run on this thread, in place of the one before.
pub fn begin(seed: u64) {
    end();
    let clock = Clock { since_true: 0, since_local: 0, rate_ppm: 1_000_000, suspended_since: None, suspended_total: 0 };
    let executor = Executor {
        now: 0,
        current: LifeId(0),
        next_timer: 0,
        tasks: Tasks::default(),
        timers: BTreeMap::new(),
        lives: vec![Life { clock, dead: false, paused: false, stalled: Vec::new() }],
        ready: VecDeque::new(),
        woken: Woken::default(),
        chance: Chance::new(seed, 1),
        trace: 0xcbf2_9ce4_8422_2325,
        polls: 0,
    };
    EXECUTOR.with(|cell| *cell.borrow_mut() = Some(executor));
}

/// Ends the run: every task is dropped.
pub fn end() {
    let jobs = with(|executor| std::mem::take(&mut executor.tasks));
    drop(jobs);
    let executor = EXECUTOR.with(|cell| cell.borrow_mut().take());
    drop(executor);
}

/// True time now.
pub fn now() -> Nanos {
    with(|executor| executor.now).unwrap_or(0)
}

/// The life whose task is running.
pub fn current() -> LifeId {
    with(|executor| executor.current).unwrap_or_default()
}

/// Time of the current life's clock, and how long its machine has been suspended.
pub fn local_now() -> (Nanos, Nanos) {
    local_time_of(current())
}

/// Time of a life's clock now, and how long its machine has been suspended.
pub fn local_time_of(life: LifeId) -> (Nanos, Nanos) {
    with(|executor| {
        let clock = &executor.lives[life.0 as usize].clock;
        (clock.local(executor.now), clock.suspended_total)
    })
    .unwrap_or((0, 0))
}

/// True time at which a life's clock shows `local`.
pub fn true_time_of(life: LifeId, local: Nanos) -> Nanos {
    inside(|executor| executor.lives[life.0 as usize].clock.true_time(local))
}

/// A random number of the run.
pub fn random() -> u64 {
    with(|executor| executor.chance.draw()).unwrap_or(4) // outside a run: while statics are dropped
}

/// Mixes a fact into the trace, whose hash two equal runs share.
pub fn note(fact: u64) {
    with(|executor| executor.note(fact));
}

/// Hash of everything that happened, and the number of polls.
pub fn trace() -> (u64, u64) {
    inside(|executor| (executor.trace, executor.polls))
}

/// A new life, whose clock runs at `rate_ppm`.
pub fn new_life(rate_ppm: u64) -> LifeId {
    inside(|executor| {
        // Every process starts its clock somewhere else: instants of two processes cannot be mixed up unseen.
        let since_local = 1_000_000_000_000 + executor.chance.within(0..1_000_000_000_000);
        let clock =
            Clock { since_true: executor.now, since_local, rate_ppm, suspended_since: None, suspended_total: 0 };
        executor.lives.push(Life { clock, dead: false, paused: false, stalled: Vec::new() });
        LifeId(u32::try_from(executor.lives.len() - 1).unwrap_or(u32::MAX))
    })
}

/// Ends a life: all its tasks are dropped where they stand.
pub fn kill(life: LifeId) {
    let jobs = inside(|executor| {
        executor.lives[life.0 as usize].dead = true;
        executor.tasks.remove_life(life)
    });
    drop(jobs);
}

/// Stops all tasks of a life. With `suspend` its clock stands still too.
pub fn pause(life: LifeId, suspend: bool) {
    inside(|executor| {
        let now = executor.now;
        let life = &mut executor.lives[life.0 as usize];
        life.paused = true;
        if suspend {
            life.clock.suspended_since = Some(now);
        }
    });
}

/// Lets a life go on.
pub fn resume(life: LifeId) {
    inside(|executor| {
        let now = executor.now;
        let life = &mut executor.lives[life.0 as usize];
        life.paused = false;
        if let Some(since) = life.clock.suspended_since.take() {
            let frozen = life.clock.local(since);
            life.clock.since_true = now;
            life.clock.since_local = frozen;
            life.clock.suspended_total += now - since;
        }
        let stalled = std::mem::take(&mut life.stalled);
        executor.ready.extend(stalled);
    });
}

/// Whether a life is paused.
pub fn is_paused(life: LifeId) -> bool {
    inside(|executor| executor.lives[life.0 as usize].paused)
}

/// Starts a task in a life; one of a dead life never runs.
pub fn spawn_in(life: LifeId, job: impl Future<Output = ()> + Send + 'static) -> TaskId {
    let job: Job = Box::pin(job);
    let leftover = inside(|executor| {
        if executor.lives[life.0 as usize].dead {
            return (executor.tasks.next_id(usize::MAX), Some(job));
        }
        let id = executor.tasks.start(life, job, &executor.woken);
        executor.ready.push_back(id);
        (id, None)
    });
    leftover.0
}

/// Drops a task where it stands.
pub fn abort(id: TaskId) {
    let task = with(|executor| executor.tasks.remove(id));
    drop(task);
}

impl Executor {
    fn note(&mut self, fact: u64) {
        self.trace = (self.trace ^ fact).wrapping_mul(0x0100_0000_01b3).rotate_left(5);
    }

    /// The next task to poll, taken out of its place; `None`: nothing can run.
    fn next(&mut self) -> Option<(TaskId, LifeId, (Job, Waker))> {
        loop {
            {
                let mut woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
                if woken.len() > 1 {
                    woken.sort_unstable();
                }
                self.ready.extend(woken.drain(..));
            }
            let waiting = self.ready.len().min(6) as u64;
            let place = if waiting > 1 && self.chance.percent(20) { self.chance.within(0..waiting) } else { 0 };
            let id = self.ready.remove(usize::try_from(place).unwrap_or(0))?;
            let Some(task) = self.tasks.get(id) else { continue };
            let life = &mut self.lives[task.life.0 as usize];
            if life.paused {
                life.stalled.push(id);
                continue;
            }
            let Some(job) = task.job.take() else { continue };
            task.queued.queued.store(false, Ordering::Relaxed);
            let life = task.life;
            self.current = life;
            self.polls += 1;
            self.note(id.number ^ self.now.rotate_left(20));
            return Some((id, life, job));
        }
    }

    /// Moves time to the next timer; false: there is none.
    fn advance(&mut self) -> bool {
        let Some((&(at, _), _)) = self.timers.first_key_value() else { return false };
        self.now = self.now.max(at);
        while let Some(entry) = self.timers.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            entry.remove().wake();
        }
        true
    }
}

/// Runs until `main`, a task of the simulation itself, has ended. `looked` is called after each poll with the life that
/// was polled; false ends the run.
///
/// # Panics
/// When nothing can ever happen again, or when no time passes.
pub fn run(main: impl Future<Output = ()> + Send + 'static, mut looked: impl FnMut(LifeId) -> bool) {
    let main = spawn_in(LifeId(0), main);
    let mut steps = 0;
    while inside(|executor| executor.tasks.get(main).is_some()) {
        let Some((id, life, (mut job, waker))) = inside(Executor::next) else {
            assert!(inside(Executor::advance), "the simulation waits for ever");
            steps = 0;
            continue;
        };
        steps += 1;
        assert!(steps < STEPS_MAX, "no time passes: some task wakes itself again and again");
        let polled = job.as_mut().poll(&mut Context::from_waker(&waker));
        let rest = inside(|executor| {
            executor.current = LifeId(0);
            match (polled, executor.tasks.get(id)) {
                (Poll::Pending, Some(task)) => {
                    task.job = Some((job, waker));
                    None
                }
                _ => Some((job, waker, executor.tasks.remove(id))),
            }
        });
        drop(rest);
        if !looked(life) {
            return;
        }
    }
}

/// A timer: true time at which it fires, and its number.
pub(super) type Timer = (Nanos, u64);

/// Sets a timer for when the clock of a life shows `deadline`, in the place of `old`.
pub(super) fn set_timer(life: LifeId, deadline: Nanos, old: Option<Timer>, waker: &Waker) -> Option<Timer> {
    with(|executor| {
        let clock = &executor.lives[life.0 as usize].clock;
        // While the machine is suspended nothing is polled; its timers are set anew when it goes on.
        let at = clock.true_time(deadline).max(executor.now + 1);
        if let Some(old) = old {
            let set = executor.timers.get(&old).is_some_and(|known| known.will_wake(waker));
            if set && old.0 == at {
                return old;
            }
            executor.timers.remove(&old);
        }
        let timer = (at, executor.next_timer);
        executor.next_timer += 1;
        executor.timers.insert(timer, waker.clone());
        timer
    })
}

/// Takes a timer away.
pub(super) fn drop_timer(timer: Timer) {
    with(|executor| executor.timers.remove(&timer));
}
