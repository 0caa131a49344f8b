//! The two requests to the Kubernetes API: a patch of the own pod's label, and an Event about it.
//!
//! kube's own stack of layers is left out: it retries by itself, and logs each failure as an error; here `step` decides about
//! both. Token and CA are read from the pod's files, and again each minute, by kube. Each request has a connection of its own:
//! they are rare, and one that has been idle for a minute may be dead without a sign.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http_body_util::Limited;
use hyper_util::rt::TokioExecutor;
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::client::ConfigExt as _;
use kube::{Api, Config};
use serde_json::json;
use tower::{BoxError, ServiceBuilder};

use super::state::{Elected, Failure, Label};
use super::{LABEL, NoKubernetes};
use crate::cause::chain;
use crate::config::PodSettings;

/// Longest time for one request: a healthy API server answers in milliseconds.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer: an object in etcd has at most 1.5 MiB. Bytes.
const ANSWER_BYTES_MAX: usize = 2 << 20;
/// Longest error that is shown. Characters.
const ERROR_CHARS_MAX: usize = 400;
/// Longest `reportingInstance`, and as much of the pod's name as goes into that of an Event. Bytes; the name is ASCII.
const INSTANCE_BYTES_MAX: usize = 128;
/// Who writes the Events.
const CONTROLLER: &str = "prometheus-elector";

/// Speaks for one pod. Cheap to clone.
#[derive(Clone)]
pub(super) struct Client {
    pods: Api<Pod>,
    events: Api<Event>,
    pod: String,
    namespace: String,
    /// Part of the names of Events: a term may come twice in the life of a pod, after a group was given up.
    started_unix_ms: u128,
    timeout: Duration,
}

impl Client {
    /// With what Kubernetes has put into the pod.
    pub(super) fn in_cluster(pod: &PodSettings) -> Result<Self, NoKubernetes> {
        let config = Config::incluster().map_err(|error| NoKubernetes { cause: chain(&error) })?;
        Self::new(&config, pod, TIMEOUT).map_err(|error| NoKubernetes { cause: chain(&error) })
    }

    pub(super) fn new(config: &Config, pod: &PodSettings, timeout: Duration) -> Result<Self, kube::Error> {
        let namespace = pod.namespace.clone().unwrap_or_else(|| config.default_namespace.trim().to_owned());
        let connections = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build(config.rustls_https_connector()?);
        let service = ServiceBuilder::new()
            .layer(config.base_uri_layer())
            .option_layer(config.auth_layer()?)
            .map_response(|answer: http::Response<_>| answer.map(|body| Limited::new(body, ANSWER_BYTES_MAX)))
            .map_err(BoxError::from)
            .service(connections);
        let client = kube::Client::new(service, &namespace);
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Self {
            pods: Api::namespaced(client.clone(), &namespace),
            events: Api::namespaced(client, &namespace),
            pod: pod.name.clone(),
            namespace,
            started_unix_ms: started.as_millis(),
            timeout,
        })
    }

    /// Sets the label. Returns the pod's uid.
    pub(super) async fn label(&self, label: Label) -> Result<Option<String>, Failure> {
        let patch = Patch::Merge(json!({ "metadata": { "labels": { LABEL: label.as_str() } } }));
        let params = PatchParams::default();
        let pod = self.bounded(self.pods.patch_metadata(&self.pod, &params, &patch)).await?;
        Ok(pod.metadata.uid)
    }

    /// Writes that this member leads. One that is there already counts as written.
    pub(super) async fn record(&self, elected: &Elected, uid: Option<String>) -> Result<(), Failure> {
        let event = self.event(elected, uid);
        let params = PostParams::default();
        let written = async {
            match self.events.create(&params, &event).await {
                Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
                written => written.map(drop),
            }
        };
        self.bounded(written).await
    }

    fn event(&self, elected: &Elected, uid: Option<String>) -> Event {
        let instance = &self.pod[..self.pod.len().min(INSTANCE_BYTES_MAX)];
        let name = format!("{}.{:x}.{:x}", instance.trim_end_matches(['.', '-']), self.started_unix_ms, elected.term);
        let regarding = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: Some(self.pod.clone()),
            namespace: Some(self.namespace.clone()),
            uid,
            ..ObjectReference::default()
        };
        Event {
            metadata: ObjectMeta { name: Some(name), namespace: Some(self.namespace.clone()), ..ObjectMeta::default() },
            event_time: Some(MicroTime(Timestamp::now())),
            type_: Some("Normal".to_owned()),
            reason: Some("LeaderElected".to_owned()),
            action: Some("Elect".to_owned()),
            note: Some(elected.note.clone()),
            regarding: Some(regarding),
            reporting_controller: Some(CONTROLLER.to_owned()),
            reporting_instance: Some(instance.to_owned()),
            ..Event::default()
        }
    }

    async fn bounded<T>(&self, request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Failure> {
        match tokio::time::timeout(self.timeout, request).await {
            Ok(answer) => answer.map_err(|error| failure(&error)),
            Err(_) => Err(Failure {
                forbidden: false,
                error: format!("the API server did not answer within {:?}", self.timeout),
            }),
        }
    }
}

fn failure(error: &kube::Error) -> Failure {
    let (forbidden, text) = match error {
        kube::Error::Api(status) if status.message.is_empty() => {
            (status.is_forbidden(), format!("the API server answered {} {}", status.code, status.reason))
        }
        kube::Error::Api(status) => (status.is_forbidden(), status.message.clone()),
        error => (false, chain(error)),
    };
    Failure { forbidden, error: text.chars().take(ERROR_CHARS_MAX).collect() }
}
