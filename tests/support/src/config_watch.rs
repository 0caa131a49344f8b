//! Asks every Prometheus all the time what configuration it runs: does it have a remote to write to?

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use reqwest::Client;
use tokio::task::JoinHandle;

use crate::http;
use crate::prometheus::{is_leaders, running_config};
use crate::wait::eventually;

const SAMPLE_MAX: Duration = Duration::from_millis(500);

/// One answer, which was true at some instant between the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sample {
    asked: Instant,
    answered: Instant,
    ships: bool,
}

type Samples = BTreeMap<String, Vec<Sample>>;

/// Samples until it is dropped.
#[derive(Debug)]
pub struct ConfigWatch {
    samples: Arc<Mutex<Samples>>,
    period: Duration,
    client: Client,
    tasks: Vec<JoinHandle<()>>,
}

impl ConfigWatch {
    /// Samples each Prometheus once per `period`.
    pub fn new(period: Duration) -> Result<Self> {
        Ok(Self { samples: Arc::default(), period, client: http::client(SAMPLE_MAX)?, tasks: Vec::new() })
    }

    /// Adds member `name`'s Prometheus at base URL `url`.
    pub fn watch(&mut self, name: &str, url: &str) {
        let (samples, client, period) = (Arc::clone(&self.samples), self.client.clone(), self.period);
        let (name, url) = (name.to_owned(), url.to_owned());
        self.tasks.push(tokio::spawn(async move {
            loop {
                let asked = Instant::now();
                if let Ok(yaml) = running_config(&client, &url).await {
                    let sample = Sample { asked, answered: Instant::now(), ships: is_leaders(&yaml) };
                    lock(&samples).entry(name.clone()).or_default().push(sample);
                }
                tokio::time::sleep_until((asked + period).into()).await;
            }
        }));
    }

    /// Whether any answer that was asked for after `instant` shows `name` with (`ships`) or without a remote to write
    /// to.
    pub fn seen_after(&self, name: &str, instant: Instant, ships: bool) -> bool {
        let samples = lock(&self.samples);
        samples.get(name).into_iter().flatten().any(|sample| sample.ships == ships && sample.asked > instant)
    }

    /// When `name` was first seen with a remote to write to, of answers asked for after `instant`.
    pub async fn first_shipping(&self, name: &str, instant: Instant, within: Duration) -> Result<Instant> {
        eventually(within, &format!("{name}'s Prometheus to run the leader configuration"), async || {
            let samples = lock(&self.samples);
            let mut after = samples.get(name).into_iter().flatten().filter(|sample| sample.asked > instant);
            after.find(|sample| sample.ships).map(|sample| sample.answered).context("it has no remote to write to")
        })
        .await
    }
}

impl Drop for ConfigWatch {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn lock(samples: &Mutex<Samples>) -> MutexGuard<'_, Samples> {
    samples.lock().unwrap_or_else(PoisonError::into_inner)
}
