//! Arguments of `jepsen run`, and what they come to.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};
use test_support::prometheus::Executable;

use crate::cluster::nemesis::{API_DOWN, OF_CLUSTERS, OF_NODES};
use crate::cluster::{self, Plane};
use crate::deployment::options::Options;
use crate::nemesis::{self, Known};
use crate::plan::{Resource, Step, Traits, plan};

/// What plays a control plane and its nodes.
const HARNESS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/cluster/harness");
/// Where `make` builds the programs of Kubernetes, in the cache.
const PEERS: &str = "prometheus-elector/peers";
/// Where distributions put the library.
const FAKETIME: [&str; 3] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib64/faketime/libfaketime.so.1",
];

/// Where the members run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Place {
    /// Network namespaces of this machine.
    Namespaces,
    /// Pods of a Kubernetes control plane that is started for the run; nodes are this machine.
    ControlPlane,
    /// A release of the chart in a cluster that is there.
    Cluster,
}

impl Place {
    /// What the plan knows of the nemeses there.
    fn nemeses(self) -> Vec<Traits> {
        let known = match self {
            Self::Namespaces => described(nemesis::ALL),
            Self::ControlPlane => [described(OF_CLUSTERS), described(OF_NODES)].concat(),
            Self::Cluster => described(OF_CLUSTERS),
        };
        known.into_iter().map(|(traits, _)| traits).collect()
    }
}

/// Traits and sentences of nemeses of any stage.
pub(super) fn described<S>(known: &[Known<S>]) -> Vec<(Traits, &'static str)> {
    known.iter().map(|known| (known.traits, known.sentence)).collect()
}

#[derive(Clone, Debug, Args)]
pub(super) struct RunArguments {
    /// Where the members run.
    #[arg(long, value_enum, default_value_t = Place::Namespaces)]
    pub(super) on: Place,
    /// Faults come for so long.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1440))]
    pub(super) minutes: u64,
    /// Draws every random choice [default: from the clock].
    #[arg(long)]
    pub(super) seed: Option<u64>,
    /// Members with a Prometheus.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=7))]
    members: u8,
    /// One more member that only votes.
    #[arg(long)]
    witness: bool,
    /// Only this nemesis; may be given several times [default: all].
    #[arg(long = "nemesis", value_name = "NAME")]
    nemeses: Vec<String>,
    /// The sidecar [default: `PROMETHEUS_ELECTOR_BIN`, else the one beside this program].
    #[arg(long)]
    elector: Option<PathBuf>,
    /// A program that starts an elector of another kind in the place of ours (jepsen/README.md, "Another elector").
    #[arg(long, value_name = "PROGRAM")]
    adapter: Option<PathBuf>,
    /// Path on port 9095 where a member says by 200 that it is ready.
    #[arg(long, value_name = "PATH", default_value = "/_elector/readyz")]
    ready_path: String,
    /// The Prometheus [default: `PROMETHEUS`, else the one in `PATH`].
    #[arg(long)]
    prometheus: Option<PathBuf>,
    /// Whether remote writes go through the gate.
    #[arg(long, value_name = "on|off", default_value = "on", value_parser = ["on", "off"])]
    gate: String,
    /// Prometheus runs as an agent.
    #[arg(long)]
    agent: bool,
    /// The API server is down from the first fault to the end: what needs it is left out (`--on control-plane`).
    #[arg(long)]
    api_down: bool,
    /// What `tests/cluster/peers` has built (`--on control-plane`) [default: ~/.cache/prometheus-elector/peers].
    #[arg(long, value_name = "DIR")]
    peers: Option<PathBuf>,
    /// Access to the cluster (`--on cluster`) [default: as kubectl finds it].
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Namespace of the release (`--on cluster`).
    #[arg(long, default_value = "default")]
    namespace: String,
    /// Name of the release (`--on cluster`).
    #[arg(long, default_value = "prom")]
    release: String,
    /// The address under which pods reach this machine, or this pod (`--on cluster`).
    #[arg(long, value_name = "ADDRESS", required_if_eq("on", "cluster"))]
    hub: Option<Ipv4Addr>,
    /// Where the record and the logs go; what is there of an earlier run is replaced.
    #[arg(long, value_name = "DIR", default_value = "jepsen-run")]
    pub(super) out: PathBuf,
}

impl RunArguments {
    /// Refuses what does not fit together, and makes room for the record.
    pub(super) fn prepare(&self) -> Result<()> {
        let elsewhere = self.on != Place::Namespaces;
        for (flag, is_given) in [
            ("--gate off", self.gate == "off"),
            ("--agent", self.agent),
            ("--adapter", self.adapter.is_some()),
            ("--prometheus", self.prometheus.is_some()),
        ] {
            ensure!(!(elsewhere && is_given), "{flag} is for --on namespaces only");
        }
        ensure!(!self.api_down || self.on == Place::ControlPlane, "--api-down is for --on control-plane only");
        if self.out.join("logs").exists() {
            std::fs::remove_dir_all(self.out.join("logs")).context("remove the logs of an earlier run")?;
        }
        std::fs::create_dir_all(self.out.join("logs")).with_context(|| format!("--out {}", self.out.display()))
    }

    fn elector(&self) -> Result<PathBuf> {
        let elector = match &self.elector {
            Some(path) => absolute(path)?,
            None => absolute(&test_support::sidecar::find_binary(None)?)?,
        };
        ensure!(elector.is_file(), "--elector {}: there is no such file", elector.display());
        Ok(elector)
    }

    /// A control plane with a node for each member, and one that is free when another is lost.
    pub(super) fn plane(&self) -> Result<Plane> {
        let peers = match &self.peers {
            Some(peers) => absolute(peers)?,
            None => cache()?.join(PEERS),
        };
        ensure!(peers.join("kube-apiserver").is_file(), "--peers {}: run tests/cluster/peers on it", peers.display());
        let nodes = usize::from(self.members) + usize::from(self.witness) + 1;
        let harness = Path::new(HARNESS).canonicalize().with_context(|| format!("there is no {HARNESS}"))?;
        Plane::start(&harness, &peers, &self.elector()?, nodes, &self.out.join("logs/control-plane.log"))
    }

    pub(super) fn release(&self) -> cluster::Options {
        cluster::Options {
            members: self.members.into(),
            witness: self.witness,
            release: self.release.clone(),
            namespace: self.namespace.clone(),
            kubeconfig: self.kubeconfig.clone(),
            // A control plane has its own.
            hub: self.hub.unwrap_or(Ipv4Addr::LOCALHOST),
            ready_path: self.ready_path.clone(),
        }
    }

    pub(super) fn options(&self) -> Result<Options> {
        let adapter = self.adapter.as_deref().map(absolute).transpose()?;
        if let Some(adapter) = &adapter {
            ensure!(adapter.is_file(), "--adapter {}: there is no such file", adapter.display());
        }
        let wants_clock = self.nemeses.is_empty() || self.nemeses.iter().any(|name| name == "clock-jump");
        let faketime = FAKETIME.into_iter().map(PathBuf::from).find(|path| path.exists());
        Ok(Options {
            elector: self.elector()?,
            prometheus: self.prometheus.clone().map_or_else(Executable::find, Executable::at)?,
            ready_path: self.ready_path.clone(),
            members: self.members.into(),
            witness: self.witness,
            gate: self.gate == "on",
            agent: self.agent,
            // An adapter starts what it likes.
            faketime: faketime.filter(|_| wants_clock && adapter.is_none()),
            adapter,
            out: absolute(&self.out)?,
        })
    }

    pub(super) fn plan(&self, seed: u64) -> Result<Vec<Step>> {
        let there = self.on.nemeses();
        let mut chosen = Vec::new();
        for name in &self.nemeses {
            let named = there.iter().find(|traits| traits.name == name);
            chosen.push(
                *named.with_context(|| format!("--nemesis {name}: there is none of this name; see `jepsen list`"))?,
            );
        }
        if chosen.is_empty() {
            chosen = there;
        }
        if self.api_down {
            chosen.retain(|traits| !traits.resources.contains(&Resource::Api));
        }
        let members = usize::from(self.members) + usize::from(self.witness);
        let left_out: Vec<_> =
            chosen.iter().filter(|traits| traits.members_min > members).map(|traits| traits.name).collect();
        if !left_out.is_empty() {
            println!("left out, they need more members: {}", left_out.join(", "));
        }
        let total = Duration::from_secs(self.minutes * 60);
        let mut steps = plan(seed, total, members, &chosen);
        ensure!(!steps.is_empty(), "nothing of this fits into --minutes {}", self.minutes);
        if self.api_down {
            let whole = Step { at: Duration::ZERO, hold: total, nemesis: API_DOWN, at_leader: false, seed };
            steps.insert(0, whole);
        }
        Ok(steps)
    }
}

/// As the Makefile finds it.
fn cache() -> Result<PathBuf> {
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home).context("--peers: there is no $HOME")
}

/// Programs are started elsewhere, so a relative path would lead nowhere.
pub(super) fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("the path {}", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use clap::Parser as _;

    use super::super::{Arguments, Command};
    use super::*;

    fn run(line: &str) -> Result<RunArguments, clap::Error> {
        let arguments = Arguments::try_parse_from(format!("jepsen run {line}").split_whitespace())?;
        match arguments.command {
            Command::Run(run) => Ok(*run),
            other => panic!("it was `run`: {other:?}"),
        }
    }

    #[test]
    fn by_default_every_nemesis_comes_in_ten_minutes_with_the_gate_on() {
        let run = run("").unwrap();
        assert_eq!((run.minutes, run.members, run.witness, run.gate.as_str()), (10, 3, false, "on"));
        let named: std::collections::BTreeSet<_> = run.plan(1).unwrap().iter().map(|step| step.nemesis).collect();
        let fitting = nemesis::ALL.iter().filter(|known| known.traits.members_min <= 3).count();
        assert_eq!(named.len(), fitting);
    }

    #[test]
    fn only_the_named_ones_come_and_a_wrong_name_is_told() {
        let run = |line| run(line).unwrap().plan(5);
        let steps = run("--nemesis loss --nemesis dns-dead --minutes 5").unwrap();
        assert!(steps.iter().all(|step| ["loss", "dns-dead"].contains(&step.nemesis)), "{steps:?}");
        let error = run("--nemesis rain").unwrap_err().to_string();
        assert!(error.contains("--nemesis rain") && error.contains("jepsen list"), "{error}");
        let error = run("--nemesis ring").unwrap_err().to_string();
        assert!(error.contains("--minutes"), "three members make no ring: {error}");
    }

    #[test]
    fn without_the_api_server_nothing_comes_that_needs_it() {
        let steps = run("--on control-plane --api-down --minutes 5").unwrap().plan(5).unwrap();
        assert_eq!((steps[0].nemesis, steps[0].hold), (API_DOWN, Duration::from_mins(5)));
        let needs = |step: &Step| OF_CLUSTERS.iter().chain(OF_NODES).find(|known| known.traits.name == step.nemesis);
        let resources = steps[1..].iter().flat_map(|step| needs(step).unwrap().traits.resources);
        assert!(resources.clone().count() > 5 && resources.clone().all(|resource| *resource != Resource::Api));
    }

    #[test]
    fn a_cluster_has_its_own_nemeses() {
        let names = |line: &str| {
            let steps = run(line).unwrap().plan(1).unwrap();
            steps.into_iter().map(|step| step.nemesis).collect::<std::collections::BTreeSet<_>>()
        };
        let all = |place: Place| place.nemeses().into_iter().map(|traits| traits.name).collect();
        assert_eq!(names("--on control-plane --minutes 30"), all(Place::ControlPlane));
        assert_eq!(names("--on cluster --hub 10.0.0.9 --minutes 30"), all(Place::Cluster));
        assert!(run("--on cluster").is_err(), "without --hub nobody could reach us");
        assert!(run("--on cluster --hub 10.0.0.9 --nemesis node-lost").unwrap().plan(1).is_err());
        let error = run("--on control-plane --agent").unwrap().prepare().unwrap_err().to_string();
        assert!(error.contains("--agent"), "{error}");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for line in ["--members 1", "--members 8", "--minutes 0", "--gate maybe", "--seed x"] {
            assert!(run(line).is_err(), "{line}");
        }
    }
}
