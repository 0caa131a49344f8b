//! What is done to pods: start, kill, pause, end, replace; and the kubelet's part, starting again what has ended by itself.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rustix::process::Signal;
use test_support::process::Process;
use test_support::wait::eventually;

use super::Deployment;
use super::pod::{Program, Slot};
use crate::history::{ProcessState, What};
use crate::hub::Tail;

/// A container that has ended by itself starts again after this.
const RESTART_AFTER: Duration = Duration::from_secs(1);
/// What gets SIGTERM has so long.
const GRACE: Duration = Duration::from_secs(30);
/// A signal takes effect at once; this is for a busy machine.
const SIGNAL_MAX: Duration = Duration::from_secs(5);
/// Lines of a log that tell why a process has crashed.
const TAIL_LINES: usize = 12;

impl Deployment {
    /// Starts those programs of a pod that do not run.
    pub fn start_programs(&mut self, name: &str, programs: &[Program]) -> Result<()> {
        for &program in programs {
            let disk = self.disks.get(name);
            let (Some(pod), Some(disk)) = (self.pods.get_mut(name), disk) else {
                anyhow::bail!("there is no pod {name}")
            };
            if !pod.programs().contains(&program) || pod.slot(program).process.is_some() {
                continue;
            }
            pod.start(program, disk, &self.options)?;
            if let (Program::Sidecar, Some(pid)) = (program, pod.sidecar.id()) {
                self.hub.follow_log(Tail::new(name, &pod.event_log(), pid));
            }
            self.note_process(name, program, ProcessState::Started, true, String::new());
        }
        self.seat(name);
        Ok(())
    }

    /// SIGKILL.
    pub fn kill(&mut self, name: &str, programs: &[Program]) -> Result<()> {
        // One that has crashed before is not ours.
        self.reap(name)?;
        let mut taken: Vec<(Program, Process)> = Vec::new();
        for &program in programs {
            let slot = self.pod(name)?.slot(program);
            if let Some(mut process) = std::mem::take(slot).process {
                // All of them before the first one is waited for, as when a node is lost.
                let _ = process.signal(Signal::KILL);
                taken.push((program, process));
            }
        }
        for (program, mut process) in taken {
            process.kill()?;
            self.note_process(name, program, ProcessState::Exited, true, "SIGKILL".into());
        }
        self.hub.follow();
        self.seat(name);
        Ok(())
    }

    /// SIGSTOP, or SIGCONT.
    pub async fn pause(&mut self, name: &str, programs: &[Program], paused: bool) -> Result<()> {
        let signal = if paused { Signal::STOP } else { Signal::CONT };
        let programs: Vec<Program> = {
            let pod = self.pod(name)?;
            let is_meant = |program: &Program| {
                let slot = pod.slot(*program);
                slot.process.is_some() && slot.paused != paused
            };
            programs.iter().copied().filter(is_meant).collect()
        };
        for &program in &programs {
            self.pod(name)?.slot(program).signal(signal)?;
        }
        for program in programs {
            let slot = self.pod(name)?.slot(program);
            eventually(SIGNAL_MAX, "the signal to take effect", async || {
                ensure!((slot.state() == Some('T')) == paused, "state {:?}", slot.state());
                Ok(())
            })
            .await?;
            slot.paused = paused;
            let state = if paused { ProcessState::Paused } else { ProcessState::Resumed };
            self.note_process(name, program, state, true, String::new());
        }
        Ok(())
    }

    /// SIGTERM to everything in a pod, without waiting.
    pub fn terminate(&mut self, name: &str) -> Result<()> {
        let pod = self.pod(name)?;
        for &program in pod.programs() {
            let slot = pod.slot(program);
            slot.restart_at = None;
            if slot.process.is_some() {
                slot.ending = true;
                slot.signal(Signal::TERM)?;
            }
        }
        Ok(())
    }

    /// Whether everything in a pod that was told to end has. Notes each end.
    pub fn has_ended(&mut self, name: &str) -> Result<bool> {
        self.reap(name)?;
        let pod = self.pod(name)?;
        Ok(pod.programs().iter().all(|program| pod.slot(*program).process.is_none()))
    }

    /// Ends a pod in order, kills what has not ended within the grace period, and takes the pod away.
    pub async fn delete_pod(&mut self, name: &str, graceful: bool) -> Result<()> {
        if graceful {
            self.terminate(name)?;
            let start = Instant::now();
            while !self.has_ended(name)? && start.elapsed() < GRACE {
                tokio::time::sleep(Duration::from_millis(50)).await;
                self.hub.follow();
            }
        }
        self.kill(name, &Program::BOTH)?;
        self.pods.remove(name);
        self.seat(name);
        self.publish();
        Ok(())
    }

    /// What has to be done often: follows event logs, notes ends that nobody wanted, starts those processes again.
    pub fn look(&mut self) -> Result<()> {
        self.hub.follow();
        for name in self.member_names() {
            self.reap(&name)?;
            let now = Instant::now();
            let pod = self.pod(&name)?;
            let due = |program: &Program| pod.slot(*program).restart_at.is_some_and(|at| at <= now);
            let due: Vec<Program> = Program::BOTH.into_iter().filter(due).collect();
            self.start_programs(&name, &due)?;
        }
        self.hub.recorder.flush()
    }

    /// Notes processes of a pod that have ended. What was not told to is to start again.
    fn reap(&mut self, name: &str) -> Result<()> {
        for program in Program::BOTH {
            let slot = self.pod(name)?.slot(program);
            let Some(process) = &mut slot.process else { continue };
            let Some(status) = process.exit_status() else { continue };
            let intended = slot.ending;
            let detail =
                if intended { status.to_string() } else { format!("{status}; {}", last_lines(&process.tail())) };
            let restart_at = (!intended).then(|| Instant::now() + RESTART_AFTER);
            *slot = Slot { restart_at, ..Slot::default() };
            self.note_process(name, program, ProcessState::Exited, intended, detail);
            self.seat(name);
        }
        Ok(())
    }

    fn note_process(&self, name: &str, program: Program, state: ProcessState, intended: bool, detail: String) {
        let (member, program) = (name.to_owned(), program.name().to_owned());
        self.hub.recorder.note(What::Process { member, program, state, intended, detail });
    }
}

fn last_lines(tail: &str) -> String {
    let lines: Vec<&str> = tail.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_of_a_log_are_enough() {
        let log: Vec<String> = (0..40).map(|line| line.to_string()).collect();
        let last = last_lines(&log.join("\n"));
        assert!(last.starts_with("28\n") && last.ends_with("\n39"), "{last}");
        assert_eq!(last_lines("one"), "one");
    }
}
