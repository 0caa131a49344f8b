//! A simulated disk under the real store: redb writes to it as to a file.
//!
//! What was written since the last sync can be lost or torn by a crash. A handle of a process that has been killed can do
//! nothing any more: not even close the file in good order.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

/// The disk of one machine.
#[derive(Debug, Default)]
pub struct Device(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    data: Vec<u8>,
    /// What the writes since the last sync replaced: offset, old bytes, old length of the whole.
    undo: Vec<(usize, Vec<u8>, usize)>,
    /// Which handle may use it.
    session: u64,
    /// The handle fails from its so-manieth change on: the machine dies in the middle of a commit.
    changes_left: Option<u64>,
}

/// How much of what was not synced survives a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survives {
    /// All that was written: the process was killed, the machine lives.
    Written,
    /// The first so many of the unsynced writes: the machine lost power.
    First(u64),
}

impl Device {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A handle for the next process; those before it are dead.
    pub fn open(self: &Arc<Self>) -> Session {
        let mut state = self.state();
        state.session += 1;
        state.changes_left = None;
        Session { device: self.clone(), id: state.session }
    }

    /// The handle in use fails after this many changes.
    pub fn fail_after(&self, changes: u64) {
        self.state().changes_left = Some(changes);
    }

    /// The process, or the machine with it, is gone.
    pub fn crash(&self, survives: Survives) {
        let mut state = self.state();
        state.session += 1;
        if let Survives::First(kept) = survives {
            while state.undo.len() as u64 > kept {
                let Some((offset, old, length)) = state.undo.pop() else { break };
                let end = offset + old.len();
                if end <= state.data.len() {
                    state.data[offset..end].copy_from_slice(&old);
                }
                state.data.resize(length, 0);
            }
        }
        state.undo.clear();
    }
}

/// The handle of one process.
#[derive(Debug)]
pub struct Session {
    device: Arc<Device>,
    id: u64,
}

type BackendResult<T> = Result<T, io::Error>;

impl Session {
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.device.state();
        if state.session == self.id { Ok(state) } else { Err(io::Error::other("the process is dead")) }
    }

    /// For a change: counts it; the second is how much of it is done.
    fn change(&self) -> io::Result<(MutexGuard<'_, State>, bool)> {
        let mut state = self.state()?;
        match state.changes_left {
            Some(0) => Err(io::Error::other("the machine died")),
            Some(left) => {
                state.changes_left = Some(left - 1);
                Ok((state, left > 1))
            }
            None => Ok((state, true)),
        }
    }
}

impl StorageBackend for Session {
    fn len(&self) -> BackendResult<u64> {
        Ok(self.state()?.data.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> BackendResult<()> {
        let state = self.state()?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = state.data.get(start..start.saturating_add(out.len()));
        out.copy_from_slice(bytes.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> BackendResult<()> {
        let (mut state, _) = self.change()?;
        let (old, new) = (state.data.len(), usize::try_from(length).unwrap_or(usize::MAX));
        let tail = if new < old { state.data.split_off(new) } else { Vec::new() };
        state.data.resize(new, 0);
        if tail.is_empty() {
            state.undo.push((old, Vec::new(), old));
        } else {
            // Shrinking is not undone: redb syncs around it.
            state.undo.clear();
        }
        Ok(())
    }

    fn sync_data(&self) -> BackendResult<()> {
        let (mut state, _) = self.change()?;
        state.undo.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> BackendResult<()> {
        let (mut state, whole) = self.change()?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        // The last write before the machine dies is torn.
        let data = if whole { data } else { &data[..data.len() / 2] };
        let end = start.saturating_add(data.len());
        let length = state.data.len();
        if end > length {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        let old = state.data[start..end].to_vec();
        state.undo.push((start, old, length));
        state.data[start..end].copy_from_slice(data);
        Ok(())
    }
}
