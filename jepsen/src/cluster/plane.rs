//! A control plane of one's own: `tests/cluster/harness`, a child, which runs the real programs of Kubernetes and is its nodes.
//!
//! Commands go to its standard input, one at a time; answers, and what there is on the nodes, come from its standard output, whether
//! or not the API server runs.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::pods::{Pod, Pods};

/// Four programs start, one after the other.
const START_MAX: Duration = Duration::from_secs(240);
/// The longest command is an installation, which waits until all is ready.
const ANSWER_MAX: Duration = Duration::from_secs(300);
/// It ends its pods first.
const END_MAX: Duration = Duration::from_secs(60);

/// The child. Dropping it ends it, and everything that it has made.
#[derive(Debug)]
pub struct Plane {
    child: Child,
    /// `None`: it was told to end.
    commands: Option<ChildStdin>,
    answers: UnboundedReceiver<Result<(), String>>,
    pods: Pods,
    /// Where it is.
    pub(super) place: Place,
    /// Closed with its output: it has ended then.
    speaks: mpsc::Receiver<Place>,
}

/// Where the cluster is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Place {
    /// Its network namespace, as a file.
    network: PathBuf,
    /// The address under which pods reach whoever is in that namespace.
    pub(super) gateway: Ipv4Addr,
    /// An administrator's access to its API.
    pub(super) kubeconfig: PathBuf,
    /// Where releases are installed.
    pub(super) namespace: String,
}

/// A line of its output.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Told {
    Cluster(Place),
    Pods(Vec<Pod>),
    Problem(String),
    /// To a command: what went wrong, if anything did.
    Answer(Option<String>),
}

impl Plane {
    /// Starts it with this many nodes and moves into its network: this thread, and those that it starts from now on. `peers` is what
    /// `tests/cluster/peers` has built.
    pub fn start(harness: &Path, peers: &Path, elector: &Path, nodes: usize, log: &Path) -> Result<Self> {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM"]).arg(harness);
        command.arg("--peers").arg(peers).arg("--elector").arg(elector).arg(format!("--nodes={nodes}"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(log).context("make its log")?);
        // The terminal's Ctrl-C is for us, who end it in order.
        command.process_group(0);
        let mut child = command.spawn().with_context(|| format!("start {}", harness.display()))?;
        let (answered, answers) = unbounded_channel();
        let (ready, placed) = mpsc::channel();
        let pods = Pods::default();
        if let Some(output) = child.stdout.take() {
            let pods = pods.clone();
            std::thread::Builder::new()
                .name("control-plane".into())
                .spawn(move || hear(output, &ready, &pods, &answered))?;
        }
        let place = placed.recv_timeout(START_MAX);
        let place = place.with_context(|| format!("the control plane does not start; see {}", log.display()))?;
        let started = Self { commands: child.stdin.take(), child, answers, pods, place, speaks: placed };
        let network = File::open(&started.place.network).context("open the control plane's network")?;
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
            .context("enter the control plane's network (that needs root)")?;
        Ok(started)
    }

    /// What there is on its nodes.
    pub(super) fn pods(&self) -> Pods {
        self.pods.clone()
    }

    /// Does what `command` says, and returns once it is done.
    pub(super) async fn call(&mut self, command: Value) -> Result<()> {
        let commands = self.commands.as_mut().context("the control plane has ended")?;
        writeln!(commands, "{command}").context("speak to the control plane")?;
        match tokio::time::timeout(ANSWER_MAX, self.answers.recv()).await {
            Ok(Some(Ok(()))) => Ok(()),
            Ok(Some(Err(error))) => bail!("{}: {error}", command["do"]),
            Ok(None) => bail!("the control plane has ended"),
            Err(_) => bail!("{}: not done within {} s", command["do"], ANSWER_MAX.as_secs()),
        }
    }
}

/// Until its output ends.
fn hear(output: ChildStdout, ready: &mpsc::Sender<Place>, pods: &Pods, answered: &UnboundedSender<Result<(), String>>) {
    // Nobody listens any more: then nothing is to be told.
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        match serde_json::from_str(&line) {
            Ok(Told::Cluster(place)) => _ = ready.send(place),
            Ok(Told::Pods(now)) => pods.set(now),
            Ok(Told::Problem(problem)) => eprintln!("a node: {problem}"),
            Ok(Told::Answer(error)) => _ = answered.send(error.map_or(Ok(()), Err)),
            Err(error) => eprintln!("the control plane says what cannot be read: {error}: {line}"),
        }
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        drop(self.commands.take());
        if self.speaks.recv_timeout(END_MAX) == Err(RecvTimeoutError::Timeout) {
            // Its processes die with it, and the next one removes its namespaces.
            _ = self.child.kill();
        }
        _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::deployment::pod::Program;

    #[test]
    fn lines_are_read_as_the_child_writes_them() {
        let pods = r#"{"pods": [{"name": "prom-0", "uid": "u", "node": "node-0", "address": "10.244.1.4", "labels": {},
            "ending": false, "events": "/x/events.jsonl", "containers": {"elector": {"running": true, "pid": 7, "restarts": 1,
            "code": null}, "init": {"running": false, "pid": null, "restarts": 0, "code": 0}}}]}"#;
        let Told::Pods(pods) = serde_json::from_str(pods).unwrap() else { panic!("not pods") };
        assert_eq!((pods[0].pid(Program::Sidecar), pods[0].pid(Program::Prometheus)), (Some(7), None));
        assert!(matches!(serde_json::from_str(r#"{"answer": null}"#).unwrap(), Told::Answer(None)));
        assert!(matches!(serde_json::from_str(r#"{"answer": "no"}"#).unwrap(), Told::Answer(Some(why)) if why == "no"));
    }
}
