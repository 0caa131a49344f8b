//! One child process: started, signalled and reaped by its id, its output in a file.
//!
//! Nothing that a test starts outlives it: a [`Process`] that is dropped is killed and reaped first. Signals go to the
//! process that this value started and to no other, because its id stays taken until it is reaped here.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait::eventually;

/// How much of a log is printed when a test fails.
const TAIL_BYTES_MAX: u64 = 6_000;

/// A running (or just ended) child process.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    /// It was told to end.
    ending: bool,
}

impl Process {
    /// Starts `command` with its output appended to `log`.
    pub fn spawn(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let mut output = OpenOptions::new().create(true).append(true).open(log).context("open the log file")?;
        writeln!(output, "--- {name}: {}", command_line(command))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("start {name} ({})", command.get_program().display()))?;
        Ok(Self { name: name.into(), child, log: log.into(), ending: false })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its log file.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Sends `signal`.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if let Some(status) = self.exit_status() {
            bail!("{} has already ended ({status}); its log:\n{}", self.name, self.tail());
        }
        kill_process(self.pid()?, signal).with_context(|| format!("signal {}", self.name))?;
        self.ending |= [Signal::TERM, Signal::INT, Signal::KILL].contains(&signal);
        Ok(())
    }

    /// SIGKILL, and reaps it. Not an error if it has already ended.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().with_context(|| format!("kill {}", self.name))?;
        self.child.wait().with_context(|| format!("reap {}", self.name))?;
        Ok(())
    }

    /// Its exit status once it has ended.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits for its end.
    pub async fn wait_exit(&mut self, within: Duration) -> Result<ExitStatus> {
        let what = format!("the end of {}", self.name);
        eventually(within, &what, async || self.exit_status().context("still running")).await
    }

    /// An error with the tail of the log if it has ended by itself.
    pub fn check_running(&mut self) -> Result<()> {
        match self.exit_status() {
            None => Ok(()),
            Some(_) if self.ending => Ok(()),
            Some(status) => bail!("{} ended ({status}); its log:\n{}", self.name, self.tail()),
        }
    }

    /// The end of its log.
    pub fn tail(&self) -> String {
        tail(&self.log).unwrap_or_else(|error| format!("(no log: {error})"))
    }

    fn pid(&self) -> Result<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("a process id that is none")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.exit_status().is_none() {
            // Nobody is left to act on an error here, and a child that cannot be killed is already gone.
            let _ = self.kill();
        }
    }
}

fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES_MAX)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn command_line(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn shell(script: &str, log: &Path) -> Process {
        Process::spawn("shell", Command::new("sh").args(["-c", script]), log).expect("starts")
    }

    #[tokio::test]
    async fn exit_status_and_output_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut process = shell("echo said this; exit 3", &dir.path().join("log"));
        let status = process.wait_exit(Duration::from_secs(5)).await.unwrap();
        assert_eq!(status.code(), Some(3));
        assert!(process.tail().contains("said this"), "{}", process.tail());
        assert!(process.signal(Signal::TERM).is_err(), "a signal to an ended process is an error");
    }

    #[tokio::test]
    async fn a_dropped_process_is_gone_even_when_it_was_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let mut process = shell("sleep 600", &dir.path().join("log"));
        let id = process.id();
        process.signal(Signal::STOP).unwrap();
        drop(process);
        assert!(!Path::new(&format!("/proc/{id}")).exists());
    }
}
