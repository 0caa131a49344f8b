//! An entry of `remote_write` changes while its remote is away: Prometheus restarts its queue, and what that knew is gone.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use test_support::gated::{Gated, SCRAPE_INTERVAL, check_receiver};
use test_support::receiver::Receiver;
use test_support::receiver::behaviour::Behaviour;
use test_support::wait::{eventually, throughout};

use super::{SMALL_BATCHES, lose_writer, options, steady, wall_ms};

/// Six scrapes.
const PART_OF_OUTAGE: Duration = Duration::from_secs(3);
/// The gate looks at its Prometheus every five seconds.
const SEEN_MAX: Duration = Duration::from_secs(15);

/// Changes the queue and not a sample.
const CHANGE: &str = "      write_relabel_configs: [{action: labeldrop, regex: nobody_has_this}]\n";
const MAIN: &str = "remote_name=\"main\"";
const OTHER: &str = "remote_name=\"other\"";
const SENT: &str = "prometheus_remote_storage_samples_total";
const RELOADED: &str = "prometheus_config_last_reload_success_timestamp_seconds";

#[tokio::test]
async fn a_changed_entry_costs_the_cover_of_its_own_queue_until_the_writer_has_got_past() -> Result<()> {
    let mut gated = Gated::prepare(&options("gate-changes", SMALL_BATCHES, true)?, Behaviour::Prometheus).await?;
    let other = Receiver::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    for member in &mut gated.cluster.members {
        member.spec.gated.as_mut().context("a gated entry")?.other = Some(other.address);
        member.write_source()?;
    }
    steady(&mut gated);
    let leader = gated.start_group(3).await?;
    gated.receiver.set(Behaviour::Status(503));
    tokio::time::sleep(PART_OF_OUTAGE).await;
    let reloads_ms = change(&mut gated, leader).await.context("the change")?;
    for index in 0..3 {
        wait_covered(&gated, index, true).await?;
    }
    gated.receiver.set(Behaviour::Status(503));
    tokio::time::sleep(PART_OF_OUTAGE).await;
    lose_writer(&mut gated, leader).await?;
    // The writer's Prometheus keeps nothing of what it scrapes while it waits for its old queue: docs/gate.md warns of it.
    ensure!(gated.check_writers().is_err(), "a change during an outage has cost nothing");
    gated.check_writers_except(&[reloads_ms]).context("the changed entry")?;
    check_receiver(&gated.cluster, &other, &[]).context("the other entry")?;
    gated.cluster.finish()
}

/// Every replica gets another queue for the entry whose remote is away. Returns how long the writer's Prometheus has taken to
/// exchange it, in Unix milliseconds.
async fn change(gated: &mut Gated, leader: usize) -> Result<RangeInclusive<u64>> {
    let mut before = Vec::new();
    for member in &gated.cluster.members {
        before.push(member.prometheus.metrics().await?);
    }
    let begin_ms = wall_ms()?;
    for member in &mut gated.cluster.members {
        member.spec.gated.as_mut().context("a gated entry")?.more = CHANGE;
        member.write_source()?;
    }
    let standbys: Vec<usize> = (0..3).filter(|&index| index != leader).collect();
    for &standby in &standbys {
        let prometheus = &gated.cluster.members[standby].prometheus;
        let sent = before[standby].sum_with(SENT, MAIN);
        eventually(SEEN_MAX, "a new queue in a standby's Prometheus", async || {
            let now = prometheus.metrics().await?.sum_with(SENT, MAIN);
            ensure!(now < sent, "{sent} samples before, {now} now");
            Ok(())
        })
        .await?;
        wait_covered(gated, standby, false).await?;
    }
    throughout(PART_OF_OUTAGE, "the outage", async || {
        ensure!(gated.cluster.members[leader].sidecar.leader().await?.is_leader, "leadership has moved");
        for &standby in &standbys {
            check_covered(gated, standby, false).await?;
        }
        Ok(())
    })
    .await?;
    for (index, (member, before)) in gated.cluster.members.iter().zip(&before).enumerate() {
        let (sent, now) = (before.sum_with(SENT, OTHER), member.prometheus.metrics().await?.sum_with(SENT, OTHER));
        // The writer's Prometheus waits for its old queue, and stores no scrape meanwhile: nothing is left to send.
        let goes_on = now > sent || index == leader && now >= sent;
        ensure!(goes_on, "{}: the other queue had sent {sent} samples before, and {now} now", member.name);
    }
    gated.heal_remote();
    ensure!(gated.wait_whole().await? == leader, "leadership has moved");
    let reloaded_s = gated.cluster.members[leader].prometheus.own_metric(RELOADED).await?;
    // The new queue begins with scrapes that begin after it has: the target notes them later.
    let until_s = reloaded_s + SCRAPE_INTERVAL.as_secs_f64();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let end_ms = (until_s * 1_000.0).ceil() as u64;
    Ok(begin_ms..=end_ms)
}

/// Fails unless a member's status says whether it is covered with the changed entry, and why it is not, and that it is with
/// the other one.
async fn check_covered(gated: &Gated, index: usize, is_covered: bool) -> Result<()> {
    let status = gated.cluster.members[index].sidecar.status().await?;
    let (main, other) = (status.remote("main")?, status.remote("other")?);
    let reason = main["not_covered_reason"].as_str();
    ensure!(main["covered"] == is_covered && reason.is_none() == is_covered, "it says {main}");
    let says_why =
        reason.is_none_or(|reason| reason.contains("its queue, started") && reason.contains("the writer must get"));
    ensure!(says_why, "it says {reason:?}");
    ensure!(other["covered"] == true && other["not_covered_reason"] == Value::Null, "the other entry says {other}");
    Ok(())
}

async fn wait_covered(gated: &Gated, index: usize, is_covered: bool) -> Result<()> {
    let what = format!("member {index} to say that covered is {is_covered}");
    eventually(SEEN_MAX, &what, async || check_covered(gated, index, is_covered).await).await
}
