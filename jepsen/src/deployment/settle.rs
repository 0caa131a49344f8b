//! Waiting until a deployment is well, and making it so.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use test_support::dns::Mode;
use test_support::receiver::behaviour::Behaviour;
use test_support::wait::eventually;

use super::links::Links;
use super::pod::Program;
use super::{Deployment, ask};

/// A takeover, or a pod that starts, takes less.
const WHOLE_WITHIN: Duration = Duration::from_secs(8);
const LOOK_PERIOD: Duration = Duration::from_millis(200);

impl Deployment {
    /// Waits until one leader is told by all members, all are ready, and samples arrive.
    pub async fn wait_settled(&mut self, within: Duration) -> Result<()> {
        let start = Instant::now();
        loop {
            self.look()?;
            let stored = self.receiver.read(|_, store| store.len());
            tokio::time::sleep(LOOK_PERIOD * 4).await;
            match self.settled(stored).await {
                Ok(()) => return Ok(()),
                Err(error) if start.elapsed() > within => {
                    return Err(error.context(format!("the group is not well after {} s", within.as_secs())));
                }
                Err(_) => {}
            }
        }
    }

    /// Waits a moment until the group is whole: what takes a member away for good may come only then.
    pub async fn wait_whole(&self) -> Result<()> {
        eventually(WHOLE_WITHIN, "the group to be whole", async || self.check_whole().await).await
    }

    async fn settled(&self, stored: usize) -> Result<()> {
        self.check_whole().await?;
        ensure!(self.receiver.read(|_, store| store.len()) > stored, "no samples arrive");
        Ok(())
    }

    /// An error unless one leader is told by all members and each is ready: a member that has lost its disk is ready again
    /// once it votes in the place of its former self.
    async fn check_whole(&self) -> Result<()> {
        let leader = self.leader().await.context("nobody leads")?;
        for pod in self.pods.values() {
            let name = &pod.name;
            let told = ask::leader(&self.client, pod.address()).await?;
            ensure!(told.name == leader, "{name} says `{}` leads, not {leader}", told.name);
            let ready = ask::ready(&self.client, pod.address(), &self.options.ready_path).await;
            ready.with_context(|| format!("{name} is not ready"))?;
        }
        Ok(())
    }

    /// Ends whatever a nemesis may have left: afterwards nothing is broken by the harness.
    pub async fn heal_all(&mut self) -> Result<()> {
        self.set_links(Links::default()).await?;
        self.names.set_mode(Mode::Answer);
        self.names.freeze(false);
        self.names.lie(None);
        self.receiver.set(Behaviour::Accept);
        for disk in self.disks.values() {
            disk.empty()?;
        }
        let first = self.first_members();
        for name in self.members() {
            let pod = self.pod(&name)?;
            pod.change(None)?;
            std::fs::write(pod.clock_file(), "+0\n")?;
            self.pause(&name, &Program::BOTH, false).await?;
            self.start_programs(&name, &Program::BOTH)?;
            if !first.contains(&name) {
                self.delete_pod(&name, true).await?;
            }
        }
        for name in first {
            if !self.pods.contains_key(&name) {
                self.create_pod(&name).await?;
            }
        }
        Ok(())
    }
}
