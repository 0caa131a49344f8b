//! The directory of one test: removed with it, unless `KEEP` is set in the environment.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

/// A fresh directory below the system's temporary directory.
#[derive(Debug)]
pub struct WorkDir {
    path: PathBuf,
    /// `None`: stays on disk.
    owned: Option<TempDir>,
}

impl WorkDir {
    /// A new directory whose name holds `label`.
    pub fn new(label: &str) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix(&format!("prometheus-elector-{label}-"))
            .tempdir()
            .context("make a temporary directory")?;
        let mut work = Self { path: dir.path().to_path_buf(), owned: Some(dir) };
        if std::env::var_os("KEEP").is_some_and(|value| !value.is_empty()) {
            work.keep();
            eprintln!("KEEP is set: files stay in {}", work.path.display());
        }
        Ok(work)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it on disk for good.
    pub fn keep(&mut self) {
        if let Some(dir) = self.owned.take() {
            // Its path is known already.
            let _ = dir.keep();
        }
    }
}
