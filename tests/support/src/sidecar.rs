//! The real sidecar binary: flags, process, endpoints, subcommands.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use reqwest::{Client, Method};
use rustix::process::Signal;

use crate::exposition::Page;
use crate::http;
use crate::process::Process;
use crate::status::{LeaderAnswer, Status};

/// A subcommand that does not end within this time is an error.
const COMMAND_MAX: Duration = Duration::from_secs(30);

/// The binary that `PROMETHEUS_ELECTOR_BIN` names, else `built` (`env!("CARGO_BIN_EXE_prometheus-elector")` in the
/// project's own tests), else the one beside the running program.
pub fn find_binary(built: Option<&str>) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("PROMETHEUS_ELECTOR_BIN").filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    if let Some(built) = built {
        return Ok(built.into());
    }
    let path = std::env::current_exe()?.with_file_name("prometheus-elector");
    ensure!(
        path.is_file(),
        "no sidecar at {}: build it (`cargo build --release`) or name one with PROMETHEUS_ELECTOR_BIN",
        path.display()
    );
    Ok(path)
}

/// Command-line flags by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags(BTreeMap<String, String>);

impl Flags {
    /// Sets `--name=value`; the last one counts.
    pub fn set(&mut self, name: &str, value: impl Display) -> &mut Self {
        self.0.insert(name.into(), value.to_string());
        self
    }

    /// Drops a flag.
    pub fn remove(&mut self, name: &str) -> &mut Self {
        self.0.remove(name);
        self
    }

    /// Value of a flag.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn arguments(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(name, value)| format!("--{name}={value}"))
    }

    /// The same as environment variables, as a pod's manifest may give them.
    fn environment(&self) -> impl Iterator<Item = (String, &str)> {
        let variable = |name: &str| format!("PROMETHEUS_ELECTOR_{}", name.replace('-', "_").to_uppercase());
        self.0.iter().map(move |(name, value)| (variable(name), value.as_str()))
    }
}

/// What a subcommand printed and how it ended.
#[derive(Clone, Debug)]
pub struct CommandOutput {
    /// Exit code; -1 if a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl CommandOutput {
    /// Standard output of a success.
    pub fn ok(self) -> Result<String> {
        ensure!(self.code == 0, "exit code {}:\n{}{}", self.code, self.stdout, self.stderr);
        Ok(self.stdout)
    }
}

/// One sidecar; flags and directories stay the same over restarts unless a test changes them.
#[derive(Debug)]
pub struct Sidecar {
    /// Member name.
    pub name: String,
    /// Its flags.
    pub flags: Flags,
    /// Where its API listens.
    pub api: SocketAddr,
    binary: PathBuf,
    log: PathBuf,
    client: Client,
    process: Option<Process>,
}

impl Sidecar {
    /// Describes one that is not started yet.
    pub fn new(name: &str, binary: &Path, api: SocketAddr, flags: Flags, dir: &Path) -> Result<Self> {
        let log = dir.join("sidecar.log");
        let client = http::client(http::TIMEOUT)?;
        Ok(Self { name: name.into(), flags, api, binary: binary.into(), log, client, process: None })
    }

    /// Starts it, without waiting.
    pub fn start(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "{}: the sidecar is running already", self.name);
        let mut command = Command::new(&self.binary);
        command.args(self.flags.arguments()).env_remove("POD_NAME");
        self.process = Some(Process::spawn(&format!("{} sidecar", self.name), &mut command, &self.log)?);
        Ok(())
    }

    /// Whether it has been started and not been taken down here. It may have ended by itself.
    pub fn started(&self) -> bool {
        self.process.is_some()
    }

    /// Process id of a started one.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Sends a signal.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        self.process.as_mut().with_context(|| format!("{}: no sidecar runs", self.name))?.signal(signal)
    }

    /// SIGKILL; it can be started again.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.kill())
    }

    /// Waits for its end; it can be started again.
    pub async fn wait_exit(&mut self, within: Duration) -> Result<ExitStatus> {
        let status = self.process.as_mut().context("not running")?.wait_exit(within).await?;
        self.process = None;
        Ok(status)
    }

    /// An error with the tail of the log if it has ended by itself.
    pub fn check_running(&mut self) -> Result<()> {
        self.process.as_mut().map_or(Ok(()), Process::check_running)
    }

    /// URL of a path of its API.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.api)
    }

    /// Its status.
    pub async fn status(&self) -> Result<Status> {
        http::get_json(&self.client, &self.url("/_elector/status")).await.map(Status)
    }

    /// Its answer to `/_elector/leader`.
    pub async fn leader(&self) -> Result<LeaderAnswer> {
        LeaderAnswer::parse(&http::get_json(&self.client, &self.url("/_elector/leader")).await?)
    }

    /// Status code of a GET.
    pub async fn get_status(&self, path: &str) -> Result<u16> {
        http::status(&self.client, Method::GET, &self.url(path)).await
    }

    /// Body of a successful GET.
    pub async fn get(&self, path: &str) -> Result<String> {
        http::get(&self.client, &self.url(path)).await
    }

    /// Its metrics.
    pub async fn metrics(&self) -> Result<Page> {
        self.get("/_elector/metrics").await.map(Page)
    }

    /// Runs a subcommand as somebody inside the container does: the flags are in the environment.
    pub async fn command(&self, arguments: &[&str]) -> Result<CommandOutput> {
        let mut command = tokio::process::Command::new(&self.binary);
        command.args(arguments).envs(self.flags.environment()).stdin(Stdio::null()).kill_on_drop(true);
        let Ok(output) = tokio::time::timeout(COMMAND_MAX, command.output()).await else {
            bail!("`prometheus-elector {}` did not end within {COMMAND_MAX:?}", arguments.join(" "));
        };
        let output = output.with_context(|| format!("run {}", self.binary.display()))?;
        Ok(CommandOutput {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// The end of its log.
    pub fn tail(&self) -> String {
        self.process.as_ref().map_or_else(String::new, Process::tail)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn flags_are_arguments_and_environment_alike() {
        let mut flags = Flags::default();
        flags.set("raft-data-dir", "/x").set("raft-data-dir", "/y").set("gone", 1).remove("gone");
        assert_eq!(flags.arguments().collect::<Vec<_>>(), ["--raft-data-dir=/y"]);
        assert_eq!(flags.environment().collect::<Vec<_>>(), [("PROMETHEUS_ELECTOR_RAFT_DATA_DIR".to_owned(), "/y")]);
    }
}
