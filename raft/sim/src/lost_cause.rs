//! The story of a member that leaves a group which can never be confirmed, just as it could be confirmed after all.
//!
//! Of the founding members of a group X one is late: before the first word of X reaches it, it promises itself to another
//! group. A second one hears of that, and asks whether it may leave. Then the promise to X arrives a second time, the late
//! one takes its place in X, and every founding member has been there. If X were confirmed now, the one that leaves could
//! found a second group with those that X never knew.

use super::executor::{self, Nanos};
use super::nemesis::{Nemesis, sleep};
use super::net;
use super::world::{self, MILLISECOND, MachineId, SECOND};
use crate::NodeId;
use crate::network::{Call, Message, RaftCall};
use crate::shared::Shared;
use crate::state::Command;
use crate::store::{ClusterId, Standing};
use openraft::EntryPayload;

/// Four that found X, and three that could found another group with the one that leaves.
pub(super) const MEMBERS: usize = 7;

/// Time between two looks at what has happened.
const LOOK: Nanos = MILLISECOND / 5;

/// Who plays what.
struct Cast {
    leader: MachineId,
    quitter: MachineId,
    late: MachineId,
    /// A founding member that the quitter cannot reach: its question takes as long as it may.
    far: MachineId,
    rest: Vec<MachineId>,
    /// L.
    lease: Nanos,
}

pub(super) async fn play(nemesis: &mut Nemesis) {
    let [leader, quitter, late, far, ref rest @ ..] = nemesis.wanted[..] else { return };
    let lease = world::with(|world| world.timing.lease_duration.as_nanos());
    let lease = Nanos::try_from(lease).unwrap_or(SECOND);
    let cast = Cast { leader, quitter, late, far, rest: rest.to_vec(), lease };
    nemesis.count("partial partition", true);
    nemesis.count("loss and duplicates", true);
    world::with(|world| {
        world.net.copied = Some(|message| matches!(message.call, Call::Promise { .. } | Call::Hello(_)));
    });
    cast.play().await;
    world::with(|world| (world.net.copied, world.net.swallowed) = (None, None));
}

impl Cast {
    async fn play(&self) -> Option<()> {
        let group = self.form().await?;
        self.doubt(group).await?;
        self.come_late(group).await;
        self.leave().await
    }

    /// X forms without the word of the late one.
    async fn form(&self) -> Option<ClusterId> {
        cut(&[self.leader, self.quitter, self.far], &self.rest);
        world::with(|world| {
            world.net.cuts.extend(self.rest.iter().map(|other| (self.late, *other)));
            let all: Vec<MachineId> = world.all().collect();
            for id in &all {
                world.list(*id, true);
            }
            world.hide(&[self.late], &[self.leader, self.quitter, self.far]);
            for id in &all {
                world.start(*id);
            }
        });
        let joined = || standing(self.leader)?.joined();
        let group = until(20 * SECOND, joined).await?;
        cut(&[self.late], &[self.leader, self.quitter, self.far]);
        cut(&[self.quitter], &[self.far]);
        Some(group)
    }

    /// The late one tries another group, and the quitter hears of that once its patience is over.
    async fn doubt(&self, group: ClusterId) -> Option<()> {
        let patience = executor::now() + self.lease * 5;
        until(self.lease * 8, || astray(standing(self.late)?, group)).await?;
        // From here on it says hello to all, and some of that comes late.
        world::with(|world| world.hide(&[self.late], &[]));
        sleep(patience.saturating_sub(executor::now())).await;
        heal(&[self.quitter], &[self.late]);
        let name = world::with(|world| world.machines[self.late.0].name.clone());
        let heard = || astray(shared(self.quitter)?.contacts().by_name(&name)?.hello.standing, group);
        until(self.lease * 3, heard).await?;
        // It asks at its next tick.
        let tick = world::with(|world| world.timing.retry_period.as_nanos());
        sleep(Nanos::try_from(tick).unwrap_or(0) * 11 / 10 + 30 * MILLISECOND).await;
        Some(())
    }

    /// The promise arrives a second time, and the late one takes its place. The word of the confirmation does not get
    /// through to the quitter.
    async fn come_late(&self, group: ClusterId) {
        world::with(|world| world.net.swallowed = Some((self.quitter, confirms)));
        net::repeat(self.leader, self.late, move |message| promises(message, group));
        let promised = || (standing(self.late)? == Standing::Promised(group)).then_some(());
        until(SECOND, promised).await;
        heal(&[self.late], &[self.leader]);
        // Until the quitter has left; if it stays in a group that acts, it hears old words.
        let old = node_id(self.quitter);
        let end = executor::now() + self.lease * 12;
        while executor::now() < end && node_id(self.quitter) == old {
            if world::with(|world| world.acts(self.leader)) {
                let is_old = move |message: &Message| matches!(&message.call, Call::Hello(hello) if astray(hello.standing, group).is_some());
                net::repeat(self.late, self.quitter, is_old);
            }
            until(self.lease / 8, || (node_id(self.quitter) != old).then_some(())).await;
        }
    }

    /// The quitter is among those that know nothing of X.
    async fn leave(&self) -> Option<()> {
        let of_x = [self.leader, self.late, self.far];
        cut(&of_x, &self.rest);
        cut(&of_x, &[self.quitter]);
        heal(&[self.quitter], &self.rest);
        world::with(|world| {
            world.hide(&[self.quitter], &of_x);
            world.hide(&self.rest, &of_x);
        });
        sleep(self.lease * 8).await;
        Some(())
    }
}

fn confirms(message: &Message) -> bool {
    let Call::Raft { call: RaftCall::Append(request), .. } = &message.call else { return false };
    request.entries.iter().any(|entry| matches!(entry.payload, EntryPayload::Normal(Command::Formed)))
}

fn promises(message: &Message, group: ClusterId) -> bool {
    matches!(message.call, Call::Promise { cluster, .. } if cluster == group)
}

/// Whether a member is promised to another group.
fn astray(standing: Standing, group: ClusterId) -> Option<()> {
    matches!(standing, Standing::Promised(other) if other != group).then_some(())
}

/// Looks until something is so; `None`: it has not been in time.
async fn until<T>(time: Nanos, is: impl Fn() -> Option<T>) -> Option<T> {
    let end = executor::now() + time;
    loop {
        let found = is();
        if found.is_some() || executor::now() >= end {
            return found;
        }
        sleep(LOOK).await;
    }
}

fn shared(id: MachineId) -> Option<Shared> {
    world::with(|world| world.machines[id.0].process.as_ref()?.shared.clone())
}

fn standing(id: MachineId) -> Option<Standing> {
    Some(shared(id)?.identity().standing)
}

fn node_id(id: MachineId) -> Option<NodeId> {
    Some(shared(id)?.node_id())
}

fn between<'a>(some: &'a [MachineId], others: &'a [MachineId]) -> impl Iterator<Item = (MachineId, MachineId)> + 'a {
    some.iter().flat_map(move |one| others.iter().flat_map(move |other| [(*one, *other), (*other, *one)]))
}

fn cut(some: &[MachineId], others: &[MachineId]) {
    world::with(|world| world.net.cuts.extend(between(some, others)));
}

fn heal(some: &[MachineId], others: &[MachineId]) {
    world::with(|world| world.net.cuts.retain(|link| !between(some, others).any(|healed| healed == *link)));
}
