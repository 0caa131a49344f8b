//! Waiting in virtual time, by the clock of the process that waits.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::executor::{self, LifeId, Nanos, Timer};

/// Waits until the clock of its life shows a time.
#[derive(Debug)]
pub struct Sleep {
    life: LifeId,
    deadline: Nanos,
    timer: Option<Timer>,
}

impl Sleep {
    /// Until `deadline` by the clock of the current life.
    pub fn until(deadline: Nanos) -> Self {
        Self { life: executor::current(), deadline, timer: None }
    }

    /// For a time by the clock of the current life.
    pub fn new(time: Duration) -> Self {
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Self::until(executor::local_now().0.saturating_add(time))
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if executor::local_time_of(self.life).0 >= self.deadline {
            return Poll::Ready(());
        }
        self.timer = executor::set_timer(self.life, self.deadline, self.timer.take(), cx.waker());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            executor::drop_timer(timer);
        }
    }
}
