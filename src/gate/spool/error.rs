//! What can go wrong with a spool, in words for the operator.

use std::io;
use std::path::PathBuf;

/// Why a spool cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The spool holds as much as it may: the sender keeps the rest and tries again.
    #[error(
        "the spool is full ({bytes} of {bytes_max} bytes): the writer's remote has not accepted anything for long, or \
         gate-spool-size is too small"
    )]
    Full {
        /// Bytes on disk.
        bytes: u64,
        /// The bound.
        bytes_max: u64,
    },
    /// A batch that does not fit into an empty spool either.
    #[error("a batch of {bytes} bytes is larger than the whole spool ({bytes_max} bytes): raise gate-spool-size")]
    TooLarge {
        /// Bytes of the record.
        bytes: u64,
        /// The bound.
        bytes_max: u64,
    },
    /// A header that no remote-write sender sets.
    #[error("the header `{name}` has {length} bytes, more than the {max} that a spooled batch keeps")]
    Header {
        /// Its name.
        name: &'static str,
        /// Its length.
        length: usize,
        /// The bound.
        max: usize,
    },
    /// The file system refuses; a full disk is one of the reasons. What was stored before is untouched.
    #[error("cannot {action} {}: {source}; is the disk of gate-spool-dir full or read-only?", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl SpoolError {
    /// For `map_err`.
    pub(super) fn io(action: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}
