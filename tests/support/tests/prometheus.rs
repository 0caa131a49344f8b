//! The harness's own parts with real Prometheus processes, without a sidecar.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use rustix::process::Signal;
use test_support::config_watch::ConfigWatch;
use test_support::net::Block;
use test_support::prometheus::{Kind, Prometheus};
use test_support::source::LEADER_JOB;
use test_support::target::{METRIC, Target};
use test_support::wait::eventually;

const SOON: Duration = Duration::from_secs(20);

/// What the sidecar would render.
fn agent_config(block: &Block, ships: bool) -> String {
    let scrape = format!(
        "global: {{scrape_interval: 250ms, scrape_timeout: 250ms}}\nscrape_configs:\n  \
         - {{job_name: demo, static_configs: [{{targets: ['{}']}}]}}\n",
        block.target()
    );
    let leads = format!("  - {{job_name: {LEADER_JOB}}}\n");
    let remote = format!(
        "remote_write:\n  - url: http://{}/api/v1/write\n    queue_config: {{batch_send_deadline: 200ms}}\n    \
         write_relabel_configs: [{{target_label: shipped_by, replacement: agent}}]\n",
        block.storage()
    );
    if ships { scrape + &leads + &remote } else { scrape }
}

struct Pair {
    agent: Prometheus,
    storage: Prometheus,
    _target: Target,
    block: Block,
    dir: tempfile::TempDir,
}

impl Pair {
    async fn start() -> Self {
        let (block, dir) = (Block::claim().unwrap(), tempfile::tempdir().unwrap());
        let process = |name: &str, kind, address, config: &str| {
            let home = dir.path().join(name);
            std::fs::create_dir(&home).unwrap();
            std::fs::write(home.join("prometheus.yml"), config).unwrap();
            Prometheus::new(name, kind, address, &home.join("prometheus.yml"), &home).unwrap()
        };
        let mut agent = process("agent", Kind::Agent, block.prometheus(0), &agent_config(&block, false));
        let mut storage = process("storage", Kind::Server, block.storage(), "global: {}\n");
        agent.spawn().unwrap();
        storage.start().await.unwrap();
        agent.wait_ready().await.unwrap();
        let target = Target::start(block.target(), 3).unwrap();
        Self { agent, storage, _target: target, block, dir }
    }

    async fn set_shipping(&self, ships: bool) {
        std::fs::write(self.dir.path().join("agent/prometheus.yml"), agent_config(&self.block, ships)).unwrap();
        self.agent.reload().await.unwrap();
    }
}

#[tokio::test]
async fn an_agent_ships_only_while_its_configuration_says_so() {
    let pair = Pair::start().await;
    let mut watch = ConfigWatch::new(Duration::from_millis(20)).unwrap();
    watch.watch("agent", &pair.agent.url(""));
    assert!(!pair.agent.ships().await.unwrap());
    let before = Instant::now();
    pair.set_shipping(true).await;
    assert!(pair.agent.ships().await.unwrap());
    let count = format!("count(count_over_time({METRIC}{{shipped_by=\"agent\"}}[1h]))");
    eventually(SOON, "three series in the storage", async || {
        ensure!(pair.storage.query_one(&count).await? > 2.5, "not three");
        Ok(())
    })
    .await
    .unwrap();
    assert!(pair.agent.own_metric("prometheus_remote_storage_samples_total").await.unwrap() > 0.0);
    watch.first_shipping("agent", before, SOON).await.unwrap();
    pair.set_shipping(false).await;
    let demoted = Instant::now();
    assert!(!pair.agent.ships().await.unwrap());
    eventually(SOON, "an answer without a remote", async || {
        ensure!(watch.seen_after("agent", demoted, false), "none yet");
        Ok(())
    })
    .await
    .unwrap();
    assert!(watch.seen_after("agent", before, true) && !watch.seen_after("agent", demoted, true));
}

#[tokio::test]
async fn it_comes_back_on_the_same_port_after_every_kind_of_end() {
    let mut pair = Pair::start().await;
    let agent = &mut pair.agent;
    agent.signal(Signal::STOP).unwrap();
    // The kernel stops its threads one by one, after the call has returned.
    eventually(SOON, "a stopped process does not answer", async || {
        ensure!(agent.running_config().await.is_err(), "it still answers");
        Ok(())
    })
    .await
    .unwrap();
    agent.signal(Signal::CONT).unwrap();
    agent.running_config().await.unwrap();
    agent.kill().unwrap();
    assert!(agent.running_config().await.is_err());
    agent.start().await.unwrap();
    assert_eq!(agent.terminate(SOON).await.unwrap().code(), Some(0));
    agent.lose_data().unwrap();
    agent.start().await.unwrap();
    let id = agent.id().unwrap();
    drop(pair);
    assert!(!Path::new(&format!("/proc/{id}")).exists(), "a dropped process is gone");
}

#[tokio::test]
async fn one_that_cannot_start_is_an_error_with_its_log() {
    let (block, dir) = (Block::claim().unwrap(), tempfile::tempdir().unwrap());
    let config = dir.path().join("prometheus.yml");
    std::fs::write(&config, "nonsense: 1\n").unwrap();
    let mut broken = Prometheus::new("broken", Kind::Agent, block.prometheus(0), &config, dir.path()).unwrap();
    let error = broken.start().await.unwrap_err().to_string();
    assert!(error.contains("broken ended") && error.contains("nonsense"), "{error}");
}
