//! Faults of cluster DNS.

use std::time::Duration;

use anyhow::{Result, ensure};
use async_trait::async_trait;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use test_support::dns::Mode;
use test_support::wait::eventually;

use super::{Aim, Begun, Nemesis};
use crate::deployment::Deployment;
use crate::recorder::now_ns;

/// Members look up the service every second, but keep an answer for as long as it may be kept.
const ASKED_WITHIN: Duration = Duration::from_secs(35);

pub(super) fn dead() -> Box<dyn Nemesis> {
    Box::new(Answers { mode: Mode::Drop, queries_before: 0 })
}

pub(super) fn nxdomain() -> Box<dyn Nemesis> {
    Box::new(Answers { mode: Mode::NxDomain, queries_before: 0 })
}

pub(super) fn stale() -> Box<dyn Nemesis> {
    Box::new(Stale)
}

pub(super) fn wrong() -> Box<dyn Nemesis> {
    Box::new(Wrong)
}

/// The server answers everything in one way.
struct Answers {
    mode: Mode,
    queries_before: usize,
}

#[async_trait(?Send)]
impl Nemesis for Answers {
    async fn install(&mut self, deployment: &mut Deployment, _: &Aim, _: &mut StdRng) -> Result<Begun> {
        let at_ns = now_ns();
        deployment.names.set_mode(self.mode);
        self.queries_before = deployment.names.queries();
        Ok(Begun::installed(at_ns, [], format!("{:?}", self.mode)))
    }

    async fn heal(&mut self, deployment: &mut Deployment) -> Result<()> {
        deployment.names.set_mode(Mode::Answer);
        let names = &deployment.names;
        // Somebody must have noticed, or it was no fault.
        eventually(ASKED_WITHIN, "members to ask", async || {
            ensure!(names.queries() > self.queries_before, "nobody has asked while it lasted");
            Ok(())
        })
        .await
    }
}

/// A pod is replaced, and DNS goes on telling the old address.
struct Stale;

#[async_trait(?Send)]
impl Nemesis for Stale {
    async fn install(&mut self, deployment: &mut Deployment, aim: &Aim, rng: &mut StdRng) -> Result<Begun> {
        let Some(victim) = aim.pick(&deployment.replicas(), rng) else { return Ok(Begun::skipped("there is no pod")) };
        let old = deployment.pod(&victim)?.address();
        let at_ns = now_ns();
        deployment.names.freeze(true);
        deployment.delete_pod(&victim, false).await?;
        deployment.create_pod(&victim).await?;
        let new = deployment.pod(&victim)?.address();
        Ok(Begun::installed(at_ns, [victim], format!("{old} is told, {new} is true")).seen(old != new))
    }

    async fn heal(&mut self, deployment: &mut Deployment) -> Result<()> {
        deployment.names.freeze(false);
        Ok(())
    }
}

/// DNS tells another member's address for a member.
struct Wrong;

#[async_trait(?Send)]
impl Nemesis for Wrong {
    async fn install(&mut self, deployment: &mut Deployment, aim: &Aim, rng: &mut StdRng) -> Result<Begun> {
        let members = deployment.member_names();
        let Some(victim) = aim.pick(&deployment.replicas(), rng) else { return Ok(Begun::skipped("there is no pod")) };
        let others: Vec<&String> = members.iter().filter(|name| **name != victim).collect();
        let Some(other) = others.choose(rng) else { return Ok(Begun::skipped("there is no other member")) };
        let address = deployment.pod(other)?.address();
        let at_ns = now_ns();
        deployment.names.lie(Some((victim.clone(), address)));
        Ok(Begun::installed(at_ns, [victim], format!("the address of {other} is told for it")))
    }

    async fn heal(&mut self, deployment: &mut Deployment) -> Result<()> {
        deployment.names.lie(None);
        Ok(())
    }
}
