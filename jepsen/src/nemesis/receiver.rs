//! Faults of the remote that samples are shipped to.

use std::time::Duration;

use anyhow::{Result, ensure};
use async_trait::async_trait;
use rand::rngs::StdRng;
use test_support::receiver::behaviour::Behaviour;

use super::{Aim, Begun, Nemesis};
use crate::recorder::now_ns;
use crate::stage::Stage;

/// A writer sends every second or so.
const REQUEST_WITHIN: Duration = Duration::from_secs(6);
const SLOW: Duration = Duration::from_secs(2);

pub(crate) fn failing<S: Stage>() -> Box<dyn Nemesis<S>> {
    Box::new(Answers(Behaviour::Status(503)))
}

pub(crate) fn hanging<S: Stage>() -> Box<dyn Nemesis<S>> {
    Box::new(Answers(Behaviour::Hang))
}

pub(crate) fn slow<S: Stage>() -> Box<dyn Nemesis<S>> {
    Box::new(Answers(Behaviour::Slow(SLOW, Box::new(Behaviour::Accept))))
}

/// It answers in another way.
struct Answers(Behaviour);

#[async_trait(?Send)]
impl<S: Stage> Nemesis<S> for Answers {
    async fn install(&mut self, stage: &mut S, _: &Aim, _: &mut StdRng) -> Result<Begun> {
        let before = stage.hub().receiver.count();
        let at_ns = now_ns();
        stage.hub().receiver.set(self.0.clone());
        let is_seen = stage.until(REQUEST_WITHIN, "a request", async |stage| {
            ensure!(stage.hub().receiver.count() > before, "none came");
            Ok(())
        });
        let is_seen = is_seen.await.is_ok();
        let detail = if is_seen { "" } else { "nobody has sent anything since" };
        Ok(Begun::installed(at_ns, [], detail).seen(is_seen))
    }

    async fn heal(&mut self, stage: &mut S) -> Result<()> {
        stage.hub().receiver.set(Behaviour::Accept);
        Ok(())
    }
}
