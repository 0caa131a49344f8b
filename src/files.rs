//! Files that flags name: read within a bound, looked at again and again, and what is wrong with them in words that name the
//! flag. Certificates, keys and secrets come in this way; no message ever holds what is in a file.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

/// Largest file, in bytes: the CAs of a whole distribution have a quarter of it.
const BYTES_MAX: u64 = 1 << 20;
/// Time between two looks at the files. A look reads a few KiB.
pub(crate) const PERIOD: Duration = Duration::from_secs(1);

/// Why a file cannot be used. The message never holds what is in it.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system refuses.
    #[error("{flag} {}: cannot be read: {source}; is it mounted into the sidecar, and may its user read it?", path.display())]
    Io {
        /// The flag that names the file.
        flag: &'static str,
        /// Its path.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// It holds something else.
    #[error("{flag} {}: the file {rule}", path.display())]
    Content {
        /// The flag that names the file.
        flag: &'static str,
        /// Its path.
        path: PathBuf,
        /// Completes the sentence.
        rule: String,
    },
}

impl FileError {
    /// What is in a file breaks `rule`, which completes the sentence "the file …".
    pub(crate) fn content(flag: &'static str, path: &Path, rule: &dyn Display) -> Self {
        Self::Content { flag, path: path.to_owned(), rule: rule.to_string() }
    }
}

/// The bytes of a file. Blocks on the disk.
pub(crate) fn read(flag: &'static str, path: &Path) -> Result<Vec<u8>, FileError> {
    let failed = |source| FileError::Io { flag, path: path.to_owned(), source };
    // Asked by path first: opening a pipe would wait for its writer.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(FileError::content(flag, path, &"is not a regular one"));
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(FileError::content(flag, path, &format!("has more than {BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

type Make<M, T> = Box<dyn Fn(&M) -> Result<T, FileError> + Send>;

/// What is made of files, and made anew when they change. All of them are read and compared as a whole, so that a swapped link, a
/// renamed file and one that is written in place are all seen, and a certificate never goes with the key of another one.
pub(crate) struct Followed<M, T> {
    read: Box<dyn Fn() -> Result<M, FileError> + Send>,
    make: Make<M, T>,
    /// What the files held when they were usable last.
    material: M,
    current: watch::Sender<T>,
    complaint: watch::Sender<Option<String>>,
}

/// What one look at files has shown.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen<M> {
    /// They are as they were, and usable.
    Same,
    /// Others are in use from now on. What they held before.
    Changed(M),
    /// The last good ones stay in use, for this reason.
    Unusable(String),
    /// Still, for the same reason.
    StillUnusable,
}

impl<M: PartialEq, T> Followed<M, T> {
    /// Reads the files for the first time. Blocks on the disk.
    pub(crate) fn new(
        read: impl Fn() -> Result<M, FileError> + Send + 'static,
        make: impl Fn(&M) -> Result<T, FileError> + Send + 'static,
    ) -> Result<Self, FileError> {
        let material = read()?;
        let current = watch::Sender::new(make(&material)?);
        let (read, make) = (Box::new(read), Box::new(make));
        Ok(Self { read, make, material, current, complaint: watch::Sender::new(None) })
    }

    /// What they make, now and later.
    pub(crate) fn current(&self) -> watch::Receiver<T> {
        self.current.subscribe()
    }

    /// What is wrong with them since they were usable last, now and later.
    pub(crate) fn complaint(&self) -> watch::Receiver<Option<String>> {
        self.complaint.subscribe()
    }

    /// What they held when they were usable last.
    pub(crate) fn material(&self) -> &M {
        &self.material
    }

    /// One look. Blocks on the disk.
    pub(crate) fn look(&mut self) -> Seen<M> {
        let made = (self.read)().and_then(|material| {
            let changed = material != self.material;
            changed.then(|| Ok(((self.make)(&material)?, material))).transpose()
        });
        match made {
            Ok(changed) => {
                self.complaint.send_replace(None);
                changed.map_or(Seen::Same, |(made, material)| {
                    self.current.send_replace(made);
                    Seen::Changed(std::mem::replace(&mut self.material, material))
                })
            }
            Err(error) => {
                let complaint = error.to_string();
                let before = self.complaint.send_replace(Some(complaint.clone()));
                if before.as_ref() == Some(&complaint) { Seen::StillUnusable } else { Seen::Unusable(complaint) }
            }
        }
    }
}

/// Something that looks at files.
pub(crate) trait Look: Send + 'static {
    /// One look. Blocks on the disk.
    fn look(&mut self);
}

/// Looks again and again.
pub(crate) async fn follow(mut files: impl Look) {
    loop {
        sleep(PERIOD).await;
        let look = move || {
            files.look();
            files
        };
        match tokio::task::spawn_blocking(look).await {
            Ok(looked) => files = looked,
            // The runtime is shutting down.
            Err(_) => return,
        }
    }
}
