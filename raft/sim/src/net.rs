//! The simulated network between machines: delay, loss, duplication, reordering, cuts in one direction, slow links.
//!
//! A message travels in the simulation's own life, so that a paused sender does not hold up what it has sent. Every so
//! often a message is turned into its bytes and back, as on the wire.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use tokio::sync::oneshot;

use super::chance::Chance;
use super::executor::{self, LifeId, Nanos};
use super::hooks;
use super::sleep::Sleep;
use super::tasks::TaskId;
use super::world::{self, MachineId};
use crate::network::{Answer, CallError, Endpoint, Message, Reply, Transport};
use crate::rt;

const MICROSECOND: Nanos = 1_000;
/// One message of so many goes through its wire format.
const WIRE_EVERY: u64 = 8;
/// Requests that wait in the buffers of cut links.
const HELD_MAX: usize = 64;
/// Requests that a story may have repeated.
const COPIES_MAX: usize = 4_096;

/// Some of all messages.
type Kind = fn(&Message) -> bool;

/// State of the network.
pub(crate) struct Net {
    chance: Chance,
    /// Who answers at an address.
    pub(crate) hosts: BTreeMap<String, (MachineId, LifeId, Endpoint)>,
    /// Cut directions.
    pub(crate) cuts: BTreeSet<(MachineId, MachineId)>,
    /// Added delay of a direction, in microseconds.
    pub(crate) slow: BTreeMap<(MachineId, MachineId), Range<u64>>,
    /// Of a hundred messages.
    pub(crate) loss: u64,
    pub(crate) duplicates: u64,
    /// Ordinary delay of a message, in microseconds.
    pub(crate) delay: Range<u64>,
    /// What a story wants copies of, and the copies.
    pub(crate) copied: Option<Kind>,
    copies: Vec<Held>,
    /// What never gets through to a machine.
    pub(crate) swallowed: Option<(MachineId, Kind)>,
    held: Vec<Held>,
    pub(crate) carried: u64,
}

/// A request that arrives later: it was sent into a cut that heals, or a story repeats it.
#[derive(Clone)]
struct Held {
    from: MachineId,
    to: MachineId,
    address: String,
    caller: String,
    message: Message,
}

/// What becomes of a message.
enum Fate {
    Arrives(Nanos),
    Lost,
    Cut,
}

impl Net {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            chance: Chance::new(seed, 2),
            hosts: BTreeMap::new(),
            cuts: BTreeSet::new(),
            slow: BTreeMap::new(),
            loss: 0,
            duplicates: 0,
            delay: 100..1_500,
            copied: None,
            copies: Vec::new(),
            swallowed: None,
            held: Vec::new(),
            carried: 0,
        }
    }

    fn fate(&mut self, from: MachineId, to: MachineId) -> Fate {
        if self.cuts.contains(&(from, to)) {
            return Fate::Cut;
        }
        if self.chance.percent(self.loss) {
            return Fate::Lost;
        }
        let mut delay = self.chance.within(self.delay.clone());
        if self.chance.within(0..200) == 0 {
            delay += self.chance.within(5_000..60_000); // a retransmission, a busy host
        }
        if let Some(slow) = self.slow.get(&(from, to)) {
            delay += self.chance.within(slow.clone());
        }
        self.carried += 1;
        Fate::Arrives(delay * MICROSECOND)
    }

    /// What waited in the buffers of links that are whole again.
    fn healed(&mut self) -> Vec<Held> {
        let cuts = &self.cuts;
        let (healed, held) =
            std::mem::take(&mut self.held).into_iter().partition(|held| !cuts.contains(&(held.from, held.to)));
        self.held = held;
        healed
    }

    fn through_the_wire(&mut self, message: &Message) -> Message {
        if !self.chance.draw().is_multiple_of(WIRE_EVERY) {
            return message.clone();
        }
        let bytes = serde_json::to_vec(message).unwrap_or_default();
        match serde_json::from_slice(&bytes) {
            Ok(message) => message,
            Err(error) => {
                world::violated("wire", format!("a message does not survive its wire format: {error}"));
                message.clone()
            }
        }
    }
}

/// Delivers what was held by cuts that are gone.
pub(crate) fn deliver_held() {
    for held in world::with(|world| world.net.healed()) {
        executor::spawn_in(LifeId(0), async move {
            let late = world::with(|world| world.net.chance.within(0..300_000)) * MICROSECOND;
            pause(late).await;
            arrive(&held.address, held.message, &held.caller, None).await;
        });
    }
}

/// Requests of one machine to another arrive a second time.
pub(crate) fn repeat(from: MachineId, to: MachineId, is: impl Fn(&Message) -> bool) {
    let copies = world::with(|world| world.net.copies.clone());
    for copy in copies.into_iter().filter(|copy| (copy.from, copy.to) == (from, to) && is(&copy.message)) {
        executor::spawn_in(
            LifeId(0),
            async move { drop(arrive(&copy.address, copy.message, &copy.caller, None).await) },
        );
    }
}

async fn pause(time: Nanos) {
    Sleep::until(executor::now() + time).await;
}

/// The transport of one machine.
#[derive(Clone, Debug)]
pub(crate) struct SimTransport {
    pub(crate) machine: MachineId,
    pub(crate) address: String,
}

/// Drops the handler of a call whose caller has gone, as a server does when a connection closes.
struct Connection {
    handler: std::sync::Arc<std::sync::Mutex<Option<TaskId>>>,
    answered: bool,
}

impl Drop for Connection {
    fn drop(&mut self) {
        let handler = self.handler.lock().ok().and_then(|handler| *handler);
        if let (Some(handler), false) = (handler, self.answered)
            && executor::random().is_multiple_of(2)
        {
            executor::abort(handler);
        }
    }
}

impl Transport for SimTransport {
    async fn call(&self, address: &str, message: &Message, timeout: Duration) -> Result<Answer, CallError> {
        match rt::timeout(timeout, self.send(address, message)).await {
            Ok(result) => result,
            Err(_) => Err(CallError::TimedOut(timeout)),
        }
    }
}

impl SimTransport {
    async fn send(&self, address: &str, message: &Message) -> Result<Answer, CallError> {
        let unreachable = |why: &str| CallError::Unreachable(why.to_owned());
        let from = self.machine;
        let address = hooks::resolve(from, address).ok_or_else(|| unreachable("no such host"))?;
        let Some(to) = world::with(|world| world.machine_at(&address)) else {
            return std::future::pending().await; // nobody has this address any more
        };
        let (fate, twice, message) = world::with(|world| {
            let net = &mut world.net;
            let fate = net.fate(from, to);
            let swallowed = net.swallowed.is_some_and(|(machine, is)| machine == to && is(message));
            let fate = if swallowed { Fate::Lost } else { fate };
            if net.copied.is_some_and(|is| is(message)) && net.copies.len() < COPIES_MAX {
                let (caller, address, message) = (self.address.clone(), address.clone(), message.clone());
                net.copies.push(Held { from, to, address, caller, message });
            }
            (fate, net.chance.percent(net.duplicates), net.through_the_wire(message))
        });
        let delay = match fate {
            Fate::Arrives(delay) => delay,
            Fate::Lost => return std::future::pending().await,
            Fate::Cut => {
                world::with(|world| {
                    let net = &mut world.net;
                    if net.held.len() < HELD_MAX && net.chance.percent(30) {
                        let caller = self.address.clone();
                        net.held.push(Held { from, to, address: address.clone(), caller, message });
                    }
                });
                return std::future::pending().await;
            }
        };
        if twice {
            let (address, message, caller) = (address.clone(), message.clone(), self.address.clone());
            executor::spawn_in(LifeId(0), async move {
                pause(delay + world::with(|world| world.net.chance.within(0..2_000_000)) * MICROSECOND).await;
                arrive(&address, message, &caller, None).await;
            });
        }
        let handler = std::sync::Arc::default();
        let mut connection = Connection { handler: std::sync::Arc::clone(&handler), answered: false };
        let (answer, answered) = oneshot::channel();
        let caller = self.address.clone();
        executor::spawn_in(LifeId(0), async move {
            pause(delay).await;
            let reply = arrive(&address, message, &caller, Some(handler)).await;
            // Otherwise the answer is lost, and the caller waits in vain.
            if let Fate::Arrives(delay) = world::with(|world| world.net.fate(to, from)) {
                pause(delay).await;
                let _ = answer.send(reply);
            }
        });
        let Ok(reply) = answered.await else { return std::future::pending().await };
        connection.answered = true;
        match reply {
            Some(reply) => reply.map_err(CallError::Refused),
            None => Err(unreachable("connection refused or reset")),
        }
    }
}

type Handler = std::sync::Arc<std::sync::Mutex<Option<TaskId>>>;

/// A request has arrived at a machine: whoever listens there answers. `None`: nobody does, or it died over it.
async fn arrive(address: &str, message: Message, caller: &str, connection: Option<Handler>) -> Option<Reply> {
    let (machine, life, endpoint) = world::with(|world| world.net.hosts.get(address).cloned())?;
    executor::note(u64::from(life.0) << 32 | machine.0 as u64);
    let caller = caller.rsplit_once(':').and_then(|(ip, _)| ip.parse().ok());
    let (done, reply) = oneshot::channel();
    let task = executor::spawn_in(life, async move {
        let asked = message.clone();
        let reply = endpoint.handle(message, caller).await;
        hooks::answered(life, &asked, &reply);
        let _ = done.send(reply);
    });
    if let Some(connection) = connection
        && let Ok(mut handler) = connection.lock()
    {
        *handler = Some(task);
    }
    reply.await.ok()
}
