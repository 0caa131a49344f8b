//! The two-section source file of one member, as a plain file or as Kubernetes mounts a `ConfigMap`.

use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Key under which the file lies in a `ConfigMap`.
const KEY: &str = "config.yaml";
/// The job that is always there.
const JOB: &str = "demo";

/// A job of the leader section, without targets: with the gate every role has the remote to write to.
pub const LEADER_JOB: &str = "only_the_leader";

/// What a member scrapes and where its leader section ships to.
#[derive(Clone, Debug)]
pub struct SourceSpec {
    /// Time between two scrapes, in milliseconds.
    pub scrape_interval_ms: u32,
    /// The target.
    pub target: SocketAddr,
    /// The storage Prometheus; `None`: no `leader` section.
    pub storage: Option<SocketAddr>,
    /// Its name: as label `shipped_by` on everything that is shipped, or, with the gate, as user of its requests.
    pub shipped_by: String,
    /// With the gate; `None`: without.
    pub gated: Option<GatedSource>,
    /// More jobs of the `follower` section, by name: they scrape the same target.
    pub extra_jobs: Vec<String>,
}

/// What a source file says for the gate: labels are equal on all replicas, and only a request's user tells who has sent it.
/// (Its `headers` would too, but Prometheus 2.42 does not send them.)
#[derive(Clone, Debug)]
pub struct GatedSource {
    /// Number of the replica, which the target notes with each scrape; `None`: the target knows it by its address.
    pub replica: Option<usize>,
    /// Parts of the target, which are targets to Prometheus. Each has a phase of its own, another one on each replica.
    pub parts: u32,
    /// Samples in one request at the most.
    pub batch_samples_max: u32,
    /// `batch_send_deadline`, in milliseconds.
    pub batch_deadline_ms: u32,
    /// Shards at the start and at the least.
    pub shards: u32,
    /// Shards at the most.
    pub shards_max: u32,
    /// Remote write 2.0.
    pub is_v2: bool,
    /// More lines of the entry `main`.
    pub more: &'static str,
    /// Where a second entry, `other`, leads to, if there is one.
    pub other: Option<SocketAddr>,
    /// Nothing but `remote_write` is in the leader section: the leader's job is everybody's.
    pub only_remote_write: bool,
}

impl GatedSource {
    /// The job that the target notes.
    pub fn job(&self, target: SocketAddr) -> String {
        let part = |part: u32| format!("{{targets: ['{target}'], labels: {{part: '{part}', __param_part: '{part}'}}}}");
        let parts = (0..self.parts).map(part).collect::<Vec<_>>().join(", ");
        let replica = self.replica.map_or_else(String::new, |replica| format!("params: {{replica: ['{replica}']}}, "));
        format!("    - {{job_name: {JOB}, {replica}static_configs: [{parts}]}}\n")
    }

    /// An entry of `remote_write`.
    pub fn entry(&self, name: &str, url: &str, sender: &str) -> String {
        let Self { batch_samples_max: batch, batch_deadline_ms: deadline, shards, shards_max, is_v2, .. } = self;
        let message = if *is_v2 { "      protobuf_message: io.prometheus.write.v2.Request\n" } else { "" };
        format!(
            "    - url: {url}
      name: {name}
      remote_timeout: 5s
      basic_auth: {{username: {sender}, password: of-no-use}}
{message}      queue_config: {{batch_send_deadline: {deadline}ms, max_backoff: 500ms, min_shards: {shards}, \
             max_shards: {shards_max}, max_samples_per_send: {batch}}}
"
        )
    }

    /// The entries to a storage, and to the other one if there is one.
    fn entries(&self, storage: SocketAddr, sender: &str) -> String {
        let entry = |name: &str, to: SocketAddr| self.entry(name, &format!("http://{to}/api/v1/write"), sender);
        let other = self.other.map_or_else(String::new, |other| entry("other", other));
        entry("main", storage) + self.more + &other
    }
}

impl SourceSpec {
    /// The file.
    pub fn render(&self) -> String {
        let Self { scrape_interval_ms: interval, target, shipped_by, gated, .. } = self;
        let job = |name: &str| format!("    - {{job_name: {name}, static_configs: [{{targets: ['{target}']}}]}}\n");
        let first = gated.as_ref().map_or_else(|| job(JOB), |gated| gated.job(*target));
        // Other jobs scrape without their replica's number: the target's notes are about the first one.
        let others = self.extra_jobs.iter().map(|name| job(name));
        let leaders_job = format!("    - {{job_name: {LEADER_JOB}}}\n");
        let is_everybodys = gated.as_ref().is_some_and(|gated| gated.only_remote_write);
        let jobs = std::iter::once(first).chain(others).chain(is_everybodys.then(|| leaders_job.clone()));
        let jobs = jobs.collect::<String>();
        let ungated = |storage: SocketAddr| {
            format!(
                "    - url: http://{storage}/api/v1/write
      queue_config: {{batch_send_deadline: 200ms, max_shards: 1}}
      write_relabel_configs:
        - {{target_label: shipped_by, replacement: {shipped_by}}}
"
            )
        };
        let leader = self.storage.map_or_else(String::new, |storage| {
            let entries = gated.as_ref().map_or_else(|| ungated(storage), |gated| gated.entries(storage, shipped_by));
            let scrapes = if is_everybodys { String::new() } else { format!("  scrape_configs:\n{leaders_job}") };
            format!("leader:\n  remote_write:\n{entries}{scrapes}")
        });
        format!(
            "follower:
  global: {{scrape_interval: {interval}ms, scrape_timeout: {interval}ms}}
  scrape_configs:
{jobs}{leader}"
        )
    }
}

/// A source file on disk that tests change.
#[derive(Debug)]
pub struct SourceFile {
    dir: PathBuf,
    /// Generations written so far, for the names of a `ConfigMap`'s data directories.
    generation: u32,
    config_map: bool,
}

impl SourceFile {
    /// A plain file in `dir`.
    pub fn plain(dir: &Path, text: &str) -> Result<Self> {
        Self::new(dir, false, text)
    }

    /// A file as Kubernetes mounts a `ConfigMap` in `dir`: a link to `..data/config.yaml`, and `..data` itself a link
    /// to a directory of the present generation.
    pub fn config_map(dir: &Path, text: &str) -> Result<Self> {
        let file = Self::new(dir, true, text)?;
        symlink(Path::new("..data").join(KEY), file.path()).context("link the key")?;
        Ok(file)
    }

    fn new(dir: &Path, config_map: bool, text: &str) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let mut file = Self { dir: dir.into(), generation: 0, config_map };
        file.write(text)?;
        Ok(file)
    }

    /// Where the sidecar reads it.
    pub fn path(&self) -> PathBuf {
        self.dir.join(KEY)
    }

    /// Changes it: in place, as an editor does, or by swapping `..data`, as the kubelet does.
    pub fn write(&mut self, text: &str) -> Result<()> {
        if !self.config_map {
            return std::fs::write(self.path(), text).context("write the source file");
        }
        self.generation += 1;
        let data = format!("..generation_{}", self.generation);
        std::fs::create_dir(self.dir.join(&data))?;
        std::fs::write(self.dir.join(&data).join(KEY), text)?;
        let old = std::fs::read_link(self.dir.join("..data")).ok();
        symlink(&data, self.dir.join("..data_tmp"))?;
        std::fs::rename(self.dir.join("..data_tmp"), self.dir.join("..data")).context("swap ..data")?;
        if let Some(old) = old {
            std::fs::remove_dir_all(self.dir.join(old))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn both_styles_show_the_newest_text_at_one_path() {
        let dir = tempfile::tempdir().unwrap();
        for mut file in [
            SourceFile::plain(&dir.path().join("plain"), "one").unwrap(),
            SourceFile::config_map(&dir.path().join("map"), "one").unwrap(),
        ] {
            assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "one");
            file.write("two").unwrap();
            file.write("three").unwrap();
            assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "three");
        }
        let left: Vec<_> = std::fs::read_dir(dir.path().join("map")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left.len(), 3, "the key, ..data and one generation: {left:?}");
    }
}
