//! Black-box tests: the real binary beside real Prometheus processes, a real DNS server, and a storage that takes
//! remote write. All of them watch for two leaders at once from the first moment to the last.
//!
//! One program, so that it is linked once. Every test has addresses and directories of its own and may run beside any
//! other. `PROMETHEUS` names the Prometheus to use, `KEEP=1` leaves the directories behind.

mod commands;
mod config_reload;
mod gate;
mod group;
mod membership;
mod page;
mod planned;
mod proxy;
mod raft_tls;
mod secured;
mod takeover;
mod web_config;

use anyhow::ensure;
use test_support::cluster::{Cluster, Options, TAKEOVER_MAX};
use test_support::sidecar::find_binary;
use test_support::wait::eventually;

/// Three members with agents that find each other by SRV records.
fn options(label: &'static str) -> anyhow::Result<Options> {
    Ok(Options::new(label, find_binary(Some(env!("CARGO_BIN_EXE_prometheus-elector")))?))
}

/// Adds a job to every member's source file and waits until every Prometheus runs it, with roles as before.
async fn add_job(cluster: &mut Cluster, leader: usize, job: &str) -> anyhow::Result<()> {
    for member in &mut cluster.members {
        member.spec.extra_jobs.push(job.into());
        member.write_source()?;
    }
    let wanted = format!("job_name: {job}");
    for member in &cluster.members {
        eventually(TAKEOVER_MAX, &format!("{}'s Prometheus to run job {job}", member.name), async || {
            ensure!(member.prometheus.running_config().await?.contains(&wanted), "not in its configuration");
            Ok(())
        })
        .await?;
    }
    ensure!(cluster.wait_settled().await? == leader, "a change of the file moved leadership");
    Ok(())
}
