//! A steady stream of GET requests, as dashboards send them, and what became of each.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use reqwest::Client;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;

use crate::http;

/// Longer than any proxy holds a request; an answer that takes longer counts as failed.
const ANSWER_MAX: Duration = Duration::from_secs(15);

/// What became of the requests so far.
#[derive(Clone, Debug, Default)]
pub struct LoadReport {
    /// Requests answered with 200.
    pub succeeded: u64,
    /// All others.
    pub failed: u64,
    /// Failures by what was seen.
    pub failures: BTreeMap<String, u64>,
    /// Longest time to an answer with 200.
    pub slowest: Duration,
    /// Answers with 200, by the member that answered (header `X-Prometheus-Elector-Leader`; empty without one).
    pub answered_by: BTreeMap<String, u64>,
}

impl LoadReport {
    /// Takes another one in.
    pub fn add(&mut self, other: Self) {
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.slowest = self.slowest.max(other.slowest);
        for (all, counts) in [(&mut self.failures, other.failures), (&mut self.answered_by, other.answered_by)] {
            for (what, count) in counts {
                *all.entry(what).or_default() += count;
            }
        }
    }
}

/// Sends until it is stopped or dropped.
#[derive(Debug)]
pub struct Load {
    report: Arc<Mutex<LoadReport>>,
    task: JoinHandle<()>,
    stop: tokio::sync::watch::Sender<bool>,
}

impl Load {
    /// Sends `per_second` requests for `url` every second, whether or not earlier ones are answered.
    pub fn start(url: &str, per_second: u32) -> Result<Self> {
        let client = http::client(ANSWER_MAX)?;
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let report = Arc::new(Mutex::new(LoadReport::default()));
        let task = tokio::spawn(send_all(client, url.to_owned(), per_second, Arc::clone(&report), stopped));
        Ok(Self { report, task, stop })
    }

    /// The present state.
    pub fn report(&self) -> LoadReport {
        lock(&self.report).clone()
    }

    /// Sends no more, waits for every open request, and returns the final state.
    pub async fn stop(mut self) -> LoadReport {
        // The task cannot have ended before: it waits for this.
        let _ = self.stop.send(true);
        let _ = (&mut self.task).await;
        self.report()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn send_all(
    client: Client,
    url: String,
    per_second: u32,
    report: Arc<Mutex<LoadReport>>,
    mut stopped: tokio::sync::watch::Receiver<bool>,
) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / per_second);
    // A machine that is late must not get the missed ones all at once.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let (client, url, report) = (client.clone(), url.clone(), Arc::clone(&report));
                open.spawn(async move {
                    let start = Instant::now();
                    let outcome = send(&client, &url).await;
                    note(&mut lock(&report), outcome, start.elapsed());
                });
            }
            Some(_) = open.join_next() => {}
            _ = stopped.changed() => break,
        }
    }
    while open.join_next().await.is_some() {}
}

/// The leader that answered, or what went wrong.
async fn send(client: &Client, url: &str) -> Result<String, String> {
    let answer = client.get(url).send().await.map_err(|error| describe(&error))?;
    let status = answer.status();
    let leader = answer.headers().get("x-prometheus-elector-leader");
    let leader = leader.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let body = answer.text().await.map_err(|error| describe(&error))?;
    if status == 200 { Ok(leader) } else { Err(format!("{status}: {}", body.chars().take(200).collect::<String>())) }
}

fn note(report: &mut LoadReport, outcome: Result<String, String>, took: Duration) {
    match outcome {
        Ok(leader) => {
            report.succeeded += 1;
            report.slowest = report.slowest.max(took);
            *report.answered_by.entry(leader).or_default() += 1;
        }
        Err(failure) => {
            report.failed += 1;
            *report.failures.entry(failure).or_default() += 1;
        }
    }
}

/// The whole chain of causes: the outermost says only that a request failed.
fn describe(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn lock(report: &Mutex<LoadReport>) -> MutexGuard<'_, LoadReport> {
    report.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::net::Block;
    use crate::target::Target;

    #[tokio::test]
    async fn every_request_is_counted_as_answered_or_failed() {
        let block = Block::claim().unwrap();
        let target = Target::start(block.target(), 1).unwrap();
        let good = Load::start(&format!("http://{}/metrics", target.address), 200).unwrap();
        let missing = Load::start(&format!("http://{}/other", target.address), 200).unwrap();
        let refused = Load::start(&format!("http://{}/", block.storage()), 200).unwrap();
        crate::wait::eventually(Duration::from_secs(10), "some requests", async || {
            let enough =
                good.report().succeeded >= 20 && missing.report().failed >= 20 && refused.report().failed >= 20;
            anyhow::ensure!(enough, "too few");
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(good.stop().await.failed, 0);
        let missing = missing.stop().await;
        assert_eq!((missing.succeeded, missing.failures.len()), (0, 1));
        assert!(missing.failures.keys().all(|failure| failure.starts_with("404")), "{missing:?}");
        let refused = refused.stop().await;
        assert!(refused.failures.keys().all(|failure| failure.contains("refused")), "{refused:?}");
    }
}
