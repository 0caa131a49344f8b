//! The label of the own pod (`--pod-leader-label`): the one piece that speaks to the Kubernetes API, off by default.
//!
//! ```text
//! leadership, its deadline --+                           +--> PATCH of the own pod's label prometheus-elector/role
//! answers of the API server -+--> step (pure rules) -----+--> POST of an Event, once for each term that this member leads
//! shutdown ------------------+                           +--> log, counts
//! ```
//!
//! Level-triggered: what the label should say comes from leadership, what it says is what the API server accepted last. While
//! they differ it is tried again, for ever, with growing pauses; the newest wins, and never two patches are in flight. From time
//! to time it is said again, so that a label which another hand has changed is mended.
//!
//! Nothing here can disturb the election: it only reads the leadership watch, and whatever the API server answers, or does not,
//! ends in a log line and a count. The label lags behind authority by the time of a request, and is no fence.

mod client;
mod runner;
#[cfg(test)]
mod runner_tests;
mod state;
mod step;
#[cfg(test)]
mod step_tests;

use elector_raft::Leadership;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::client::Client;
use self::runner::Runner;
use self::state::State;
use crate::config::PodSettings;
use crate::metrics::PodLabelStatus;

/// The label's key.
const LABEL: &str = "prometheus-elector/role";

/// Why the Kubernetes API cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "pod-leader-label: {cause}; the flag needs a pod of Kubernetes ($KUBERNETES_SERVICE_HOST and _PORT) with a service account's \
     token, ca.crt and namespace in /var/run/secrets/kubernetes.io/serviceaccount (the chart's podLeaderLabel.enabled=true mounts \
     them); or take it away"
)]
pub(crate) struct NoKubernetes {
    cause: String,
}

/// The label, ready to be kept.
pub(crate) struct PodLabel {
    runner: Runner,
    status: watch::Receiver<PodLabelStatus>,
}

impl PodLabel {
    /// Reads what the pod has for reaching the API. Nothing is sent yet. Call it inside a tokio runtime.
    pub(crate) fn build(pod: &PodSettings, leadership: watch::Receiver<Leadership>) -> Result<Self, NoKubernetes> {
        let client = Client::in_cluster(pod)?;
        let (runner, status) = Runner::new(State::new(pod.witness), client, leadership);
        Ok(Self { runner, status })
    }

    /// What has become of it, now and later.
    pub(crate) fn status(&self) -> watch::Receiver<PodLabelStatus> {
        self.status.clone()
    }

    /// Runs until `given_up` is cancelled and the label says what a member says that does not lead, or a second has passed.
    pub(crate) async fn run(self, given_up: CancellationToken) {
        self.runner.run(given_up).await;
    }
}
