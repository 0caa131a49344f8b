//! The random scenario: a group of some size, faults of every kind drawn from the seed, then quiet.

use std::collections::BTreeMap;
use std::ops::Range;

use super::chance::Chance;
use super::executor::{self, LifeId, Nanos};
use super::faults::KINDS;
use super::sleep::Sleep;
use super::world::{self, MILLISECOND, MachineId, World};
use crate::{MemberKind, Timing};
use std::time::Duration;

/// Faults by kind: installed, skipped because they made no sense then.
pub type Faults = BTreeMap<&'static str, (u64, u64)>;

/// The most machines of a run, the witness among them.
pub(super) const MACHINES_MAX: usize = 7;

/// Draws and installs faults.
pub(super) struct Nemesis {
    pub(super) chance: Chance,
    /// Machines that should be running, by place.
    pub(super) wanted: Vec<MachineId>,
    pub(super) faults: Faults,
    rate_spread_ppm: u64,
    /// Until then a removal by hand may be under way.
    pub(super) change_until: Nanos,
}

/// DNS knows a machine within this time from its first start.
pub(super) const LISTED_WITHIN: Nanos = 2_500 * MILLISECOND;

pub(super) async fn sleep(time: Nanos) {
    Sleep::until(executor::now() + time).await;
}

/// Does something later.
pub(super) fn later(after: Nanos, what: impl FnOnce() + Send + 'static) {
    executor::spawn_in(LifeId(0), async move {
        sleep(after).await;
        what();
    });
}

impl Nemesis {
    /// Draws a group, not started yet. Puts the world in place.
    pub(super) fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed, 4);
        let replicas = *chance.pick(&[1, 2, 2, 3, 3, 3, 3, 3, 3, 4, 5, 5, 5, 7]).unwrap_or(&3);
        let witness = if replicas == 2 { chance.percent(60) } else { replicas < MACHINES_MAX && chance.percent(10) };
        let size = replicas + usize::from(witness);
        let expect =
            if chance.percent(25) { usize::try_from(chance.within(1..size as u64 + 1)).unwrap_or(1) } else { size };
        let rate_spread_ppm = *chance.pick(&[0, 1_000, 100_000, 100_000]).unwrap_or(&0);
        Self::with(seed, chance, replicas, witness, expect, rate_spread_ppm)
    }

    pub(super) fn with(
        seed: u64,
        mut chance: Chance,
        replicas: usize,
        witness: bool,
        expect: usize,
        rate_spread_ppm: u64,
    ) -> Self {
        let ms = Duration::from_millis;
        let (lease, retry) =
            *chance.pick(&[(900, 100), (900, 100), (1_000, 100), (1_500, 150), (3_000, 300)]).unwrap_or(&(900, 100));
        let renew = if super::rules::holds(super::rules::Rule::ClockMargin) { lease * 4 / 5 } else { lease - 10 };
        let timing = Timing {
            lease_duration: ms(lease),
            renew_deadline: ms(renew),
            retry_period: ms(retry),
            member_removal_delay: ms(20_000),
        };
        let mut world = World::new(seed, timing, expect);
        world.dns.bare = chance.percent(30);
        let mut nemesis = Self { chance, wanted: Vec::new(), faults: Faults::new(), rate_spread_ppm, change_until: 0 };
        for number in 0..replicas {
            let id = world.add(format!("prom-{number}"), false, nemesis.rate());
            nemesis.wanted.push(id);
        }
        if witness {
            let id = world.add("witness-0".into(), true, nemesis.rate());
            nemesis.wanted.push(id);
        }
        world.wanted.extend(nemesis.wanted.iter().copied());
        world::set(Some(world));
        nemesis
    }

    /// A clock's rate: at one of both ends of the allowed error, or anywhere between.
    pub(super) fn rate(&mut self) -> u64 {
        let spread = self.rate_spread_ppm;
        match self.chance.within(0..3) {
            0 => 1_000_000 - spread,
            1 => 1_000_000 + spread,
            _ => 1_000_000 - spread + self.chance.within(0..2 * spread + 1),
        }
    }

    pub(super) fn time(&mut self, ms: Range<u64>) -> Nanos {
        self.chance.within(ms) * MILLISECOND
    }

    /// Starts everybody, as a StatefulSet does, with or without waiting. DNS may know them late, unless the number that is
    /// expected is so small that two majorities of it need not meet.
    pub(super) async fn start_all(&mut self) {
        let ordered = self.chance.percent(40);
        let small = self.expects_few();
        for id in self.wanted.clone() {
            let lag = if small { 0 } else { self.chance.within(0..LISTED_WITHIN / MILLISECOND) * MILLISECOND };
            if small {
                world::with(|world| self.wanted.iter().for_each(|id| world.list(*id, true)));
            } else {
                later(lag, move || world::with(|world| world.list(id, true)));
            }
            world::with(|world| world.start(id));
            if ordered {
                let wait = self.time(100..4_000);
                sleep(wait).await;
            }
        }
    }

    /// Faults for this long.
    pub(super) async fn rage(&mut self, time: Nanos) {
        let end = executor::now() + time;
        // Some runs have few faults far apart, so that the group settles between them; some have many at once.
        let gap = self.chance.pick(&[300..1_500, 1_000..5_000, 3_000..15_000]).cloned().unwrap_or(1_000..5_000);
        while executor::now() < end {
            self.one_fault();
            let pause = self.time(gap.clone());
            sleep(pause).await;
        }
    }

    /// Draws a fault and installs it.
    pub(super) fn one_fault(&mut self) {
        let total: u64 = KINDS.iter().map(|(_, weight, _)| weight).sum();
        let mut draw = self.chance.within(0..total);
        for (name, weight, install) in KINDS {
            if draw < *weight {
                let installed = install(self);
                tracing::info!(fault = name, installed, "nemesis");
                self.count(name, installed);
                return;
            }
            draw -= weight;
        }
    }

    pub(super) fn count(&mut self, name: &'static str, installed: bool) {
        let count = self.faults.entry(name).or_default();
        if installed {
            count.0 += 1;
        } else {
            count.1 += 1;
        }
    }

    pub(super) fn expects_few(&self) -> bool {
        world::with(|world| (world.expect / 2 + 1) * 2 <= self.wanted.len())
    }

    /// The promises hold as long as a majority of the disks lives, and as long as the members that have never been in the
    /// group, or have lost their disk, are fewer than the majority that could form another.
    pub(super) fn may_lose_disk(&self, id: MachineId) -> bool {
        let others: Vec<MachineId> = self.wanted.iter().copied().filter(|other| *other != id).collect();
        self.carry_the_group(&others, None) && self.may_be_blank(id) && !Self::is_joining(id)
    }

    pub(super) fn carry_the_group(&self, machines: &[MachineId], without: Option<MachineId>) -> bool {
        executor::now() > self.change_until && world::with(|world| world.carry_the_group(machines, without))
    }

    pub(super) fn nobody_is_blank(&self) -> bool {
        world::with(|world| !self.wanted.iter().any(|id| world.checkers.is_blank(*id)))
    }

    /// It may be given a vote at any moment, so it counts as a voter already.
    pub(super) fn is_joining(id: MachineId) -> bool {
        world::with(|world| {
            let name = &world.machines[id.0].name;
            let learns = |status: &crate::GroupStatus| {
                status.members.iter().any(|member| member.name == *name && member.kind == MemberKind::Learner)
            };
            world.running().into_iter().filter_map(|id| world.status(id)).any(|status| learns(&status))
        })
    }

    pub(super) fn may_be_blank(&self, id: MachineId) -> bool {
        world::with(|world| {
            let is_blank = |other: &&MachineId| **other != id && world.checkers.is_blank(**other);
            let blank: Vec<MachineId> = self.wanted.iter().filter(is_blank).copied().collect();
            let formed = blank.len() < self.wanted.len();
            // A new member is told the new number, one that starts again the present one; one that runs knows that of its own start.
            let number = if self.wanted.contains(&id) { world.expect } else { world.expect.max(self.wanted.len() + 1) };
            let told = blank.iter().map(|other| world.machines[other.0].expect);
            let expect = told.chain([number]).min().unwrap_or(1);
            !formed || blank.len() + 1 < expect / 2 + 1
        })
    }

    pub(super) fn replicas(&self) -> Vec<MachineId> {
        let is_replica = |id: &MachineId| world::with(|world| !world.machines[id.0].witness);
        self.wanted.iter().copied().filter(is_replica).collect()
    }

    pub(super) fn has_acted() -> bool {
        world::with(|world| world.running().into_iter().any(|id| world.acts(id)))
    }

    /// The one that acts now, and its handle.
    pub(super) fn acting() -> Option<(MachineId, LifeId, crate::GroupHandle)> {
        world::with(|world| {
            let id = world.running().into_iter().find(|id| world.acts(*id))?;
            let process = world.machines[id.0].process.as_ref()?;
            Some((id, process.life, process.handle.clone()))
        })
    }
}
