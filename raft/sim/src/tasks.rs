//! The tasks of a run: each in a slot, with a waker that says which one is to be polled.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

use super::executor::LifeId;

/// A task, in the order of their starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    pub(super) number: u64,
    slot: usize,
}

pub(super) type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

pub(super) struct Task {
    id: TaskId,
    pub(super) life: LifeId,
    /// `None` while it is being polled.
    pub(super) job: Option<(Job, Waker)>,
    pub(super) queued: Arc<TaskWaker>,
}

/// The tasks, each in a slot that is used again after its end.
#[derive(Default)]
pub(super) struct Tasks {
    slots: Vec<Option<Task>>,
    free: Vec<usize>,
    started: u64,
}

impl Tasks {
    pub(super) fn start(&mut self, life: LifeId, job: Job, woken: &Woken) -> TaskId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        let id = self.next_id(slot);
        let queued = Arc::new(TaskWaker { id, queued: AtomicBool::new(true), woken: woken.clone() });
        let waker = Waker::from(queued.clone());
        self.slots[slot] = Some(Task { id, life, job: Some((job, waker)), queued });
        id
    }

    pub(super) fn next_id(&mut self, slot: usize) -> TaskId {
        let number = self.started;
        self.started += 1;
        TaskId { number, slot }
    }

    pub(super) fn get(&mut self, id: TaskId) -> Option<&mut Task> {
        self.slots.get_mut(id.slot)?.as_mut().filter(|task| task.id == id)
    }

    pub(super) fn remove(&mut self, id: TaskId) -> Option<Task> {
        self.get(id)?;
        self.free.push(id.slot);
        self.slots[id.slot].take()
    }

    /// Takes the tasks of a life out, in the order of their starts.
    pub(super) fn remove_life(&mut self, life: LifeId) -> Vec<Task> {
        let mut ids: Vec<TaskId> =
            self.slots.iter().flatten().filter(|task| task.life == life).map(|task| task.id).collect();
        ids.sort_unstable();
        ids.into_iter().filter_map(|id| self.remove(id)).collect()
    }
}

/// Tasks woken since the last poll, in no order: tokio's channels wake their waiters in an order of chance.
pub(super) type Woken = Arc<Mutex<Vec<TaskId>>>;

pub(super) struct TaskWaker {
    id: TaskId,
    pub(super) queued: AtomicBool,
    woken: Woken,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.woken.lock().unwrap_or_else(PoisonError::into_inner).push(self.id);
        }
    }
}
