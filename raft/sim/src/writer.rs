//! The writer of the simulation, in the place of `raft/src/store/writer.rs`: the same interface and the real store, but a
//! task in simulated time instead of a thread, and a crash can fall anywhere.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::storage::IOFlushed;
use tokio::sync::{Notify, oneshot};

use super::{Disk, Write};
use crate::sim::device::{Device, Survives};
use crate::sim::executor;
use crate::sim::hooks;
use crate::types::TypeConfig;

pub(crate) enum Done {
    Raft(IOFlushed<TypeConfig>),
    Caller(oneshot::Sender<io::Result<()>>),
    Nobody,
}

#[derive(Clone)]
pub(crate) struct Writer(Arc<Inner>);

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Writer")
    }
}

struct Inner {
    state: Mutex<State>,
    work: Notify,
}

struct State {
    /// `None` once the process is dead.
    disk: Option<Disk>,
    queue: Vec<(Write, Done)>,
    /// What the disk is busy with.
    under_way: Vec<(Write, Done)>,
}

/// What becomes of the batch that the disk was busy with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Crash {
    /// It had not begun.
    Before,
    /// It was on the disk, and nobody has heard of it.
    After,
    /// It was cut off after so many changes of the file.
    Torn(u64, Survives),
}

impl Writer {
    /// Starts the task in the current life.
    pub(crate) fn start(disk: Disk) -> Self {
        let state = State { disk: Some(disk), queue: Vec::new(), under_way: Vec::new() };
        let writer = Self(Arc::new(Inner { state: Mutex::new(state), work: Notify::new() }));
        let task = writer.clone();
        executor::spawn_in(executor::current(), async move { task.run().await });
        writer
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[allow(clippy::unnecessary_wraps, reason = "as the real one")]
    pub(crate) fn submit(&self, write: Write, done: Done) -> io::Result<()> {
        self.state().queue.push((write, done));
        self.0.work.notify_one();
        Ok(())
    }

    pub(crate) async fn write(&self, write: Write) -> io::Result<()> {
        let (done, answer) = oneshot::channel();
        self.submit(write, Done::Caller(done))?;
        answer.await.unwrap_or_else(|_| Err(io::Error::other("the disk writer has ended")))
    }

    async fn run(&self) {
        let life = executor::current();
        loop {
            self.0.work.notified().await;
            loop {
                {
                    let mut state = self.state();
                    state.under_way = std::mem::take(&mut state.queue);
                    if state.under_way.is_empty() {
                        break;
                    }
                }
                crate::rt::sleep(hooks::fsync_time(life)).await;
                let (writes, done, result) = {
                    let mut state = self.state();
                    let (writes, done): (Vec<_>, Vec<_>) = std::mem::take(&mut state.under_way).into_iter().unzip();
                    let Some(disk) = state.disk.as_mut() else { return };
                    let result = disk.commit(&writes);
                    (writes, done, result)
                };
                hooks::committed(life, &writes);
                answer(done, &result);
            }
        }
    }

    /// The process is killed: the disk is left as `crash` says, and never touched again.
    pub(crate) fn crash(&self, device: &Device, crash: Crash) -> Vec<Write> {
        let mut state = self.state();
        let (writes, _done): (Vec<_>, Vec<_>) = std::mem::take(&mut state.under_way).into_iter().unzip();
        let disk = state.disk.take();
        state.queue.clear();
        let mut stored = Vec::new();
        let mut survives = Survives::Written;
        if let (Some(mut disk), false) = (disk, writes.is_empty()) {
            match crash {
                Crash::Before => {}
                Crash::After => {
                    if disk.commit(&writes).is_ok() {
                        stored = writes;
                    }
                }
                Crash::Torn(changes, survivors) => {
                    device.fail_after(changes);
                    if disk.commit(&writes).is_ok() {
                        stored = writes;
                    }
                    survives = survivors;
                }
            }
            device.crash(survives);
            drop(disk);
        } else {
            device.crash(survives);
        }
        stored
    }
}

fn answer(done: Vec<Done>, result: &io::Result<()>) {
    for done in done {
        let result = result.as_ref().copied().map_err(|error| io::Error::new(error.kind(), error.to_string()));
        match done {
            Done::Raft(callback) => callback.io_completed(result),
            Done::Caller(answer) => {
                let _ = answer.send(result);
            }
            Done::Nobody => {}
        }
    }
}
