//! How long nobody leads: after a kill, after a termination.
//!
//! Each member is asked every 2 ms. The time reported is an upper bound: from the last request that the old leader
//! answered with "I lead" (or the kill) to the first such answer of the new one. It is at most one round trip and two
//! sampling periods too long, never too short.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::Signal;
use test_support::cluster::{Cluster, GROUP, TAKEOVER_MAX};
use test_support::config_watch::ConfigWatch;
use test_support::wait::eventually;

/// Time between two samples of a member.
pub(crate) const SAMPLE_PERIOD: Duration = Duration::from_millis(2);
/// Time between two looks at the configuration that a Prometheus runs.
pub(crate) const CONFIG_PERIOD: Duration = Duration::from_millis(10);
/// Grace delay of the members, and a bit.
const EXIT_MAX: Duration = Duration::from_secs(10);

/// How the leader goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// SIGKILL to sidecar and Prometheus: a lost machine.
    Kill,
    /// SIGTERM to the sidecar alone: a planned handover, Prometheus lives on.
    Terminate,
    /// SIGTERM to both at once: a pod is deleted.
    TerminatePod,
}

/// Outcomes of all runs with one fault.
#[derive(Debug, Default)]
pub(crate) struct Times {
    /// No member held authority for so long.
    pub(crate) without_leader: Vec<Duration>,
    /// From the fault until the new leader's Prometheus ran the leader configuration.
    pub(crate) until_shipping: Vec<Duration>,
}

/// Breaks the leader once, notes the times and mends it.
pub(crate) async fn run(cluster: &mut Cluster, fault: Fault, times: &mut Times) -> Result<()> {
    let leader = cluster.wait_settled().await?;
    let mut configs = ConfigWatch::new(CONFIG_PERIOD)?;
    for member in &cluster.members {
        configs.watch(&member.name, &member.prometheus.url(""));
    }
    let old = cluster.tenure()?;
    let member = &mut cluster.members[leader];
    let start = Instant::now();
    match fault {
        Fault::Kill => member.kill()?,
        Fault::Terminate => member.sidecar.signal(Signal::TERM)?,
        Fault::TerminatePod => {
            member.sidecar.signal(Signal::TERM)?;
            member.prometheus.signal(Signal::TERM)?;
        }
    }
    let new = cluster.sampler.successor(GROUP, &old, TAKEOVER_MAX).await?;
    let shipping = configs.first_shipping(&new.member, start, TAKEOVER_MAX).await?;
    let lost = match fault {
        Fault::Kill => start,
        Fault::Terminate | Fault::TerminatePod => {
            cluster.sampler.tenure(GROUP, old.term).context("the old tenure")?.until.max(start)
        }
    };
    times.without_leader.push(new.since.saturating_duration_since(lost));
    times.until_shipping.push(shipping.saturating_duration_since(start));
    mend(cluster, leader, fault).await
}

async fn mend(cluster: &mut Cluster, index: usize, fault: Fault) -> Result<()> {
    let member = &mut cluster.members[index];
    match fault {
        Fault::Kill => member.start().await?,
        Fault::Terminate => {
            member.sidecar.wait_exit(EXIT_MAX).await?;
            member.sidecar.start()?;
        }
        Fault::TerminatePod => {
            member.sidecar.wait_exit(EXIT_MAX).await?;
            member.prometheus.wait_exit(EXIT_MAX).await?;
            member.start().await?;
        }
    }
    let name = member.name.clone();
    // A member that has just started answers nothing for a moment; the settled state is waited for by the next run.
    eventually(TAKEOVER_MAX, &format!("{name} to answer"), async || cluster.members[index].sidecar.leader().await)
        .await?;
    Ok(())
}
