//! What a cluster does to a release: its own events, and what befalls its nodes and its control plane.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::net::TcpStream;

use super::Cluster;
use super::pods::Pod;
use crate::deployment::pod::Program;
use crate::nemesis::{Aim, Begun, Known, Nemesis, known, receiver};
use crate::plan::Resource;
use crate::recorder::now_ns;
use crate::stage::Stage as _;

/// A deletion shows at once; this is for a busy machine.
const SEEN_WITHIN: Duration = Duration::from_secs(10);

const PODS: &[Resource] = &[Resource::Pods];
const BY_API: &[Resource] = &[Resource::Pods, Resource::Api];
const RECEIVER: &[Resource] = &[Resource::Receiver];
/// What ends by itself, once the release is whole again.
const AT_ONCE: &[(u64, u64)] = &[(500, 1_000)];
const RECEIVER_HOLDS: &[(u64, u64)] = &[(5_000, 15_000)];
/// Shorter than the lease of 900 ms, and longer.
const PAUSES: &[(u64, u64)] = &[(200, 650), (2_000, 9_000)];
const AWAY: &[(u64, u64)] = &[(20_000, 40_000)];

/// What anybody may do who may change a release.
pub const OF_CLUSTERS: &[Known<Cluster>] = &[
    known("pod-deleted", BY_API, AT_ONCE, 2, "a pod is deleted, ends in order and comes back", deleted),
    known("pod-forced", BY_API, AT_ONCE, 2, "a pod is deleted by force, at once and without a word", forced),
    known("evicted", BY_API, AT_ONCE, 2, "a pod is evicted, if the disruption budget allows it", evicted),
    known("rolling-update", BY_API, AT_ONCE, 2, "every replica is replaced, one after the other", rolled),
    known("scale-up", BY_API, &[(30_000, 40_000)], 2, "the StatefulSet has one replica more, and then no longer", up),
    known(
        "scale-down",
        BY_API,
        &[(40_000, 48_000)],
        3,
        "the StatefulSet has one replica less for so long that it is removed from the group, and then has it again",
        down,
    ),
    known("receiver-failing", RECEIVER, RECEIVER_HOLDS, 2, "the receiver answers 503", receiver::failing),
    known(
        "receiver-hanging",
        RECEIVER,
        RECEIVER_HOLDS,
        2,
        "the receiver takes requests and answers none",
        receiver::hanging,
    ),
    known(
        "receiver-slow",
        RECEIVER,
        RECEIVER_HOLDS,
        2,
        "the receiver takes two seconds for each answer",
        receiver::slow,
    ),
];

/// What needs the nodes and the control plane themselves.
pub const OF_NODES: &[Known<Cluster>] = &[
    known("kill-sidecar", PODS, AT_ONCE, 2, "SIGKILL to a sidecar; its container starts again", kill_sidecar),
    known("kill-prometheus", PODS, AT_ONCE, 2, "SIGKILL to a Prometheus; its container starts again", kill_prometheus),
    known("kill-both", PODS, AT_ONCE, 2, "SIGKILL to both; their containers start again", kill_both),
    known(
        "pause-sidecar",
        PODS,
        PAUSES,
        2,
        "SIGSTOP and SIGCONT to a sidecar, for less or more than its lease",
        pause_sidecar,
    ),
    known("pause-both", PODS, PAUSES, 2, "SIGSTOP and SIGCONT to both, as a frozen machine", pause_both),
    known(
        "node-lost",
        BY_API,
        &[(10_000, 20_000)],
        3,
        "all pods of a node vanish without a word; later somebody deletes the node, and they come up elsewhere",
        node_lost,
    ),
    known(API_DOWN, &[Resource::Api], AWAY, 2, "the API server is down", api_down),
    known(
        "coredns-down",
        &[Resource::Dns],
        &[(34_000, 42_000)],
        2,
        "the cluster's name server is down, for longer than answers are kept",
        coredns_down,
    ),
];

/// Name of the one that can last a whole run.
pub const API_DOWN: &str = "api-down";

/// How a pod is taken away.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Deleted,
    Forced,
    Evicted,
}

fn deleted() -> Box<dyn Nemesis<Cluster>> {
    Box::new(Gone { how: How::Deleted })
}

fn forced() -> Box<dyn Nemesis<Cluster>> {
    Box::new(Gone { how: How::Forced })
}

fn evicted() -> Box<dyn Nemesis<Cluster>> {
    Box::new(Gone { how: How::Evicted })
}

fn rolled() -> Box<dyn Nemesis<Cluster>> {
    Box::new(Rolled)
}

fn up() -> Box<dyn Nemesis<Cluster>> {
    Box::new(Scaled { by: 1 })
}

fn down() -> Box<dyn Nemesis<Cluster>> {
    Box::new(Scaled { by: -1 })
}

fn hit(programs: &'static [Program], kills: bool) -> Box<dyn Nemesis<Cluster>> {
    Box::new(Hit { programs, kills, victim: Pod::default() })
}

fn kill_sidecar() -> Box<dyn Nemesis<Cluster>> {
    hit(&[Program::Sidecar], true)
}

fn kill_prometheus() -> Box<dyn Nemesis<Cluster>> {
    hit(&[Program::Prometheus], true)
}

fn kill_both() -> Box<dyn Nemesis<Cluster>> {
    hit(&Program::BOTH, true)
}

fn pause_sidecar() -> Box<dyn Nemesis<Cluster>> {
    hit(&[Program::Sidecar], false)
}

fn pause_both() -> Box<dyn Nemesis<Cluster>> {
    hit(&Program::BOTH, false)
}

fn node_lost() -> Box<dyn Nemesis<Cluster>> {
    Box::new(NodeLost)
}

fn api_down() -> Box<dyn Nemesis<Cluster>> {
    Box::new(SwitchedOff { by: "stop-api", on: "start-api", port: 6443 })
}

fn coredns_down() -> Box<dyn Nemesis<Cluster>> {
    Box::new(SwitchedOff { by: "stop-dns", on: "start-dns", port: 53 })
}

/// One pod goes, and its `StatefulSet` makes it anew.
struct Gone {
    how: How,
}

#[async_trait(?Send)]
impl Nemesis<Cluster> for Gone {
    async fn install(&mut self, cluster: &mut Cluster, aim: &Aim, rng: &mut StdRng) -> Result<Begun> {
        let Some(victim) = aim.pick(&cluster.names(true), rng) else { return Ok(Begun::skipped("there is no pod")) };
        let pod = cluster.pod(&victim)?;
        let at_ns = now_ns();
        let detail = match self.how {
            How::Deleted => cluster.kubernetes.delete(&victim, false).await.map(|()| "deleted")?,
            How::Forced => cluster.kubernetes.delete(&victim, true).await.map(|()| "deleted by force")?,
            How::Evicted if cluster.kubernetes.evict(&victim).await? => "evicted",
            How::Evicted => return Ok(Begun::skipped("the disruption budget does not allow it now")),
        };
        let is_seen = cluster.until(SEEN_WITHIN, "the pod to end", async |cluster| {
            let ends = |now: &Pod| now.uid != pod.uid || now.ending;
            ensure!(cluster.group().iter().filter(|now| now.name == victim).all(ends), "it does not");
            Ok(())
        });
        let is_seen = is_seen.await.is_ok();
        Ok(Begun::installed(at_ns, [victim], detail).seen(is_seen))
    }

    async fn heal(&mut self, _: &mut Cluster) -> Result<()> {
        Ok(())
    }

    async fn check_whole(&mut self, cluster: &mut Cluster) -> Result<()> {
        cluster.check_whole().await
    }
}

/// A rolling update of the replicas.
struct Rolled;

#[async_trait(?Send)]
impl Nemesis<Cluster> for Rolled {
    async fn install(&mut self, cluster: &mut Cluster, _: &Aim, rng: &mut StdRng) -> Result<Begun> {
        let set = cluster.kubernetes.replicas().await?;
        let at_ns = now_ns();
        cluster.kubernetes.roll(&set.name, &rng.random::<u64>().to_string()).await?;
        let is_seen = cluster.until(SEEN_WITHIN, "the update to begin", async |cluster| {
            ensure!(cluster.kubernetes.check_at_rest().await.is_err(), "it does not");
            Ok(())
        });
        let is_seen = is_seen.await.is_ok();
        Ok(Begun::installed(at_ns, cluster.names(false), set.name).seen(is_seen))
    }

    async fn heal(&mut self, _: &mut Cluster) -> Result<()> {
        Ok(())
    }

    async fn check_whole(&mut self, cluster: &mut Cluster) -> Result<()> {
        cluster.check_whole().await
    }
}

/// One replica more, or less.
struct Scaled {
    by: i32,
}

#[async_trait(?Send)]
impl Nemesis<Cluster> for Scaled {
    async fn install(&mut self, cluster: &mut Cluster, _: &Aim, _: &mut StdRng) -> Result<Begun> {
        let set = cluster.kubernetes.replicas().await?;
        let (from, to) = (set.replicas, set.replicas + self.by);
        let member = format!("{}-{}", set.name, from.max(to) - 1);
        let at_ns = now_ns();
        cluster.kubernetes.scale(&set.name, to).await?;
        let is_seen = cluster.until(SEEN_WITHIN, "the pod to come or go", async |cluster| {
            let is_there = cluster.pod(&member).is_ok();
            ensure!(is_there == (to > from), "it does not");
            Ok(())
        });
        let is_seen = is_seen.await.is_ok();
        Ok(Begun::installed(at_ns, [member], format!("from {from} to {to}")).seen(is_seen))
    }

    async fn heal(&mut self, cluster: &mut Cluster) -> Result<()> {
        cluster.scale_back().await
    }

    async fn check_whole(&mut self, cluster: &mut Cluster) -> Result<()> {
        cluster.check_whole().await
    }
}

/// SIGKILL, or SIGSTOP, to programs of one pod.
struct Hit {
    programs: &'static [Program],
    kills: bool,
    /// The pod as it was before.
    victim: Pod,
}

#[async_trait(?Send)]
impl Nemesis<Cluster> for Hit {
    async fn install(&mut self, cluster: &mut Cluster, aim: &Aim, rng: &mut StdRng) -> Result<Begun> {
        let from = cluster.names(self.programs == [Program::Sidecar]);
        let Some(victim) = aim.pick(&from, rng) else { return Ok(Begun::skipped("there is no pod")) };
        let pod = cluster.pod(&victim)?;
        if let Some(program) = self.programs.iter().find(|program| pod.pid(**program).is_none()) {
            return Ok(Begun::skipped(format!("the {} of {victim} does not run", program.name())));
        }
        let at_ns = now_ns();
        self.victim = pod.clone();
        for &program in self.programs {
            if self.kills { cluster.kill(&pod, program)? } else { cluster.stop(&pod, program)? }
        }
        Ok(Begun::installed(at_ns, [victim], if self.kills { "SIGKILL" } else { "SIGSTOP" }))
    }

    async fn heal(&mut self, cluster: &mut Cluster) -> Result<()> {
        cluster.resume_all();
        Ok(())
    }

    async fn check_whole(&mut self, cluster: &mut Cluster) -> Result<()> {
        // The last look at it may be from before its end.
        let Some(now) = cluster.group().into_iter().find(|pod| pod.uid == self.victim.uid) else { return Ok(()) };
        for &program in self.programs {
            let restarts = |pod: &Pod| pod.container(program).map_or(0, |container| container.restarts);
            let is_new = !self.kills || restarts(&now) > restarts(&self.victim);
            ensure!(is_new && now.pid(program).is_some(), "the {} of {} does not run again", program.name(), now.name);
        }
        Ok(())
    }
}

/// A node loses its power, and is replaced by another machine.
struct NodeLost;

#[async_trait(?Send)]
impl Nemesis<Cluster> for NodeLost {
    async fn install(&mut self, cluster: &mut Cluster, aim: &Aim, rng: &mut StdRng) -> Result<Begun> {
        let Some(victim) = aim.pick(&cluster.names(true), rng) else { return Ok(Begun::skipped("there is no pod")) };
        let node = cluster.pod(&victim)?.node.context("it is on no node")?;
        let there = |pod: &Pod| pod.node.as_ref() == Some(&node);
        let targets: Vec<_> = cluster.group().into_iter().filter(there).map(|pod| pod.name).collect();
        let at_ns = now_ns();
        cluster.lose_node(&node).await?;
        let is_seen = cluster.until(SEEN_WITHIN, "its pods to be gone", async |cluster| {
            ensure!(!cluster.group().iter().any(there), "one is still there");
            Ok(())
        });
        let is_seen = is_seen.await.is_ok();
        Ok(Begun::installed(at_ns, targets, node.clone()).seen(is_seen))
    }

    async fn heal(&mut self, cluster: &mut Cluster) -> Result<()> {
        cluster.return_node().await
    }

    async fn check_whole(&mut self, cluster: &mut Cluster) -> Result<()> {
        cluster.check_whole().await
    }
}

/// A part of the control plane is down.
struct SwitchedOff {
    by: &'static str,
    on: &'static str,
    /// Where it listens.
    port: u16,
}

#[async_trait(?Send)]
impl Nemesis<Cluster> for SwitchedOff {
    async fn install(&mut self, cluster: &mut Cluster, _: &Aim, _: &mut StdRng) -> Result<Begun> {
        let at_ns = now_ns();
        cluster.switch_off(self.by, self.on).await?;
        let is_seen = TcpStream::connect((cluster.options.hub, self.port)).await.is_err();
        Ok(Begun::installed(at_ns, [], "").seen(is_seen))
    }

    async fn heal(&mut self, cluster: &mut Cluster) -> Result<()> {
        cluster.switch_on(self.on).await
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_what_needs_the_api_server_does_not_meet_its_loss() {
        let all = || OF_CLUSTERS.iter().chain(OF_NODES);
        let names: BTreeSet<_> = all().map(|known| known.traits.name).collect();
        assert_eq!(names.len(), all().count());
        assert!(all().all(|known| known.sentence.len() > 20 && !known.traits.holds_ms.is_empty()));
        let traits = |name: &str| all().find(|known| known.traits.name == name).map(|known| known.traits);
        let shares = |one, other| traits(one).zip(traits(other)).is_some_and(|(one, other)| one.shares(&other));
        assert!(
            shares("pod-deleted", API_DOWN) && !shares("node-lost", "coredns-down") && !shares("kill-both", API_DOWN)
        );
    }
}
