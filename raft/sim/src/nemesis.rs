//! The random scenario: a group of some size, faults of every kind drawn from the seed, then quiet.

use std::collections::BTreeMap;
use std::ops::Range;

use super::chance::Chance;
use super::device::Survives;
use super::dns::View;
use super::executor::{self, LifeId, Nanos, Sleep};
use super::net;
use super::world::{self, FSYNC, MILLISECOND, MachineId, SECOND, World};
use crate::store::Crash;
use crate::{MemberKind, Timing};
use std::time::Duration;

/// Faults by kind: installed, skipped because they made no sense then.
pub type Faults = BTreeMap<&'static str, (u64, u64)>;

/// The most machines of a run, the witness among them.
const MACHINES_MAX: usize = 7;

/// One kind of fault and how often it is drawn.
type Kind = (&'static str, u64, fn(&mut Nemesis) -> bool);

const KINDS: &[Kind] = &[
    ("crash", 10, Nemesis::crash),
    ("crash of all", 1, Nemesis::crash_all),
    ("SIGTERM", 5, Nemesis::terminate),
    ("pause", 8, Nemesis::pause),
    ("suspend", 4, Nemesis::suspend),
    ("isolation", 8, Nemesis::isolate),
    ("one-way cut", 8, Nemesis::one_way),
    ("partition", 5, Nemesis::partition),
    ("partial partition", 6, Nemesis::partial),
    ("slow links", 5, Nemesis::slow_links),
    ("loss and duplicates", 4, Nemesis::lossy),
    ("slow disk", 5, Nemesis::slow_disk),
    ("DNS", 8, Nemesis::dns),
    ("lost disk", 5, Nemesis::lose_disk),
    ("new address", 4, Nemesis::move_address),
    ("replaced pod", 4, Nemesis::replace),
    ("scale up", 4, Nemesis::scale_up),
    ("scale down", 3, Nemesis::scale_down),
    ("removal by hand", 2, Nemesis::remove_by_hand),
    ("handover", 6, Nemesis::hand_over),
    ("eligibility", 6, Nemesis::eligibility),
    ("published values", 4, Nemesis::publish),
];

/// Draws and installs faults.
pub(super) struct Nemesis {
    pub(super) chance: Chance,
    /// Machines that should be running, by place.
    pub(super) wanted: Vec<MachineId>,
    pub(super) faults: Faults,
    rate_spread_ppm: u64,
    /// Until then a removal by hand may be under way.
    change_until: Nanos,
}

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
    fn rate(&mut self) -> u64 {
        let spread = self.rate_spread_ppm;
        match self.chance.within(0..3) {
            0 => 1_000_000 - spread,
            1 => 1_000_000 + spread,
            _ => 1_000_000 - spread + self.chance.within(0..2 * spread + 1),
        }
    }

    fn time(&mut self, ms: Range<u64>) -> Nanos {
        self.chance.within(ms) * MILLISECOND
    }

    /// Starts everybody, as a StatefulSet does, with or without waiting. DNS may know them late, unless the number that is
    /// expected is so small that two majorities of it need not meet.
    pub(super) async fn start_all(&mut self) {
        let ordered = self.chance.percent(40);
        let small = self.expects_few();
        for id in self.wanted.clone() {
            let lag = if small { 0 } else { self.time(0..2_500) };
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

    fn expects_few(&self) -> bool {
        world::with(|world| (world.expect / 2 + 1) * 2 <= self.wanted.len())
    }

    fn running(&mut self) -> Option<MachineId> {
        let running = world::with(|world| world.running());
        // The leader more often than its share.
        let acting = running.iter().copied().find(|id| world::with(|world| world.acts(*id)));
        if acting.is_some() && self.chance.percent(35) { acting } else { self.chance.pick(&running).copied() }
    }

    fn some_crash(&mut self) -> Crash {
        match self.chance.within(0..4) {
            0 => Crash::Before,
            1 => Crash::After,
            2 => Crash::Torn(self.chance.within(1..12), Survives::Written),
            _ => Crash::Torn(self.chance.within(1..12), Survives::First(self.chance.within(0..8))),
        }
    }

    pub(super) fn kill(&mut self, id: MachineId) {
        let crash = self.some_crash();
        world::with(|world| world.kill(id, crash));
    }

    fn restart_later(&mut self, id: MachineId, ms: Range<u64>) {
        let after = self.time(ms);
        later(after, move || world::with(|world| world.start_wanted(id)));
    }

    fn restart_soon(&mut self, id: MachineId) {
        let range = self.chance.pick(&[10..300, 100..1_200, 500..10_000]).cloned().unwrap_or(100..1_000);
        self.restart_later(id, range);
    }

    fn crash(&mut self) -> bool {
        let Some(id) = self.running() else { return false };
        self.kill(id);
        self.restart_soon(id);
        true
    }

    fn crash_all(&mut self) -> bool {
        for id in world::with(|world| world.running()) {
            self.kill(id);
            self.restart_later(id, 10..5_000);
        }
        true
    }

    fn terminate(&mut self) -> bool {
        let Some(id) = self.running() else { return false };
        let Some((life, handle)) = world::with(|world| {
            world.set_eligible(id, false);
            let process = world.machines[id.0].process.as_ref()?;
            Some((process.life, process.handle.clone()))
        }) else {
            return false;
        };
        executor::spawn_in(life, async move {
            let _ = crate::rt::timeout(Duration::from_secs(5), handle.hand_over("stopping")).await;
            executor::spawn_in(LifeId(0), async move {
                world::with(|world| {
                    if world.life(id) == Some(life) {
                        world.kill(id, Crash::Before);
                    }
                });
            });
        });
        let after = self.time(5_100..9_000);
        later(after, move || {
            world::with(|world| {
                world.set_eligible(id, true);
                world.start_wanted(id);
            });
        });
        true
    }

    fn pause(&mut self) -> bool {
        self.stop_for_a_while(false)
    }

    fn suspend(&mut self) -> bool {
        self.stop_for_a_while(true)
    }

    fn stop_for_a_while(&mut self, suspend: bool) -> bool {
        let Some(id) = self.running() else { return false };
        let Some(life) = world::with(|world| world.life(id)).filter(|life| !executor::is_paused(*life)) else {
            return false;
        };
        if suspend {
            world::with(|world| world.suspend(id));
        } else {
            executor::pause(life, false);
        }
        let range = self.chance.pick(&[200..700, 700..1_500, 1_000..8_000]).cloned().unwrap_or(200..700);
        let after = self.time(range);
        later(after, move || {
            world::with(|world| {
                if world.life(id) == Some(life) {
                    world.resume(id);
                }
            });
        });
        true
    }

    fn cut(&mut self, links: Vec<(MachineId, MachineId)>, ms: Range<u64>) -> bool {
        if links.is_empty() {
            return false;
        }
        world::with(|world| world.net.cuts.extend(links.iter().copied()));
        let after = self.time(ms);
        later(after, move || {
            world::with(|world| world.net.cuts.retain(|link| !links.contains(link)));
            net::deliver_held();
        });
        true
    }

    fn others(id: MachineId) -> Vec<MachineId> {
        world::with(|world| world.all().filter(|other| *other != id).collect())
    }

    fn isolate(&mut self) -> bool {
        let Some(id) = self.running() else { return false };
        let links = Self::others(id).into_iter().flat_map(|other| [(id, other), (other, id)]).collect();
        let range = self.chance.pick(&[300..2_000, 1_000..12_000]).cloned().unwrap_or(300..2_000);
        self.cut(links, range)
    }

    fn one_way(&mut self) -> bool {
        let Some(id) = self.running() else { return false };
        let others = Self::others(id);
        let inward = self.chance.percent(50);
        let all = self.chance.percent(50);
        let links = others.into_iter().filter(|_| all || self.chance.percent(50));
        let links = links.map(|other| if inward { (other, id) } else { (id, other) }).collect();
        self.cut(links, 300..10_000)
    }

    fn partition(&mut self) -> bool {
        let mut all: Vec<MachineId> = world::with(|world| world.all().collect());
        self.chance.shuffle(&mut all);
        let at = usize::try_from(self.chance.within(1..(all.len() as u64).max(2))).unwrap_or(1).min(all.len());
        let (one, two) = all.split_at(at);
        let links = one.iter().flat_map(|a| two.iter().flat_map(|b| [(*a, *b), (*b, *a)])).collect();
        self.cut(links, 500..12_000)
    }

    fn partial(&mut self) -> bool {
        let all: Vec<MachineId> = world::with(|world| world.all().collect());
        let mut links = Vec::new();
        for a in &all {
            for b in &all {
                if a < b && self.chance.percent(40) {
                    links.extend([(*a, *b), (*b, *a)]);
                }
            }
        }
        self.cut(links, 500..12_000)
    }

    fn slow_links(&mut self) -> bool {
        let Some(id) = self.running() else { return false };
        let range = self.chance.pick(&[5_000..30_000, 20_000..90_000, 50_000..900_000]).cloned().unwrap_or(0..1);
        world::with(|world| {
            for other in world.all() {
                world.net.slow.insert((id, other), range.clone());
                world.net.slow.insert((other, id), range.clone());
            }
        });
        let after = self.time(500..10_000);
        later(after, move || world::with(|world| world.net.slow.retain(|(a, b), _| *a != id && *b != id)));
        true
    }

    fn lossy(&mut self) -> bool {
        let (loss, duplicates) = (self.chance.within(0..25), self.chance.within(0..25));
        world::with(|world| (world.net.loss, world.net.duplicates) = (loss, duplicates));
        let after = self.time(500..10_000);
        later(after, || world::with(|world| (world.net.loss, world.net.duplicates) = (0, 0)));
        true
    }

    fn slow_disk(&mut self) -> bool {
        let Some(id) = self.running() else { return false };
        let range = self.chance.pick(&[20_000..120_000, 100_000..1_500_000]).cloned().unwrap_or(FSYNC);
        world::with(|world| world.machines[id.0].fsync = range);
        let after = self.time(500..10_000);
        later(after, move || world::with(|world| world.machines[id.0].fsync = FSYNC));
        true
    }

    /// One wrong view, for one machine or for all.
    fn dns(&mut self) -> bool {
        if self.expects_few() && !Self::has_acted() {
            return false;
        }
        let names: Vec<String> = world::with(|world| world.dns.records().into_keys().collect());
        let mut some = names.clone();
        some.retain(|_| self.chance.percent(50));
        let view = match self.chance.within(0..5) {
            0 => View::Stale(self.time(1_000..30_000)),
            1 => View::Missing(some.into_iter().collect()),
            2 => {
                let wrong = some.into_iter().filter_map(|name| Some((name, self.chance.pick(&names)?.clone())));
                View::Wrong(wrong.collect())
            }
            3 => View::Flapping,
            _ => View::Outage,
        };
        let victims: Vec<MachineId> = if self.chance.percent(40) {
            world::with(|world| world.all().collect())
        } else {
            self.running().into_iter().collect()
        };
        let after = self.time(1_000..15_000);
        for id in victims {
            let view = view.clone();
            world::with(|world| world.machines[id.0].view = view);
            later(after, move || world::with(|world| world.machines[id.0].view = View::Fresh));
        }
        true
    }

    /// The promises hold as long as a majority of the disks lives, and as long as the members that have never been in the
    /// group, or have lost their disk, are fewer than the majority that could form another.
    fn may_lose_disk(&self, id: MachineId) -> bool {
        let others: Vec<MachineId> = self.wanted.iter().copied().filter(|other| *other != id).collect();
        self.carry_the_group(&others) && self.may_be_blank(id) && !Self::is_joining(id)
    }

    fn carry_the_group(&self, machines: &[MachineId]) -> bool {
        executor::now() > self.change_until && world::with(|world| world.carry_the_group(machines))
    }

    /// It may be given a vote at any moment, so it counts as a voter already.
    fn is_joining(id: MachineId) -> bool {
        world::with(|world| {
            let name = &world.machines[id.0].name;
            let learns = |status: &crate::GroupStatus| {
                status.members.iter().any(|member| member.name == *name && member.kind == MemberKind::Learner)
            };
            world.running().into_iter().filter_map(|id| world.status(id)).any(|status| learns(&status))
        })
    }

    fn may_be_blank(&self, id: MachineId) -> bool {
        world::with(|world| {
            let blank = self.wanted.iter().filter(|other| **other != id && world.checkers.is_blank(**other)).count();
            let formed = blank < self.wanted.len();
            !formed || blank + 1 < world.expect / 2 + 1
        })
    }

    fn lose_disk(&mut self) -> bool {
        let Some(id) = self.running() else { return false };
        if !self.may_lose_disk(id) {
            return false;
        }
        self.kill(id);
        world::with(|world| world.lose_disk(id));
        self.restart_soon(id);
        true
    }

    fn move_address(&mut self) -> bool {
        let Some(id) = self.running() else { return false };
        self.kill(id);
        world::with(|world| world.move_address(id));
        self.restart_soon(id);
        true
    }

    fn replace(&mut self) -> bool {
        let Some(id) = self.running() else { return false };
        if !self.may_lose_disk(id) {
            return false;
        }
        self.kill(id);
        world::with(|world| {
            world.lose_disk(id);
            world.move_address(id);
        });
        self.restart_soon(id);
        true
    }

    fn replicas(&self) -> Vec<MachineId> {
        let is_replica = |id: &MachineId| world::with(|world| !world.machines[id.0].witness);
        self.wanted.iter().copied().filter(is_replica).collect()
    }

    fn has_acted() -> bool {
        world::with(|world| world.running().into_iter().any(|id| world.acts(id)))
    }

    pub(super) fn scale_up(&mut self) -> bool {
        if !Self::has_acted() || self.wanted.len() >= MACHINES_MAX {
            return false;
        }
        let number = self.replicas().len();
        let name = format!("prom-{number}");
        let known = world::with(|world| world.machines.iter().position(|machine| machine.name == name));
        let id = match known {
            // Back, with its old disk or a new one.
            Some(place) => {
                let id = MachineId(place);
                if world::with(|world| world.is_up(id)) {
                    return false;
                }
                let lose = self.chance.percent(40) && self.may_be_blank(id);
                world::with(|world| {
                    if lose {
                        world.lose_disk(id);
                    }
                    world.move_address(id);
                });
                id
            }
            None if !self.may_be_blank(MachineId(usize::MAX)) => return false,
            None => {
                let rate = self.rate();
                world::with(|world| world.add(name, false, rate))
            }
        };
        self.wanted.push(id);
        world::with(|world| world.wanted.insert(id));
        // Told to all with the new number of replicas, as the documentation asks for; who runs learns it at its next start.
        world::with(|world| world.expect = world.expect.max(self.wanted.len()));
        let lag = self.time(0..2_500);
        later(lag, move || world::with(|world| world.list(id, true)));
        world::with(|world| world.start(id));
        true
    }

    pub(super) fn scale_down(&mut self) -> bool {
        let replicas = self.replicas();
        let Some(last) = replicas.last().copied().filter(|_| replicas.len() > 1) else { return false };
        let others: Vec<MachineId> = self.wanted.iter().copied().filter(|id| *id != last).collect();
        // Fewer members than a majority of the membership would stop the group, as an operator is told.
        if !Self::has_acted() || Self::is_joining(last) || !self.carry_the_group(&others) {
            return false;
        }
        self.wanted.retain(|id| *id != last);
        world::with(|world| world.wanted.remove(&last));
        world::with(|world| world.list(last, false));
        self.kill(last);
        true
    }

    /// The one that acts now, and its handle.
    pub(super) fn acting() -> Option<(MachineId, LifeId, crate::GroupHandle)> {
        world::with(|world| {
            let id = world.running().into_iter().find(|id| world.acts(*id))?;
            let process = world.machines[id.0].process.as_ref()?;
            Some((id, process.life, process.handle.clone()))
        })
    }

    fn remove_by_hand(&mut self) -> bool {
        let Some((leader, life, handle)) = Self::acting() else { return false };
        let others: Vec<String> =
            Self::others(leader).into_iter().map(|id| world::with(|world| world.machines[id.0].name.clone())).collect();
        let Some(name) = self.chance.pick(&others).cloned() else { return false };
        self.change_until = executor::now() + 12 * SECOND;
        executor::spawn_in(life, async move { drop(handle.remove(&name).await) });
        true
    }

    fn hand_over(&mut self) -> bool {
        let Some((_, life, handle)) = Self::acting() else { return false };
        executor::spawn_in(life, async move { drop(handle.hand_over("told by the simulation").await) });
        true
    }

    fn eligibility(&mut self) -> bool {
        let Some(id) = self.running() else { return false };
        world::with(|world| world.set_eligible(id, false));
        let after = self.time(300..10_000);
        later(after, move || world::with(|world| world.set_eligible(id, true)));
        true
    }

    fn publish(&mut self) -> bool {
        let Some((_, life, handle)) = Self::acting() else { return false };
        let count = self.chance.within(1..120);
        executor::spawn_in(life, async move {
            for number in 0..count {
                let _ = handle.publish(&format!("key-{}", number % 7), &number.to_string()).await;
            }
        });
        true
    }
}
