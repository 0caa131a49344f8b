//! The remote-write gate with real Prometheus: one writer by fencing, and not a sample lost.
//!
//! The receiver notes term, sender and samples of every request from its start. Each case ends with the whole verdict: no
//! term goes backwards, no two senders share one, no sample is missing that a covered replica had. One group serves several
//! cases, one after the other.

mod changes;
mod gate_only;
mod outages;
mod queues;
mod restarts;
mod rolling;
mod storage;
mod writers;

use std::time::SystemTime;

use anyhow::{Result, ensure};
use test_support::cluster::{Options, TAKEOVER_MAX};
use test_support::gated::{self, Gated};
use test_support::sidecar::find_binary;
use test_support::wait::eventually;

/// Batches of a few samples, of one scrape each.
const SMALL_BATCHES: u32 = 200;
/// Batches that hold several scrapes, and with them old and new samples of one series.
const LARGE_BATCHES: u32 = 2_000;

/// Longest scrape of the target.
const SCRAPE_MAX_MS: u64 = 200;

/// A group with the gate on, whose batches wait for so many milliseconds; remote write 2.0 where asked and possible.
fn options(label: &'static str, batch_deadline_ms: u32, is_v2: bool) -> Result<Options> {
    let binary = find_binary(Some(env!("CARGO_BIN_EXE_prometheus-elector")))?;
    gated::options(label, binary, batch_deadline_ms, is_v2)
}

/// Before the first start: leases that outlast a machine that is busy with other tests, for a leader that must stay.
fn steady(gated: &mut Gated) {
    for member in &mut gated.cluster.members {
        let flags = &mut member.sidecar.flags;
        flags.set("lease-duration", "3s").set("lease-renew-deadline", "2400ms").set("lease-retry-period", "200ms");
    }
}

/// Waits until a certain member leads and writes.
async fn wait_leads(gated: &Gated, index: usize) -> Result<()> {
    eventually(TAKEOVER_MAX, &format!("{} to lead", gated.cluster.members[index].name), async || {
        let leads = gated.cluster.members[index].sidecar.leader().await?.is_leader;
        ensure!(leads, "it does not");
        Ok(())
    })
    .await?;
    gated.wait_writes(index).await
}

/// The pod of the writer is lost with everything that its Prometheus holds, and the remote is well again. Returns the leader of
/// the group that is whole again.
async fn lose_writer(gated: &mut Gated, leader: usize) -> Result<usize> {
    let old = gated.cluster.tenure()?;
    ensure!(old.member == gated.cluster.members[leader].name, "leadership has moved");
    gated.cluster.members[leader].kill()?;
    gated.heal_remote();
    gated.wait_next_writer(&old).await?;
    restart(gated, leader).await
}

/// Starts a lost pod again, and waits until the group is whole. Returns the leader.
async fn restart(gated: &mut Gated, lost: usize) -> Result<usize> {
    gated.cluster.members[lost].start().await?;
    gated.wait_whole().await
}

/// Unix milliseconds, as the target's notes have them.
fn wall_ms() -> Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis())?)
}
