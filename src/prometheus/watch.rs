//! Watches the source file and tells when its content, or the reason why it cannot be read, has changed.
//!
//! The file's DIRECTORY is watched, because a file is rarely changed in place: editors rename a new one over it, and
//! the kubelet swaps the directory's `..data` link. Events only say "look again": after a moment of quiet the file is
//! read and compared, so the output written into the same directory, or our own reading, cannot make a loop. A
//! periodic look covers what the watcher cannot: no watcher at all (inotify limits), a directory that was replaced, a
//! link to a file elsewhere.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

/// Quiet time after an event before the file is read: a write in several steps is over by then.
const DEBOUNCE: Duration = Duration::from_millis(200);

/// Longest wait for quiet: a directory that never rests (logs written into it) must not hide a change.
const DEBOUNCE_MAX: Duration = Duration::from_secs(2);

/// Time between looks that no event asked for.
const RECHECK_PERIOD: Duration = Duration::from_secs(30);

/// Largest source file, in bytes. Far above any real configuration, far below what would hurt the process.
pub(crate) const SOURCE_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Why the source file cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    /// The system refuses.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Io {
        /// Its path.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// A directory, a pipe or the like.
    #[error("the configuration {} is not a regular file", path.display())]
    NotAFile {
        /// Its path.
        path: PathBuf,
    },
    /// Too large.
    #[error("the configuration file {} has {size} bytes; at most {SOURCE_BYTES_MAX} are read", path.display())]
    TooLarge {
        /// Its path.
        path: PathBuf,
        /// Its size, or the least that it can be.
        size: u64,
    },
}

/// Reads the source file. Blocks on the disk.
pub(crate) fn read(path: &Path) -> Result<Bytes, SourceError> {
    let failed = |source| SourceError::Io { path: path.to_owned(), source };
    // Asked by path first: opening a pipe would wait for its writer.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(SourceError::NotAFile { path: path.to_owned() });
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(SOURCE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    let size = bytes.len() as u64;
    if size > SOURCE_BYTES_MAX {
        return Err(SourceError::TooLarge { path: path.to_owned(), size });
    }
    Ok(bytes.into())
}

/// What was seen last: the content's hash, or why it could not be read.
type Seen = Result<[u8; 32], String>;

/// Watches one source file.
#[derive(Debug)]
pub(crate) struct SourceWatch {
    path: PathBuf,
    seen: Seen,
    watcher: Option<DirectoryWatch>,
    warned: bool,
    events_tx: mpsc::Sender<()>,
    events: mpsc::Receiver<()>,
}

#[derive(Debug)]
struct DirectoryWatch {
    _watcher: RecommendedWatcher,
    /// Device and inode: a directory of the same name that was made anew needs a new watch.
    identity: (u64, u64),
}

impl SourceWatch {
    /// A watch that reports what differs from `known`, the reading that the caller has done already.
    pub(crate) fn new(path: PathBuf, known: &Result<Bytes, SourceError>) -> Self {
        // One place is enough: a full channel already says that there is something to look at.
        let (events_tx, events) = mpsc::channel(1);
        // The first look comes at once, for what happened between the caller's reading and this watch.
        let _ = events_tx.try_send(());
        Self { path, seen: seen(known), watcher: None, warned: false, events_tx, events }
    }

    /// Waits for the next change. The error says why the file cannot be read.
    pub(crate) async fn changed(&mut self) -> Result<Bytes, SourceError> {
        loop {
            self.watch_directory();
            // An end of the wait by time is as good as an event: it asks to look again.
            let _ = timeout_at(Instant::now() + RECHECK_PERIOD, self.events.recv()).await;
            self.wait_for_quiet().await;
            let path = self.path.clone();
            let read = match tokio::task::spawn_blocking(move || read(&path)).await {
                Ok(read) => read,
                Err(error) => Err(SourceError::Io { path: self.path.clone(), source: io::Error::other(error) }),
            };
            let now = seen(&read);
            if now != self.seen {
                self.seen = now;
                return read;
            }
        }
    }

    async fn wait_for_quiet(&mut self) {
        let end = Instant::now() + DEBOUNCE_MAX;
        loop {
            let quiet = (Instant::now() + DEBOUNCE).min(end);
            if timeout_at(quiet, self.events.recv()).await.is_err() {
                return;
            }
        }
    }

    /// Makes sure that the directory which now has the name is watched.
    fn watch_directory(&mut self) {
        let directory = self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let identity = fs::metadata(directory).map(|metadata| (metadata.dev(), metadata.ino())).ok();
        if self.watcher.as_ref().map(|watch| watch.identity) == identity && identity.is_some() {
            return;
        }
        self.watcher = None;
        let Some(identity) = identity else { return };
        match watch(directory, self.events_tx.clone()) {
            Ok(watcher) => {
                self.watcher = Some(DirectoryWatch { _watcher: watcher, identity });
                self.warned = false;
                // What changed before the watch began would go unseen until the next periodic look.
                let _ = self.events_tx.try_send(());
            }
            Err(error) if !self.warned => {
                self.warned = true;
                let directory = directory.display();
                warn!(%directory, %error, "cannot watch the configuration's directory; reading it every {RECHECK_PERIOD:?}");
            }
            Err(_) => {}
        }
    }
}

fn watch(directory: &Path, events: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| is_change(event.kind)) {
            // Full: somebody is about to look anyway. Closed: nobody looks any more.
            let _ = events.try_send(());
        }
    })?;
    watcher.watch(directory, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

/// Reading a file is an event too; taking it for a change would make each look ask for the next one.
fn is_change(kind: EventKind) -> bool {
    !matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}

fn seen(read: &Result<Bytes, SourceError>) -> Seen {
    match read {
        Ok(bytes) => Ok(Sha256::digest(bytes).into()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::symlink;

    use tokio::time::timeout;

    use super::*;

    /// Well below [`RECHECK_PERIOD`]: what is seen within it was seen by an event.
    const EVENT_WAIT_MAX: Duration = Duration::from_secs(10);

    async fn next(watch: &mut SourceWatch) -> Result<Bytes, String> {
        timeout(EVENT_WAIT_MAX, watch.changed()).await.unwrap().map_err(|error| error.to_string())
    }

    async fn watching(path: &Path) -> SourceWatch {
        let mut watch = SourceWatch::new(path.to_owned(), &read(path));
        assert_quiet(&mut watch, Duration::from_secs(1)).await;
        watch
    }

    async fn assert_quiet(watch: &mut SourceWatch, time: Duration) {
        assert!(timeout(time, watch.changed()).await.is_err(), "a change was reported where there is none");
    }

    #[tokio::test]
    async fn a_plain_edit_and_a_file_renamed_over_it_are_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.yaml");
        fs::write(&path, "one").unwrap();
        let mut watch = watching(&path).await;
        fs::write(&path, "two").unwrap();
        assert_eq!(next(&mut watch).await, Ok(Bytes::from("two")));
        fs::write(dir.path().join("new"), "three").unwrap();
        fs::rename(dir.path().join("new"), &path).unwrap();
        assert_eq!(next(&mut watch).await, Ok(Bytes::from("three")));
    }

    #[tokio::test]
    async fn a_swapped_data_link_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for (version, content) in [("..v1", "one"), ("..v2", "two")] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("config.yaml"), content).unwrap();
        }
        symlink("..v1", at("..data")).unwrap();
        symlink("..data/config.yaml", at("config.yaml")).unwrap();
        let mut watch = watching(&at("config.yaml")).await;
        symlink("..v2", at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        assert_eq!(next(&mut watch).await, Ok(Bytes::from("two")));
    }

    #[tokio::test]
    async fn removal_is_reported_with_its_cause_and_so_is_the_return() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.yaml");
        fs::write(&path, "one").unwrap();
        let mut watch = watching(&path).await;
        fs::remove_file(&path).unwrap();
        assert!(next(&mut watch).await.unwrap_err().contains("No such file"));
        fs::write(&path, "one").unwrap();
        assert_eq!(next(&mut watch).await, Ok(Bytes::from("one")));
    }

    #[tokio::test]
    async fn what_changed_before_the_watch_began_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.yaml");
        fs::write(&path, "one").unwrap();
        let known = read(&path);
        fs::write(&path, "two").unwrap();
        let mut watch = SourceWatch::new(path.clone(), &known);
        assert_eq!(next(&mut watch).await, Ok(Bytes::from("two")));
    }

    #[tokio::test]
    async fn neighbours_and_own_reading_are_no_change_and_end_in_quiet() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.yaml");
        fs::write(&path, "one").unwrap();
        let mut watch = watching(&path).await;
        fs::write(dir.path().join("output.yaml"), "rendered").unwrap();
        assert_quiet(&mut watch, Duration::from_secs(1)).await;
        let _ = read(&path);
        assert!(timeout(Duration::from_secs(1), watch.events.recv()).await.is_err(), "reading asked to read again");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_watcher_the_periodic_look_finds_the_change() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("later/config.yaml");
        let mut watch = SourceWatch::new(path.clone(), &read(&path));
        assert_quiet(&mut watch, Duration::from_secs(5)).await;
        fs::create_dir(dir.path().join("later")).unwrap();
        fs::write(&path, "one").unwrap();
        let change = timeout(RECHECK_PERIOD + DEBOUNCE_MAX, watch.changed()).await.unwrap();
        assert_eq!(change.unwrap(), Bytes::from("one"));
    }

    #[test]
    fn a_directory_and_a_file_beyond_the_bound_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(read(dir.path()), Err(SourceError::NotAFile { .. })));
        let path = dir.path().join("big");
        File::create(&path).unwrap().set_len(SOURCE_BYTES_MAX + 1).unwrap();
        assert!(matches!(read(&path), Err(SourceError::TooLarge { .. })));
    }
}
