//! The database file on its file system.
//!
//! ```text
//! absent --> group.redb.new (locked; identity committed) --rename--> group.redb --fsync of the directory--> in use
//! ```
//!
//! Until the rename nobody has been told anything that is in the file, so a start that was killed is simply made anew
//! by the next one. After it the file has been whole at least once: an empty or half-made `group.redb` is damage, never
//! mistaken for a first start. The directory is fsynced before anything is acknowledged, because a file whose name is
//! not on the disk goes with the power. redb locks the file, under either name, until it is closed.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use redb::StorageBackend;
use redb::backends::FileBackend;

use super::{Disk, Loaded, StoreError};

/// What a file is called until it holds an identity.
fn unfinished(file: &Path) -> PathBuf {
    file.with_added_extension("new")
}

/// Opens or makes the file, and makes its name durable.
pub(super) fn open(file: &Path) -> Result<(Disk, Loaded), StoreError> {
    let opened = open_through(file, |backend| backend)?;
    sync_directory_of(file).map_err(|source| unusable(file, source))?;
    Ok(opened)
}

/// As [`open`], with something between redb and the file, and without the fsync of the directory.
pub(super) fn open_through<B: StorageBackend>(
    file: &Path,
    wrap: impl FnOnce(FileBackend) -> B,
) -> Result<(Disk, Loaded), StoreError> {
    match OpenOptions::new().read(true).write(true).open(file) {
        Ok(handle) => open_existing(handle, file, wrap),
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(file, wrap),
        Err(error) => Err(unusable(file, error)),
    }
}

fn open_existing<B: StorageBackend>(
    handle: File,
    file: &Path,
    wrap: impl FnOnce(FileBackend) -> B,
) -> Result<(Disk, Loaded), StoreError> {
    if handle.metadata().map_err(|source| unusable(file, source))?.len() == 0 {
        return Err(StoreError::Corrupt { file: file.to_path_buf(), cause: "it is empty".into() });
    }
    Disk::open_on(wrap(backend(handle, file)?), file)
}

fn make<B: StorageBackend>(file: &Path, wrap: impl FnOnce(FileBackend) -> B) -> Result<(Disk, Loaded), StoreError> {
    let failed = |source| unusable(file, source);
    let name = unfinished(file);
    let handle = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&name).map_err(failed)?;
    match handle.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(StoreError::Locked { file: file.to_path_buf() }),
        // As redb does: where the file system has no locks, nothing can be refused.
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    // Only who holds the lock renames, so from here on the answer stays true. If another start was faster, the handle may
    // be of the very file that it has renamed, and its lock in our own way.
    if let Ok(existing) = OpenOptions::new().read(true).write(true).open(file) {
        drop(handle);
        return open_existing(existing, file, wrap);
    }
    handle.set_len(0).map_err(failed)?;
    let opened = Disk::open_on(wrap(backend(handle, file)?), file)?;
    std::fs::rename(&name, file).map_err(failed)?;
    Ok(opened)
}

fn backend(handle: File, file: &Path) -> Result<FileBackend, StoreError> {
    FileBackend::new(handle).map_err(|error| unusable(file, io::Error::other(error)))
}

fn unusable(file: &Path, source: io::Error) -> StoreError {
    StoreError::Directory { dir: file.parent().map(PathBuf::from).unwrap_or_default(), source }
}

/// Makes the file's name durable, and its directory's.
fn sync_directory_of(file: &Path) -> io::Result<()> {
    let mut above = file.ancestors().skip(1).filter(|dir| !dir.as_os_str().is_empty());
    match above.next() {
        Some(dir) => File::open(dir)?.sync_all()?,
        None => File::open(".")?.sync_all()?,
    }
    if let Some(parent) = above.next() {
        // It need not be ours, nor readable; it matters only when this start has made the directory.
        let _ = File::open(parent).and_then(|parent| parent.sync_all());
    }
    Ok(())
}
