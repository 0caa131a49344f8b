//! Jumps of the wall clock, as one sidecar sees it: libfaketime is between it and the C library. The machine's clock is never set.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use rand::RngExt as _;
use rand::rngs::StdRng;
use reqwest::header::DATE;
use test_support::wait::eventually;

use super::{Aim, Begun, Nemesis};
use crate::deployment::Deployment;
use crate::deployment::options::API_PORT;
use crate::recorder::now_ns;

/// The library looks at its file every second, and at every call that asks for the time.
const SEEN_WITHIN: Duration = Duration::from_secs(6);
/// A date tells whole seconds, and the machine is busy.
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
            return Ok(Begun::skipped("libfaketime is not installed (Debian: `apt-get install faketime`)"));
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

/// Waits until the sidecar's answers have the date of a clock that is wrong by so much.
async fn see(deployment: &mut Deployment, victim: &str, seconds: i64) -> Result<()> {
    let url = format!("http://{}:{API_PORT}/_elector/livez", deployment.pod(victim)?.address());
    let client = deployment.client();
    eventually(SEEN_WITHIN, "the wall clock to jump", async || {
        let answer = client.get(&url).send().await?;
        let date = answer.headers().get(DATE).context("an answer without a date")?.to_str()?;
        let off = offset(date, SystemTime::now()).with_context(|| format!("date `{date}`"))?;
        ensure!((off - seconds).abs() <= SLACK_S, "its clock is off by {off} s");
        Ok(())
    })
    .await
}

/// Seconds by which an HTTP date is ahead.
fn offset(date: &str, now: SystemTime) -> Option<i64> {
    let date = httpdate::parse_http_date(date).ok()?;
    let ahead = date.duration_since(now).map(|ahead| ahead.as_secs());
    let behind = now.duration_since(date).map(|behind| behind.as_secs());
    match (ahead, behind) {
        (Ok(seconds), _) => i64::try_from(seconds).ok(),
        (_, Ok(seconds)) => i64::try_from(seconds).ok().map(|seconds| -seconds),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_tells_how_wrong_a_clock_is() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(offset("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(0));
        assert_eq!(offset("Sun, 06 Nov 1994 08:50:37 GMT", now), Some(60));
        assert_eq!(offset("Sun, 06 Nov 1994 07:49:37 GMT", now), Some(-3_600));
        assert_eq!(offset("yesterday", now), None);
    }
}
