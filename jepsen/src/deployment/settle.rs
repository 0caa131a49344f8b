//! A deployment as what a run breaks.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use test_support::dns::Mode;
use test_support::receiver::behaviour::Behaviour;

use super::Deployment;
use super::links::Links;
use super::options::Options;
use super::pod::Program;
use crate::history::Member;
use crate::hub::Hub;
use crate::nemesis::{self, Known};
use crate::stage::Stage;

/// A member that was taken away is one of the group for 20 s more (`-member-removal-delay`), and counts.
const WHOLE_WITHIN: Duration = Duration::from_secs(35);

impl Deployment {
    /// Waits until the group is whole: what takes a member away for good may come only then.
    pub async fn wait_whole(&mut self) -> Result<()> {
        self.until(WHOLE_WITHIN, "the group to be whole", async |deployment| deployment.hub.check_whole().await).await
    }
}

#[async_trait(?Send)]
impl Stage for Deployment {
    fn find(name: &str) -> Option<&'static Known> {
        nemesis::find(name)
    }

    fn hub(&self) -> &Hub {
        &self.hub
    }

    fn hub_mut(&mut self) -> &mut Hub {
        &mut self.hub
    }

    fn members(&self) -> Vec<Member> {
        self.pods.values().map(|pod| Member { name: pod.name.clone(), witness: pod.witness }).collect()
    }

    async fn versions(&self) -> Result<Vec<(String, String)>> {
        Ok(vec![
            ("prometheus-elector".into(), version_of(&self.options)?),
            ("prometheus".into(), self.options.prometheus.version.clone()),
        ])
    }

    fn has_gate(&self) -> bool {
        self.options.gate
    }

    fn look(&mut self) -> Result<()> {
        Self::look(self)
    }

    async fn heal_all(&mut self) -> Result<()> {
        self.set_links(Links::default())?;
        self.names.set_mode(Mode::Answer);
        self.names.freeze(false);
        self.names.lie(None);
        self.hub.receiver.set(Behaviour::Accept);
        for disk in self.disks.values() {
            disk.empty()?;
        }
        let first = self.first_members();
        for name in self.member_names() {
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

fn version_of(options: &Options) -> Result<String> {
    let path = options.elector.display();
    let output = Command::new(&options.elector).arg("--version").output().with_context(|| format!("start {path}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().next().map(ToOwned::to_owned).with_context(|| format!("`{path} --version` says nothing"))
}
