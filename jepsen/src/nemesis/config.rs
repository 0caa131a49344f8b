//! Changes of the source files, as when somebody edits the `ConfigMap`: they reach every member.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use rand::RngExt as _;
use rand::rngs::StdRng;
use serde_json::Value;
use test_support::wait::eventually;

use super::{Aim, Begun, Nemesis};
use crate::deployment::Deployment;
use crate::deployment::options;
use crate::deployment::pod::Program;
use crate::recorder::now_ns;

/// A sidecar sees a new file within two seconds.
const NOTICED_WITHIN: Duration = Duration::from_secs(8);
/// What nobody can parse.
const NONSENSE: &str = "follower: [this is no configuration\n";

pub(super) fn takeover() -> Box<dyn Nemesis> {
    Box::new(Takeover { victim: None })
}

pub(super) fn broken() -> Box<dyn Nemesis> {
    Box::new(Broken)
}

/// Writes every replica's file anew; `None`: the first one again.
fn change_all(deployment: &mut Deployment, text: impl Fn(&str) -> Option<String>) -> Result<()> {
    for name in deployment.replicas() {
        let pod = deployment.pod(&name)?;
        let text = text(&pod.source_text());
        pod.change(text)?;
    }
    Ok(())
}

struct Takeover {
    victim: Option<String>,
}

#[async_trait(?Send)]
impl Nemesis for Takeover {
    async fn install(&mut self, deployment: &mut Deployment, aim: &Aim, rng: &mut StdRng) -> Result<Begun> {
        let Some(victim) = aim.pick(&deployment.replicas(), rng) else { return Ok(Begun::skipped("there is no pod")) };
        let number = rng.random_range(1..1_000);
        let at_ns = now_ns();
        self.victim = Some(victim.clone());
        change_all(deployment, |text| Some(options::changed(text, number)))?;
        deployment.kill(&victim, &[Program::Sidecar])?;
        Ok(Begun::installed(at_ns, [victim], format!("job changed_{number} and SIGKILL")))
    }

    async fn heal(&mut self, deployment: &mut Deployment) -> Result<()> {
        if let Some(victim) = self.victim.take() {
            deployment.start_programs(&victim, &[Program::Sidecar])?;
        }
        change_all(deployment, |_| None)
    }
}

struct Broken;

#[async_trait(?Send)]
impl Nemesis for Broken {
    async fn install(&mut self, deployment: &mut Deployment, _: &Aim, _: &mut StdRng) -> Result<Begun> {
        let at_ns = now_ns();
        change_all(deployment, |_| Some(NONSENSE.to_owned()))?;
        // Somebody says so: members that are killed or cut off meanwhile need not.
        let replicas = deployment.replicas();
        let said = eventually(NOTICED_WITHIN, "a member to report it", async || {
            for name in &replicas {
                if deployment.hub.status(name).await.is_ok_and(|status| error(&status).is_some()) {
                    return Ok(());
                }
            }
            anyhow::bail!("nobody does")
        });
        let is_seen = said.await.is_ok();
        Ok(Begun::installed(at_ns, [], "").seen(is_seen))
    }

    async fn heal(&mut self, deployment: &mut Deployment) -> Result<()> {
        change_all(deployment, |_| None)?;
        let replicas = deployment.replicas();
        eventually(NOTICED_WITHIN, "a member to accept the mended file", async || {
            for name in &replicas {
                if let Ok(status) = deployment.hub.status(name).await {
                    ensure!(error(&status).is_none(), "{name} still reports {}", error(&status).context("nothing")?);
                    return Ok(());
                }
            }
            anyhow::bail!("nobody answers")
        })
        .await
    }
}

fn error(status: &Value) -> Option<&str> {
    status["config"]["last_error"].as_str()
}
