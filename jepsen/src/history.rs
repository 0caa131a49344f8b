//! The record of a run: everything that was done and seen, in one file that can be judged again (`history.jsonl`).
//!
//! One JSON object a line, the first one a [`Run`]. Times are nanoseconds of `CLOCK_MONOTONIC`, which all processes of the machine
//! share; wall-clock times are named so. Whoever records writes what happened, never what it means: that is the checkers' work.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

/// Nanoseconds of `CLOCK_MONOTONIC`.
pub type Ns = u64;

/// What was run: the first line.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Draws every random choice of the run.
    pub seed: u64,
    /// The command line that repeats it.
    pub command: String,
    /// Wall clock at `start_ns`.
    pub start_unix_ms: u64,
    /// When the deployment was settled and the first fault could come.
    pub start_ns: Ns,
    /// Members at the start.
    pub members: Vec<Member>,
    /// Versions, by program.
    pub versions: Vec<(String, String)>,
    /// Names of the nemeses in the plan. Each must have been in force for the run to prove anything.
    #[serde(default)]
    pub plan: Vec<String>,
    /// Remote writes go through the gate.
    pub gate: bool,
    /// Interval of scrapes.
    pub scrape_interval_ms: u64,
    /// What the run promises to hold; checkers compare with it.
    pub bounds: Bounds,
}

/// One member of the deployment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Name of its pod.
    pub name: String,
    /// It votes and runs no Prometheus.
    pub witness: bool,
}

/// Promises with a number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bounds {
    /// After the last fault has ended, so long until a leader acts, every member is ready and samples arrive.
    pub recovery_ms: u64,
    /// Largest gap of any series beyond one scrape interval.
    pub gap_slack_ms: u64,
    /// Growth of a sidecar's resident memory over the run.
    pub memory_growth_bytes: u64,
    /// Growth of its open descriptors.
    pub descriptors_growth: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { recovery_ms: 90_000, gap_slack_ms: 3_000, memory_growth_bytes: 64 << 20, descriptors_growth: 256 }
    }
}

/// One line of the record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When it happened; for what lasts, when it began.
    pub at_ns: Ns,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum What {
    /// A fault begins or ends. Both lines have one `id`.
    Fault {
        /// Number of the fault in this run.
        id: u64,
        /// Name of the nemesis.
        nemesis: String,
        /// Begin or end.
        phase: Phase,
        /// Whether it is in force (begin) or gone (end).
        outcome: Outcome,
        /// Members that it hits.
        targets: Vec<String>,
        /// It hit the leader of that moment.
        hit_leader: bool,
        /// In words: parameters, or why it was skipped.
        detail: String,
    },
    /// A line of a sidecar's event log, as it is (docs/event-log.md); `at_ns` is its own.
    Event {
        /// Whose.
        member: String,
        /// The line without `at_ns` and `member`.
        line: serde_json::Value,
    },
    /// A process of a pod started or ended.
    Process {
        /// Whose.
        member: String,
        /// `sidecar` or `prometheus`.
        program: String,
        /// What happened to it.
        state: ProcessState,
        /// The harness did it. An end that nobody wanted is a crash.
        intended: bool,
        /// Exit code or signal in words, last lines of the log for a crash.
        detail: String,
    },
    /// A remote-write request at the receiver: noted at its head, written once it has ended.
    Write {
        /// When it ended.
        end_ns: Ns,
        /// Pod that sent it, by its address.
        sender: String,
        /// `X-Prometheus-Elector-Term`.
        term: Option<u64>,
        /// Answer; `None`: broken off.
        status: Option<u16>,
        /// Samples in it.
        samples: u64,
        /// Their times, wall clock.
        first_ms: Option<i64>,
        /// Same.
        last_ms: Option<i64>,
    },
    /// What the receiver has stored of one series, at the end of the run.
    Series {
        /// Name and labels.
        series: String,
        /// Wall-clock times of its samples, rising, without repetition.
        times_ms: Vec<i64>,
        /// Samples that arrived more than once.
        repeated: u64,
    },
    /// Queries through one member within a second.
    Queries {
        /// Through whose proxy.
        via: String,
        /// Answered with 200 and the right data.
        ok: u64,
        /// The longest took so long.
        longest_ms: u64,
    },
    /// A query that was not answered as it should be.
    QueryFailed {
        /// Through whose proxy.
        via: String,
        /// When it ended.
        end_ns: Ns,
        /// Status; `None`: no answer.
        status: Option<u16>,
        /// The member whose Prometheus answered, if that was the wrong one.
        wrong_replica: Option<String>,
        /// The client could connect to this member: what comes then is the proxy's fault.
        reachable: bool,
        /// In words.
        detail: String,
    },
    /// What a member tells about the group (`/_elector/leader`), when it changes. One that has not answered for half a second
    /// tells nothing: not ready, no leader, term 0.
    Told {
        /// Who tells.
        member: String,
        /// It leads.
        is_leader: bool,
        /// Leader's name; empty: none known.
        leader: String,
        /// Term.
        term: u64,
        /// It is ready.
        ready: bool,
    },
    /// Whether a Prometheus runs with the leader's configuration, when it changes. Seen with the gate off, or by other overrides.
    Config {
        /// Whose.
        member: String,
        /// It does.
        leads: bool,
    },
    /// Memory and descriptors of a sidecar.
    Usage {
        /// Whose.
        member: String,
        /// Process id: a new one begins anew.
        pid: u32,
        /// Resident bytes.
        rss_bytes: u64,
        /// Open descriptors.
        descriptors: u64,
    },
    /// The last fault has been healed: from now on everything must become well by itself.
    Healed {},
    /// The run has ended; nothing after it counts. A record without it was broken off.
    End {},
}

/// Begin or end of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It comes.
    Begin,
    /// It goes.
    End,
}

/// Whether the harness did what it wanted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Done, and looked at.
    Installed,
    /// Not done: it makes no sense now (`detail` says why).
    Skipped,
    /// Tried, and what is in force is not known.
    Indeterminate,
}

/// What happened to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessState {
    /// It runs.
    Started,
    /// It has ended.
    Exited,
    /// SIGSTOP.
    Paused,
    /// SIGCONT.
    Resumed,
}

/// A whole record.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// First line.
    pub run: Run,
    /// All others, by time.
    pub entries: Vec<Entry>,
}

impl History {
    /// Reads a record. Lines may stand in any order.
    pub fn read(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
        let mut lines = BufReader::new(file).lines();
        let first = lines.next().with_context(|| format!("{} is empty", path.display()))??;
        let run =
            serde_json::from_str(&first).with_context(|| format!("{}: the first line is no run", path.display()))?;
        let mut entries = Vec::new();
        for (number, line) in (2..).zip(lines) {
            let line = line?;
            let entry: Entry =
                serde_json::from_str(&line).with_context(|| format!("{}, line {number}", path.display()))?;
            entries.push(entry);
        }
        ensure!(!entries.is_empty(), "{} holds nothing but its head", path.display());
        let mut history = Self { run, entries };
        history.in_order();
        Ok(history)
    }

    /// Sorts by time, and drops what comes after the end.
    pub fn in_order(&mut self) {
        self.entries.sort_by_key(|entry| entry.at_ns);
        if let Some(end) = self.entries.iter().position(|entry| entry.what == What::End {}) {
            self.entries.truncate(end + 1);
        }
    }

    /// Writes it, by time.
    pub fn write(&self, mut to: impl Write) -> Result<()> {
        serde_json::to_writer(&mut to, &self.run)?;
        to.write_all(b"\n")?;
        for entry in &self.entries {
            serde_json::to_writer(&mut to, entry)?;
            to.write_all(b"\n")?;
        }
        Ok(())
    }
}
