//! The faults. Each is a value that installs itself, looks whether it is in force, and heals.
//!
//! What a nemesis needs to know it asks the deployment at that moment, above all who leads. It draws from its own random numbers,
//! which the plan seeds. Two at once are fine when they change different resources ([`crate::plan`]).

mod clock;
mod config;
mod disk;
mod dns;
mod network;
mod process;
pub(crate) mod receiver;
mod scale;

use anyhow::Result;
use async_trait::async_trait;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

use crate::deployment::Deployment;
use crate::history::{Ns, Outcome};
use crate::plan::{Resource, Traits};
use crate::recorder::now_ns;

/// Whom it goes for.
#[derive(Clone, Debug, Default)]
pub struct Aim {
    /// Who leads at this moment.
    pub leader: Option<String>,
    /// It goes for the leader.
    pub at_leader: bool,
}

impl Aim {
    /// The victim, out of these: the leader if it is meant and there, else one of the others.
    pub fn pick(&self, from: &[String], rng: &mut StdRng) -> Option<String> {
        let is_leader = |name: &&String| self.leader.as_ref() == Some(*name);
        let others: Vec<&String> = from.iter().filter(|name| !is_leader(name)).collect();
        let leader = from.iter().find(is_leader).filter(|_| self.at_leader || others.is_empty());
        leader.or_else(|| others.choose(rng).copied()).cloned()
    }
}

/// What an installation came to.
#[derive(Clone, Debug)]
pub struct Begun {
    /// When it hit.
    pub at_ns: Ns,
    /// Whether it is in force.
    pub outcome: Outcome,
    /// Members that it hits.
    pub targets: Vec<String>,
    /// In words.
    pub detail: String,
}

impl Begun {
    /// In force since `at_ns`, and looked at.
    pub fn installed(at_ns: Ns, targets: impl IntoIterator<Item = String>, detail: impl Into<String>) -> Self {
        Self { at_ns, outcome: Outcome::Installed, targets: targets.into_iter().collect(), detail: detail.into() }
    }

    /// In force if `is_seen`, else nobody knows.
    #[must_use]
    pub fn seen(self, is_seen: bool) -> Self {
        if is_seen { self } else { Self { outcome: Outcome::Indeterminate, ..self } }
    }

    /// Makes no sense now.
    pub fn skipped(why: impl Into<String>) -> Self {
        Self { at_ns: now_ns(), outcome: Outcome::Skipped, targets: Vec::new(), detail: why.into() }
    }
}

/// A fault.
#[async_trait(?Send)]
pub trait Nemesis<S = Deployment> {
    /// Breaks something, and looks whether it is broken.
    async fn install(&mut self, stage: &mut S, aim: &Aim, rng: &mut StdRng) -> Result<Begun>;

    /// Called about once a second while it lasts.
    async fn tick(&mut self, _stage: &mut S, _rng: &mut StdRng) -> Result<()> {
        Ok(())
    }

    /// Mends it; an error says that it may still be in force.
    async fn heal(&mut self, stage: &mut S) -> Result<()>;

    /// Whether what it broke is whole again, once it is healed; until then it counts as under way. An error says what is missing.
    async fn check_whole(&mut self, _stage: &mut S) -> Result<()> {
        Ok(())
    }
}

/// A nemesis that there is.
pub struct Known<S = Deployment> {
    /// What the plan knows of it.
    pub traits: Traits,
    /// What it does, in one sentence.
    pub sentence: &'static str,
    /// Makes one.
    pub make: fn() -> Box<dyn Nemesis<S>>,
}

pub(crate) const fn known<S>(
    name: &'static str,
    resources: &'static [Resource],
    holds_ms: &'static [(u64, u64)],
    members_min: usize,
    sentence: &'static str,
    make: fn() -> Box<dyn Nemesis<S>>,
) -> Known<S> {
    Known { traits: Traits { name, resources, holds_ms, members_min }, sentence, make }
}

/// The one of this name.
pub fn find(name: &str) -> Option<&'static Known> {
    ALL.iter().find(|known| known.traits.name == name)
}

const NETWORK: &[Resource] = &[Resource::Network];
const PODS: &[Resource] = &[Resource::Pods];
const DNS: &[Resource] = &[Resource::Dns];
const RECEIVER: &[Resource] = &[Resource::Receiver];
const SCALE: &[Resource] = &[Resource::Pods, Resource::Network];
/// Shorter than the lease of 900 ms, and longer.
const PAUSES: &[(u64, u64)] = &[(200, 650), (2_000, 9_000)];
/// Beyond the 30 s for which DNS answers are kept.
const BEYOND_TTL: &[(u64, u64)] = &[(34_000, 42_000)];

/// All of them.
pub const ALL: &[Known] = &[
    known(
        "split",
        NETWORK,
        &[(6_000, 12_000)],
        3,
        "cuts the group into a majority and a minority; the leader is in the minority",
        network::split,
    ),
    known(
        "split-off-others",
        NETWORK,
        &[(6_000, 12_000)],
        3,
        "cuts a minority without the leader off from the others",
        network::split_off_others,
    ),
    known(
        "isolate-leader",
        NETWORK,
        &[(5_000, 12_000)],
        2,
        "cuts one member off from the others, not from the receiver, DNS and clients",
        network::isolate,
    ),
    known(
        "cut-off",
        NETWORK,
        &[(5_000, 12_000)],
        2,
        "cuts one member off from everybody, as a node whose network is gone",
        network::cut_off,
    ),
    known(
        "bridge",
        NETWORK,
        &[(6_000, 12_000)],
        3,
        "two halves that see each other through one member only",
        network::bridge,
    ),
    known(
        "one-way",
        NETWORK,
        &[(6_000, 12_000)],
        2,
        "one member is heard by the others and hears nothing, or the other way round",
        network::one_way,
    ),
    known("ring", NETWORK, &[(6_000, 12_000)], 4, "each member sees its two neighbours only", network::ring),
    known(
        "flapping",
        NETWORK,
        &[(8_000, 12_000)],
        2,
        "cuts links at random and mends them, every second anew",
        network::flapping,
    ),
    known(
        "loss",
        NETWORK,
        &[(8_000, 12_000)],
        2,
        "every packet between members is lost with 10 to 40 percent",
        network::loss,
    ),
    known("kill-sidecar", PODS, &[(500, 6_000)], 2, "SIGKILL to a sidecar, which starts again", process::kill_sidecar),
    known(
        "kill-prometheus",
        PODS,
        &[(500, 8_000)],
        2,
        "SIGKILL to a Prometheus, which starts again",
        process::kill_prometheus,
    ),
    known("kill-both", PODS, &[(1_000, 8_000)], 2, "SIGKILL to both, which start again", process::kill_both),
    known(
        "pause-sidecar",
        PODS,
        PAUSES,
        2,
        "SIGSTOP and SIGCONT to a sidecar, for less or more than its lease",
        process::pause_sidecar,
    ),
    known(
        "pause-prometheus",
        PODS,
        &[(300, 900), (4_000, 12_000)],
        2,
        "SIGSTOP and SIGCONT to a Prometheus",
        process::pause_prometheus,
    ),
    known("pause-both", PODS, PAUSES, 2, "SIGSTOP and SIGCONT to both, as a frozen machine", process::pause_both),
    known(
        "forget-lease",
        SCALE,
        &[(3_000, 4_000)],
        3,
        "the leader is cut off, and the others are killed and start again within the lease that they granted",
        process::forget_lease,
    ),
    known(
        "rolling-restart",
        PODS,
        &[(46_000, 54_000)],
        2,
        "SIGTERM to one pod after the other, the next once the last is ready",
        process::rolling_restart,
    ),
    known(
        "replace",
        PODS,
        &[(1_000, 6_000)],
        2,
        "a pod goes and comes back with another address and its disk",
        disk::replace,
    ),
    known(
        "disk-lost",
        PODS,
        &[(1_000, 6_000)],
        3,
        "a pod is killed and comes back with another address and an empty disk",
        disk::lost,
    ),
    known(
        "disk-full",
        PODS,
        &[(10_000, 20_000)],
        2,
        "no byte is left where a sidecar keeps the group's state",
        disk::full,
    ),
    known("scale-up", SCALE, &[(32_000, 40_000)], 2, "one more member comes, and goes again", scale::up),
    known(
        "scale-down",
        SCALE,
        &[(40_000, 48_000)],
        3,
        "the last member goes for so long that it is removed, and comes back",
        scale::down,
    ),
    known("dns-dead", DNS, BEYOND_TTL, 2, "the name server answers nothing", dns::dead),
    known("dns-nxdomain", DNS, BEYOND_TTL, 2, "the name server says that there is no such service", dns::nxdomain),
    known(
        "dns-stale",
        &[Resource::Dns, Resource::Pods],
        &[(20_000, 30_000)],
        2,
        "a pod is replaced and DNS goes on telling the old address",
        dns::stale,
    ),
    known("dns-wrong", DNS, BEYOND_TTL, 2, "DNS tells another member's address for a member", dns::wrong),
    known("receiver-failing", RECEIVER, &[(5_000, 15_000)], 2, "the receiver answers 503", receiver::failing),
    known(
        "receiver-hanging",
        RECEIVER,
        &[(5_000, 15_000)],
        2,
        "the receiver takes requests and answers none",
        receiver::hanging,
    ),
    known(
        "receiver-slow",
        RECEIVER,
        &[(5_000, 15_000)],
        2,
        "the receiver takes two seconds for each answer",
        receiver::slow,
    ),
    known(
        "config-takeover",
        &[Resource::Config, Resource::Pods],
        &[(3_000, 8_000)],
        2,
        "every source file changes, and at the same moment a sidecar is killed",
        config::takeover,
    ),
    known(
        "config-broken",
        &[Resource::Config],
        &[(6_000, 12_000)],
        2,
        "every source file becomes nonsense",
        config::broken,
    ),
    known(
        "clock-jump",
        &[Resource::Clock],
        &[(5_000, 15_000)],
        2,
        "the wall clock of a sidecar jumps by up to a day, forwards or back",
        clock::jump,
    ),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::collections::BTreeSet;

    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn names_are_unique_and_each_has_its_sentence() {
        let names: BTreeSet<_> = ALL.iter().map(|known| known.traits.name).collect();
        assert_eq!(names.len(), ALL.len());
        assert!(ALL.iter().all(|known| known.sentence.len() > 20 && !known.traits.resources.is_empty()));
        assert!(ALL.iter().flat_map(|known| known.traits.holds_ms).all(|(from, to)| from < to));
        assert!(find("ring").is_some() && find("rings").is_none());
    }

    #[test]
    fn the_leader_is_hit_when_it_is_meant_and_else_another_one() {
        let mut rng = StdRng::seed_from_u64(1);
        let members = ["a", "b", "c"].map(ToOwned::to_owned);
        let aim = |leader: Option<&str>, at_leader| Aim { leader: leader.map(ToOwned::to_owned), at_leader };
        for _ in 0..20 {
            assert_eq!(aim(Some("b"), true).pick(&members, &mut rng).unwrap(), "b");
            assert_ne!(aim(Some("b"), false).pick(&members, &mut rng).unwrap(), "b");
            assert!(aim(None, true).pick(&members, &mut rng).is_some());
        }
        assert_eq!(aim(Some("b"), false).pick(&members[1..2], &mut rng).unwrap(), "b");
        assert_eq!(aim(None, true).pick(&[], &mut rng), None);
    }
}
