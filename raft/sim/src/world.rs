//! The machine room: machines with disks, clocks and addresses, and the processes on them.
//!
//! Kept in a thread-local: the code under test reaches it through the parts that stand in for its runtime, disk and
//! network. Never borrowed across an await.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use openraft::async_runtime::WatchReceiver;
use tokio::sync::watch;

use super::boot::{Boot, discover};
use super::chance::Chance;
use super::checkers::{Checkers, Event, FOR_EVER, Violation};
use super::device::{Device, Survives};
use super::dns::{Dns, PORT, Records, View};
use super::executor::{self, LifeId, Nanos};
use super::net::Net;
use crate::lives::Settings;
use crate::rt;
use crate::shared::Shared;
use crate::store::{Crash, Writer};
use crate::{Authority, Eligibility, GroupHandle, GroupStatus, Leadership, Member, PeerSet, Timing};

/// A machine: its place in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MachineId(pub usize);

/// A second.
pub const SECOND: Nanos = 1_000_000_000;
/// A millisecond.
pub const MILLISECOND: Nanos = 1_000_000;
/// Ordinary time of an fsync, in microseconds.
pub(crate) const FSYNC: Range<u64> = 300..3_000;

/// One machine.
pub(crate) struct Machine {
    pub(crate) name: String,
    pub(crate) witness: bool,
    pub(crate) ip: String,
    pub(crate) device: Arc<Device>,
    pub(crate) rate_ppm: u64,
    /// Time of an fsync, in microseconds.
    pub(crate) fsync: Range<u64>,
    pub(crate) view: View,
    /// Addresses that it has learnt, for dialling while DNS is out.
    pub(super) known: Records,
    /// What it learnt from the lookup before: most bring nothing new.
    learnt: Option<Arc<Records>>,
    pub(crate) eligible: bool,
    /// raft-bootstrap-expect of its newest process.
    pub(crate) expect: usize,
    pub(crate) process: Option<Process>,
}

/// A running sidecar.
pub(crate) struct Process {
    pub(crate) life: LifeId,
    pub(crate) handle: GroupHandle,
    pub(crate) shared: Option<Shared>,
    pub(super) writer: Option<Writer>,
    _stop: watch::Sender<bool>,
}

/// Everything.
pub(crate) struct World {
    pub(crate) machines: Vec<Machine>,
    pub(super) owners: BTreeMap<LifeId, MachineId>,
    pub(crate) net: Net,
    pub(crate) dns: Dns,
    pub(crate) chance: Chance,
    pub(crate) timing: Timing,
    pub(crate) expect: usize,
    /// Machines that should be running; the others are scaled down.
    pub(crate) wanted: BTreeSet<MachineId>,
    pub(crate) checkers: Checkers,
    /// A machine that has lost its disk comes back under its old node id.
    pub(crate) reuse_node_ids: bool,
    next_ip: u32,
}

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

/// Uses the world.
#[allow(clippy::expect_used, reason = "a mistake of the simulation itself")]
pub(crate) fn with<R>(use_it: impl FnOnce(&mut World) -> R) -> R {
    WORLD.with(|cell| use_it(cell.borrow_mut().as_mut().expect("a world")))
}

/// Uses the world unless it is in use, for logs.
pub(crate) fn try_with<R>(use_it: impl FnOnce(&World) -> R) -> Option<R> {
    WORLD.with(|cell| cell.try_borrow().ok().and_then(|world| world.as_ref().map(use_it)))
}

/// Puts a new world in place of the old one.
pub(crate) fn set(world: Option<World>) {
    let old = WORLD.with(|cell| std::mem::replace(&mut *cell.borrow_mut(), world));
    drop(old);
}

/// Something that must not happen has happened.
pub(crate) fn violated(rule: &'static str, what: String) {
    let at = executor::now();
    with(|world| world.checkers.report(Violation { rule, at, what }));
}

impl World {
    pub(crate) fn new(seed: u64, timing: Timing, expect: usize) -> Self {
        Self {
            machines: Vec::new(),
            owners: BTreeMap::new(),
            net: Net::new(seed),
            dns: Dns::default(),
            chance: Chance::new(seed, 3),
            timing,
            expect,
            wanted: BTreeSet::new(),
            checkers: Checkers::new(timing),
            reuse_node_ids: false,
            next_ip: 1,
        }
    }

    pub(super) fn see(&mut self, event: &Event<'_>) {
        self.checkers.see(executor::now(), event);
    }

    pub(super) fn machine_of(&self, life: LifeId) -> Option<MachineId> {
        let id = *self.owners.get(&life)?;
        (self.machines[id.0].process.as_ref()?.life == life).then_some(id)
    }

    pub(crate) fn machine_at(&self, address: &str) -> Option<MachineId> {
        let ip = address.rsplit_once(':')?.0;
        self.machines.iter().position(|machine| machine.ip == ip).map(MachineId)
    }

    fn new_ip(&mut self) -> String {
        let number = self.next_ip;
        self.next_ip += 1;
        format!("10.0.{}.{}", number / 250, number % 250 + 1)
    }

    /// One lookup by a machine: what it is told, also kept for dialling.
    pub(super) fn look_up(&mut self, machine: MachineId) -> Option<Arc<Records>> {
        let place = &mut self.machines[machine.0];
        let records = self.dns.lookup(&place.view, executor::now(), &mut self.chance)?;
        if !place.learnt.as_ref().is_some_and(|learnt| Arc::ptr_eq(learnt, &records)) {
            place.known.extend(records.iter().map(|(name, ip)| (name.clone(), ip.clone())));
            place.learnt = Some(records.clone());
        }
        Some(records)
    }

    /// Adds a machine that is switched off and not listed.
    pub(crate) fn add(&mut self, name: String, witness: bool, rate_ppm: u64) -> MachineId {
        let ip = self.new_ip();
        self.machines.push(Machine {
            name,
            witness,
            ip,
            device: Arc::default(),
            rate_ppm,
            fsync: FSYNC,
            view: View::Fresh,
            known: Records::new(),
            learnt: None,
            eligible: true,
            expect: 0,
            process: None,
        });
        MachineId(self.machines.len() - 1)
    }

    /// Lists a machine in DNS, or takes it out.
    pub(crate) fn list(&mut self, id: MachineId, listed: bool) {
        let machine = &self.machines[id.0];
        let (name, ip) = (machine.name.clone(), machine.ip.clone());
        self.dns.change(executor::now(), |records| {
            if listed {
                records.insert(name, ip);
            } else {
                records.remove(&name);
            }
        });
    }

    /// To some machines DNS says nothing of these.
    pub(crate) fn hide(&mut self, from: &[MachineId], hidden: &[MachineId]) {
        let names: BTreeSet<String> = hidden.iter().map(|id| self.machines[id.0].name.clone()).collect();
        for id in from {
            self.machines[id.0].view = View::Missing(names.clone());
        }
    }

    /// Gives a stopped machine another address.
    pub(crate) fn move_address(&mut self, id: MachineId) {
        let ip = self.new_ip();
        let listed = self.dns.records().contains_key(&self.machines[id.0].name);
        self.machines[id.0].ip = ip;
        if listed {
            self.list(id, true);
        }
    }

    /// The disk of a stopped machine is gone.
    pub(crate) fn lose_disk(&mut self, id: MachineId) {
        let machine = &mut self.machines[id.0];
        tracing::info!(machine = %machine.name, "its disk is lost");
        machine.device = Arc::default();
        self.see(&Event::DiskLost { machine: id });
    }

    pub(crate) fn is_up(&self, id: MachineId) -> bool {
        self.machines[id.0].process.is_some()
    }

    pub(crate) fn life(&self, id: MachineId) -> Option<LifeId> {
        self.machines[id.0].process.as_ref().map(|process| process.life)
    }

    pub(crate) fn status(&self, id: MachineId) -> Option<Arc<GroupStatus>> {
        self.machines[id.0].process.as_ref().map(|process| process.handle.status.borrow().clone())
    }

    /// Whether these machines hold a majority of every membership that may be in force, on disks or in memory, once the
    /// machine `without` is no voter any more.
    pub(crate) fn carry_the_group(&self, machines: &[MachineId], without: Option<MachineId>) -> bool {
        let raft = |id: &MachineId| self.machines[id.0].process.as_ref()?.shared.as_ref()?.raft();
        let in_memory = self
            .all()
            .filter_map(|id| raft(&id))
            .map(|raft| raft.metrics().borrow_watched().membership_config.membership().get_joint_config().clone());
        self.checkers.carry_the_group(machines, without, &in_memory.collect::<Vec<_>>())
    }

    /// Index of the newest membership that a process knows.
    pub(crate) fn newest_membership(&self) -> Option<u64> {
        let raft = |id: MachineId| self.machines[id.0].process.as_ref()?.shared.as_ref()?.raft();
        let known = |id| Some(raft(id)?.metrics().borrow_watched().membership_config.log_id().as_ref()?.index);
        self.all().filter_map(known).max()
    }

    /// Whether a machine's process holds authority now.
    pub(crate) fn acts(&self, id: MachineId) -> bool {
        let Some(process) = &self.machines[id.0].process else { return false };
        let now = rt::now_of(process.life);
        process.handle.leadership.borrow().holds_authority(now)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = MachineId> + use<> {
        (0..self.machines.len()).map(MachineId)
    }

    pub(crate) fn running(&self) -> Vec<MachineId> {
        self.all().filter(|id| self.is_up(*id)).collect()
    }

    /// Starts it if it should run, with a Prometheus that is well.
    pub(crate) fn start_fit(&mut self, id: MachineId) {
        self.set_eligible(id, true);
        self.start_wanted(id);
    }

    pub(crate) fn set_eligible(&mut self, id: MachineId, eligible: bool) {
        let machine = &mut self.machines[id.0];
        machine.eligible = eligible;
        if let Some(process) = &machine.process {
            process.handle.set_eligibility(Eligibility {
                eligible,
                prepared: eligible,
                reason: "told by the simulation".into(),
            });
        }
    }

    /// Starts the sidecar of a machine.
    pub(crate) fn start(&mut self, id: MachineId) {
        if self.is_up(id) {
            return;
        }
        tracing::info!(machine = %self.machines[id.0].name, "starts");
        let life = executor::new_life(self.machines[id.0].rate_ppm);
        let (handle, ends) = GroupHandle::new();
        let (stop, stopped) = watch::channel(false);
        let (told, peers) = watch::channel(PeerSet::default());
        self.owners.insert(life, id);
        let machine = &mut self.machines[id.0];
        machine.expect = self.expect;
        machine.process = Some(Process { life, handle, shared: None, writer: None, _stop: stop });
        let session = machine.device.open();
        let address = format!("{}:{PORT}", machine.ip);
        let settings = Settings {
            group_name: "simulated".into(),
            member: Member {
                name: machine.name.clone(),
                raft_address: if self.dns.bare { address.clone() } else { format!("{}:{PORT}", machine.name) },
                api_url: format!("http://{}:9095", machine.name),
                prometheus_url: String::new(),
                witness: machine.witness,
            },
            timing: self.timing,
            bootstrap_expect: self.expect,
        };
        let eligible = machine.eligible;
        self.set_eligible(id, eligible);
        let old_id = self.checkers.old_node_id(id).filter(|_| self.reuse_node_ids);
        executor::spawn_in(life, discover(id, told));
        executor::spawn_in(life, async move {
            let boot = Boot { id, life, address, settings, ends, peers, stopped, old_id };
            if let Err(cause) = boot.run(session).await {
                violated("running", format!("the group of {id:?} failed: {cause}"));
            }
        });
    }

    /// Starts the sidecar of a machine unless it has been scaled down meanwhile.
    pub(crate) fn start_wanted(&mut self, id: MachineId) {
        if self.wanted.contains(&id) {
            self.start(id);
        }
    }

    /// Kills the sidecar of a machine.
    pub(crate) fn kill(&mut self, id: MachineId, crash: Crash) {
        let machine = &mut self.machines[id.0];
        let Some(process) = machine.process.take() else { return };
        tracing::info!(machine = %machine.name, ?crash, "is killed");
        self.net.hosts.remove(&format!("{}:{PORT}", machine.ip));
        let stored = if let Some(writer) = &process.writer {
            writer.crash(&machine.device, crash)
        } else {
            machine.device.crash(Survives::Written);
            Vec::new()
        };
        if !stored.is_empty() {
            self.see(&Event::Stored { machine: id, writes: &stored });
        }
        self.see(&Event::Down { machine: id });
        executor::kill(process.life);
    }

    /// Suspends a machine, or wakes it.
    pub(crate) fn suspend(&mut self, id: MachineId) {
        if let Some(life) = self.life(id) {
            executor::pause(life, true);
            self.see(&Event::Down { machine: id });
        }
    }

    /// Lets a paused or suspended process go on.
    pub(crate) fn resume(&mut self, id: MachineId) {
        if let Some(life) = self.life(id) {
            executor::resume(life);
            self.look_at_authority(id);
        }
    }

    /// What a process has published since it was looked at last.
    pub(crate) fn looked(&mut self, life: LifeId) {
        let Some(id) = self.machine_of(life) else { return };
        let Some(process) = &mut self.machines[id.0].process else { return };
        if process.handle.leadership.has_changed().unwrap_or(false) {
            process.handle.leadership.borrow_and_update();
            self.look_at_authority(id);
        }
        let Some(process) = &mut self.machines[id.0].process else { return };
        if process.handle.status.has_changed().unwrap_or(false) {
            let status = process.handle.status.borrow_and_update().clone();
            let raft = process.shared.as_ref().and_then(Shared::raft);
            let Some(raft) = raft else { return };
            let applied = raft.metrics().borrow_watched().last_applied;
            self.see(&Event::Looked { machine: id, status: &status, applied });
        }
    }

    fn look_at_authority(&mut self, id: MachineId) {
        let machine = &self.machines[id.0];
        let Some(process) = &machine.process else { return };
        let Some(identity) = process.shared.as_ref().map(Shared::identity) else { return };
        let (life, witness) = (process.life, machine.witness);
        let leadership: Leadership = process.handle.leadership.borrow().clone();
        let held = leadership.holds_authority(rt::now_of(life));
        let until = match leadership.authority {
            _ if !held => None,
            Authority::None => None,
            Authority::SoleVoter => Some(FOR_EVER),
            Authority::Until { deadline, .. } => Some(rt::true_time_of(life, deadline)),
        };
        let term = leadership.term;
        self.see(&Event::Authority { machine: id, identity: &identity, witness, term, until });
    }
}
