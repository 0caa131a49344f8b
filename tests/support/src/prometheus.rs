//! Real Prometheus processes: agents beside the sidecars, and the storage server that they write to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use reqwest::{Client, Method};
use rustix::process::Signal;
use serde_json::Value;

use crate::exposition::Page;
use crate::http;
use crate::process::Process;
use crate::receiver::analysis::Stored;
use crate::receiver::decode::Series;
use crate::secured::Secured;
use crate::source::LEADER_JOB;
use crate::wait::eventually;

/// A Prometheus starts in well under a second; this is for a machine that is busy with other tests.
const START_MAX: Duration = Duration::from_secs(30);

/// A Prometheus executable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executable {
    /// Where it is.
    pub path: PathBuf,
    /// Its version, e.g. `2.42.0`.
    pub version: String,
}

impl Executable {
    /// The one that `PROMETHEUS` names, else `prometheus` in `PATH`.
    pub fn find() -> Result<Self> {
        static FOUND: OnceLock<Result<Executable, String>> = OnceLock::new();
        FOUND.get_or_init(|| Self::look().map_err(|error| format!("{error:#}"))).clone().map_err(|error| anyhow!(error))
    }

    fn look() -> Result<Self> {
        let path = std::env::var_os("PROMETHEUS").filter(|path| !path.is_empty());
        Self::at(path.map_or_else(|| PathBuf::from("prometheus"), PathBuf::from))
    }

    /// The one at this path.
    pub fn at(path: PathBuf) -> Result<Self> {
        let output = Command::new(&path).arg("--version").output().with_context(|| {
            format!(
                "no Prometheus at `{}`: install it (`apt-get install prometheus`; `make test` does) or name one with \
                 PROMETHEUS=/path/to/prometheus",
                path.display()
            )
        })?;
        // 2.x prints its version to standard error when it is old enough.
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        let version = parse_version(&text).with_context(|| format!("no version in `{}`", text.trim()))?;
        Ok(Self { path, version })
    }

    /// What has it run as an agent.
    pub fn agent_flag(&self) -> &'static str {
        if self.version.starts_with("2.") { "--enable-feature=agent" } else { "--agent" }
    }
}

fn parse_version(text: &str) -> Option<String> {
    let rest = text.split_once("version ")?.1;
    let version: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    (version.split('.').count() == 3).then_some(version)
}

/// What a Prometheus is used as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Scrapes and ships; answers no `PromQL`.
    Agent,
    /// A full server that also takes remote write.
    Server,
}

/// One Prometheus: where it listens and where it keeps its things stays the same over restarts.
#[derive(Debug)]
pub struct Prometheus {
    /// Its name in logs.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    kind: Kind,
    executable: Executable,
    config: PathBuf,
    data: PathBuf,
    log: PathBuf,
    client: Client,
    secured: Option<Secured>,
    process: Option<Process>,
}

impl Prometheus {
    /// Describes one that is not started yet; data and log live in `dir`.
    pub fn new(name: &str, kind: Kind, address: SocketAddr, config: &Path, dir: &Path) -> Result<Self> {
        Ok(Self {
            name: name.into(),
            address,
            kind,
            executable: Executable::find()?,
            config: config.into(),
            data: dir.join("prometheus-data"),
            log: dir.join("prometheus.log"),
            client: http::client(http::TIMEOUT)?,
            secured: None,
            process: None,
        })
    }

    /// Has it speak TLS and ask who is there, from its next start on. To be called again when the files have changed: the
    /// requests of this program need the new ones.
    pub fn secure(&mut self, secured: &Secured) -> Result<()> {
        self.client = secured.client(http::TIMEOUT, true)?;
        self.secured = Some(secured.clone());
        Ok(())
    }

    /// Starts it, without waiting.
    pub fn spawn(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "{} is running already", self.name);
        let mut command = Command::new(&self.executable.path);
        command
            .arg(format!("--config.file={}", self.config.display()))
            .arg(format!("--web.listen-address={}", self.address))
            .arg("--web.enable-lifecycle");
        if let Some(secured) = &self.secured {
            command.arg(format!("--web.config.file={}", secured.file("web.yml").display()));
        }
        let data = self.data.display();
        match self.kind {
            Kind::Agent => command.arg(self.executable.agent_flag()).arg(format!("--storage.agent.path={data}")),
            Kind::Server => {
                command.arg("--web.enable-remote-write-receiver").arg(format!("--storage.tsdb.path={data}"))
            }
        };
        self.process = Some(Process::spawn(&self.name, &mut command, &self.log)?);
        Ok(())
    }

    /// Starts it and waits until it is ready.
    pub async fn start(&mut self) -> Result<()> {
        self.spawn()?;
        self.wait_ready().await
    }

    /// Waits until it is ready.
    pub async fn wait_ready(&mut self) -> Result<()> {
        let (client, url) = (self.client.clone(), self.url("/-/ready"));
        let process = self.process.as_mut().context("not started")?;
        // Ends early, with the log, when the process has ended.
        eventually(START_MAX, &format!("{} to be ready", self.name), async || match process.check_running() {
            Ok(()) => http::get(&client, &url).await.map(|_| Ok(())),
            Err(ended) => Ok(Err(ended)),
        })
        .await?
    }

    /// Whether the process has been started and not been taken down here. It may have ended by itself.
    pub fn started(&self) -> bool {
        self.process.is_some()
    }

    /// Process id of a started one.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Sends a signal.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        self.process.as_mut().with_context(|| format!("{} is not running", self.name))?.signal(signal)
    }

    /// SIGKILL; it can be started again.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.kill())
    }

    /// SIGTERM, and waits for its end; it can be started again.
    pub async fn terminate(&mut self, within: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait_exit(within).await
    }

    /// Waits for its end; it can be started again.
    pub async fn wait_exit(&mut self, within: Duration) -> Result<ExitStatus> {
        let status = self.process.as_mut().context("not running")?.wait_exit(within).await?;
        self.process = None;
        Ok(status)
    }

    /// Forgets what it has stored, as a pod with `emptyDir` does. It must not run.
    pub fn lose_data(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "{} still runs", self.name);
        if self.data.exists() {
            std::fs::remove_dir_all(&self.data).context("remove its data")?;
        }
        Ok(())
    }

    /// Its base URL followed by `path`.
    pub fn url(&self, path: &str) -> String {
        let scheme = if self.secured.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.address)
    }

    /// POST to the reload endpoint.
    pub async fn reload(&self) -> Result<()> {
        let code = http::status(&self.client, Method::POST, &self.url("/-/reload")).await?;
        ensure!(code == 200, "{}: reload answered {code}", self.name);
        Ok(())
    }

    /// The configuration that it runs now.
    pub async fn running_config(&self) -> Result<String> {
        running_config(&self.client, &self.url("")).await
    }

    /// Whether the configuration that it runs now is a leader's.
    pub async fn ships(&self) -> Result<bool> {
        Ok(is_leaders(&self.running_config().await?))
    }

    /// An instant query; each result with its labels.
    pub async fn query(&self, expression: &str) -> Result<Vec<Sample>> {
        let url = reqwest::Url::parse_with_params(&self.url("/api/v1/query"), [("query", expression)])?;
        let answer = http::get_json(&self.client, url.as_str()).await?;
        ensure!(answer["status"] == "success", "query `{expression}`: {answer}");
        let results = answer["data"]["result"].as_array().with_context(|| format!("not a vector: {answer}"))?;
        results.iter().map(Sample::parse).collect()
    }

    /// An instant query with exactly one result.
    pub async fn query_one(&self, expression: &str) -> Result<f64> {
        match self.query(expression).await?.as_slice() {
            [sample] => Ok(sample.value),
            other => Err(anyhow!("query `{expression}` has {} results, not one", other.len())),
        }
    }

    /// All samples of a metric of the last hour, by series.
    pub async fn samples(&self, metric: &str) -> Result<Stored> {
        let expression = format!("{metric}[1h]");
        let url = reqwest::Url::parse_with_params(&self.url("/api/v1/query"), [("query", &expression)])?;
        let answer = http::get_json(&self.client, url.as_str()).await?;
        let results = answer["data"]["result"].as_array().with_context(|| format!("not a matrix: {answer}"))?;
        results
            .iter()
            .map(|result| Ok((Series::from(result["metric"].to_string()), points(&result["values"])?)))
            .collect()
    }

    /// Sum of one metric over all of its series on the own `/metrics` page; 0 if there are none.
    pub async fn own_metric(&self, name: &str) -> Result<f64> {
        Ok(self.metrics().await?.sum(name))
    }

    /// The own `/metrics` page.
    pub async fn metrics(&self) -> Result<Page> {
        http::get(&self.client, &self.url("/metrics")).await.map(Page)
    }

    /// The end of its log.
    pub fn tail(&self) -> String {
        self.process.as_ref().map_or_else(String::new, Process::tail)
    }
}

/// One result of an instant query.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

impl Sample {
    fn parse(result: &Value) -> Result<Self> {
        let value = result["value"][1].as_str().with_context(|| format!("no value in {result}"))?.parse()?;
        let labels = result["metric"].as_object().into_iter().flatten();
        let labels = labels.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()));
        Ok(Self { labels: labels.collect(), value })
    }
}

/// `[[seconds, "value"], …]` in milliseconds.
fn points(values: &Value) -> Result<Vec<(i64, f64)>> {
    let point = |pair: &Value| {
        let (seconds, value) = (pair[0].as_f64()?, pair[1].as_str()?.parse().ok()?);
        // Times of today in milliseconds are whole numbers that a float holds exactly.
        #[expect(clippy::cast_possible_truncation)]
        Some(((seconds * 1000.0).round() as i64, value))
    };
    let values = values.as_array().context("no values")?.iter().map(|pair| point(pair).context("no sample"));
    values.collect()
}

/// The configuration that the Prometheus at `base` runs now.
pub async fn running_config(client: &Client, base: &str) -> Result<String> {
    let answer = http::get_json(client, &format!("{base}/api/v1/status/config")).await?;
    answer["data"]["yaml"].as_str().map(ToOwned::to_owned).with_context(|| format!("no configuration in {answer}"))
}

/// Whether a running configuration is a leader's.
pub fn is_leaders(yaml: &str) -> bool {
    let job = format!("- job_name: {LEADER_JOB}");
    yaml.lines().any(|line| line == job)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn versions_of_both_generations_are_read() {
        let debian = "prometheus, version 2.42.0+ds (branch: debian/sid, revision: 2.42.0+ds-5)";
        assert_eq!(parse_version(debian).as_deref(), Some("2.42.0"));
        assert_eq!(parse_version("prometheus, version 3.16.0 (branch: , revision: x)").as_deref(), Some("3.16.0"));
        assert_eq!(parse_version("something else"), None);
    }

    #[test]
    fn agent_mode_is_a_feature_before_version_3() {
        let flag = |version: &str| Executable { path: "p".into(), version: version.into() }.agent_flag();
        assert_eq!(flag("2.42.0"), "--enable-feature=agent");
        assert_eq!(flag("3.16.0"), "--agent");
    }

    #[test]
    fn a_leaders_configuration_is_known_by_the_leaders_job() {
        assert!(is_leaders("global: {}\nscrape_configs:\n- job_name: only_the_leader\n  scheme: http\n"));
        assert!(!is_leaders("scrape_configs:\n- job_name: demo\nremote_write:\n- url: http://x\n"));
    }
}
