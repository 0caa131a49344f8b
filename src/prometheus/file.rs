//! Atomic replacement of a file that another process reads.
//!
//! The new content goes to a temporary file in the same directory (mode set explicitly, whatever the umask), is
//! fsynced, renamed over the old one, and the directory is fsynced: a reader or a crash finds the old content or the
//! new, never a part. Nothing is written when content and mode are right already. What a crash left behind is removed
//! by `remove_leftovers`; every error leaves the old file as it was.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// Why a file could not be replaced.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The path has no file name.
    #[error("{} is no path of a file", path.display())]
    NoFileName {
        /// The path.
        path: PathBuf,
    },
    /// Its directory is missing.
    #[error("the directory of {} does not exist: mount the volume that Prometheus reads its configuration from there", path.display())]
    NoDirectory {
        /// The path of the file.
        path: PathBuf,
    },
    /// A mount point cannot be renamed over.
    #[error("cannot replace {}: it is a mount point of its own; mount its directory instead of the file", path.display())]
    MountPoint {
        /// The path.
        path: PathBuf,
    },
    /// Anything else.
    #[error("cannot {step} for {}: {source}", path.display())]
    Io {
        /// What was being done.
        step: &'static str,
        /// The path of the file to be replaced.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
}

/// What `replace_if` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// Content and mode were right already.
    Unchanged,
    /// The file is new.
    Written,
    /// The permit was refused; the file is as it was.
    Withheld,
}

/// Replaces `path` with `bytes` and `mode` (e.g. 0o640). Blocks on the disk.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<Replaced, FileError> {
    replace_if(path, bytes, mode, || true)
}

/// As [`replace`]; `permit` is asked once, when everything is on disk but the rename, because fsync can stall for
/// longer than a lease lasts.
pub(crate) fn replace_if(
    path: &Path,
    bytes: &[u8],
    mode: u32,
    permit: impl FnOnce() -> bool,
) -> Result<Replaced, FileError> {
    if is_same(path, bytes, mode) {
        return Ok(Replaced::Unchanged);
    }
    let failed = |step| move |source| FileError::Io { step, path: path.to_owned(), source };
    let directory = directory(path);
    let mut file = tempfile::Builder::new().prefix(&temporary_prefix(path)?).tempfile_in(directory).map_err(|e| {
        if directory.is_dir() {
            failed("create a temporary file beside it")(e)
        } else {
            FileError::NoDirectory { path: path.to_owned() }
        }
    })?;
    file.write_all(bytes).map_err(failed("write the new content"))?;
    file.as_file().set_permissions(Permissions::from_mode(mode)).map_err(failed("set the mode"))?;
    file.as_file().sync_all().map_err(failed("fsync the new content"))?;
    if !permit() {
        return Ok(Replaced::Withheld);
    }
    persist(file, path)?;
    File::open(directory).and_then(|dir| dir.sync_all()).map_err(failed("fsync the directory"))?;
    Ok(Replaced::Written)
}

fn persist(file: NamedTempFile, path: &Path) -> Result<(), FileError> {
    file.persist(path).map(drop).map_err(|failed| match failed.error.kind() {
        io::ErrorKind::ResourceBusy => FileError::MountPoint { path: path.to_owned() },
        _ => FileError::Io { step: "rename the new content over the old", path: path.to_owned(), source: failed.error },
    })
}

/// Removes temporary files that a crash in the middle of a replacement left beside `path`.
pub(crate) fn remove_leftovers(path: &Path) -> Result<(), FileError> {
    let prefix = temporary_prefix(path)?;
    let failed = |step| move |source| FileError::Io { step, path: path.to_owned(), source };
    let entries = match fs::read_dir(directory(path)) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(FileError::NoDirectory { path: path.to_owned() }),
        Err(e) => return Err(failed("list the directory")(e)),
    };
    for entry in entries {
        let entry = entry.map_err(failed("list the directory"))?;
        if entry.file_name().as_encoded_bytes().starts_with(prefix.as_encoded_bytes()) {
            fs::remove_file(entry.path()).map_err(failed("remove a left-over temporary file"))?;
        }
    }
    Ok(())
}

/// The path of a hidden file beside `path`: `.<name>.<suffix>`.
pub(crate) fn beside(path: &Path, suffix: &str) -> Result<PathBuf, FileError> {
    let name = path.file_name().ok_or_else(|| FileError::NoFileName { path: path.to_owned() })?;
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(".");
    hidden.push(suffix);
    Ok(path.with_file_name(hidden))
}

fn temporary_prefix(path: &Path) -> Result<OsString, FileError> {
    Ok(beside(path, "tmp-")?.file_name().map(OsString::from).unwrap_or_default())
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether the file holds `bytes` with `mode`. What cannot be read is not the same: it is then written anew.
fn is_same(path: &Path, bytes: &[u8], mode: u32) -> bool {
    let Ok(metadata) = fs::symlink_metadata(path) else { return false };
    metadata.is_file()
        && metadata.permissions().mode() & 0o7777 == mode
        && metadata.len() == bytes.len() as u64
        && fs::read(path).is_ok_and(|old| old == bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(directory).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn content_and_mode_are_replaced_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("prometheus.yml");
        fs::write(&path, "old and longer").unwrap();
        // 0o666 is not what any usual umask would leave.
        assert_eq!(replace(&path, b"new", 0o666).unwrap(), Replaced::Written);
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o666);
        assert_eq!(names(dir.path()), ["prometheus.yml"]);
    }

    #[test]
    fn equal_bytes_and_mode_are_not_written_again_but_a_wrong_mode_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("prometheus.yml");
        replace(&path, b"same", 0o640).unwrap();
        let inode = fs::metadata(&path).unwrap().ino();
        assert_eq!(replace(&path, b"same", 0o640).unwrap(), Replaced::Unchanged);
        assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
        assert_eq!(replace(&path, b"same", 0o644).unwrap(), Replaced::Written);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o644);
    }

    #[test]
    fn a_refused_permit_is_asked_last_and_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("prometheus.yml");
        fs::write(&path, "follower").unwrap();
        let asked = replace_if(&path, b"leader", 0o640, || {
            assert_eq!(names(dir.path()).len(), 2, "the new content must be on disk before the permit is asked");
            false
        });
        assert_eq!(asked.unwrap(), Replaced::Withheld);
        assert_eq!(fs::read(&path).unwrap(), b"follower");
        assert_eq!(names(dir.path()), ["prometheus.yml"]);
    }

    #[test]
    fn a_missing_directory_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("missing/prometheus.yml");
        assert!(matches!(replace(&path, b"x", 0o640), Err(FileError::NoDirectory { .. })));
        assert!(matches!(remove_leftovers(&path), Err(FileError::NoDirectory { .. })));
    }

    #[test]
    fn a_directory_in_the_place_of_the_file_is_an_error_and_leaves_no_temporary_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("prometheus.yml");
        fs::create_dir(&path).unwrap();
        let error = replace(&path, b"x", 0o640).unwrap_err().to_string();
        assert!(error.contains("cannot rename the new content over the old"), "{error}");
        assert_eq!(names(dir.path()), ["prometheus.yml"]);
    }

    #[test]
    fn leftovers_of_this_file_alone_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("prometheus.yml");
        for name in [".prometheus.yml.tmp-abc123", ".other.yml.tmp-abc123", ".prometheus.yml.follower", "rules.yml"] {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        remove_leftovers(&path).unwrap();
        assert_eq!(names(dir.path()), [".other.yml.tmp-abc123", ".prometheus.yml.follower", "rules.yml"]);
    }
}
