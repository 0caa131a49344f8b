//! A member with a gate behind its listener, whose group the test plays.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use elector_raft::{GroupEnds, GroupHandle, Leadership, Request as GroupRequest};
use http::HeaderMap;
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::{batch, headers_of, routes};
use crate::gate::remote::RemoteSettings;
use crate::gate::wire::Version;
use crate::gate::{Gate, GateSettings, lock};

/// A gate in a process of its own, as far as the others can tell.
pub(in crate::gate) struct Member {
    pub(in crate::gate) gate: Gate,
    pub(in crate::gate) leadership: tokio::sync::watch::Sender<Leadership>,
    pub(in crate::gate) values: tokio::sync::watch::Sender<Arc<std::collections::BTreeMap<String, String>>>,
    pub(in crate::gate) published: Arc<Mutex<Vec<(String, String)>>>,
    pub(in crate::gate) address: SocketAddr,
    pub(in crate::gate) dir: TempDir,
    http: reqwest::Client,
    _eligibility: tokio::sync::watch::Receiver<elector_raft::Eligibility>,
    _status: tokio::sync::watch::Sender<Arc<elector_raft::GroupStatus>>,
}

/// A short period, for short tests.
pub(in crate::gate) const PERIOD: Duration = Duration::from_millis(50);

impl Member {
    /// A member with one remote.
    pub(in crate::gate) async fn start(remote: RemoteSettings) -> Self {
        Self::start_with(remote, 64 << 20).await
    }

    pub(in crate::gate) async fn start_with(remote: RemoteSettings, spool_bytes_max: u64) -> Self {
        Self::start_in(TempDir::new().unwrap(), remote, spool_bytes_max).await
    }

    /// A member that finds files of an earlier process beside its spool.
    pub(in crate::gate) async fn start_over(remote: RemoteSettings, files: &[(&str, &[u8])]) -> Self {
        let dir = TempDir::new().unwrap();
        let spool = dir.path().join("gate").join(&remote.name);
        std::fs::create_dir_all(&spool).unwrap();
        for (name, content) in files {
            std::fs::write(spool.join(name), content).unwrap();
        }
        Self::start_in(dir, remote, 64 << 20).await
    }

    async fn start_in(dir: TempDir, remote: RemoteSettings, spool_bytes_max: u64) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (handle, ends) = GroupHandle::new();
        let GroupEnds { leadership, status, values, eligibility, mut requests, .. } = ends;
        let published: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
        let group = published.clone();
        tokio::spawn(async move {
            while let Some(request) = requests.recv().await {
                if let GroupRequest::Publish { key, value, reply } = request {
                    lock(&group).push((key, value));
                    let _ = reply.send(Ok(()));
                }
            }
        });
        let settings = GateSettings {
            spool_dir: dir.path().join("gate"),
            spool_bytes_max,
            watermark_period: PERIOD,
            extra_interval: None,
            tls_base: dir.path().to_owned(),
        };
        let gate = Gate::start(settings, handle).unwrap();
        gate.apply(routes(&[remote])).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = crate::gate::listener::router(gate.clone()).into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let http = reqwest::Client::new();
        Self { gate, leadership, values, published, address, dir, http, _eligibility: eligibility, _status: status }
    }

    /// Sends a batch as the own Prometheus does; status and headers of the answer.
    pub(in crate::gate) async fn push_as(&self, version: Version, body: Bytes) -> (u16, HeaderMap, String) {
        let url = format!("http://{}/write/r", self.address);
        let request = self.http.post(url).headers(headers_of(version)).body(body);
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        (status, headers, response.text().await.unwrap())
    }

    /// Sends a batch of 1.0.
    pub(in crate::gate) async fn push(&self, points: &[(&str, i64)]) -> u16 {
        self.push_as(Version::V1, batch(points)).await.0
    }

    /// Waits for a phase.
    pub(in crate::gate) async fn is(&self, phase: &str) {
        eventually(&format!("{phase}, not {:?}", self.gate.status()), || self.status().phase.name() == phase).await;
    }

    pub(in crate::gate) fn status(&self) -> crate::gate::RemoteStatus {
        self.gate.status().remotes.remove(0)
    }
}

/// Waits until something holds, for ten seconds at the most.
pub(in crate::gate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
