//! The runtime of the simulation, in the place of `raft/src/rt.rs`: the same functions, on the executor.

use std::fmt;
use std::future::Future;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use openraft::{AsyncRuntime, OptionalSend};
use tokio::sync::{mpsc, oneshot};

use crate::sim::chance::Chance;
use crate::sim::executor::{self, Nanos};
use crate::sim::sleep::Sleep;
use crate::sim::tasks::TaskId;

type Tokio = openraft::impls::TokioRuntime;

fn base() -> Instant {
    static BASE: OnceLock<Instant> = OnceLock::new();
    *BASE.get_or_init(Instant::now)
}

fn instant(local: Nanos) -> Instant {
    base() + Duration::from_nanos(local)
}

fn nanos(at: Instant) -> Nanos {
    u64::try_from(at.saturating_duration_since(base()).as_nanos()).unwrap_or(u64::MAX)
}

/// True time at which the clock of a life shows `at`.
pub(crate) fn true_time_of(life: executor::LifeId, at: Instant) -> Nanos {
    executor::true_time_of(life, nanos(at))
}

/// What the clock of a life shows.
pub(crate) fn now_of(life: executor::LifeId) -> crate::Now {
    let (local, suspended) = executor::local_time_of(life);
    crate::Now { instant: instant(local), suspended: Duration::from_nanos(suspended) }
}

pub(crate) fn now() -> Instant {
    instant(executor::local_now().0)
}

pub(crate) fn suspended() -> Duration {
    Duration::from_nanos(executor::local_now().1)
}

pub(crate) fn unix_ms() -> u64 {
    1_800_000_000_000 + executor::now() / 1_000_000
}

pub(crate) fn random() -> u64 {
    executor::random()
}

pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    executor::spawn_in(executor::current(), task);
}

pub(crate) async fn sleep(time: Duration) {
    Sleep::new(time).await;
}

#[derive(Clone, Copy, Debug)]
/// The time is up.
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time is up")
    }
}

pub(crate) async fn timeout<F: Future>(time: Duration, future: F) -> Result<F::Output, Elapsed> {
    Timeout { future: Box::pin(future), sleep: Sleep::new(time) }.await
}

pub(crate) struct Interval {
    due: Instant,
    period: Duration,
}

pub(crate) fn interval(period: Duration) -> Interval {
    Interval { due: now(), period }
}

impl Interval {
    pub(crate) async fn tick(&mut self) -> Instant {
        Sleep::until(nanos(self.due)).await;
        let ticked = now();
        self.due = ticked + self.period;
        ticked
    }
}

/// As tokio's `JoinSet`.
#[derive(Debug)]
pub(crate) struct Tasks<T> {
    running: Vec<TaskId>,
    left: usize,
    results: (mpsc::UnboundedSender<T>, mpsc::UnboundedReceiver<T>),
}

impl<T: Send + 'static> Tasks<T> {
    pub(crate) fn new() -> Self {
        Self { running: Vec::new(), left: 0, results: mpsc::unbounded_channel() }
    }

    pub(crate) fn spawn(&mut self, task: impl Future<Output = T> + Send + 'static) {
        let results = self.results.0.clone();
        let id = executor::spawn_in(executor::current(), async move {
            let _ = results.send(task.await);
        });
        if self.left == 0 {
            self.running.clear();
        }
        self.left += 1;
        self.running.push(id);
    }

    pub(crate) async fn join_next(&mut self) -> Option<Result<T, Elapsed>> {
        if self.left == 0 {
            return None;
        }
        let result = self.results.1.recv().await;
        self.left -= 1;
        result.map(Ok)
    }
}

impl<T> Drop for Tasks<T> {
    fn drop(&mut self) {
        for id in self.running.drain(..) {
            executor::abort(id);
        }
    }
}

/// A moment of a process's own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LocalInstant(Nanos);

fn length(time: Duration) -> Nanos {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Add<Duration> for LocalInstant {
    type Output = Self;
    fn add(self, time: Duration) -> Self {
        Self(self.0.saturating_add(length(time)))
    }
}

impl AddAssign<Duration> for LocalInstant {
    fn add_assign(&mut self, time: Duration) {
        *self = *self + time;
    }
}

impl Sub<Duration> for LocalInstant {
    type Output = Self;
    fn sub(self, time: Duration) -> Self {
        Self(self.0.saturating_sub(length(time)))
    }
}

impl SubAssign<Duration> for LocalInstant {
    fn sub_assign(&mut self, time: Duration) {
        *self = *self - time;
    }
}

impl Sub for LocalInstant {
    type Output = Duration;
    fn sub(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl openraft::Instant for LocalInstant {
    fn now() -> Self {
        Self(executor::local_now().0)
    }
}

pub(crate) fn to_std(at: LocalInstant) -> Instant {
    instant(at.0)
}

/// openraft's runtime.
#[derive(Debug)]
pub struct Runtime;

/// The task was dropped.
#[derive(Debug)]
pub struct Gone;

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task was dropped")
    }
}

/// Waits for a task.
#[derive(Debug)]
pub struct JoinHandle<T>(oneshot::Receiver<T>);

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, Gone>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map_err(|_| Gone)
    }
}

/// A future with a deadline.
#[derive(Debug)]
pub struct Timeout<F> {
    future: Pin<Box<F>>,
    sleep: Sleep,
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(output) = self.future.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        Pin::new(&mut self.sleep).poll(cx).map(|()| Err(Elapsed))
    }
}

/// Draws from the run's own stream.
#[derive(Debug)]
pub struct Dice;

impl rand::TryRng for Dice {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok((random() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(random())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        Chance::new(random(), 0).try_fill_bytes(bytes)
    }
}

impl AsyncRuntime for Runtime {
    type JoinError = Gone;
    type JoinHandle<T: OptionalSend + 'static> = JoinHandle<T>;
    type Sleep = Sleep;
    type Instant = LocalInstant;
    type TimeoutError = Elapsed;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = Timeout<T>;
    type ThreadLocalRng = Dice;
    type Mpsc = <Tokio as AsyncRuntime>::Mpsc;
    type Watch = <Tokio as AsyncRuntime>::Watch;
    type Oneshot = <Tokio as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <Tokio as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        let (done, result) = oneshot::channel();
        executor::spawn_in(executor::current(), async move {
            let _ = done.send(future.await);
        });
        JoinHandle(result)
    }

    fn sleep(time: Duration) -> Sleep {
        Sleep::new(time)
    }

    fn sleep_until(deadline: LocalInstant) -> Sleep {
        Sleep::until(deadline.0)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(time: Duration, future: F) -> Timeout<F> {
        Timeout { future: Box::pin(future), sleep: Sleep::new(time) }
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(deadline: LocalInstant, future: F) -> Timeout<F> {
        Timeout { future: Box::pin(future), sleep: Sleep::until(deadline.0) }
    }

    fn is_panic(_: &Gone) -> bool {
        false
    }

    fn thread_rng() -> Dice {
        Dice
    }

    fn new(_: usize) -> Self {
        Self
    }

    fn block_on<F, T>(&mut self, _: F) -> T
    where
        F: Future<Output = T>,
    {
        panic!("the simulation has an executor of its own; openraft never asks for this")
    }
}
