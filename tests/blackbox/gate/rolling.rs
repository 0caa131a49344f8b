//! Pods end as a StatefulSet ends them, both processes at once. In an update the highest ordinal is first, and each pod waits for the
//! one before to be ready.

use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use test_support::cluster::{Options, SETTLE_MAX};
use test_support::gated::{Gated, check_gaps};
use test_support::load::Load;
use test_support::prometheus::Kind;
use test_support::receiver::behaviour::Behaviour;
use test_support::wait::{eventually, throughout};

use super::{SCRAPE_MAX_MS, SMALL_BATCHES, options, steady, wall_ms};

/// Eight scrapes, and far more than a member needs to be covered.
const OUTAGE: Duration = Duration::from_secs(4);
/// Longer than both processes take to end.
const EXIT_MAX: Duration = Duration::from_secs(20);
const READS_PER_SECOND: u32 = 50;
/// What readiness says of a settled member that knows nothing of before.
const NOT_COVERED: &str = "could not take over without a gap yet";

/// Without cover in readiness, the last Prometheus that has the outage would be restarted during it.
#[tokio::test]
async fn a_rolling_update_waits_for_pods_that_could_take_over_and_loses_nothing() -> Result<()> {
    let mut gated = Gated::prepare(&options("gate-rolling", SMALL_BATCHES, true)?, Behaviour::Prometheus).await?;
    steady(&mut gated);
    gated.start_group(3).await?;
    let mut ended_ms = Vec::new();
    for index in (0..gated.cluster.members.len()).rev() {
        let is_middle = index == 1;
        if is_middle {
            gated.receiver.set(Behaviour::Status(503));
        }
        let ended = restart_pod(&mut gated, index).await.with_context(|| format!("restart of pod {index}"))?;
        ended_ms.push(ended);
        if is_middle {
            waits_for_cover(&gated, index).await?;
            gated.heal_remote();
        }
        let sidecar = &gated.cluster.members[index].sidecar;
        eventually(SETTLE_MAX, &format!("pod {index} to be ready"), async || sidecar.get("/_elector/readyz").await)
            .await?;
    }
    gated.wait_whole().await?;
    gated.check_writers_except(&ended_ms)?;
    check_gaps(gated.receiver.store().by_time())?;
    gated.cluster.finish()
}

/// Its Prometheus flushes for as long as the remote is away, and answers nothing and loads nothing meanwhile.
#[tokio::test]
async fn no_read_fails_when_the_writers_pod_ends_while_the_remote_hangs() -> Result<()> {
    // A full server, because agents answer no PromQL.
    let options = Options { kind: Kind::Server, ..options("gate-ends", SMALL_BATCHES, false)? };
    let mut gated = Gated::prepare(&options, Behaviour::Prometheus).await?;
    for member in &mut gated.cluster.members {
        // The default. Half of it, but 5 s at most, is a handover's time for a Prometheus that does not obey.
        member.sidecar.flags.set("api-shutdown-grace-delay", "15s");
    }
    let leader = gated.start_group(3).await?;
    let other = gated.cluster.follower(leader)?;
    let load = Load::start(&gated.cluster.members[other].sidecar.url("/api/v1/query?query=up"), READS_PER_SECOND)?;
    gated.receiver.set(Behaviour::Hang);
    gated.wait_scrapes(leader).await?;
    let old = gated.cluster.tenure()?;
    let member = &mut gated.cluster.members[leader];
    member.prometheus.signal(Signal::TERM)?;
    member.sidecar.signal(Signal::TERM)?;
    let next = gated.cluster.wait_successor(&old).await?;
    let name = gated.cluster.members[next].name.clone();
    eventually(SETTLE_MAX, "reads that the next leader answers", async || {
        let answered = load.report().answered_by.contains_key(&name);
        ensure!(answered, "{:?}", load.report());
        Ok(())
    })
    .await?;
    let report = load.stop().await;
    eprintln!("{} reads, the longest took {:?}", report.succeeded, report.slowest);
    ensure!(report.failed == 0, "{report:?}");
    gated.heal_remote();
    gated.wait_next_writer(&old).await?;
    let member = &mut gated.cluster.members[leader];
    member.prometheus.wait_exit(EXIT_MAX).await?;
    member.sidecar.wait_exit(EXIT_MAX).await?;
    member.start().await?;
    gated.wait_whole().await?;
    gated.check()?;
    gated.cluster.finish()
}

/// SIGTERM to both processes, and starts them again. Returns when its Prometheus ended, in Unix milliseconds.
async fn restart_pod(gated: &mut Gated, index: usize) -> Result<RangeInclusive<u64>> {
    let ends_ms = wall_ms()?;
    let member = &mut gated.cluster.members[index];
    member.sidecar.signal(Signal::TERM)?;
    member.prometheus.signal(Signal::TERM)?;
    member.prometheus.wait_exit(EXIT_MAX).await?;
    let status = member.sidecar.wait_exit(EXIT_MAX).await?;
    ensure!(status.code() == Some(0), "its sidecar ended with {status}");
    let ended_ms = ends_ms.saturating_sub(SCRAPE_MAX_MS)..=wall_ms()?;
    member.start().await?;
    Ok(ended_ms)
}

/// A settled member that is not ready, and says why, for as long as the remote is away.
async fn waits_for_cover(gated: &Gated, index: usize) -> Result<()> {
    let sidecar = &gated.cluster.members[index].sidecar;
    let waits = async || match sidecar.get("/_elector/readyz").await {
        Ok(_) => bail!("it is ready"),
        Err(error) => {
            let says = format!("{error:#}");
            ensure!(says.contains("503") && says.contains(NOT_COVERED), "{says}");
            Ok(())
        }
    };
    eventually(SETTLE_MAX, "a settled pod that waits for cover", waits).await?;
    gated.wait_scrapes(index).await?;
    throughout(OUTAGE, "a pod that waits for cover", waits).await
}
