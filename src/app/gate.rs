//! How the gate is wired: with rendering, role control, its Prometheus, and the end of the process.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::gate::{Gate, Routes, UngatedStatus};
use crate::prometheus::client::LocalClient;
use crate::prometheus::running::{self, Observed};
use crate::render::{Rendered, render, render_gated};
use crate::role::{Companion, Cover, Renderer, RoleStatus};

/// Renders, with a gate for its address; the gate gets the entries that lead to it. `writes`: whether Prometheus gets what is
/// rendered; else somebody else configures it.
pub(super) fn renderer(gate: Option<Gate>, address: SocketAddr, writes: bool) -> Renderer {
    let Some(gate) = gate else {
        return Arc::new(|source| render(source).map_err(|error| error.to_string()));
    };
    let (rendered, mut routes) = watch::channel(Routes::default());
    tokio::spawn(async move {
        while routes.changed().await.is_ok() {
            let routes = routes.borrow_and_update().clone();
            if let Err(error) = gate.apply(routes).await {
                tracing::error!(%error, "an entry of remote_write cannot be gated: its requests are answered with 503");
            }
        }
    });
    Arc::new(move |source| {
        let gated = render_gated(source, address).map_err(|error| error.to_string())?;
        let ungated = gated.ungated.iter().map(|entry| UngatedStatus {
            reason: entry.reason.to_string(),
            label: entry.label.clone(),
            line: entry.line,
        });
        let (remotes, longest_interval) = (gated.remotes, writes.then_some(gated.longest_interval));
        rendered.send_replace(Routes { remotes, ungated: ungated.collect(), longest_interval });
        let mut output = gated.rendered;
        if !writes {
            let unserved = gated.ungated.iter().map(|entry| {
                format!(
                    "line {}: `remote_write`: the gate cannot serve the entry `{}` ({}), and with gate-only nothing else does",
                    entry.line, entry.label, entry.reason
                )
            });
            output = Rendered { follower: Bytes::new(), leader: Bytes::new(), warnings: unserved.collect() };
        }
        Ok(output)
    })
}

/// What role control must know of the gate, and ask of it.
pub(super) fn companion(gate: &Gate) -> Companion {
    let mut seen = gate.cover();
    let (cover, receiver) = watch::channel(Cover { matters: false, prepared: false, unfit: None });
    tokio::spawn(async move {
        loop {
            let now = seen.borrow_and_update().clone();
            cover.send_replace(Cover { matters: now.matters, prepared: now.verdict.is_ok(), unfit: now.unfit });
            if seen.changed().await.is_err() {
                return;
            }
        }
    });
    let (yielding, resuming) = (gate.clone(), gate.clone());
    Companion {
        cover: receiver,
        give_way: Arc::new(move || {
            let gate = yielding.clone();
            Box::pin(async move { gate.give_way().await })
        }),
        resume: Arc::new(move || resuming.resume()),
    }
}

/// The gate learns from its Prometheus since when that runs, and with what.
pub(super) fn follow_prometheus(
    gate: Gate,
    client: LocalClient,
    reload: &reqwest::Url,
    address: SocketAddr,
    role: watch::Receiver<Arc<RoleStatus>>,
) -> [JoinHandle<()>; 3] {
    let (running, seen) = watch::channel(Observed::default());
    let (reloads, reloaded) = watch::channel(None);
    [
        tokio::spawn(running::follow(client, running::api_of(reload), running, reloaded)),
        tokio::spawn(async move { gate.follow_prometheus(seen, address).await }),
        tokio::spawn(note_reloads(role, reloads)),
    ]
}

/// Tells when Prometheus has accepted a configuration.
async fn note_reloads(mut role: watch::Receiver<Arc<RoleStatus>>, reloads: watch::Sender<Option<u64>>) {
    while role.changed().await.is_ok() {
        let applied_at = role.borrow_and_update().config.applied_at_unix_ms;
        reloads.send_if_modified(|newest| applied_at.is_some() && std::mem::replace(newest, applied_at) != applied_at);
    }
}

/// The gate's listener stays until its Prometheus has flushed and stopped: what that cannot deliver holds up the whole pod.
pub(super) async fn outlive_prometheus(gate: &Gate, reload: &reqwest::Url, until: Instant) {
    gate.leave();
    if !gate.cover().borrow().matters {
        return;
    }
    tracing::info!("the gate takes what Prometheus still sends, until that stops or the grace delay ends");
    if tokio::time::timeout_at(until, running::stopped(reload)).await.is_err() {
        tracing::info!("Prometheus still runs: what it sends from now on waits in it until a sidecar is back");
    }
}
