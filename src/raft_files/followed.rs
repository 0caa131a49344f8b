//! Something that is made of files, and made anew when they change.

use std::path::PathBuf;

use tokio::sync::watch;
use tracing::info;

use crate::files::{FileError, read};

/// What is made of the bytes of all files.
type Make<T> = Box<dyn Fn(&[Vec<u8>]) -> Result<T, FileError> + Send>;

/// The files, and what was made of them last.
pub(super) struct Followed<T> {
    /// Flag and path of each.
    files: Vec<(&'static str, PathBuf)>,
    make: Make<T>,
    bytes: Vec<Vec<u8>>,
    current: watch::Sender<T>,
    /// What is wrong with the files since they were usable last.
    complaint: watch::Sender<Option<String>>,
}

impl<T> Followed<T> {
    /// Reads them for the first time. Blocks on the disk.
    pub(super) fn read(
        files: Vec<(&'static str, PathBuf)>,
        make: impl Fn(&[Vec<u8>]) -> Result<T, FileError> + Send + 'static,
    ) -> Result<Self, FileError> {
        let bytes = read_all(&files)?;
        let current = watch::Sender::new(make(&bytes)?);
        Ok(Self { files, make: Box::new(make), bytes, current, complaint: watch::Sender::new(None) })
    }

    /// What they make, now and later.
    pub(super) fn current(&self) -> watch::Receiver<T> {
        self.current.subscribe()
    }

    /// What is wrong with them, now and later.
    pub(super) fn complaint(&self) -> watch::Receiver<Option<String>> {
        self.complaint.subscribe()
    }

    /// One look. Blocks on the disk.
    pub(super) fn look(&mut self) {
        let read = read_all(&self.files).and_then(|bytes| {
            let made = if bytes == self.bytes { None } else { Some((self.make)(&bytes)?) };
            Ok((bytes, made))
        });
        let complaint = match read {
            Ok((_, None)) => None,
            Ok((bytes, Some(made))) => {
                let flags = self.files.iter().map(|(flag, _)| *flag).collect::<Vec<_>>().join(", ");
                info!(files = flags, "raft files: they have changed and are used from now on");
                self.bytes = bytes;
                self.current.send_replace(made);
                None
            }
            Err(error) => Some(error.to_string()),
        };
        self.complaint.send_replace(complaint);
    }
}

fn read_all(files: &[(&'static str, PathBuf)]) -> Result<Vec<Vec<u8>>, FileError> {
    files.iter().map(|(flag, path)| read(flag, path)).collect()
}
