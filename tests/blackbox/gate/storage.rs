//! A real Prometheus is the remote: what it has stored is compared with what the replicas scraped.

use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;
use test_support::cluster::{Cluster, TAKEOVER_MAX};
use test_support::gated::{check_gaps, check_missing, wait_scrapes};
use test_support::target::SCRAPE_METRIC;
use test_support::wait::eventually;

use super::{LARGE_BATCHES, options};

/// Eight scrapes.
const OUTAGE: Duration = Duration::from_secs(4);

#[tokio::test]
async fn a_real_prometheus_has_every_sample_after_an_outage_and_a_takeover() -> Result<()> {
    let mut cluster = Cluster::start(&options("gate-storage", LARGE_BATCHES, true)?).await?;
    for index in 0..3 {
        wait_scrapes(&cluster, index).await?;
    }
    for outage in [Outage::Paused, Outage::Down] {
        let leader = cluster.wait_settled().await?;
        match outage {
            Outage::Paused => cluster.storage.signal(Signal::STOP)?,
            Outage::Down => cluster.storage.kill()?,
        }
        tokio::time::sleep(OUTAGE).await;
        let old = cluster.tenure()?;
        cluster.members[leader].kill()?;
        match outage {
            Outage::Paused => cluster.storage.signal(Signal::CONT)?,
            Outage::Down => cluster.storage.start().await?,
        }
        let next = cluster.wait_successor(&old).await?;
        cluster.members[leader].start().await?;
        cluster.wait_settled().await?;
        wait_scrapes(&cluster, leader).await?;
        wait_stored(&cluster, next).await?;
        let stored = cluster.storage.samples(SCRAPE_METRIC).await?;
        check_missing(&cluster, stored.clone())?;
        check_gaps(stored)?;
    }
    cluster.finish()
}

/// How the storage is away.
#[derive(Clone, Copy, Debug)]
enum Outage {
    /// Requests hang, and are answered late.
    Paused,
    /// Connections are refused.
    Down,
}

/// Waits until the storage has a newer sample of the writer than there is now.
async fn wait_stored(cluster: &Cluster, writer: usize) -> Result<()> {
    let count = format!("sum(count_over_time({SCRAPE_METRIC}[1h]))");
    wait_scrapes(cluster, writer).await?;
    let before = cluster.storage.query_one(&count).await?;
    eventually(TAKEOVER_MAX, "more samples in the storage", async || {
        let now = cluster.storage.query_one(&count).await?;
        anyhow::ensure!(now > before, "still {now}");
        Ok(())
    })
    .await
}
