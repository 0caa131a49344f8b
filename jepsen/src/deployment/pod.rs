//! One pod: its namespace, its files, and the two processes in it.
//!
//! What is on its [`Disk`] outlives the pod; configuration and event log are the pod's own.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use test_support::process::Process;
use test_support::source::{SourceFile, SourceSpec};

use super::links::Probe;
use super::options::{self, Options};
use super::world::{Namespace, Tmpfs};

/// Size of a raft directory that is a file system of its own, in MiB: some times what the group's state takes.
const RAFT_MEBIBYTES: u32 = 24;

/// One of the two programs of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// The sidecar.
    Sidecar,
    /// The Prometheus.
    Prometheus,
}

impl Program {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Sidecar, Self::Prometheus];

    /// Name in the record.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sidecar => "sidecar",
            Self::Prometheus => "prometheus",
        }
    }
}

/// A process and what is wanted of it.
#[derive(Debug, Default)]
pub struct Slot {
    /// While it runs, and until its end has been noted.
    pub process: Option<Process>,
    /// It was stopped by SIGSTOP.
    pub paused: bool,
    /// It was told to end.
    pub ending: bool,
    /// It has ended by itself and starts again then.
    pub restart_at: Option<Instant>,
}

impl Slot {
    /// Its process id.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// State letter of `/proc`, e.g. `T` for stopped. `None`: it does not run.
    pub fn state(&self) -> Option<char> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id()?)).ok()?;
        stat.rsplit_once(')')?.1.trim_start().chars().next()
    }

    /// Sends a signal.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        self.process.as_mut().context("it does not run")?.signal(signal)
    }
}

/// What a pod keeps when it is replaced.
#[derive(Debug)]
pub struct Disk {
    dir: PathBuf,
    /// The raft directory is a small file system of its own.
    pub small: Option<Tmpfs>,
}

impl Disk {
    /// An empty one.
    pub fn new(dir: &Path, small: bool) -> Result<Self> {
        let raft = dir.join("raft");
        std::fs::create_dir_all(&raft)?;
        let small = small.then(|| Tmpfs::mount(&raft, RAFT_MEBIBYTES)).transpose()?;
        Ok(Self { dir: dir.into(), small })
    }

    /// Mount point of the sidecar's volume.
    fn raft_volume(&self) -> PathBuf {
        self.dir.join("raft")
    }

    /// Directory of the group's state.
    pub fn raft(&self) -> PathBuf {
        self.raft_volume().join("data")
    }

    /// Directory of Prometheus.
    pub fn tsdb(&self) -> PathBuf {
        self.dir.join("prometheus")
    }

    /// A file that can be made to fill the sidecar's volume.
    pub fn fill_file(&self) -> PathBuf {
        self.raft_volume().join("fill")
    }

    /// Makes room again.
    pub fn empty(&self) -> Result<()> {
        let file = self.fill_file();
        if file.exists() {
            std::fs::remove_file(&file).with_context(|| format!("remove {}", file.display()))?;
        }
        Ok(())
    }

    /// Loses everything. Nothing may use it.
    pub fn lose(&self) -> Result<()> {
        for dir in [self.raft(), self.tsdb()] {
            if dir.exists() {
                std::fs::remove_dir_all(&dir).with_context(|| format!("remove {}", dir.display()))?;
            }
        }
        Ok(())
    }
}

/// A pod that exists.
#[derive(Debug)]
pub struct Pod {
    /// Its name, which is the member's.
    pub name: String,
    /// It runs no Prometheus and never leads.
    pub witness: bool,
    /// Its sidecar. (Processes come before the namespace: they are gone when that goes.)
    pub sidecar: Slot,
    /// Its Prometheus.
    pub prometheus: Slot,
    spec: SourceSpec,
    /// Text of its source file while that is another one.
    pub changed: Option<String>,
    source: SourceFile,
    /// Probes of its links.
    pub probe: Probe,
    dir: PathBuf,
    sidecar_starts: u32,
    namespace: Namespace,
}

impl Pod {
    /// Makes its files in `dir`, which is new, and starts nothing.
    pub fn new(name: &str, witness: bool, namespace: Namespace, dir: &Path, spec: SourceSpec) -> Result<Self> {
        std::fs::create_dir_all(dir.join("out"))?;
        std::fs::write(dir.join("token"), "a-token-that-only-this-run-knows\n")?;
        std::fs::write(dir.join("faketime"), "+0\n")?;
        let source = SourceFile::config_map(&dir.join("config"), &spec.render())?;
        let address = namespace.address;
        let probe = namespace.inside(|| Probe::bind(address))?;
        let name = name.to_owned();
        let (sidecar, prometheus, dir, changed) = (Slot::default(), Slot::default(), dir.to_path_buf(), None);
        Ok(Self { name, witness, sidecar, prometheus, spec, changed, source, probe, dir, sidecar_starts: 0, namespace })
    }

    /// Its address.
    pub fn address(&self) -> Ipv4Addr {
        self.namespace.address
    }

    /// What its source file says when nothing has changed it.
    pub fn source_text(&self) -> String {
        self.spec.render()
    }

    /// Writes another source file, or the first one again.
    pub fn change(&mut self, text: Option<String>) -> Result<()> {
        if self.changed != text {
            self.source.write(&text.clone().unwrap_or_else(|| self.spec.render()))?;
            self.changed = text;
        }
        Ok(())
    }

    /// Programs that belong to it.
    pub fn programs(&self) -> &'static [Program] {
        if self.witness { &[Program::Sidecar] } else { &Program::BOTH }
    }

    /// One of its processes.
    pub fn slot(&mut self, program: Program) -> &mut Slot {
        match program {
            Program::Sidecar => &mut self.sidecar,
            Program::Prometheus => &mut self.prometheus,
        }
    }

    /// Replaces the rules of its namespace.
    pub fn set_rules(&self, rules: &str) -> Result<()> {
        self.namespace.set_rules(rules)
    }

    /// File whose text is the offset of the clock of its sidecar.
    pub fn clock_file(&self) -> PathBuf {
        self.dir.join("faketime")
    }

    /// Event log of the sidecar that was started last.
    pub fn event_log(&self) -> PathBuf {
        self.dir.join(format!("events-{}.jsonl", self.sidecar_starts))
    }

    /// Starts the init container, which renders the first configuration.
    pub fn start_init(&self, disk: &Disk, options: &Options) -> Result<Process> {
        self.spawn("init", &mut self.init_command(disk, options), options)
    }

    fn init_command(&self, disk: &Disk, options: &Options) -> Command {
        if let Some(adapter) = &options.adapter {
            return self.adapted(adapter, "init", disk, options);
        }
        let mut command = self.namespace.command(&self.name, &options.elector);
        command.arg("-init").args(options::rendering(&self.dir));
        command
    }

    /// What an adapter does in the place of the sidecar.
    fn adapted(&self, adapter: &Path, what: &str, disk: &Disk, options: &Options) -> Command {
        let mut command = self.namespace.command(&self.name, adapter);
        command.arg(what).envs(options::adapted(options, self, &self.dir, disk, self.namespace.gateway));
        command
    }

    /// The sidecar, with a clock that may lie.
    fn sidecar_command(&self, disk: &Disk, options: &Options) -> Command {
        if let Some(adapter) = &options.adapter {
            return self.adapted(adapter, "run", disk, options);
        }
        let mut command = match &options.faketime {
            None => self.namespace.command(&self.name, &options.elector),
            Some(library) => {
                let mut command = self.namespace.command(&self.name, Path::new("env"));
                command.args(options::faketime(library, &self.clock_file())).arg(&options.elector);
                command
            }
        };
        command.args(options.sidecar(self, &self.dir, disk));
        command
    }

    /// Starts one of its programs.
    pub fn start(&mut self, program: Program, disk: &Disk, options: &Options) -> Result<()> {
        let mut command = match program {
            Program::Sidecar => {
                self.sidecar_starts += 1;
                self.sidecar_command(disk, options)
            }
            Program::Prometheus => {
                let mut command = self.namespace.command(&self.name, &options.prometheus.path);
                command.args(options.prometheus_arguments(&self.dir, disk));
                command
            }
        };
        let process = self.spawn(program.name(), &mut command, options)?;
        *self.slot(program) = Slot { process: Some(process), ..Slot::default() };
        Ok(())
    }

    fn spawn(&self, what: &str, command: &mut Command, options: &Options) -> Result<Process> {
        let log = options.out.join("logs").join(format!("{}.{what}.log", self.name));
        Process::spawn(&format!("{what} of {}", self.name), command, &log)
    }
}
