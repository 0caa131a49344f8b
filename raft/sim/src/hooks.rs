//! Where the parts that stand in for runtime, disk and network reach the machine room.

use std::time::Duration;

use super::checkers::Event;
use super::executor::{self, LifeId};
use super::world::{FSYNC, MILLISECOND, MachineId, try_with, with};
use crate::network::{Message, Reply};
use crate::shared::Shared;
use crate::store::Write;

/// Time of one fsync of the machine of a life.
pub(crate) fn fsync_time(life: LifeId) -> Duration {
    with(|world| {
        let range = world.machine_of(life).map_or(FSYNC, |id| world.machines[id.0].fsync.clone());
        Duration::from_micros(world.chance.within(range))
    })
}

/// The disk of a life has stored these.
pub(crate) fn committed(life: LifeId, writes: &[Write]) {
    with(|world| {
        if let Some(machine) = world.machine_of(life) {
            world.see(&Event::Stored { machine, writes });
        }
    });
}

/// A process has answered.
pub(crate) fn answered(life: LifeId, asked: &Message, reply: &Reply) {
    with(|world| {
        let Some(machine) = world.machine_of(life) else { return };
        let process = world.machines[machine.0].process.as_ref();
        let Some(identity) = process.and_then(|process| process.shared.as_ref()).map(Shared::identity) else { return };
        world.see(&Event::Answered { machine, identity: &identity, asked, reply });
    });
}

/// True time, and whose task is running, for logs.
pub fn moment() -> String {
    let life = executor::current();
    let who = try_with(|world| Some(world.machines[world.owners.get(&life)?.0].name.clone())).flatten();
    let ms = executor::now() / MILLISECOND;
    format!("{:>4}.{:03} {:<9}", ms / 1_000, ms % 1_000, who.unwrap_or_else(|| "-".into()))
}

/// Where a machine finds a host.
pub(crate) fn resolve(machine: MachineId, address: &str) -> Option<String> {
    let (host, port) = address.rsplit_once(':')?;
    if host.starts_with(|c: char| c.is_ascii_digit()) {
        return Some(address.to_owned());
    }
    with(|world| {
        world.look_up(machine);
        let known = world.machines[machine.0].known.get(host)?;
        Some(format!("{known}:{port}"))
    })
}
