//! Jumps of the wall clock, as one sidecar sees it: libfaketime is between it and the C library. The machine's clock is never set.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use rand::RngExt as _;
use rand::rngs::StdRng;
use serde_json::Value;
use test_support::wait::eventually;

use super::{Aim, Begun, Nemesis};
use crate::deployment::Deployment;
use crate::recorder::now_ns;

/// The library looks at its file every second, and at every call that asks for the time.
const SEEN_WITHIN: Duration = Duration::from_secs(6);
/// The machine is busy.
const SLACK_S: i64 = 4;

pub(super) fn jump() -> Box<dyn Nemesis> {
    Box::new(Jump { victim: None })
}

struct Jump {
    victim: Option<String>,
}

#[async_trait(?Send)]
impl Nemesis for Jump {
    async fn install(&mut self, deployment: &mut Deployment, aim: &Aim, rng: &mut StdRng) -> Result<Begun> {
        if deployment.options.faketime.is_none() {
            return Ok(Begun::skipped(
                "libfaketime is not installed (Debian: `apt-get install faketime`), or an adapter starts the sidecars",
            ));
        }
        let Some(victim) = aim.pick(&deployment.replicas(), rng) else { return Ok(Begun::skipped("there is no pod")) };
        let seconds: i64 = rng.random_range(60..86_400) * if rng.random_bool(0.5) { 1 } else { -1 };
        let at_ns = now_ns();
        self.victim = Some(victim.clone());
        set(deployment, &victim, seconds)?;
        let seen = see(deployment, &victim, seconds).await;
        let detail =
            format!("{seconds:+} s{}", seen.as_ref().err().map_or_else(String::new, |error| format!("; {error:#}")));
        Ok(Begun::installed(at_ns, [victim], detail).seen(seen.is_ok()))
    }

    async fn heal(&mut self, deployment: &mut Deployment) -> Result<()> {
        let Some(victim) = self.victim.take() else { return Ok(()) };
        set(deployment, &victim, 0)?;
        // A sidecar that does not run now starts with the right time.
        if deployment.pod(&victim)?.sidecar.state().is_some_and(|state| state != 'T') {
            see(deployment, &victim, 0).await?;
        }
        Ok(())
    }
}

fn set(deployment: &mut Deployment, victim: &str, seconds: i64) -> Result<()> {
    std::fs::write(deployment.pod(victim)?.clock_file(), format!("{seconds:+}\n")).context("set the clock")
}

/// Waits until the sidecar tells the time of a clock that is wrong by so much. (Not by the header `Date`: hyper keeps that, and does
/// not go back with the clock.)
async fn see(deployment: &mut Deployment, victim: &str, seconds: i64) -> Result<()> {
    eventually(SEEN_WITHIN, "the wall clock to jump", async || {
        let status = deployment.hub.status(victim).await?;
        let off = offset(&status, SystemTime::now()).context("a status without `at_unix_ms`")?;
        ensure!((off - seconds).abs() <= SLACK_S, "its clock is off by {off} s");
        Ok(())
    })
    .await
}

/// Seconds by which the clock of a status is ahead.
fn offset(status: &Value, now: SystemTime) -> Option<i64> {
    let now = i64::try_from(now.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()?;
    Some((status["at_unix_ms"].as_i64()? - now) / 1_000)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_tells_how_wrong_a_clock_is() {
        let now = UNIX_EPOCH + Duration::from_millis(784_111_777_500);
        let offset = |at: i64| offset(&json!({ "at_unix_ms": at }), now);
        assert_eq!(offset(784_111_777_501), Some(0));
        assert_eq!(offset(784_111_837_500), Some(60));
        assert_eq!(offset(784_108_177_500), Some(-3_600));
        assert_eq!(super::offset(&json!({}), now), None);
    }
}
