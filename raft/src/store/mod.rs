//! Durable state of one member: a redb file in its data directory, written by one thread.
//!
//! ```text
//! openraft -> LogStore (log cached in memory) --Write + callback--> writer thread -> redb commit (fsync) -> callback
//! ```
//!
//! Appends return at once and complete from the writer thread: a stalled fsync delays acknowledgements, but not
//! heartbeats (DESIGN.md, group rule 13). The writer commits everything that waits in one transaction. The file is locked
//! by redb for as long as it is open, and checked as a whole when it is opened: a corrupt file is an error that names the
//! remedy, never a silent wipe. `crash_tests` and `damage_tests` show it (docs/decisions/group-store.md).

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod damage_tests;
mod disk;
mod file;
mod identity;
mod log;
mod machine;
#[cfg(test)]
mod recording;
#[cfg(test)]
mod tests;
#[cfg_attr(feature = "simulation", path = "../../sim/src/writer.rs")]
mod writer;

use std::path::{Path, PathBuf};

pub(crate) use disk::{Disk, Loaded, Write};
pub use identity::{ClusterId, Identity, Standing};
pub(crate) use log::LogStore;
pub(crate) use machine::StateMachine;
#[cfg(feature = "simulation")]
pub(crate) use writer::Crash;
pub(crate) use writer::Writer;

/// Name of the database file in the data directory.
const FILE: &str = "group.redb";

/// Why the durable state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory cannot be made or entered.
    #[error("raft-data-dir {}: {source}; the directory must exist or be creatable, and be writable by this process", dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// Another process has the file open.
    #[error("{} is in use by another process; two members must not share a raft-data-dir", file.display())]
    Locked {
        /// The file.
        file: PathBuf,
    },
    /// The content is not what this program wrote.
    #[error(
        "{} is damaged ({cause}); remedy: stop this member and delete the file: it then joins again as a new member, which is safe while a majority of the group is healthy",
        file.display()
    )]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// What was found.
        cause: String,
    },
}

/// Opens or makes the durable state in `dir`.
pub(crate) fn open(dir: &Path) -> Result<(Disk, Loaded), StoreError> {
    std::fs::create_dir_all(dir).map_err(|source| StoreError::Directory { dir: dir.to_path_buf(), source })?;
    file::open(&dir.join(FILE))
}
