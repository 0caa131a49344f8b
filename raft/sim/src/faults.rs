//! Every kind of fault: installed now, taken away some time later. False: it makes no sense now.

use std::ops::Range;
use std::time::Duration;

use super::device::Survives;
use super::dns::View;
use super::executor::{self, LifeId};
use super::nemesis::{MACHINES_MAX, Nemesis, later};
use super::net;
use super::world::{self, FSYNC, MachineId, SECOND};
use crate::store::Crash;

/// One kind of fault and how often it is drawn.
type Kind = (&'static str, u64, fn(&mut Nemesis) -> bool);

pub(super) const KINDS: &[Kind] = &[
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

impl Nemesis {
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
        let after = self.time(5_100..9_000);
        let due = executor::now() + after;
        let start = move || world::with(|world| world.start_fit(id));
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
                // A process that was stopped for a while ends later than it was told to.
                if executor::now() >= due {
                    later(after - 5 * SECOND, start);
                }
            });
        });
        later(after, start);
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
        let range = self.chance.pick(&[5..60, 200..700, 700..1_500, 1_000..8_000]).cloned().unwrap_or(200..700);
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
        if self.expects_few() && !(Self::has_acted() && self.nobody_is_blank()) {
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
                let blank = world::with(|world| world.checkers.is_blank(id));
                if blank && !self.may_be_blank(id) {
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
        // Unless it is gone again by then.
        later(lag, move || world::with(|world| world.list(id, world.wanted.contains(&id))));
        world::with(|world| world.start(id));
        true
    }

    pub(super) fn scale_down(&mut self) -> bool {
        let replicas = self.replicas();
        let Some(last) = replicas.last().copied().filter(|_| replicas.len() > 1) else { return false };
        let others: Vec<MachineId> = self.wanted.iter().copied().filter(|id| *id != last).collect();
        // Fewer members than a majority of the membership would stop the group, as an operator is told.
        if !Self::has_acted() || Self::is_joining(last) || !self.carry_the_group(&others, None) {
            return false;
        }
        self.wanted.retain(|id| *id != last);
        world::with(|world| world.wanted.remove(&last));
        world::with(|world| world.list(last, false));
        self.kill(last);
        true
    }

    fn remove_by_hand(&mut self) -> bool {
        let Some((leader, life, handle)) = Self::acting() else { return false };
        let Some(removed) = self.chance.pick(&Self::others(leader)).copied() else { return false };
        let left: Vec<MachineId> = self.wanted.iter().copied().filter(|id| *id != removed).collect();
        // Whoever removes a member just when others go for good asks for a membership whose majority is gone.
        if !self.carry_the_group(&left, Some(removed)) {
            return false;
        }
        let name = world::with(|world| world.machines[removed.0].name.clone());
        self.change_until = executor::now() + 12 * SECOND;
        executor::spawn_in(life, async move { drop(handle.remove(&name).await) });
        true
    }

    #[allow(clippy::unused_self, reason = "one of the kinds")]
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
