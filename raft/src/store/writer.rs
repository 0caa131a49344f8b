//! The one thread that writes to the disk: it takes everything that waits, commits it together, then answers each.

use std::io;
use std::sync::mpsc;

use openraft::storage::IOFlushed;
use tokio::sync::oneshot;

use super::{Disk, Write};
use crate::types::TypeConfig;

/// Whom to tell when a write is on the disk.
pub(crate) enum Done {
    /// openraft, of an append.
    Raft(IOFlushed<TypeConfig>),
    /// A caller that waits.
    Caller(oneshot::Sender<io::Result<()>>),
    /// Nobody.
    Nobody,
}

/// Handle of the writer thread; it ends when the last handle is dropped, after all writes.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    jobs: mpsc::Sender<(Write, Done)>,
}

impl Writer {
    /// Starts the thread. `closed` is answered when the disk has been closed.
    pub(crate) fn start(disk: Disk) -> io::Result<(Self, oneshot::Receiver<()>)> {
        let (jobs, queue) = mpsc::channel();
        let (closed_tx, closed) = oneshot::channel();
        std::thread::Builder::new().name("group-disk".into()).spawn(move || {
            run(disk, &queue);
            let _ = closed_tx.send(());
        })?;
        Ok((Self { jobs }, closed))
    }

    /// Queues a write.
    pub(crate) fn submit(&self, write: Write, done: Done) -> io::Result<()> {
        self.jobs.send((write, done)).map_err(|_| io::Error::other("the disk writer has ended"))
    }

    /// Queues a write and waits until it is on the disk.
    pub(crate) async fn write(&self, write: Write) -> io::Result<()> {
        let (done, answer) = oneshot::channel();
        self.submit(write, Done::Caller(done))?;
        answer.await.unwrap_or_else(|_| Err(io::Error::other("the disk writer has ended")))
    }
}

fn run(mut disk: Disk, queue: &mpsc::Receiver<(Write, Done)>) {
    while let Ok(first) = queue.recv() {
        let (writes, done): (Vec<_>, Vec<_>) = std::iter::once(first).chain(queue.try_iter()).unzip();
        let result = disk.commit(&writes);
        if let Err(error) = &result {
            tracing::error!(%error, "the group's state cannot be written; is the disk of raft-data-dir full or read-only?");
        }
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
}
