//! Disks and the pods on them: replaced, lost, full.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use rand::RngExt as _;
use rand::rngs::StdRng;

use super::{Aim, Begun, Nemesis};
use crate::deployment::Deployment;
use crate::recorder::now_ns;

pub(super) fn replace() -> Box<dyn Nemesis> {
    Box::new(Replace { loses_disk: false, victim: None })
}

pub(super) fn lost() -> Box<dyn Nemesis> {
    Box::new(Replace { loses_disk: true, victim: None })
}

pub(super) fn full() -> Box<dyn Nemesis> {
    Box::new(Full::default())
}

/// A pod goes, and another one of its name comes.
struct Replace {
    loses_disk: bool,
    victim: Option<String>,
}

#[async_trait(?Send)]
impl Nemesis for Replace {
    async fn install(&mut self, deployment: &mut Deployment, aim: &Aim, rng: &mut StdRng) -> Result<Begun> {
        let from = deployment.replicas();
        let Some(victim) = aim.pick(&from, rng) else { return Ok(Begun::skipped("there is no pod")) };
        if self.loses_disk {
            // The group promises nothing after a majority of disks is lost: one after the other.
            if let Err(error) = deployment.wait_whole().await {
                return Ok(Begun::skipped(format!("another disk at the same time could be one too many: {error:#}")));
            }
        }
        // A node that loses its disk gives no notice; one that is emptied in order does.
        let graceful = !self.loses_disk && rng.random_bool(0.5);
        let at_ns = now_ns();
        self.victim = Some(victim.clone());
        deployment.delete_pod(&victim, graceful).await?;
        if self.loses_disk {
            deployment.disk(&victim)?.lose()?;
        }
        let disk = if self.loses_disk { "its disk is gone" } else { "its disk stays" };
        Ok(Begun::installed(at_ns, [victim], format!("{}, {disk}", if graceful { "deleted" } else { "killed" })))
    }

    async fn heal(&mut self, deployment: &mut Deployment) -> Result<()> {
        let Some(victim) = self.victim.take() else { return Ok(()) };
        deployment.create_pod(&victim).await
    }
}

/// A file takes what is left of a volume.
#[derive(Default)]
struct Full {
    victim: Option<String>,
}

#[async_trait(?Send)]
impl Nemesis for Full {
    async fn install(&mut self, deployment: &mut Deployment, aim: &Aim, rng: &mut StdRng) -> Result<Begun> {
        let is_small = |name: &String| deployment.disk(name).is_ok_and(|disk| disk.small.is_some());
        let from: Vec<String> = deployment.replicas().into_iter().filter(is_small).collect();
        let Some(victim) = aim.pick(&from, rng) else { return Ok(Begun::skipped("no disk can be filled")) };
        let path = deployment.disk(&victim)?.fill_file();
        self.victim = Some(victim.clone());
        let at_ns = now_ns();
        let bytes = fill(&path)?;
        // The group may have freed and taken some since: what counts is that nothing more goes in.
        let is_full = fill(&path.with_extension("more")).is_ok_and(|bytes| bytes < 1 << 20);
        std::fs::remove_file(path.with_extension("more")).context("remove the probe")?;
        fill(&path)?;
        Ok(Begun::installed(at_ns, [victim], format!("{} KiB", bytes >> 10)).seen(is_full))
    }

    async fn heal(&mut self, deployment: &mut Deployment) -> Result<()> {
        self.victim.take().map_or(Ok(()), |victim| deployment.disk(&victim)?.empty())
    }
}

/// Writes until nothing more goes in; returns how much went.
fn fill(path: &Path) -> Result<u64> {
    let mut file = File::options().create(true).append(true).open(path).context("open the file that fills")?;
    let mut written = 0;
    // Smaller and smaller pieces: the last byte counts.
    for piece in [64 << 10, 4 << 10, 1] {
        let bytes = vec![0; piece];
        while let Ok(count @ 1..) = file.write(&bytes) {
            written += u64::try_from(count)?;
        }
    }
    Ok(written)
}
