//! The requests to the Kubernetes API: what a person does with `kubectl`, for one release of the chart.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod as Object};
use kube::api::{DeleteParams, EvictParams, ListParams, Patch, PatchParams};
use kube::{Api, Client, Config};
use serde_json::{Value, json};

use super::pods::{Container, INSTANCE, Pod};

/// A healthy API server answers in milliseconds.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// HTTP status of an eviction that the disruption budget forbids.
const FORBIDDEN_NOW: u16 = 429;

/// One release.
#[derive(Clone)]
pub(super) struct Kubernetes {
    client: Client,
    pods: Api<Object>,
    sets: Api<StatefulSet>,
    release: String,
}

impl Kubernetes {
    /// The release of this name in this namespace.
    pub(super) fn new(mut config: Config, namespace: &str, release: &str) -> Result<Self> {
        config.connect_timeout = Some(ANSWER_MAX);
        config.read_timeout = Some(ANSWER_MAX);
        let client = Client::try_from(config).context("speak to the Kubernetes API")?;
        let (pods, sets) = (Api::namespaced(client.clone(), namespace), Api::namespaced(client.clone(), namespace));
        Ok(Self { client, pods, sets, release: release.into() })
    }

    /// Version of the API server: an error if it does not answer.
    pub(super) async fn version(&self) -> Result<String> {
        let version = self.client.apiserver_version().await.context("ask the API server for its version")?;
        Ok(version.git_version)
    }

    fn of_release(&self) -> ListParams {
        ListParams::default().labels(&format!("{INSTANCE}={}", self.release))
    }

    /// Its pods.
    pub(super) async fn pods(&self) -> Result<Vec<Pod>> {
        let listed = self.pods.list(&self.of_release()).await.context("list the pods")?;
        Ok(listed.items.into_iter().map(pod).collect())
    }

    /// Deletes a pod: in order, or at once and by force.
    pub(super) async fn delete(&self, name: &str, forced: bool) -> Result<()> {
        let how = if forced { DeleteParams::default().grace_period(0) } else { DeleteParams::default() };
        self.pods.delete(name, &how).await.with_context(|| format!("delete {name}"))?;
        Ok(())
    }

    /// Evicts a pod. False: the disruption budget does not allow it now.
    pub(super) async fn evict(&self, name: &str) -> Result<bool> {
        match self.pods.evict(name, &EvictParams::default()).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(refused)) if refused.code == FORBIDDEN_NOW => Ok(false),
            Err(error) => Err(error).with_context(|| format!("evict {name}")),
        }
    }

    /// The `StatefulSet` of its replicas.
    pub(super) async fn replicas(&self) -> Result<Set> {
        let replicas = self.sets().await?.into_iter().find(|set| !set.witness);
        replicas.with_context(|| format!("there is no StatefulSet of a release `{}`", self.release))
    }

    async fn sets(&self) -> Result<Vec<Set>> {
        let listed = self.sets.list(&self.of_release()).await.context("list the StatefulSets")?;
        Ok(listed.items.iter().map(set).collect())
    }

    /// Changes the template of a `StatefulSet` without a meaning: all of its pods are replaced, one after the other.
    pub(super) async fn roll(&self, set: &str, mark: &str) -> Result<()> {
        let annotations = json!({"jepsen/rolled": mark});
        self.patch(set, json!({"spec": {"template": {"metadata": {"annotations": annotations}}}})).await
    }

    /// How many replicas there are to be.
    pub(super) async fn scale(&self, set: &str, replicas: i32) -> Result<()> {
        self.patch(set, json!({"spec": {"replicas": replicas}})).await
    }

    async fn patch(&self, set: &str, change: Value) -> Result<()> {
        let patched = self.sets.patch(set, &PatchParams::default(), &Patch::Merge(change)).await;
        patched.with_context(|| format!("change StatefulSet {set}"))?;
        Ok(())
    }

    /// An error unless every pod is there, of the newest template, and ready.
    pub(super) async fn check_at_rest(&self) -> Result<()> {
        let sets = self.sets().await?;
        ensure!(!sets.is_empty(), "there is no StatefulSet of a release `{}`", self.release);
        for set in sets {
            ensure!(set.at_rest, "StatefulSet {} is not at rest: {}", set.name, set.words);
        }
        Ok(())
    }
}

/// A `StatefulSet`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Set {
    pub(super) name: String,
    pub(super) witness: bool,
    pub(super) replicas: i32,
    pub(super) at_rest: bool,
    words: String,
}

fn set(object: &StatefulSet) -> Set {
    let (spec, status) = (object.spec.clone().unwrap_or_default(), object.status.clone().unwrap_or_default());
    let replicas = spec.replicas.unwrap_or(1);
    let counts = [status.replicas, status.ready_replicas.unwrap_or(0), status.updated_replicas.unwrap_or(0)];
    let is_seen = status.observed_generation == object.metadata.generation;
    let selector = spec.selector.match_labels.unwrap_or_default();
    Set {
        name: object.metadata.name.clone().unwrap_or_default(),
        witness: selector.values().any(|value| value == "witness"),
        replicas,
        at_rest: is_seen && counts == [replicas; 3] && status.current_revision == status.update_revision,
        words: format!("{replicas} wanted; there, ready, new: {counts:?}"),
    }
}

fn pod(object: Object) -> Pod {
    let (metadata, status) = (object.metadata, object.status.unwrap_or_default());
    let containers = status.container_statuses.into_iter().chain(status.init_container_statuses).flatten();
    Pod {
        name: metadata.name.unwrap_or_default(),
        uid: metadata.uid.unwrap_or_default(),
        node: object.spec.and_then(|spec| spec.node_name),
        address: status.pod_ip.and_then(|ip| ip.parse().ok()),
        labels: metadata.labels.unwrap_or_default(),
        ending: metadata.deletion_timestamp.is_some(),
        events: None,
        containers: containers.map(|status| (status.name.clone(), container(&status))).collect(),
    }
}

fn container(status: &ContainerStatus) -> Container {
    let ended = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    Container {
        running: status.state.as_ref().is_some_and(|state| state.running.is_some()),
        pid: None,
        restarts: u64::try_from(status.restart_count).unwrap_or(0),
        code: ended.map(|ended| ended.exit_code.into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::deployment::pod::Program;

    #[test]
    fn a_pod_is_read_as_the_api_tells_it() {
        let object = json!({
            "metadata": {"name": "prom-1", "uid": "u", "labels": {INSTANCE: "prom"}, "deletionTimestamp": "2026-11-30T00:00:00Z"},
            "spec": {"nodeName": "n", "containers": []},
            "status": {"podIP": "10.0.0.7", "containerStatuses": [{
                "name": "elector", "image": "i", "imageID": "", "ready": true, "restartCount": 2,
                "state": {"running": {"startedAt": "2026-11-30T00:00:00Z"}},
                "lastState": {"terminated": {"exitCode": 137}},
            }]},
        });
        let pod = pod(serde_json::from_value(object).unwrap());
        assert_eq!((pod.address, pod.ending), (Some([10, 0, 0, 7].into()), true));
        let expected = Container { running: true, pid: None, restarts: 2, code: Some(137) };
        assert_eq!(pod.container(Program::Sidecar), Some(&expected));
    }

    #[test]
    fn a_set_rests_once_all_its_pods_are_new_and_ready() {
        let object = |ready: i32, revision: &str| {
            let object = json!({
                "metadata": {"name": "prom", "generation": 2},
                "spec": {"replicas": 3, "serviceName": "s", "template": {},
                    "selector": {"matchLabels": {"app.kubernetes.io/component": "replica"}}},
                "status": {"observedGeneration": 2, "replicas": 3, "readyReplicas": ready, "updatedReplicas": 3,
                    "currentRevision": "a", "updateRevision": revision},
            });
            set(&serde_json::from_value(object).unwrap())
        };
        let rests = object(3, "a");
        assert!(rests.at_rest && !rests.witness && rests.replicas == 3);
        assert!(!object(2, "a").at_rest && !object(3, "b").at_rest);
    }
}
