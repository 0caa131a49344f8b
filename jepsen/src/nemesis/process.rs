//! Signals to processes.

use anyhow::{Result, bail, ensure};
use async_trait::async_trait;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;

use super::{Aim, Begun, Nemesis, network};
use crate::deployment::Deployment;
use crate::deployment::links::{End, Links};
use crate::deployment::pod::Program;
use crate::history::Ns;
use crate::recorder::now_ns;

/// SIGKILL, or SIGSTOP, to programs of one pod.
struct Hit {
    programs: &'static [Program],
    kills: bool,
    victim: Option<String>,
}

fn hit(programs: &'static [Program], kills: bool) -> Box<dyn Nemesis> {
    Box::new(Hit { programs, kills, victim: None })
}

pub(super) fn kill_sidecar() -> Box<dyn Nemesis> {
    hit(&[Program::Sidecar], true)
}

pub(super) fn kill_prometheus() -> Box<dyn Nemesis> {
    hit(&[Program::Prometheus], true)
}

pub(super) fn kill_both() -> Box<dyn Nemesis> {
    hit(&Program::BOTH, true)
}

pub(super) fn pause_sidecar() -> Box<dyn Nemesis> {
    hit(&[Program::Sidecar], false)
}

pub(super) fn pause_prometheus() -> Box<dyn Nemesis> {
    hit(&[Program::Prometheus], false)
}

pub(super) fn pause_both() -> Box<dyn Nemesis> {
    hit(&Program::BOTH, false)
}

pub(super) fn forget_lease() -> Box<dyn Nemesis> {
    Box::new(ForgetLease)
}

pub(super) fn rolling_restart() -> Box<dyn Nemesis> {
    Box::new(Rolling::default())
}

#[async_trait(?Send)]
impl Nemesis for Hit {
    async fn install(&mut self, deployment: &mut Deployment, aim: &Aim, rng: &mut StdRng) -> Result<Begun> {
        // A witness runs a sidecar only.
        let from = if self.programs == [Program::Sidecar] { deployment.member_names() } else { deployment.replicas() };
        let Some(victim) = aim.pick(&from, rng) else { return Ok(Begun::skipped("there is no pod")) };
        for &program in self.programs {
            if deployment.pod(&victim)?.slot(program).state().is_none() {
                return Ok(Begun::skipped(format!("the {} of {victim} does not run", program.name())));
            }
        }
        let at_ns = now_ns();
        // Healed even if it fails half-way.
        self.victim = Some(victim.clone());
        if self.kills {
            deployment.kill(&victim, self.programs)?;
        } else {
            deployment.pause(&victim, self.programs, true).await?;
        }
        let signal = if self.kills { "SIGKILL" } else { "SIGSTOP" };
        Ok(Begun::installed(at_ns, [victim], signal))
    }

    async fn heal(&mut self, deployment: &mut Deployment) -> Result<()> {
        let Some(victim) = self.victim.take() else { return Ok(()) };
        if self.kills {
            deployment.start_programs(&victim, self.programs)
        } else {
            deployment.pause(&victim, self.programs, false).await
        }
    }
}

/// The leader is cut off, and all others start again within the lease that they have granted it.
struct ForgetLease;

#[async_trait(?Send)]
impl Nemesis for ForgetLease {
    async fn install(&mut self, deployment: &mut Deployment, aim: &Aim, _: &mut StdRng) -> Result<Begun> {
        let Some(leader) = aim.leader.clone() else { return Ok(Begun::skipped("nobody leads")) };
        let others: Vec<String> = deployment.member_names().into_iter().filter(|name| *name != leader).collect();
        let mut links = Links::default();
        let at_ns = now_ns();
        for other in &others {
            links.cut(&End::pod(&leader), &End::pod(other));
            deployment.kill(other, &[Program::Sidecar])?;
        }
        deployment.set_links(links.clone())?;
        for other in &others {
            deployment.start_programs(other, &[Program::Sidecar])?;
        }
        let words = format!("{leader} alone, SIGKILL to the others, which started again within {} ms", ms_since(at_ns));
        let begun = Begun::installed(at_ns, std::iter::once(leader).chain(others), words);
        Ok(network::in_force(begun, deployment, &links).await)
    }

    async fn heal(&mut self, deployment: &mut Deployment) -> Result<()> {
        network::mend(deployment).await
    }
}

fn ms_since(at_ns: Ns) -> u64 {
    now_ns().saturating_sub(at_ns) / 1_000_000
}

/// One pod after the other gets SIGTERM, the next once the last is ready again, as an update of a `StatefulSet` does.
#[derive(Default)]
struct Rolling {
    /// Those that are still to come; the last one first.
    left: Vec<String>,
    /// The one that was told to end or is not ready yet.
    now: Option<(String, State)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Ending,
    Starting,
}

#[async_trait(?Send)]
impl Nemesis for Rolling {
    async fn install(&mut self, deployment: &mut Deployment, aim: &Aim, rng: &mut StdRng) -> Result<Begun> {
        let mut members = deployment.member_names();
        members.shuffle(rng);
        // The leader last, as most updates of a group would; or first.
        members.sort_by_key(|name| (aim.leader.as_ref() == Some(name)) == aim.at_leader);
        let at_ns = now_ns();
        self.left.clone_from(&members);
        self.next(deployment)?;
        Ok(Begun::installed(at_ns, members, "SIGTERM"))
    }

    async fn tick(&mut self, deployment: &mut Deployment, _: &mut StdRng) -> Result<()> {
        let Some((name, state)) = self.now.clone() else { return Ok(()) };
        match state {
            State::Ending if deployment.has_ended(&name)? => {
                deployment.start_programs(&name, &Program::BOTH)?;
                self.now = Some((name, State::Starting));
            }
            State::Starting if deployment.hub.is_ready(&name).await => self.next(deployment)?,
            _ => {}
        }
        Ok(())
    }

    async fn heal(&mut self, deployment: &mut Deployment) -> Result<()> {
        let left = std::mem::take(&mut self.left);
        let Some((name, state)) = self.now.take() else { return Ok(()) };
        if state == State::Ending {
            // Its grace period is over.
            deployment.kill(&name, &Program::BOTH)?;
            deployment.start_programs(&name, &Program::BOTH)?;
            bail!("{name} had not ended yet");
        }
        ensure!(left.is_empty(), "{name} was not ready again; {} had no turn", left.join(", "));
        Ok(())
    }
}

impl Rolling {
    fn next(&mut self, deployment: &mut Deployment) -> Result<()> {
        self.now = self.left.pop().map(|name| (name, State::Ending));
        self.now.as_ref().map_or(Ok(()), |(name, _)| deployment.terminate(name))
    }
}
