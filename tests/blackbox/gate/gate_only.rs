//! Nothing but the gate: Prometheus is configured by somebody else, and no sidecar ever touches it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use test_support::cluster::Member;
use test_support::gated::{Gated, SCRAPE_INTERVAL};
use test_support::receiver::behaviour::Behaviour;
use test_support::source::LEADER_JOB;
use test_support::wait::eventually;

use super::{SMALL_BATCHES, lose_writer, options};

/// Eight scrapes.
const OUTAGE: Duration = Duration::from_secs(4);
/// The gate looks at its Prometheus every five seconds.
const SEEN_MAX: Duration = Duration::from_secs(15);

#[tokio::test]
async fn a_prometheus_of_somebody_else_is_never_touched_and_loses_nothing() -> Result<()> {
    let mut gated = Gated::prepare(&options("gate-only", SMALL_BATCHES, true)?, Behaviour::Prometheus).await?;
    let remote = format!("http://{}/api/v1/write", gated.receiver.address);
    for member in &mut gated.cluster.members {
        member.sidecar.flags.set("gate-only", true).remove("output");
        let deadline = format!("queue_config: {{batch_send_deadline: {SMALL_BATCHES}ms, max_backoff: 500ms}}");
        let entry = format!("{{name: main, url: '{remote}', {deadline}}}");
        member.source.write(&format!("follower: {{}}\nleader: {{remote_write: [{entry}]}}\n"))?;
        std::fs::write(member.output(), foreign(member, "one")?)?;
    }
    let leader = gated.start_group(3).await?;
    let before = touched(&gated).await?;
    takeover(&mut gated, leader).await.context("a takeover after an outage")?;
    gated.check()?;
    let after = touched(&gated).await?;
    for (index, (before, after)) in before.iter().zip(&after).enumerate() {
        // That of the lost pod has started anew.
        let is_same = if index == leader { before.file == after.file } else { before == after };
        ensure!(is_same, "member {index}: {before:?} before, {after:?} after");
    }
    let leader = gated.wait_whole().await?;
    other_labels(&mut gated, leader).await.context("other external labels")?;
    gated.cluster.finish()
}

/// The file of a Prometheus that knows nothing but the gate. (The leader's job is what the group takes a leader's
/// configuration for.)
fn foreign(member: &Member, cluster: &str) -> Result<String> {
    let gated = member.spec.gated.as_ref().context("a gated entry")?;
    let gate = member.sidecar.flags.get("admin-listen-address").context("a gate")?;
    let interval = format!("{}ms", SCRAPE_INTERVAL.as_millis());
    Ok(format!(
        "global: {{scrape_interval: {interval}, scrape_timeout: {interval}, external_labels: {{cluster: {cluster}}}}}
scrape_configs:
    - {{job_name: {LEADER_JOB}}}
{}remote_write:
{}",
        gated.job(member.spec.target),
        gated.entry("a-name-of-its-own", &format!("http://{gate}/write/main"), &member.name)
    ))
}

/// What a sidecar could have done to a Prometheus.
#[derive(Debug, PartialEq)]
struct Touched {
    file: String,
    loaded_s: f64,
}

/// Fails if a sidecar has ever asked for a reload.
async fn touched(gated: &Gated) -> Result<Vec<Touched>> {
    let mut all = Vec::new();
    for member in &gated.cluster.members {
        let metrics = member.sidecar.metrics().await?;
        let calls = metrics.sum("prometheus_elector_notifier_calls_total");
        ensure!(calls == 0.0, "{}: {calls} reloads", member.name);
        let loaded_s = member.prometheus.own_metric("prometheus_config_last_reload_success_timestamp_seconds").await?;
        ensure!(loaded_s > 0.0, "{} does not tell when it was loaded", member.name);
        all.push(Touched { file: std::fs::read_to_string(member.output())?, loaded_s });
    }
    Ok(all)
}

/// The pod of the writer is lost with everything that its Prometheus holds.
async fn takeover(gated: &mut Gated, leader: usize) -> Result<usize> {
    gated.receiver.set(Behaviour::Status(503));
    tokio::time::sleep(OUTAGE).await;
    lose_writer(gated, leader).await
}

/// Each takeover would begin new series.
async fn other_labels(gated: &mut Gated, leader: usize) -> Result<()> {
    let warned = async |member: &Member| {
        let status = member.sidecar.status().await?;
        let warns = status.warnings().iter().any(|warning| warning.contains("external_labels"));
        Ok::<_, anyhow::Error>((warns, status))
    };
    for member in &gated.cluster.members {
        let (warns, status) = warned(member).await?;
        ensure!(!warns, "{}: a warning without a cause: {:?}", member.name, status.warnings());
    }
    let standby = gated.cluster.follower(leader)?;
    let member = &gated.cluster.members[standby];
    std::fs::write(member.output(), foreign(member, "two")?)?;
    member.prometheus.reload().await?;
    eventually(SEEN_MAX, "a warning of other external labels", async || {
        let (warns, status) = warned(member).await?;
        ensure!(warns, "only {:?}", status.warnings());
        Ok(())
    })
    .await?;
    for (index, member) in gated.cluster.members.iter().enumerate() {
        let (warns, _) = warned(member).await?;
        ensure!(warns == (index == standby), "{}: warns is {warns}", member.name);
    }
    Ok(())
}
