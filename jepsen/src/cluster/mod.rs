//! A release of the chart on Kubernetes as what a run breaks: on a control plane of its own, or in a cluster that is there.
//!
//! ```text
//!            Kubernetes API: faults of the cluster, pods ─┐
//!  control plane's child: faults of nodes, pods and pids ─┴─► look ─► record, clients, pollers, event logs
//! ```
//!
//! Pods come and go by themselves here, so everything about them is learnt by looking.

mod kubernetes;
pub mod nemesis;
mod plane;
mod pods;
pub mod values;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use test_support::receiver::behaviour::Behaviour;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use self::kubernetes::Kubernetes;
pub use self::plane::Plane;
use self::pods::{Lives, Pod, Pods, process};
use crate::deployment::pod::Program;
use crate::history::{Member, ProcessState};
use crate::hub::{Hub, Question, Seat, Tail, Watched};
use crate::nemesis::Known;
use crate::recorder::Recorder;
use crate::stage::Stage;

/// Between two lists of the pods of a cluster that is there.
const LIST_PERIOD: Duration = Duration::from_millis(500);

/// Where a release is, and how it is judged.
#[derive(Clone, Debug)]
pub struct Options {
    /// Replicas at the start.
    pub members: usize,
    /// One more that only votes.
    pub witness: bool,
    /// Name of the release.
    pub release: String,
    /// Its namespace; that of a control plane is the control plane's.
    pub namespace: String,
    /// Access to the cluster; `None`: as `kubectl` finds it.
    pub kubeconfig: Option<PathBuf>,
    /// The address under which pods reach us.
    pub hub: Ipv4Addr,
    /// Where on the API's port a member says by 200 that it is ready.
    pub ready_path: String,
}

/// A release. Dropping it ends its control plane.
pub struct Cluster {
    hub: Hub,
    kubernetes: Kubernetes,
    /// `None`: the cluster is somebody's own.
    plane: Option<Plane>,
    pods: Pods,
    lives: Lives,
    /// Event logs that are followed.
    logs: BTreeSet<PathBuf>,
    /// What stands still: process ids.
    stopped: BTreeSet<u32>,
    /// What of the control plane is switched off, by the command that switches it on.
    switched_off: BTreeSet<&'static str>,
    lost_node: Option<String>,
    options: Options,
    version: String,
    _lister: JoinSet<()>,
}

impl Cluster {
    /// A release that is there already; its values are those of [`values::yaml`].
    pub async fn join(options: Options, recorder: Recorder) -> Result<Self> {
        let config = config(&options).await?;
        let kubernetes = Kubernetes::new(config, &options.namespace, &options.release)?;
        let pods = Pods::default();
        let mut lister = JoinSet::new();
        lister.spawn(list(kubernetes.clone(), pods.clone(), recorder.clone()));
        Self::new(options, kubernetes, None, pods, lister, recorder).await
    }

    /// A new release on a control plane of its own.
    pub async fn install(mut options: Options, plane: Plane, recorder: Recorder) -> Result<Self> {
        options.hub = plane.place.gateway;
        options.namespace.clone_from(&plane.place.namespace);
        options.kubeconfig = Some(plane.place.kubeconfig.clone());
        let kubernetes = Kubernetes::new(config(&options).await?, &options.namespace, &options.release)?;
        let pods = plane.pods();
        let values = values::yaml(options.hub, options.members, options.witness);
        let name = options.release.clone();
        let mut cluster = Self::new(options, kubernetes, Some(plane), pods, JoinSet::new(), recorder).await?;
        cluster.call(json!({"do": "install", "name": name, "values": values})).await?;
        Ok(cluster)
    }

    async fn new(
        options: Options,
        kubernetes: Kubernetes,
        plane: Option<Plane>,
        pods: Pods,
        lister: JoinSet<()>,
        recorder: Recorder,
    ) -> Result<Self> {
        let watched = Watched {
            ready_path: options.ready_path.clone(),
            question: Question::Query,
            members: options.members + usize::from(options.witness),
        };
        Ok(Self {
            hub: Hub::start(options.hub, watched, recorder)?,
            version: kubernetes.version().await?,
            kubernetes,
            plane,
            pods,
            lives: Lives::default(),
            logs: BTreeSet::new(),
            stopped: BTreeSet::new(),
            switched_off: BTreeSet::new(),
            lost_node: None,
            options,
            _lister: lister,
        })
    }

    /// Pods of the group at this moment. One that ends may still be there when its successor is: it comes first.
    fn group(&self) -> Vec<Pod> {
        let mut pods: Vec<_> = self.pods.get().into_iter().filter(|pod| pod.is_of(&self.options.release)).collect();
        pods.sort_by_key(|pod| !pod.ending);
        pods
    }

    /// Names of its pods that are not about to end; only of those with a Prometheus, by choice.
    fn names(&self, with_witness: bool) -> Vec<String> {
        let is_meant = |pod: &Pod| !pod.ending && (with_witness || !pod.is_witness());
        self.group().into_iter().filter(is_meant).map(|pod| pod.name).collect()
    }

    /// The pod of this name that is not about to end.
    fn pod(&self, name: &str) -> Result<Pod> {
        let found = self.group().into_iter().find(|pod| pod.name == name && !pod.ending);
        found.with_context(|| format!("there is no pod {name}"))
    }

    /// Has the control plane do something.
    async fn call(&mut self, command: serde_json::Value) -> Result<()> {
        self.plane.as_mut().context("this cluster's nodes are not ours")?.call(command).await
    }

    /// Switches a part of the control plane off. `on` is the command that switches it on again.
    async fn switch_off(&mut self, off: &str, on: &'static str) -> Result<()> {
        self.switched_off.insert(on);
        self.call(json!({"do": off})).await
    }

    async fn switch_on(&mut self, on: &'static str) -> Result<()> {
        if self.switched_off.remove(on) {
            self.call(json!({"do": on})).await?;
        }
        Ok(())
    }

    async fn lose_node(&mut self, node: &str) -> Result<()> {
        self.lost_node = Some(node.into());
        self.call(json!({"do": "lose-node", "node": node})).await
    }

    async fn return_node(&mut self) -> Result<()> {
        let Some(node) = self.lost_node.take() else { return Ok(()) };
        self.call(json!({"do": "return-node", "node": node})).await
    }

    /// As many replicas as at the start.
    async fn scale_back(&self) -> Result<()> {
        let (set, replicas) = (self.kubernetes.replicas().await?, i32::try_from(self.options.members)?);
        if set.replicas == replicas { Ok(()) } else { self.kubernetes.scale(&set.name, replicas).await }
    }

    /// SIGKILL to a program of a pod; its container starts again.
    fn kill(&mut self, pod: &Pod, program: Program) -> Result<()> {
        signal(pod, program, Signal::KILL)?;
        let what = self.lives.killed(pod, program);
        self.hub.recorder.note(what);
        Ok(())
    }

    /// SIGSTOP to a program of a pod.
    fn stop(&mut self, pod: &Pod, program: Program) -> Result<()> {
        self.stopped.insert(signal(pod, program, Signal::STOP)?);
        self.hub.recorder.note(process(&pod.name, program.name(), ProcessState::Paused, true, String::new()));
        Ok(())
    }

    /// SIGCONT to whatever stands still.
    fn resume_all(&mut self) {
        for pod in self.group() {
            for program in Program::BOTH {
                let stopped = pod.pid(program).filter(|pid| self.stopped.remove(pid));
                // One that is gone stands still no more.
                if stopped.is_some() && signal(&pod, program, Signal::CONT).is_ok() {
                    let what = process(&pod.name, program.name(), ProcessState::Resumed, true, String::new());
                    self.hub.recorder.note(what);
                }
            }
        }
    }

    /// An error unless every pod that there should be is ready, and all members agree who leads.
    async fn check_whole(&self) -> Result<()> {
        self.kubernetes.check_at_rest().await?;
        self.hub.check_whole().await
    }
}

/// Signals a program; its process id.
fn signal(pod: &Pod, program: Program, signal: Signal) -> Result<u32> {
    let number = pod.pid(program).with_context(|| format!("the {} of {} does not run", program.name(), pod.name))?;
    let pid = i32::try_from(number).ok().and_then(Pid::from_raw).context("no process id")?;
    kill_process(pid, signal).with_context(|| format!("signal the {} of {}", program.name(), pod.name))?;
    Ok(number)
}

async fn config(options: &Options) -> Result<Config> {
    let Some(path) = &options.kubeconfig else {
        return Config::infer().await.context("find the cluster: neither a kubeconfig nor a pod's service account");
    };
    let kubeconfig = Kubeconfig::read_from(path).with_context(|| format!("read {}", path.display()))?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    config.with_context(|| format!("use {}", path.display()))
}

/// Follows the pods of a cluster that is there.
async fn list(kubernetes: Kubernetes, pods: Pods, recorder: Recorder) {
    let mut ticks = tokio::time::interval(LIST_PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failed = false;
    loop {
        ticks.tick().await;
        match kubernetes.pods().await {
            Ok(now) => {
                pods.set(now);
                failed = false;
            }
            // Said once: what was known before still holds.
            Err(error) if !failed => {
                recorder.say(&format!("the pods are not known now: {error:#}"));
                failed = true;
            }
            Err(_) => {}
        }
    }
}

#[async_trait(?Send)]
impl Stage for Cluster {
    fn find(name: &str) -> Option<&'static Known<Self>> {
        nemesis::OF_CLUSTERS.iter().chain(nemesis::OF_NODES).find(|known| known.traits.name == name)
    }

    fn hub(&self) -> &Hub {
        &self.hub
    }

    fn hub_mut(&mut self) -> &mut Hub {
        &mut self.hub
    }

    fn members(&self) -> Vec<Member> {
        let members = self.group().into_iter().filter(|pod| !pod.ending);
        members.map(|pod| Member { witness: pod.is_witness(), name: pod.name }).collect()
    }

    async fn versions(&self) -> Result<Vec<(String, String)>> {
        let leader = self.hub.leader().await.context("nobody leads")?;
        let status = self.hub.status(&leader).await?;
        let version = status["version"].as_str().context("a status without a version")?;
        let kubernetes = ("kubernetes".to_owned(), self.version.clone());
        Ok(vec![("prometheus-elector".into(), format!("prometheus-elector {version}")), kubernetes])
    }

    /// [`values::yaml`] leaves it on.
    fn has_gate(&self) -> bool {
        true
    }

    fn look(&mut self) -> Result<()> {
        let pods = self.group();
        for what in self.lives.look(&pods) {
            self.hub.recorder.note(what);
        }
        for member in self.hub.followed() {
            if pods.iter().all(|pod| pod.name != member) {
                self.hub.seat(&member, None);
            }
        }
        for pod in &pods {
            let Some(address) = pod.address else { continue };
            self.hub.knows(address, &pod.name);
            if let (false, Some(replica)) = (pod.is_witness(), pod.ordinal()) {
                self.hub.target.recognise(address.into(), replica);
            }
            let seat = Seat { address, sidecar: pod.pid(Program::Sidecar), witness: pod.is_witness() };
            self.hub.seat(&pod.name, Some(seat));
            self.hub.watch(&pod.name);
            // It is in a volume that outlives its pod, so one who follows it never ends.
            if let Some(log) = pod.events.as_ref().filter(|log| log.exists() && !self.logs.contains(*log)) {
                self.logs.insert(log.clone());
                self.hub.follow_log(Tail::new(&pod.name, log, std::process::id()));
            }
        }
        self.hub.follow();
        self.hub.recorder.flush()
    }

    async fn heal_all(&mut self) -> Result<()> {
        self.hub.receiver.set(Behaviour::Accept);
        self.resume_all();
        for on in self.switched_off.clone() {
            self.switch_on(on).await?;
        }
        self.return_node().await?;
        self.scale_back().await
    }
}
