//! A whole deployment on one machine: pods, cluster DNS, receiver, clients, and everybody who watches them.
//!
//! ```text
//!  clients, pollers ──► pod: sidecar, Prometheus ──► receiver, target     (hub: the machine's own side of the bridge)
//!                        │ namespace, disk, rules ──► DNS
//!                        └► event log ─────────────► recorder
//! ```
//!
//! Everything is started from the thread that calls: the processes die with it. What is done here to a pod is noted here.

mod ask;
mod clients;
pub mod links;
mod names;
pub mod options;
pub mod pod;
mod poll;
mod remote;
mod roster;
mod settle;
mod tail;
mod work;
mod world;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures_util::future::join_all;
use reqwest::Client;
use serde_json::Value;
use test_support::http;
use test_support::receiver::Receiver;
use test_support::target::Target;
use tokio::task::JoinSet;

use self::clients::Question;
use self::links::{End, Links, Probe};
use self::names::Names;
use self::options::{DOMAIN, Options, RECEIVER_PORT, SERVICE, TARGET_PORT};
use self::pod::{Disk, Pod};
use self::roster::{Roster, Seat};
use self::tail::Tail;
use self::world::World;
use crate::recorder::{Recorder, ns_of};

/// Series of each part of the target.
const SERIES: usize = 5;
/// A member that is asked who leads answers sooner, or is left out.
const ASK_MAX: Duration = Duration::from_millis(500);
const INIT_MAX: Duration = Duration::from_secs(30);
/// Name of the pod that only votes.
const WITNESS: &str = "witness-0";

/// Name of the replica with this number.
pub fn member_name(replica: impl std::fmt::Display) -> String {
    format!("prom-{replica}")
}

/// A running deployment. Dropping it ends everything. (Pods come before disks and disks before the world: that is the order in
/// which they go.)
pub struct Deployment {
    /// Where everything is noted.
    pub recorder: Recorder,
    /// Options.
    pub options: Options,
    /// The name server.
    pub names: Names,
    /// The remote.
    pub receiver: Receiver,
    pods: BTreeMap<String, Pod>,
    disks: BTreeMap<String, Disk>,
    links: Links,
    hub: Probe,
    roster: Roster,
    tails: Vec<Tail>,
    /// Everybody who ever had an address.
    addresses: BTreeMap<IpAddr, String>,
    client: Client,
    watchers: JoinSet<Result<()>>,
    watched: Vec<String>,
    /// Clients ask through each member.
    asking: bool,
    _target: Target,
    world: World,
}

impl Deployment {
    /// Starts everything and waits until the group is well.
    pub async fn start(options: Options, recorder: Recorder) -> Result<Self> {
        std::fs::create_dir_all(options.out.join("logs")).context("make the directory for logs")?;
        let world = World::new()?;
        let hub = world.gateway();
        let mut deployment = Self {
            names: Names::start(hub).await?,
            receiver: Receiver::start(SocketAddr::from((hub, RECEIVER_PORT)))?,
            _target: Target::start(SocketAddr::from((hub, TARGET_PORT)), SERIES)?,
            hub: Probe::bind(hub)?,
            client: http::client(ASK_MAX)?,
            recorder,
            options,
            pods: BTreeMap::new(),
            disks: BTreeMap::new(),
            links: Links::default(),
            roster: Roster::default(),
            tails: Vec::new(),
            addresses: BTreeMap::new(),
            watchers: JoinSet::new(),
            watched: Vec::new(),
            asking: false,
            world,
        };
        for name in deployment.first_members() {
            deployment.create_pod(&name).await?;
        }
        Ok(deployment)
    }

    /// Members at the start.
    pub fn first_members(&self) -> Vec<String> {
        let replicas = (0..self.options.members).map(member_name);
        replicas.chain(self.options.witness.then(|| WITNESS.to_owned())).collect()
    }

    /// Names of all pods.
    pub fn members(&self) -> Vec<String> {
        self.pods.keys().cloned().collect()
    }

    /// Names of the pods with a Prometheus.
    pub fn replicas(&self) -> Vec<String> {
        self.pods.values().filter(|pod| !pod.witness).map(|pod| pod.name.clone()).collect()
    }

    /// A pod.
    pub fn pod(&mut self, name: &str) -> Result<&mut Pod> {
        self.pods.get_mut(name).with_context(|| format!("there is no pod {name}"))
    }

    /// What a pod keeps when it is replaced; it outlives the pod.
    pub fn disk(&self, name: &str) -> Result<&Disk> {
        self.disks.get(name).with_context(|| format!("{name} never had a disk"))
    }

    /// Makes a pod with a new address, on the disk of this name, and starts it.
    pub async fn create_pod(&mut self, name: &str) -> Result<()> {
        let witness = name == WITNESS;
        let service = format!("{SERVICE}.{DOMAIN}");
        let search = format!("{DOMAIN} svc.cluster.local cluster.local");
        let namespace = self.world.namespace(&format!("{name}.{service} {name}"), &search)?;
        let (hub, address) = (self.world.gateway(), namespace.address);
        let replica: usize = name.rsplit_once('-').and_then(|(_, number)| number.parse().ok()).unwrap_or(0);
        if !self.disks.contains_key(name) {
            // Half of them have a disk that syncs, the others one that can be filled.
            let disk = Disk::new(&self.world.dir().join(name), replica.is_multiple_of(2) && !witness)?;
            self.disks.insert(name.into(), disk);
        }
        let dir = self.world.dir().join(format!("{name}-at-{address}"));
        let pod = Pod::new(name, witness, namespace, &dir, options::source(name, replica, hub))?;
        if !witness {
            let mut init = pod.start_init(&self.disks[name], &self.options)?;
            let status = init.wait_exit(INIT_MAX).await?;
            anyhow::ensure!(status.success(), "the init container of {name} ended with {status}:\n{}", init.tail());
        }
        self.addresses.insert(address.into(), name.into());
        self.pods.insert(name.into(), pod);
        self.apply_links()?;
        self.publish();
        self.start_programs(name, pod::Program::BOTH.as_slice())?;
        self.watch(name);
        Ok(())
    }

    /// Tells DNS which pods there are.
    pub fn publish(&mut self) {
        self.names.publish(self.pods.values().map(|pod| (pod.name.clone(), pod.address())).collect());
    }

    /// Tells clients and pollers about a pod.
    fn seat(&self, name: &str) {
        match self.pods.get(name) {
            Some(pod) => {
                let seat = Seat { address: pod.address(), sidecar: pod.sidecar.id(), witness: pod.witness };
                self.roster.set(name, seat);
            }
            None => self.roster.remove(name),
        }
    }

    /// Starts those who watch a member, once.
    fn watch(&mut self, name: &str) {
        if self.watched.iter().any(|watched| watched == name) {
            return;
        }
        self.watched.push(name.into());
        let shared = || (name.to_owned(), self.roster.clone(), self.recorder.clone());
        let (member, roster, recorder) = shared();
        self.watchers.spawn(poll::member(member, self.options.ready_path.clone(), roster, recorder));
        let (member, roster, recorder) = shared();
        self.watchers.spawn(poll::processes(member, roster, recorder));
        if self.asking {
            self.ask_through(name);
        }
    }

    /// Starts the clients of all members, now and later.
    pub fn start_clients(&mut self) {
        self.asking = true;
        for name in self.watched.clone() {
            self.ask_through(&name);
        }
    }

    fn ask_through(&mut self, name: &str) {
        let (member, roster, recorder) = (name.to_owned(), self.roster.clone(), self.recorder.clone());
        let question = if self.options.agent { Question::Config } else { Question::Query };
        let members = u32::try_from(self.options.voters()).unwrap_or(1);
        self.watchers.spawn(clients::ask_through(member, members, question, roster, recorder));
    }

    /// The leader, by what the members say now.
    pub async fn leader(&self) -> Option<String> {
        let asked = self.pods.values().map(async |pod| (pod, ask::leader(&self.client, pod.address()).await));
        let answers = join_all(asked).await.into_iter();
        let leaders = answers.filter_map(|(pod, answer)| Some((answer.ok().filter(|said| said.is_leader)?.term, pod)));
        leaders.max_by_key(|(term, _)| *term).map(|(_, pod)| pod.name.clone())
    }

    /// The status of a member.
    pub async fn status(&self, name: &str) -> Result<Value> {
        let pod = self.pods.get(name).with_context(|| format!("there is no pod {name}"))?;
        ask::status(&self.client, pod.address()).await
    }

    /// Whether a member says that it is ready.
    pub async fn is_ready(&self, name: &str) -> bool {
        let Some(pod) = self.pods.get(name) else { return false };
        ask::ready(&self.client, pod.address(), &self.options.ready_path).await.is_ok()
    }

    /// A request with an answer of its own, for nemeses that look at headers.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Loses packets as told from now on, on all links, and tells what probes saw: percent lost, by link.
    pub async fn set_links(&mut self, links: Links) -> Result<BTreeMap<(End, End), u8>> {
        self.cut_links(links)?;
        let pods = self.pods.values().map(|pod| (End::pod(&pod.name), &pod.probe));
        let ends: Vec<_> = std::iter::once((End::Hub, &self.hub)).chain(pods).collect();
        Ok(links::probe(&ends).await)
    }

    /// The same, and nobody looks.
    pub fn cut_links(&mut self, links: Links) -> Result<()> {
        self.links = links;
        self.apply_links()
    }

    fn apply_links(&self) -> Result<()> {
        let addresses: BTreeMap<String, Ipv4Addr> =
            self.pods.values().map(|pod| (pod.name.clone(), pod.address())).collect();
        for pod in self.pods.values() {
            pod.set_rules(&self.links.rules(&pod.name, self.world.gateway(), &addresses))?;
        }
        Ok(())
    }

    /// Notes what the receiver has: at the end of a run, however it ends.
    pub fn record_remote(&self) -> Result<()> {
        let now = Instant::now();
        let entries =
            self.receiver.read(|requests, store| remote::entries(requests, store, &self.addresses, now, ns_of));
        for entry in entries {
            self.recorder.note_at(entry.at_ns, entry.what);
        }
        self.recorder.flush()
    }
}
