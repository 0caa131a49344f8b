//! A small scrape target: a few series whose values tell the time.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Name of its metric.
pub const METRIC: &str = "demo_clock_milliseconds";

/// A running target; ends when it is dropped.
#[derive(Debug)]
pub struct Target {
    /// Where it answers `/metrics`.
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Target {
    /// Serves `series` series of [`METRIC`] at `address`.
    pub async fn start(address: SocketAddr, series: usize) -> Result<Self> {
        let listener = TcpListener::bind(address).await.with_context(|| format!("listen at {address}"))?;
        let page = async move || ([(CONTENT_TYPE, "text/plain; version=0.0.4")], page(series));
        let app = Router::new().route("/metrics", get(page));
        let task = tokio::spawn(async move {
            // Serving ends with the task; axum retries failed accepts by itself.
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self { address, task })
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn page(series: usize) -> String {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let mut page = format!("# HELP {METRIC} Unix time of the scrape.\n# TYPE {METRIC} counter\n");
    for index in 0..series {
        // Writing to a string cannot fail.
        let _ = writeln!(page, "{METRIC}{{series=\"{index}\"}} {now_ms}");
    }
    page
}
