//! Reads through every member but the leader, while the leader goes away.

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use crate::cluster::{Cluster, Discovery, Options, TAKEOVER_MAX};
use crate::load::{Load, LoadReport};
use crate::prometheus::Kind;
use crate::wait::eventually;

const QUERY: &str = "/api/v1/query?query=up";
/// Through each member.
const PER_SECOND: u32 = 200;
/// Answers that each member must have passed on before and after.
const ANSWERS: u64 = 200;

/// How the leader goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL to its pod: a lost machine.
    Killed,
    /// Its pod is frozen, and thaws after the takeover.
    Paused,
    /// Cut off from the others, who wait for its Prometheus in vain.
    Isolated,
    /// SIGTERM to its pod.
    Terminated,
    /// SIGKILL to its Prometheus.
    Crashed,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Killed, Self::Paused, Self::Isolated, Self::Terminated, Self::Crashed];

    /// For tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Killed => "the leader's pod is killed",
            Self::Paused => "the leader's pod is frozen",
            Self::Isolated => "the leader is cut off",
            Self::Terminated => "the leader's pod is terminated",
            Self::Crashed => "the leader's Prometheus crashes",
        }
    }

    fn strike(self, cluster: &mut Cluster, leader: usize) -> Result<()> {
        let member = &mut cluster.members[leader];
        match self {
            Self::Killed => member.kill(),
            Self::Paused => {
                member.sidecar.signal(Signal::STOP)?;
                member.prometheus.signal(Signal::STOP)
            }
            Self::Isolated => {
                // Its Prometheus takes connections and does not answer, as seen through a broken network.
                member.prometheus.signal(Signal::STOP)?;
                cluster.links.as_ref().context("no relays")?.isolate(leader);
                Ok(())
            }
            Self::Terminated => {
                member.sidecar.signal(Signal::TERM)?;
                member.prometheus.signal(Signal::TERM)
            }
            Self::Crashed => member.prometheus.kill(),
        }
    }
}

/// Starts a group, lets the fault hit its leader under 200 reads a second through every other member, and tells what became
/// of them all, up to some time after the takeover.
pub async fn during(options: Options, fault: Fault) -> Result<LoadReport> {
    // Full servers, because agents answer no PromQL.
    let mut options = Options { kind: Kind::Server, ..options };
    if fault == Fault::Isolated {
        options.discovery = Discovery::Relayed;
    }
    let mut cluster = Cluster::start(&options).await?;
    let leader = cluster.wait_settled().await?;
    let old = cluster.tenure()?;
    let others: Vec<usize> = (0..cluster.members.len()).filter(|&member| member != leader).collect();
    let loads: Vec<Load> = others
        .iter()
        .map(|&member| Load::start(&cluster.members[member].sidecar.url(QUERY), PER_SECOND))
        .collect::<Result<_>>()?;
    answered_by(&loads, &cluster.members[leader].name).await?;
    fault.strike(&mut cluster, leader)?;
    let next = cluster.wait_successor(&old).await?;
    answered_by(&loads, &cluster.members[next].name).await?;
    if fault == Fault::Paused {
        cluster.members[leader].prometheus.signal(Signal::CONT)?;
        cluster.members[leader].sidecar.signal(Signal::CONT)?;
        answered_by(&loads, &cluster.members[next].name).await?;
    }
    let mut report = LoadReport::default();
    for load in loads {
        report.add(load.stop().await);
    }
    cluster.finish()?;
    Ok(report)
}

/// Waits until each load has had further answers of a member.
async fn answered_by(loads: &[Load], member: &str) -> Result<()> {
    let answers = |load: &Load| load.report().answered_by.get(member).copied().unwrap_or(0);
    let enough: Vec<u64> = loads.iter().map(|load| answers(load) + ANSWERS).collect();
    eventually(TAKEOVER_MAX, &format!("{ANSWERS} answers by {member} through each other member"), async || {
        for (load, enough) in loads.iter().zip(&enough) {
            ensure!(answers(load) >= *enough, "{:?}", load.report());
        }
        Ok(())
    })
    .await
}
