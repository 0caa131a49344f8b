//! Pods as they are seen from time to time, and what became of their programs between two looks. Pure.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;

use crate::deployment::pod::Program;
use crate::history::{ProcessState, What};

/// The chart's label for what a pod is.
const COMPONENT: &str = "app.kubernetes.io/component";
/// The release's label on everything that it has made.
pub(super) const INSTANCE: &str = "app.kubernetes.io/instance";

/// A pod at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Pod {
    pub(super) name: String,
    pub(super) uid: String,
    #[serde(default)]
    pub(super) node: Option<String>,
    #[serde(default)]
    pub(super) address: Option<Ipv4Addr>,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    /// It was told to end.
    pub(super) ending: bool,
    /// The file of its sidecar's event log, where it can be read.
    #[serde(default)]
    pub(super) events: Option<PathBuf>,
    pub(super) containers: BTreeMap<String, Container>,
}

/// A container at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Container {
    pub(super) running: bool,
    /// Known only where the node's processes are this machine's.
    #[serde(default)]
    pub(super) pid: Option<u32>,
    pub(super) restarts: u64,
    /// How it ended last.
    #[serde(default)]
    pub(super) code: Option<i64>,
}

impl Pod {
    /// It belongs to this release's group.
    pub(super) fn is_of(&self, release: &str) -> bool {
        self.labels.get(INSTANCE).is_some_and(|of| of == release) && self.labels.contains_key(COMPONENT)
    }

    /// It runs no Prometheus.
    pub(super) fn is_witness(&self) -> bool {
        self.labels.get(COMPONENT).is_some_and(|component| component == "witness")
    }

    /// The container of a program.
    pub(super) fn container(&self, program: Program) -> Option<&Container> {
        self.containers.get(match program {
            Program::Sidecar => "elector",
            Program::Prometheus => "prometheus",
        })
    }

    /// Process id of a program that runs.
    pub(super) fn pid(&self, program: Program) -> Option<u32> {
        self.container(program)?.pid
    }

    /// Number of the replica, as its name ends.
    pub(super) fn ordinal(&self) -> Option<u64> {
        self.name.rsplit_once('-')?.1.parse().ok()
    }
}

/// The newest look at all pods of the group. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Pods(Arc<Mutex<Vec<Pod>>>);

impl Pods {
    pub(super) fn set(&self, pods: Vec<Pod>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = pods;
    }

    pub(super) fn get(&self) -> Vec<Pod> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Programs that run, by the pod's uid and their name.
#[derive(Debug, Default)]
pub(super) struct Lives(BTreeMap<(String, &'static str), Life>);

#[derive(Debug)]
struct Life {
    member: String,
    restarts: u64,
    /// Its end is noted already.
    taken: bool,
}

impl Lives {
    /// What has ended and what has begun since the last look. An end is intended if the pod was to end.
    pub(super) fn look(&mut self, pods: &[Pod]) -> Vec<What> {
        let mut noted = Vec::new();
        self.0.retain(|(uid, name), life| {
            let pod = pods.iter().find(|pod| pod.uid == *uid);
            let container = pod.and_then(|pod| pod.container(program(name)));
            let lives = container.is_some_and(|container| container.running && container.restarts == life.restarts);
            if !lives && !life.taken {
                let intended = pod.is_none_or(|pod| pod.ending);
                let code = container.and_then(|container| container.code);
                let detail = code.map_or_else(|| "gone".into(), |code| format!("exit status: {code}"));
                noted.push(process(&life.member, name, ProcessState::Exited, intended, detail));
            }
            lives
        });
        for pod in pods {
            for name in Program::BOTH.map(Program::name) {
                let container = pod.container(program(name)).filter(|container| container.running);
                let Some(container) = container else { continue };
                self.0.entry((pod.uid.clone(), name)).or_insert_with(|| {
                    noted.push(process(&pod.name, name, ProcessState::Started, true, String::new()));
                    Life { member: pod.name.clone(), restarts: container.restarts, taken: false }
                });
            }
        }
        noted
    }

    /// It was killed by the harness: its end, which a look would see later.
    pub(super) fn killed(&mut self, pod: &Pod, program: Program) -> What {
        if let Some(life) = self.0.get_mut(&(pod.uid.clone(), program.name())) {
            life.taken = true;
        }
        process(&pod.name, program.name(), ProcessState::Exited, true, "SIGKILL".into())
    }
}

fn program(name: &str) -> Program {
    if name == Program::Sidecar.name() { Program::Sidecar } else { Program::Prometheus }
}

/// An entry of the record.
pub(super) fn process(member: &str, program: &str, state: ProcessState, intended: bool, detail: String) -> What {
    What::Process { member: member.into(), program: program.into(), state, intended, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: &str, running: bool, restarts: u64, ending: bool) -> Pod {
        let elector = Container { running, restarts, code: Some(3), pid: None };
        let containers = BTreeMap::from([("elector".to_owned(), elector)]);
        Pod { name: "prom-0".into(), uid: uid.into(), ending, containers, ..Pod::default() }
    }

    fn told(noted: &[What]) -> Vec<(ProcessState, bool)> {
        let told = noted.iter().filter_map(|what| match what {
            What::Process { state, intended, .. } => Some((*state, *intended)),
            _ => None,
        });
        told.collect()
    }

    const STARTED: (ProcessState, bool) = (ProcessState::Started, true);

    #[test]
    fn a_program_that_ends_by_itself_has_crashed_and_starts_again() {
        let mut lives = Lives::default();
        assert_eq!(told(&lives.look(&[pod("a", true, 0, false)])), [STARTED]);
        assert_eq!(told(&lives.look(&[pod("a", true, 0, false)])), []);
        assert_eq!(told(&lives.look(&[pod("a", false, 0, false)])), [(ProcessState::Exited, false)]);
        assert_eq!(told(&lives.look(&[pod("a", true, 1, false)])), [STARTED]);
        assert_eq!(told(&lives.look(&[pod("a", true, 2, false)])), [(ProcessState::Exited, false), STARTED], "unseen");
    }

    #[test]
    fn what_ends_with_its_pod_was_to_end() {
        let mut lives = Lives::default();
        lives.look(&[pod("a", true, 0, false)]);
        assert_eq!(told(&lives.look(&[pod("a", false, 0, true)])), [(ProcessState::Exited, true)]);
        lives.look(&[pod("b", true, 0, false)]);
        assert_eq!(told(&lives.look(&[])), [(ProcessState::Exited, true)], "its object was deleted by force");
    }

    #[test]
    fn what_the_harness_killed_is_noted_once() {
        let mut lives = Lives::default();
        lives.look(&[pod("a", true, 0, false)]);
        let killed = lives.killed(&pod("a", true, 0, false), Program::Sidecar);
        assert_eq!(told(&[killed]), [(ProcessState::Exited, true)]);
        assert_eq!(told(&lives.look(&[pod("a", true, 0, false)])), [], "seen before it was gone");
        assert_eq!(told(&lives.look(&[pod("a", true, 1, false)])), [STARTED]);
    }

    #[test]
    fn a_group_has_replicas_and_witnesses_of_its_release() {
        let labels = |component: &str| {
            let labels = [(INSTANCE, "prom"), (COMPONENT, component)];
            labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
        };
        let witness = Pod { labels: labels("witness"), ..pod("a", true, 0, false) };
        assert!(witness.is_of("prom") && !witness.is_of("other") && witness.is_witness());
        assert!(!Pod { labels: labels("replica"), ..witness.clone() }.is_witness());
        assert!(!pod("a", true, 0, false).is_of("prom"), "a job's pod has no component");
        assert_eq!(witness.ordinal(), Some(0));
    }
}
