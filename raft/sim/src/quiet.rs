//! The end of every run: the faults stop, and within a bound the group must be whole.

use std::collections::BTreeSet;

use super::dns::View;
use super::executor;
use super::nemesis::{Nemesis, sleep};
use super::net;
use super::world::{self, FSYNC, MILLISECOND, MachineId, SECOND, World};
use crate::MemberKind;
use crate::store::Crash;

/// From the end of the faults on, this is how long the group may take: members that were removed or are gone for good are
/// taken out after 20 s in these runs.
pub const BOUND: executor::Nanos = 60 * SECOND;

/// Time between two looks of the operator.
const RESTART_PERIOD: executor::Nanos = 15 * SECOND;

/// Takes every fault away: links, disks, DNS and clocks are as they should be, everybody who should run does.
pub(super) fn heal(nemesis: &Nemesis) {
    let wanted: BTreeSet<MachineId> = nemesis.wanted.iter().copied().collect();
    world::with(|world| {
        world.net.cuts.clear();
        world.net.slow.clear();
        (world.net.loss, world.net.duplicates) = (0, 0);
        for id in world.all() {
            world.machines[id.0].fsync = FSYNC;
            world.machines[id.0].view = View::Fresh;
            world.resume(id);
            world.set_eligible(id, true);
            world.list(id, wanted.contains(&id));
            if !wanted.contains(&id) {
                world.kill(id, Crash::Before);
            }
            if wanted.contains(&id) {
                world.start(id);
            }
        }
    });
    net::deliver_held();
}

/// Whoever was removed by hand stays out until its process starts again: an operator restarts those that stay out.
fn restart_the_removed(nemesis: &Nemesis) {
    world::with(|world| {
        for id in nemesis.wanted.iter().copied().filter(|id| world.checkers.is_blank(*id)).collect::<Vec<_>>() {
            world.kill(id, Crash::Before);
            world.start(id);
        }
    });
}

/// Waits until the group is whole: the time that it took, or what is missing at the end of the bound.
pub(super) async fn settle(nemesis: &Nemesis) -> Result<executor::Nanos, String> {
    let start = executor::now();
    let mut restarts = 0;
    loop {
        if executor::now() - start > restarts * RESTART_PERIOD {
            restarts += 1;
            restart_the_removed(nemesis);
        }
        let missing = world::with(|world| missing(world, &nemesis.wanted));
        match missing {
            None => return Ok(executor::now() - start),
            Some(missing) if executor::now() - start > BOUND => {
                return Err(format!("not whole after {} s: {missing}", BOUND / SECOND));
            }
            Some(_) => sleep(50 * MILLISECOND).await,
        }
    }
}

/// What is missing until the group is whole.
fn missing(world: &World, wanted: &[MachineId]) -> Option<String> {
    let acting: Vec<MachineId> = world.running().into_iter().filter(|id| world.acts(*id)).collect();
    let [leader] = acting.as_slice() else {
        let reasons = wanted.iter().filter_map(|id| Some((world.machines[id.0].name.clone(), world.status(*id)?)));
        let reasons: Vec<String> =
            reasons.map(|(name, status)| format!("{name} ({:?}): {}", status.state, status.reason)).collect();
        return Some(format!("{} act; {}", acting.len(), reasons.join("; ")));
    };
    if world.machines[leader.0].witness || !world.machines[leader.0].eligible {
        return Some(format!("{leader:?} acts and should not"));
    }
    let status = world.status(*leader)?;
    let members: BTreeSet<(String, bool)> = status
        .members
        .iter()
        .filter(|member| {
            member.kind != MemberKind::Candidate || wanted.iter().any(|id| world.machines[id.0].name == member.name)
        })
        .map(|member| (member.name.clone(), member.kind.votes()))
        .collect();
    let should: BTreeSet<(String, bool)> = wanted.iter().map(|id| (world.machines[id.0].name.clone(), true)).collect();
    if members != should || status.members.len() != should.len() {
        let text = |set: &BTreeSet<(String, bool)>| {
            let names: Vec<String> = set
                .iter()
                .map(|(name, votes)| format!("{name}{}", if *votes { "" } else { " without a vote" }))
                .collect();
            names.join(", ")
        };
        return Some(format!("members are {} and should be {}", text(&members), text(&should)));
    }
    let unsettled: Vec<&str> = wanted
        .iter()
        .filter(|id| !world.status(**id).is_some_and(|status| status.settled))
        .map(|id| world.machines[id.0].name.as_str())
        .collect();
    (!unsettled.is_empty()).then(|| format!("not settled: {}", unsettled.join(", ")))
}
