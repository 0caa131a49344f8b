//! What Prometheus makes of the gate: the queue of a standby has a healthy remote, and a change of leader reloads nothing.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use test_support::gated::Gated;
use test_support::prometheus::Prometheus;
use test_support::receiver::behaviour::Behaviour;
use test_support::wait::{eventually, throughout};

use super::{SMALL_BATCHES, options, steady};

/// Twice the time after which Prometheus judges its number of shards, and twice the lag at which it wants more.
const OUTAGE: Duration = Duration::from_secs(20);
/// A few scrapes and batches; Prometheus tells times of its queue in whole seconds.
const LAG_MAX_S: f64 = 3.0;
/// A queue that is well has sent what it has within two batches; this is for a busy machine.
const SENT_MAX: Duration = Duration::from_secs(15);
/// So many shards the queues may have if they want to.
const SHARDS_MAX: u32 = 10;

#[tokio::test]
async fn a_standbys_queue_has_a_healthy_remote_and_a_change_of_leader_reloads_nothing() -> Result<()> {
    let mut gated = Gated::prepare(&options("gate-queues", SMALL_BATCHES, true)?, Behaviour::Accept).await?;
    for member in &mut gated.cluster.members {
        let spec = member.spec.gated.as_mut().context("a gated entry")?;
        (spec.shards, spec.shards_max, spec.only_remote_write) = (1, SHARDS_MAX, true);
        member.write_source()?;
    }
    steady(&mut gated);
    let leader = gated.start_group(3).await?;
    outage(&gated, leader).await.context("queues while the remote is away")?;
    let leader = gated.wait_whole().await?;
    let leader = changes_of_leader(&mut gated, leader).await.context("changes of leader")?;
    gated.cluster.members[leader].sidecar.start()?;
    gated.wait_whole().await?;
    gated.check()?;
    gated.cluster.finish()
}

/// A queue as an alert sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Queue {
    retries: f64,
    failures: f64,
    drops: f64,
    shards: f64,
    shards_desired: f64,
    lag_s: f64,
}

impl Queue {
    async fn of(prometheus: &Prometheus) -> Result<Self> {
        let page = prometheus.metrics().await?;
        let own = |name: &str| {
            let name = format!("prometheus_remote_storage_{name}");
            page.has(&name).then(|| page.sum(&name)).with_context(|| format!("{} has no {name}", prometheus.name))
        };
        // The newest sample that waits for the queue or has gone through it: version 3 has one for each queue.
        let scraped_s = own("queue_highest_timestamp_seconds").or_else(|_| own("highest_timestamp_in_seconds"))?;
        Ok(Self {
            retries: own("samples_retried_total")?,
            failures: own("samples_failed_total")?,
            // Version 3 has none until something is dropped.
            drops: page.sum("prometheus_remote_storage_samples_dropped_total"),
            shards: own("shards")?,
            shards_desired: own("shards_desired")?,
            lag_s: scraped_s - own("queue_highest_sent_timestamp_seconds")?,
        })
    }

    /// Nothing waits, and one shard is enough.
    fn is_well(&self) -> bool {
        self.shards < 2.0 && self.shards_desired < 2.0 && self.lag_s < LAG_MAX_S
    }
}

/// The leader's queue shows that the remote is away; nobody else's does.
async fn outage(gated: &Gated, leader: usize) -> Result<()> {
    let standbys: Vec<usize> = (0..3).filter(|&index| index != leader).collect();
    let prometheus = |index: usize| &gated.cluster.members[index].prometheus;
    let mut before = Vec::new();
    for &standby in &standbys {
        let healthy = eventually(SENT_MAX, "a queue that has sent all", async || {
            let queue = Queue::of(prometheus(standby)).await?;
            ensure!(queue.is_well(), "{queue:?}");
            Ok(queue)
        });
        before.push(healthy.await?);
    }
    let leaders = Queue::of(prometheus(leader)).await?;
    gated.receiver.set(Behaviour::Status(503));
    throughout(OUTAGE, "the health of the standbys' queues", async || {
        ensure!(gated.cluster.members[leader].sidecar.leader().await?.is_leader, "leadership has moved");
        for (&standby, before) in standbys.iter().zip(&before) {
            let now = Queue::of(prometheus(standby)).await?;
            let same = Queue { shards_desired: now.shards_desired, lag_s: now.lag_s, ..*before };
            ensure!(now == same && now.is_well(), "{before:?} before, {now:?} now");
        }
        Ok(())
    })
    .await?;
    let now = Queue::of(prometheus(leader)).await?;
    let is_away = now.retries > leaders.retries && now.lag_s > OUTAGE.as_secs_f64() / 2.0;
    ensure!(is_away, "the leader's queue does not show that the remote is away: {leaders:?} before, {now:?} now");
    gated.heal_remote();
    Ok(())
}

/// What reloads and queues of one Prometheus have come to.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Running {
    reloaded_s: f64,
    /// Calls of the sidecar beside it, which has lived on.
    calls: Option<f64>,
}

async fn running(gated: &Gated) -> Result<Vec<(Running, f64)>> {
    let mut all = Vec::new();
    for member in &gated.cluster.members {
        let page = member.prometheus.metrics().await?;
        let reloaded_s = page.sum("prometheus_config_last_reload_success_timestamp_seconds");
        ensure!(reloaded_s > 0.0, "{} does not tell when it was reloaded", member.name);
        let calls = if member.sidecar.started() {
            Some(member.sidecar.metrics().await?.sum("prometheus_elector_notifier_calls_total"))
        } else {
            None
        };
        all.push((Running { reloaded_s, calls }, page.sum("prometheus_remote_storage_samples_total")));
    }
    Ok(all)
}

/// A planned one and a hard one. Returns whose sidecar was killed.
async fn changes_of_leader(gated: &mut Gated, leader: usize) -> Result<usize> {
    let before = running(gated).await?;
    let old = gated.cluster.tenure()?;
    gated.cluster.members[leader].sidecar.command(&["step-down"]).await?.ok()?;
    let next = gated.wait_next_writer(&old).await?;
    // Time for a reload that nobody wants.
    gated.wait_scrapes(next).await?;
    let planned = running(gated).await?;
    let old = gated.cluster.tenure()?;
    gated.cluster.members[next].sidecar.kill()?;
    let last = gated.wait_next_writer(&old).await?;
    gated.wait_scrapes(last).await?;
    let hard = running(gated).await?;
    for (index, member) in gated.cluster.members.iter().enumerate() {
        let ((first, sent), (second, sent_2), (third, sent_3)) = (before[index], planned[index], hard[index]);
        ensure!(second == first, "{}: {first:?} before a planned change, {second:?} after it", member.name);
        let lives = Running { calls: third.calls.and(second.calls), ..second };
        ensure!(third == lives, "{}: {second:?} before a hard change, {third:?} after it", member.name);
        ensure!(sent <= sent_2 && sent_2 <= sent_3, "{}: its queue counts anew", member.name);
    }
    Ok(next)
}
