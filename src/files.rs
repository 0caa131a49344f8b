//! Files that flags name: read within a bound, looked at again and again, and what is wrong with them in words that name the
//! flag. Certificates, keys and secrets come in this way; no message ever holds what is in a file.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

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
