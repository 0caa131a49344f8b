//! Spools whose entries have left the configuration: deleted once nobody can need them.
//!
//! What such a spool holds may be sent for as long as the entry may come back (a configuration that reaches the replicas one
//! after another, a mistake that is taken back): [`AGE_MIN`] after its last change, which is longer than any margin but that of
//! intervals beyond ten minutes. Before the first render nothing is known to have left. Only directories that hold nothing but a
//! spool's files are touched.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Weak;
use std::time::{Duration, SystemTime};

use super::prometheus::FILE as COVER_FILE;
use super::runtime::{Inner, directory};

/// Time since the last change of a spool that has no entry.
const AGE_MIN: Duration = Duration::from_secs(15 * 60);
/// Time between two looks.
const PERIOD: Duration = Duration::from_secs(5 * 60);

/// Looks on until the gate is gone.
pub(super) async fn sweep(gate: Weak<Inner>) {
    loop {
        tokio::time::sleep(PERIOD).await;
        let Some(inner) = gate.upgrade() else { return };
        if !inner.has_applied() {
            continue;
        }
        // No render opens a spool meanwhile.
        let _one = inner.applying.lock().await;
        let used = inner.remotes().iter().map(|remote| directory(&remote.settings().name)).collect();
        let dir = inner.settings.spool_dir.clone();
        // A runtime that is shutting down leaves it to the next process.
        let _ = tokio::task::spawn_blocking(move || {
            for orphan in orphans(&dir, &used, SystemTime::now()) {
                match std::fs::remove_dir_all(&orphan) {
                    Ok(()) => tracing::info!(dir = %orphan.display(), "the spool of an entry that is gone was deleted"),
                    Err(error) => {
                        tracing::warn!(dir = %orphan.display(), %error, "the spool of an entry that is gone stays");
                    }
                }
            }
        })
        .await;
    }
}

/// Directories of spools below `dir` that nobody uses and nobody has changed lately.
fn orphans(dir: &Path, used: &BTreeSet<String>, now: SystemTime) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let unused = entries.flatten().filter(|entry| {
        entry.file_name().to_str().is_some_and(|name| !used.contains(name))
            && entry.file_type().is_ok_and(|kind| kind.is_dir())
    });
    let paths = unused.map(|entry| entry.path());
    paths.filter(|path| last_change(path).is_ok_and(|at| at.is_some_and(|at| is_old(at, now)))).collect()
}

fn is_old(at: SystemTime, now: SystemTime) -> bool {
    now.duration_since(at).is_ok_and(|age| age >= AGE_MIN)
}

/// The newest change of a spool's directory; `None`: it holds something else.
fn last_change(dir: &Path) -> io::Result<Option<SystemTime>> {
    let mut newest = dir.metadata()?.modified()?;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_ours = name == COVER_FILE || Path::new(&name).extension().is_some_and(|extension| extension == "seg");
        let metadata = entry.metadata()?;
        if !is_ours || !metadata.is_file() {
            return Ok(None);
        }
        newest = newest.max(metadata.modified()?);
    }
    Ok(Some(newest))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_a_spool_that_nobody_uses_or_has_changed_lately_is_an_orphan() {
        let dir = tempfile::tempdir().unwrap();
        let spool = |name: &str, files: &[&str]| {
            let path = dir.path().join(name);
            std::fs::create_dir(&path).unwrap();
            for file in files {
                std::fs::write(path.join(file), "x").unwrap();
            }
            path
        };
        let gone = spool("gone", &["00000000000000000001.seg", "cover"]);
        spool("used", &["00000000000000000001.seg"]);
        spool("foreign", &["00000000000000000001.seg", "notes.txt"]);
        std::fs::write(dir.path().join("file"), "x").unwrap();
        let used = BTreeSet::from(["used".to_owned()]);
        let now = SystemTime::now();
        assert!(orphans(dir.path(), &used, now).is_empty());
        assert_eq!(orphans(dir.path(), &used, now + AGE_MIN + Duration::from_secs(1)), [gone]);
        assert!(orphans(&dir.path().join("missing"), &used, now).is_empty());
    }
}
