//! The stories themselves, each up to the end of its faults. An error is a promise that was not kept on the way.

use std::collections::BTreeSet;

use super::dns::View;
use super::executor::{self, LifeId, Nanos};
use super::nemesis::{LISTED_WITHIN, Nemesis, later, sleep};
use super::scenarios::settled;
use super::world::{self, MILLISECOND, MachineId, SECOND};
use super::{net, quiet};
use crate::store::Crash;

fn links(from: MachineId, to: &[MachineId]) -> Vec<(MachineId, MachineId)> {
    to.iter().filter(|other| **other != from).flat_map(|other| [(from, *other), (*other, from)]).collect()
}

fn acting() -> Option<MachineId> {
    Nemesis::acting().map(|(id, _, _)| id)
}

pub(super) async fn partial_partition(nemesis: &mut Nemesis) -> Result<(), String> {
    for _ in 0..3 {
        let mut all = nemesis.wanted.clone();
        nemesis.chance.shuffle(&mut all);
        // The leader is rather outside of the majority that stays connected.
        if let Some(leader) = acting().filter(|_| nemesis.chance.percent(70)) {
            all.sort_by_key(|id| *id == leader);
        }
        let (majority, rest) = all.split_at(all.len() / 2 + 1);
        let mut cut = BTreeSet::new();
        for outside in rest {
            for other in &all {
                if nemesis.chance.percent(60) {
                    cut.extend([(*outside, *other), (*other, *outside)]);
                }
            }
        }
        nemesis.count("partial partition", true);
        tracing::info!(?majority, ?cut, "a partial partition");
        world::with(|world| world.net.cuts.extend(cut.iter().copied()));
        sleep(25 * SECOND).await;
        if acting().is_none() {
            return Err(format!("a connected majority, {majority:?}, has had no leader for 25 s"));
        }
        world::with(|world| world.net.cuts.clear());
        net::deliver_held();
        let pause = nemesis.chance.within(0..4_000) * MILLISECOND;
        sleep(pause).await;
    }
    Ok(())
}

pub(super) async fn reborn_blank(nemesis: &mut Nemesis) -> Result<(), String> {
    let Some(leader) = acting() else { return Ok(()) };
    let all = nemesis.wanted.clone();
    world::with(|world| world.net.cuts.extend(links(leader, &all)));
    nemesis.count("isolation", true);
    let pause = nemesis.chance.within(0..200) * MILLISECOND;
    sleep(pause).await;
    for id in all.iter().copied().filter(|id| *id != leader) {
        nemesis.count("lost disk", true);
        let listed = nemesis.chance.percent(50);
        world::with(|world| {
            world.kill(id, Crash::Before);
            world.lose_disk(id);
            // DNS may have forgotten the isolated one: its pod counts as gone.
            world.list(leader, listed);
            world.start(id);
        });
        let pause = nemesis.chance.within(0..60) * MILLISECOND;
        sleep(pause).await;
    }
    sleep(12 * SECOND).await;
    world::with(|world| world.net.cuts.clear());
    recover_what_is_left(nemesis, &[leader]).await
}

/// What the documentation says after a majority is lost for good: `recover` on the members that are left.
async fn recover_what_is_left(nemesis: &Nemesis, left: &[MachineId]) -> Result<(), String> {
    for id in left {
        let process = world::with(|world| {
            let process = world.machines[id.0].process.as_ref()?;
            Some((process.life, process.handle.clone()))
        });
        if let Some((life, handle)) = process {
            executor::spawn_in(life, async move { drop(handle.recover().await) });
        }
    }
    world::with(|world| nemesis.wanted.iter().for_each(|id| world.list(*id, true)));
    sleep(SECOND).await;
    Ok(())
}

pub(super) async fn two_candidates(nemesis: &mut Nemesis) {
    let all = nemesis.wanted.clone();
    let name = |id: &MachineId| world::with(|world| world.machines[id.0].name.clone());
    let names: Vec<String> = all.iter().map(name).collect();
    world::with(|world| all.iter().for_each(|id| world.list(*id, true)));
    // Each member knows only about half of the others, a different half from time to time; promises come late and twice.
    world::with(|world| (world.net.loss, world.net.duplicates) = (5, 30));
    let end = executor::now() + nemesis.chance.within(4..15) * SECOND;
    for id in &all {
        blind(nemesis, *id, &names);
        world::with(|world| world.start(*id));
    }
    while executor::now() < end {
        let pause = nemesis.chance.within(20..800) * MILLISECOND;
        sleep(pause).await;
        let Some(id) = nemesis.chance.pick(&all).copied() else { return };
        match nemesis.chance.within(0..10) {
            0 => {
                nemesis.kill(id);
                let after = nemesis.chance.within(10..1_500) * MILLISECOND;
                later(after, move || world::with(|world| world.start(id)));
                nemesis.count("crash", true);
            }
            1 => {
                let cut = links(id, &all);
                let after = nemesis.chance.within(100..3_000) * MILLISECOND;
                world::with(|world| world.net.cuts.extend(cut.iter().copied()));
                later(after, move || {
                    world::with(|world| world.net.cuts.retain(|link| !cut.contains(link)));
                    net::deliver_held();
                });
                nemesis.count("isolation", true);
            }
            2 => {
                let slow = nemesis.chance.within(1_000..800_000);
                world::with(|world| world.machines[id.0].fsync = slow / 2..slow);
                nemesis.count("slow disk", true);
            }
            _ => {
                blind(nemesis, id, &names);
                nemesis.count("DNS", true);
            }
        }
    }
}

fn blind(nemesis: &mut Nemesis, id: MachineId, names: &[String]) {
    let own = world::with(|world| world.machines[id.0].name.clone());
    let missing = names.iter().filter(|name| **name != own && nemesis.chance.percent(45)).cloned().collect();
    world::with(|world| world.machines[id.0].view = View::Missing(missing));
}

pub(super) async fn scaling(nemesis: &mut Nemesis) -> Result<(), String> {
    for size in [3, 5, 3] {
        let mut attempts = 0;
        while nemesis.wanted.len() != size && attempts < 60 {
            attempts += 1;
            let grown = nemesis.wanted.len() < size;
            let done = if grown { nemesis.scale_up() } else { nemesis.scale_down() };
            nemesis.count(if grown { "scale up" } else { "scale down" }, done);
            if done && nemesis.chance.percent(50) {
                nemesis.one_fault();
            }
            let pause = nemesis.chance.within(500..4_000) * MILLISECOND;
            sleep(pause).await;
        }
        quiet::heal(nemesis);
        settled(nemesis).await?;
    }
    // By hand: everybody but the leader goes, first out of the group, then out of the StatefulSet.
    let Some((leader, life, handle)) = Nemesis::acting() else { return Ok(()) };
    let others: Vec<MachineId> = nemesis.wanted.iter().copied().filter(|id| *id != leader).collect();
    for id in others {
        let name = world::with(|world| world.machines[id.0].name.clone());
        let handle = handle.clone();
        executor::spawn_in(life, async move { drop(handle.remove(name).await) });
        nemesis.count("removal by hand", true);
        sleep(2 * SECOND).await;
        if nemesis.chance.percent(50) {
            // The removed ones are still up, and the one that is left is cut off from them.
            let all = nemesis.wanted.clone();
            world::with(|world| world.net.cuts.extend(links(leader, &all)));
        }
    }
    sleep(8 * SECOND).await;
    world::with(|world| world.net.cuts.clear());
    Ok(())
}

pub(super) async fn rolling_replacement(nemesis: &mut Nemesis) -> Result<(), String> {
    // Those of before, whatever has moved since: a name server may be slow to forget. Whoever starts last would find nobody.
    let mut old_addresses = None;
    if nemesis.chance.percent(50) {
        sleep(LISTED_WITHIN).await;
        old_addresses = Some(View::AsOf(executor::now()));
    }
    let mut order = nemesis.wanted.clone();
    order.reverse();
    if old_addresses.is_some() {
        nemesis.chance.shuffle(&mut order);
    }
    for id in order.iter().copied() {
        let is_last = order.last() == Some(&id);
        let view = old_addresses.clone().filter(|_| !is_last).unwrap_or_default();
        world::with(|world| world.machines.iter_mut().for_each(|machine| machine.view = view.clone()));
        if nemesis.chance.percent(60)
            && let Some((_, life, handle)) = Nemesis::acting().filter(|(leader, _, _)| *leader == id)
        {
            world::with(|world| world.set_eligible(id, false));
            executor::spawn_in(life, async move { drop(handle.hand_over("rolling update").await) });
            sleep(SECOND).await;
        }
        nemesis.kill(id);
        let (lost, moved) = (nemesis.chance.percent(60), old_addresses.is_some() || nemesis.chance.percent(70));
        world::with(|world| {
            if lost {
                world.lose_disk(id);
            }
            if moved {
                world.move_address(id);
            }
            world.set_eligible(id, true);
        });
        nemesis.count("replaced pod", true);
        let pause = nemesis.chance.within(10..3_000) * MILLISECOND;
        sleep(pause).await;
        world::with(|world| world.start(id));
        // As the StatefulSet controller: on to the next as soon as this one is ready.
        settled(nemesis).await?;
    }
    Ok(())
}

pub(super) async fn majority_lost(nemesis: &mut Nemesis) -> Result<(), String> {
    let mut all = nemesis.wanted.clone();
    nemesis.chance.shuffle(&mut all);
    // A leader that loses its majority in an instant believes in itself for a while: the lost ones are back by then, blank.
    let at_once = nemesis.chance.percent(60);
    if let Some(leader) = acting().filter(|_| at_once) {
        all.sort_by_key(|id| *id == leader);
    }
    let (lost, left) = all.split_at(all.len() / 2 + 1);
    for id in lost {
        nemesis.count("lost disk", true);
        world::with(|world| {
            world.kill(*id, Crash::Before);
            world.lose_disk(*id);
        });
    }
    let pause = nemesis.chance.within(if at_once { 5..300 } else { 10..5_000 }) * MILLISECOND;
    sleep(pause).await;
    world::with(|world| lost.iter().for_each(|id| world.start(*id)));
    sleep(15 * SECOND).await;
    if acting().is_some() {
        return Err("a group acts whose majority is lost, and nobody has recovered it".into());
    }
    recover_what_is_left(nemesis, left).await
}

pub(super) async fn forgotten_lease(nemesis: &mut Nemesis) -> Result<(), String> {
    for _ in 0..12 {
        let Some(leader) = acting() else {
            sleep(SECOND).await;
            continue;
        };
        let all = nemesis.wanted.clone();
        let mut others: Vec<MachineId> = all.iter().copied().filter(|id| *id != leader).collect();
        nemesis.chance.shuffle(&mut others);
        let [restarted, candidate] = others[..] else { return Ok(()) };
        // The candidate has heard nothing for a while; the leader leans on the other one, which restarts as the leader is
        // cut off from it too.
        world::with(|world| world.net.cuts.extend(links(candidate, &[leader])));
        nemesis.count("partial partition", true);
        let pause = nemesis.chance.within(300..3_000) * MILLISECOND;
        sleep(pause).await;
        world::with(|world| {
            world.net.cuts.extend(links(leader, &all));
            world.kill(restarted, Crash::After);
        });
        nemesis.count("crash", true);
        let pause = nemesis.chance.within(0..40) * MILLISECOND;
        sleep(pause).await;
        world::with(|world| world.start(restarted));
        let pause = nemesis.chance.within(1_000..4_000) * MILLISECOND;
        sleep(pause).await;
        world::with(|world| world.net.cuts.clear());
        net::deliver_held();
        let pause = nemesis.chance.within(500..4_000) * MILLISECOND;
        sleep(pause).await;
    }
    Ok(())
}

pub(super) async fn forgotten_name(nemesis: &mut Nemesis) -> Result<(), String> {
    let Some(leader) = acting() else { return Ok(()) };
    let others: Vec<MachineId> = nemesis.wanted.iter().copied().filter(|id| *id != leader).collect();
    let Some(victim) = nemesis.chance.pick(&others).copied() else { return Ok(()) };
    let name = world::with(|world| world.machines[victim.0].name.clone());
    let before = world::with(|world| world.newest_membership());
    let missing = BTreeSet::from([name.clone()]);
    world::with(|world| {
        for machine in &mut world.machines {
            machine.view = View::Missing(missing.clone());
        }
    });
    nemesis.count("DNS", true);
    sleep(45 * SECOND).await;
    if world::with(|world| world.newest_membership()) != before {
        return Err(format!("{name} answered all the time, and was removed because DNS had forgotten it"));
    }
    Ok(())
}

pub(super) async fn unfit_leader(nemesis: &mut Nemesis) -> Result<(), String> {
    for _ in 0..8 {
        let Some(leader) = acting() else {
            sleep(SECOND).await;
            continue;
        };
        let down = nemesis.chance.percent(50);
        nemesis.count(if down { "crash" } else { "eligibility" }, true);
        if down {
            nemesis.kill(leader);
            if nemesis.chance.percent(50) {
                // Whoever is left leads, eligible or not, but not a witness.
                world::with(|world| world.all().for_each(|id| world.set_eligible(id, false)));
            }
        } else {
            world::with(|world| world.set_eligible(leader, false));
        }
        sleep(12 * SECOND).await;
        match acting() {
            None => return Err("a replica could act, and nobody does after 12 s".into()),
            Some(now) if now == leader => return Err("the leader is not eligible, and leads on after 12 s".into()),
            Some(_) => {}
        }
        world::with(|world| {
            world.all().for_each(|id| world.set_eligible(id, true));
            world.start(leader);
        });
        settled(nemesis).await?;
    }
    Ok(())
}

pub(super) async fn cut_handover(nemesis: &mut Nemesis) -> Result<(), String> {
    for _ in 0..12 {
        let Some((leader, life, handle)) = Nemesis::acting() else {
            sleep(SECOND).await;
            continue;
        };
        let all = nemesis.wanted.clone();
        match nemesis.chance.within(0..4) {
            0 => {
                nemesis.count("suspend", true);
                world::with(|world| world.suspend(leader));
                let pause = nemesis.chance.within(300..4_000) * MILLISECOND;
                resume_after(pause, leader, life);
            }
            1 => {
                nemesis.count("eligibility", true);
                world::with(|world| world.set_eligible(leader, false));
                later(8 * SECOND, move || world::with(|world| world.set_eligible(leader, true)));
            }
            2 => {
                nemesis.count("isolation", true);
                cut_for_a_while(nemesis, leader, &all);
            }
            _ => {
                nemesis.count("handover", true);
                executor::spawn_in(life, async move { drop(handle.hand_over("told by the story").await) });
                let pause = nemesis.chance.within(0..60) * MILLISECOND;
                sleep(pause).await;
                cut_for_a_while(nemesis, leader, &all);
            }
        }
        let pause = nemesis.chance.within(1_000..7_000) * MILLISECOND;
        sleep(pause).await;
    }
    Ok(())
}

fn cut_for_a_while(nemesis: &mut Nemesis, id: MachineId, all: &[MachineId]) {
    let cut = links(id, all);
    world::with(|world| world.net.cuts.extend(cut.iter().copied()));
    let after = nemesis.chance.within(300..4_000) * MILLISECOND;
    later(after, move || {
        world::with(|world| world.net.cuts.retain(|link| !cut.contains(link)));
        net::deliver_held();
    });
}

fn resume_after(after: Nanos, id: MachineId, life: LifeId) {
    later(after, move || {
        world::with(|world| {
            if world.life(id) == Some(life) {
                world.resume(id);
            }
        });
    });
}
