//! Which nemesis comes when. Pure: the same seed, time and nemeses give the same schedule.
//!
//! Two lanes: what stands in one lane at the same time as something in the other touches other resources. Every nemesis comes once
//! before any comes twice. Now and then both lanes wait for each other, so that there is calm between faults.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};

/// What a nemesis changes: two at once must not share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Links between pods and to the hub.
    Network,
    /// Processes, disks and existence of pods.
    Pods,
    /// The name server and its records.
    Dns,
    /// The remote.
    Receiver,
    /// The API server of Kubernetes.
    Api,
    /// The source files.
    Config,
    /// Clocks.
    Clock,
}

/// What the plan knows of a nemesis.
#[derive(Clone, Copy, Debug)]
pub struct Traits {
    /// Its name.
    pub name: &'static str,
    /// What it changes.
    pub resources: &'static [Resource],
    /// How long it may last: milliseconds, from and to. One of these is drawn.
    pub holds_ms: &'static [(u64, u64)],
    /// Fewer members make it senseless.
    pub members_min: usize,
}

impl Traits {
    /// Whether both change one thing.
    pub fn shares(&self, other: &Self) -> bool {
        self.resources.iter().any(|resource| other.resources.contains(resource))
    }
}

/// A nemesis at its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// After the start.
    pub at: Duration,
    /// So long.
    pub hold: Duration,
    /// Name of the nemesis.
    pub nemesis: &'static str,
    /// It goes for the leader of that moment; else for anybody.
    pub at_leader: bool,
    /// Draws everything else about it.
    pub seed: u64,
}

impl Step {
    fn end(&self) -> Duration {
        self.at + self.hold
    }
}

/// Before the first fault, and between two of a lane: milliseconds, from and to.
const GAP_MS: (u64, u64) = (3_000, 8_000);
/// Every so many steps both lanes come to rest.
const REST_ONE_IN: u32 = 4;
/// For so long at the least.
const REST: Duration = Duration::from_secs(8);
/// So often a nemesis that has been there goes for the leader.
const LEADER_PERCENT: u32 = 65;

/// Faults that begin and end within `total`, in order of their beginning. The first visit of each goes for the leader.
pub fn plan(seed: u64, total: Duration, members: usize, chosen: &[Traits]) -> Vec<Step> {
    let chosen: Vec<&Traits> = chosen.iter().filter(|traits| traits.members_min <= members).collect();
    let mut rng = StdRng::seed_from_u64(seed);
    let mut steps: Vec<(Step, &Traits)> = Vec::new();
    let mut waiting: Vec<&Traits> = Vec::new();
    let mut visited: Vec<&str> = Vec::new();
    let mut lanes = [gap(&mut rng), gap(&mut rng)];
    while !chosen.is_empty() {
        if waiting.is_empty() {
            waiting.clone_from(&chosen);
            waiting.shuffle(&mut rng);
        }
        if lanes[1] < lanes[0] {
            lanes.swap(0, 1);
        }
        let at = lanes[0];
        if at >= total {
            break;
        }
        let beside: Vec<&Traits> =
            steps.iter().filter(|(step, _)| step.end() + REST / 4 > at).map(|(_, of)| *of).collect();
        let fits = |traits: &&Traits| beside.iter().all(|other| !traits.shares(other));
        let Some(next) = waiting.iter().position(fits) else {
            // Nothing goes beside what is under way: this lane waits for the other one.
            lanes[0] = lanes[1].max(at + Duration::from_secs(1));
            continue;
        };
        let traits = waiting.remove(next);
        let (from, to) = traits.holds_ms[rng.random_range(0..traits.holds_ms.len())];
        let hold = Duration::from_millis(rng.random_range(from..=to));
        let at_leader = !visited.contains(&traits.name) || rng.random_range(0..100) < LEADER_PERCENT;
        let step = Step { at, hold, nemesis: traits.name, at_leader, seed: rng.random() };
        lanes[0] = step.end() + gap(&mut rng);
        if rng.random_ratio(1, REST_ONE_IN) {
            lanes = [lanes[0].max(lanes[1]) + REST; 2];
        }
        // One that would end too late is left out; a shorter one may still fit.
        if step.end() <= total {
            visited.push(traits.name);
            steps.push((step, traits));
        }
    }
    let mut steps: Vec<Step> = steps.into_iter().map(|(step, _)| step).collect();
    steps.sort_by_key(|step| step.at);
    steps
}

fn gap(rng: &mut StdRng) -> Duration {
    Duration::from_millis(rng.random_range(GAP_MS.0..=GAP_MS.1))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::collections::BTreeSet;

    use super::*;
    use crate::nemesis;

    const TEN_MINUTES: Duration = Duration::from_mins(10);

    fn all() -> Vec<Traits> {
        nemesis::ALL.iter().map(|nemesis| nemesis.traits).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_schedule_and_another_one_another() {
        let of = |seed| plan(seed, TEN_MINUTES, 3, &all());
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
    }

    #[test]
    fn ten_minutes_hold_every_nemesis() {
        for seed in 0..200 {
            let there: BTreeSet<_> = plan(seed, TEN_MINUTES, 4, &all()).iter().map(|step| step.nemesis).collect();
            let missing: Vec<_> = all().iter().map(|t| t.name).filter(|name| !there.contains(name)).collect();
            assert_eq!(missing, [""; 0], "seed {seed}");
        }
    }

    #[test]
    fn the_first_visit_of_each_goes_for_the_leader() {
        let mut visited = BTreeSet::new();
        let steps = plan(1, TEN_MINUTES * 3, 3, &all());
        assert!(steps.iter().all(|step| !visited.insert(step.nemesis) || step.at_leader), "{steps:?}");
        assert!(steps.iter().any(|step| !step.at_leader), "{steps:?}");
    }

    #[test]
    fn one_common_resource_is_enough_to_keep_two_apart() {
        let shares = |one: &str, other: &str| {
            let traits = |name: &str| nemesis::find(name).unwrap().traits;
            traits(one).shares(&traits(other))
        };
        assert!(shares("dns-stale", "kill-both") && shares("dns-dead", "dns-stale") && shares("scale-down", "split"));
        assert!(!shares("dns-stale", "split") && !shares("receiver-slow", "config-broken"));
    }

    #[test]
    fn what_stands_beside_each_other_shares_nothing() {
        let traits = |name: &str| all().into_iter().find(|traits| traits.name == name).unwrap();
        let mut pairs = 0;
        for seed in 0..100 {
            let steps = plan(seed, TEN_MINUTES * 2, 5, &all());
            for (number, one) in steps.iter().enumerate() {
                assert!(one.end() <= TEN_MINUTES * 2);
                let beside: Vec<_> = steps[..number].iter().filter(|other| other.end() > one.at).collect();
                assert!(beside.len() <= 1, "two at once at the most: {one:?} {beside:?}");
                pairs += beside.len();
                for other in beside {
                    assert!(!traits(one.nemesis).shares(&traits(other.nemesis)), "{one:?} {other:?}");
                }
            }
        }
        assert!(pairs > 500, "only {pairs} pairs");
    }

    #[test]
    fn one_alone_comes_again_and_again_and_too_few_members_leave_it_out() {
        let ring: Vec<_> = all().into_iter().filter(|traits| traits.name == "ring").collect();
        let steps = plan(3, Duration::from_mins(3), 4, &ring);
        assert!(steps.len() >= 4, "{steps:?}");
        assert!(steps.windows(2).all(|pair| pair[1].at > pair[0].end()), "{steps:?}");
        assert_eq!(plan(3, Duration::from_mins(3), 3, &ring), []);
        assert_eq!(plan(3, Duration::ZERO, 3, &all()), []);
    }
}
