//! Faults of the remote that samples are shipped to.

use std::time::Duration;

use anyhow::{Result, ensure};
use async_trait::async_trait;
use rand::rngs::StdRng;
use test_support::receiver::behaviour::Behaviour;
use test_support::wait::eventually;

use super::{Aim, Begun, Nemesis};
use crate::deployment::Deployment;
use crate::recorder::now_ns;

/// A writer sends every second or so.
const REQUEST_WITHIN: Duration = Duration::from_secs(6);
const SLOW: Duration = Duration::from_secs(2);

pub(super) fn failing() -> Box<dyn Nemesis> {
    Box::new(Answers(Behaviour::Status(503)))
}

pub(super) fn hanging() -> Box<dyn Nemesis> {
    Box::new(Answers(Behaviour::Hang))
}

pub(super) fn slow() -> Box<dyn Nemesis> {
    Box::new(Answers(Behaviour::Slow(SLOW, Box::new(Behaviour::Accept))))
}

/// It answers in another way.
struct Answers(Behaviour);

#[async_trait(?Send)]
impl Nemesis for Answers {
    async fn install(&mut self, deployment: &mut Deployment, _: &Aim, _: &mut StdRng) -> Result<Begun> {
        let before = deployment.receiver.count();
        let at_ns = now_ns();
        deployment.receiver.set(self.0.clone());
        let receiver = &deployment.receiver;
        let is_seen = eventually(REQUEST_WITHIN, "a request", async || {
            ensure!(receiver.count() > before, "none came");
            Ok(())
        });
        let is_seen = is_seen.await.is_ok();
        let detail = if is_seen { "" } else { "nobody has sent anything since" };
        Ok(Begun::installed(at_ns, [], detail).seen(is_seen))
    }

    async fn heal(&mut self, deployment: &mut Deployment) -> Result<()> {
        deployment.receiver.set(Behaviour::Accept);
        Ok(())
    }
}
