//! A whole deployment on one machine: pods, cluster DNS, receiver, clients, and everybody who watches them.
//!
//! ```text
//!  clients, pollers ──► pod: sidecar, Prometheus ──► receiver, target     (hub: the machine's own side of the bridge)
//!                        │ namespace, disk, rules ──► DNS
//!                        └► event log ─────────────► recorder
//! ```
//!
//! Everything is started from the thread that calls: the processes die with it. What is done here to a pod is noted here.

pub mod links;
mod names;
pub mod options;
pub mod pod;
mod settle;
mod work;
mod world;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context as _, Result};

use self::links::{End, Links, Probe};
use self::names::Names;
use self::options::{DOMAIN, Options, SERVICE};
use self::pod::{Disk, Pod};
use self::world::World;
use crate::hub::{Hub, Question, Seat, Watched};
use crate::recorder::Recorder;

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
    /// Who watches it.
    pub hub: Hub,
    /// Options.
    pub options: Options,
    /// The name server.
    pub names: Names,
    pods: BTreeMap<String, Pod>,
    disks: BTreeMap<String, Disk>,
    links: Links,
    hub_probe: Probe,
    world: World,
}

impl Deployment {
    /// Starts everything.
    pub async fn start(options: Options, recorder: Recorder) -> Result<Self> {
        std::fs::create_dir_all(options.out.join("logs")).context("make the directory for logs")?;
        let world = World::new()?;
        let address = world.gateway();
        let watched = Watched {
            ready_path: options.ready_path.clone(),
            question: if options.agent { Question::Config } else { Question::Query },
            members: options.voters(),
        };
        let mut deployment = Self {
            hub: Hub::start(address, watched, recorder)?,
            names: Names::start(address).await?,
            hub_probe: Probe::bind(address)?,
            options,
            pods: BTreeMap::new(),
            disks: BTreeMap::new(),
            links: Links::default(),
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
    pub fn member_names(&self) -> Vec<String> {
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
        self.hub.knows(address, name);
        self.pods.insert(name.into(), pod);
        self.apply_links()?;
        self.publish();
        self.start_programs(name, pod::Program::BOTH.as_slice())?;
        self.hub.watch(name);
        Ok(())
    }

    /// Tells DNS which pods there are.
    pub fn publish(&mut self) {
        self.names.publish(self.pods.values().map(|pod| (pod.name.clone(), pod.address())).collect());
    }

    /// Tells clients and pollers about a pod.
    fn seat(&self, name: &str) {
        let seat = |pod: &Pod| Seat { address: pod.address(), sidecar: pod.sidecar.id(), witness: pod.witness };
        self.hub.seat(name, self.pods.get(name).map(seat));
    }

    /// Loses packets as told from now on, on all links.
    pub fn set_links(&mut self, links: Links) -> Result<()> {
        self.links = links;
        self.apply_links()
    }

    /// What probes see on the links: percent lost, by link.
    pub async fn probe_links(&self) -> BTreeMap<(End, End), u8> {
        let pods = self.pods.values().map(|pod| (End::pod(&pod.name), &pod.probe));
        let ends: Vec<_> = std::iter::once((End::Hub, &self.hub_probe)).chain(pods).collect();
        links::probe(&ends).await
    }

    fn apply_links(&self) -> Result<()> {
        let addresses: BTreeMap<String, Ipv4Addr> =
            self.pods.values().map(|pod| (pod.name.clone(), pod.address())).collect();
        for pod in self.pods.values() {
            pod.set_rules(&self.links.rules(&pod.name, self.world.gateway(), &addresses))?;
        }
        Ok(())
    }
}
