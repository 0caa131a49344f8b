//! `--keep` and `stop`: a demo that outlives its program, and how it is ended.
//!
//! The kept directory holds a file with the process ids. `stop` ends only processes whose command line names that
//! directory, so that an id that was given to somebody else since is left alone.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use test_support::cluster::Cluster;
use test_support::wait::eventually;

/// Label of the demo's directories.
pub(crate) const LABEL: &str = "demo";
const IDS: &str = "process-ids";
/// Grace delay of a sidecar, and the time that Prometheus takes to close its storage.
const END_MAX: Duration = Duration::from_secs(15);

/// Leaves everything running and returns its directory.
pub(crate) fn leave_running(cluster: Cluster) -> Result<PathBuf> {
    let dir = cluster.dir().to_path_buf();
    let ids: Vec<String> = cluster.process_ids().iter().map(ToString::to_string).collect();
    std::fs::write(dir.join(IDS), ids.join("\n"))?;
    cluster.leave_running();
    Ok(dir)
}

/// Ends the demo in `dir`, or every one that was kept. Returns the directories that it removed.
pub(crate) async fn stop(dir: Option<PathBuf>) -> Result<Vec<PathBuf>> {
    let dirs = match dir {
        Some(dir) => {
            ensure!(dir.join(IDS).is_file(), "{} is not the directory of a kept demo", dir.display());
            vec![dir]
        }
        None => kept()?,
    };
    for dir in &dirs {
        stop_one(dir).await?;
    }
    Ok(dirs)
}

fn kept() -> Result<Vec<PathBuf>> {
    let mut dirs = Vec::new();
    for entry in std::fs::read_dir(std::env::temp_dir())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with(&format!("prometheus-elector-{LABEL}-")) && path.join(IDS).is_file() {
            dirs.push(path);
        }
    }
    Ok(dirs)
}

async fn stop_one(dir: &Path) -> Result<()> {
    let ids = std::fs::read_to_string(dir.join(IDS)).context("read the process ids")?;
    let ids: Vec<Pid> = ids.lines().filter_map(|line| line.parse().ok().and_then(Pid::from_raw)).collect();
    let living = || ids.iter().copied().filter(|id| belongs(*id, dir)).collect::<Vec<_>>();
    for id in living() {
        // It may end by itself between the look and the signal.
        let _ = kill_process(id, Signal::TERM);
    }
    let ended = eventually(END_MAX, "the demo to end", async || {
        if !living().is_empty() {
            bail!("{} processes still run", living().len());
        }
        Ok(())
    });
    if ended.await.is_err() {
        for id in living() {
            let _ = kill_process(id, Signal::KILL);
        }
    }
    std::fs::remove_dir_all(dir).with_context(|| format!("remove {}", dir.display()))
}

fn belongs(id: Pid, dir: &Path) -> bool {
    let command = std::fs::read(format!("/proc/{}/cmdline", id.as_raw_nonzero())).unwrap_or_default();
    String::from_utf8_lossy(&command).contains(&dir.display().to_string())
}
