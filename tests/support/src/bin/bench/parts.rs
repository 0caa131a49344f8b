//! What each part of an idle member costs: a group of one, a group of three, with the proxy, with the gate; processor time by thread.

use std::path::Path;

use anyhow::Result;
use test_support::cluster::{Cluster, Discovery, GateOptions, Options};
use test_support::procfs::{Usage, thread_cpu};
use tokio::time::{Duration, Instant};

use crate::footprint::{self, IDLE};
use crate::{mebibytes, print_table, progress, progress_end};

const THREADS: [&str; 4] = ["group", "group-disk", "main", "gate-fence"];

/// Prints the table.
pub(crate) async fn measure(binary: &Path) -> Result<()> {
    let mut rows = Vec::new();
    for (name, members, proxy, gate) in [
        ("a group of one", 1, false, None),
        ("group and role control", 3, false, None),
        ("and the proxy", 3, true, None),
        ("and the gate", 3, true, Some(GateOptions::STEADY)),
    ] {
        progress(&format!("idle members: {name}"));
        let options =
            Options { discovery: Discovery::Static, gate, print_logs: false, ..Options::new("bench-parts", binary) };
        let options = options.members(members, members).customize(move |_, flags| {
            footprint::by_default(flags);
            flags.set("api-proxy-enabled", proxy).set("raft-bootstrap-expect", members);
        });
        let mut cluster = Cluster::start(&options).await?;
        let leader = cluster.wait_settled().await?;
        footprint::leave_alone(&mut cluster)?;
        rows.push(row(&format!("{name}: leader"), &cluster, leader).await?);
        if members > 1 {
            rows.push(row(&format!("{name}: follower"), &cluster, cluster.follower(leader)?).await?);
        }
        cluster.end();
    }
    progress_end();
    let header = ["an idle member, of a core", "whole", "group", "its disk", "main", "gate's fence", "memory"];
    print_table(&header, rows);
    println!("With the gate, the own Prometheus writes each scrape of one target through it: a member at work.");
    Ok(())
}

async fn row(name: &str, cluster: &Cluster, index: usize) -> Result<Vec<String>> {
    let id = cluster.members[index].sidecar.id().unwrap_or_default();
    let read = || -> Result<_> { Ok((Usage::read(id)?, THREADS.map(|thread| thread_cpu(id, thread)))) };
    let (start, (before, threads_before)) = (Instant::now(), read()?);
    tokio::time::sleep(IDLE).await;
    let (elapsed, (after, threads_after)) = (start.elapsed(), read()?);
    let share = |before: Duration, after: Duration| {
        format!("{:.2} %", after.saturating_sub(before).as_secs_f64() / elapsed.as_secs_f64() * 100.0)
    };
    let threads = threads_before.into_iter().zip(threads_after);
    let mut row = vec![name.to_owned(), share(before.cpu, after.cpu)];
    row.extend(threads.map(|(before, after)| match (before, after) {
        (Some(before), Some(after)) => share(before, after),
        _ => "-".to_owned(),
    }));
    row.push(mebibytes(after.resident_bytes));
    Ok(row)
}
