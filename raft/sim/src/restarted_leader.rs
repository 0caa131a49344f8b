//! The story of a leader that is killed and back at once, faster than any election.
//!
//! What it had proposed was on the disks of the others, and not yet on its own. If it led on in its term, it would propose
//! something else under the same index and term, which nobody could tell apart any more.

use super::executor::{self, LifeId};
use super::nemesis::{Nemesis, sleep};
use super::world::{self, FSYNC, MILLISECOND, SECOND};
use crate::GroupHandle;
use crate::store::Crash;

const ROUNDS: u64 = 6;

pub(super) async fn play(nemesis: &mut Nemesis) {
    for round in 0..ROUNDS {
        let Some((leader, life, handle)) = Nemesis::acting() else {
            sleep(SECOND).await;
            continue;
        };
        nemesis.count("slow disk", true);
        let slow = nemesis.chance.within(20_000..120_000);
        world::with(|world| world.machines[leader.0].fsync = slow / 2..slow);
        publish(life, handle, 2 * round);
        let pause = nemesis.chance.within(20..400) * MILLISECOND;
        sleep(pause).await;
        nemesis.count("crash", true);
        world::with(|world| {
            world.kill(leader, Crash::Before);
            world.machines[leader.0].fsync = FSYNC;
        });
        let pause = nemesis.chance.within(5..60) * MILLISECOND;
        sleep(pause).await;
        world::with(|world| world.start(leader));
        let pause = nemesis.chance.within(1_000..6_000) * MILLISECOND;
        sleep(pause).await;
        if let Some((_, life, handle)) = Nemesis::acting() {
            publish(life, handle, 2 * round + 1);
        }
    }
}

/// Values without a pause, one after the other, for as long as this process leads.
fn publish(life: LifeId, handle: GroupHandle, by: u64) {
    executor::spawn_in(life, async move {
        for number in 0..200 {
            if handle.publish("key", format!("{by}-{number}")).await.is_err() {
                return;
            }
        }
    });
}
