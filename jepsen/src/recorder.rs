//! Collects what all parts of a run see, and writes `history.jsonl` as it comes.
//!
//! Entries before the head of the record is known wait in memory; from [`Recorder::begin`] on each one goes to the file, so that
//! a run that is broken off has its record too. Lines stand in the order in which they were noted. A write that fails is told at
//! the end: what happens meanwhile matters more. What a person wants to see at once is printed.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::time::{ClockId, clock_gettime};

use crate::history::{Entry, Ns, Outcome, Phase, ProcessState, Run, What};

/// Between two lines about wrong answers.
const WRONG_PERIOD_NS: Ns = 10_000_000_000;

/// `CLOCK_MONOTONIC` now.
pub fn now_ns() -> Ns {
    // It is positive, and small enough for five hundred years.
    Duration::try_from(clock_gettime(ClockId::Monotonic)).map_or(0, nanos)
}

fn nanos(duration: Duration) -> Ns {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// An instant, which is one of `CLOCK_MONOTONIC` on Linux, in its nanoseconds.
pub fn ns_of(instant: Instant) -> Ns {
    let (now, ns) = (Instant::now(), now_ns());
    ns.saturating_sub(nanos(now.saturating_duration_since(instant))) + nanos(instant.saturating_duration_since(now))
}

/// Where everybody notes. Clones share one record.
#[derive(Clone, Debug)]
pub struct Recorder(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    file: BufWriter<File>,
    /// Entries before the head; `None`: the head is written.
    waiting: Option<Vec<Entry>>,
    origin_ns: Ns,
    /// The leader that was printed last, and its term.
    leader: (String, u64),
    /// When a wrong answer was printed last: hundreds may come in a second.
    wrong_ns: Ns,
    /// Nothing more is noted.
    ended: bool,
    error: Option<anyhow::Error>,
}

impl Recorder {
    /// A record in this file, which is made anew.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("write {}", path.display()))?;
        let inner = Inner {
            path: path.into(),
            file: BufWriter::new(file),
            waiting: Some(Vec::new()),
            origin_ns: now_ns(),
            leader: Default::default(),
            wrong_ns: 0,
            ended: false,
            error: None,
        };
        Ok(Self(Arc::new(Mutex::new(inner))))
    }

    /// Writes the head, and everything that has waited for it.
    pub fn begin(&self, run: &Run) {
        let mut inner = self.lock();
        inner.write(run);
        for entry in inner.waiting.take().unwrap_or_default() {
            inner.write(&entry);
        }
    }

    /// Notes what happens now.
    pub fn note(&self, what: What) {
        self.note_at(now_ns(), what);
    }

    /// Notes what happened at this time.
    pub fn note_at(&self, at_ns: Ns, what: What) {
        let mut inner = self.lock();
        if inner.ended {
            return;
        }
        inner.show(&what);
        let entry = Entry { at_ns, what };
        match &mut inner.waiting {
            Some(waiting) => waiting.push(entry),
            None => inner.write(&entry),
        }
    }

    /// Notes nothing any more: what is seen while everything is taken down does not count.
    pub fn end(&self) {
        self.lock().ended = true;
    }

    /// Prints a line with the time since the start.
    pub fn say(&self, words: &str) {
        self.lock().say(words);
    }

    /// What has been noted is in the file then; an error tells the first write that failed.
    pub fn flush(&self) -> Result<()> {
        let mut inner = self.lock();
        if let Err(error) = inner.file.flush() {
            inner.error.get_or_insert(error.into());
        }
        inner.error.take().map_or(Ok(()), |error| Err(error.context(format!("write {}", inner.path.display()))))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn write(&mut self, line: &impl serde::Serialize) {
        let written = serde_json::to_writer(&mut self.file, line).map_err(anyhow::Error::from);
        let written = written.and_then(|()| Ok(self.file.write_all(b"\n")?));
        if let Err(error) = written {
            self.error.get_or_insert(error);
        }
    }

    /// Prints what a person wants to see at once.
    fn show(&mut self, what: &What) {
        if let What::Told { member, is_leader: true, term, .. } = what {
            let leader = (member.clone(), *term);
            if self.leader == leader {
                return;
            }
            self.leader = leader;
        }
        if let What::QueryFailed { wrong_replica: Some(_), .. } = what {
            if now_ns() < self.wrong_ns + WRONG_PERIOD_NS {
                return;
            }
            self.wrong_ns = now_ns();
        }
        if let Some(words) = progress(what) {
            self.say(&words);
        }
    }

    fn say(&self, words: &str) {
        let since = now_ns().saturating_sub(self.origin_ns) / 1_000_000;
        println!("{:>6}.{} s  {words}", since / 1_000, since % 1_000 / 100);
    }
}

/// What of an entry a person wants to see while it happens.
fn progress(what: &What) -> Option<String> {
    match what {
        What::Fault { nemesis, phase, outcome, targets, hit_leader, detail, .. } => {
            let phase = if *phase == Phase::Begin { "begins" } else { "ends  " };
            let outcome = match outcome {
                Outcome::Installed => "",
                Outcome::Skipped => " SKIPPED",
                Outcome::Indeterminate => " INDETERMINATE",
            };
            let leader = if *hit_leader { " (the leader)" } else { "" };
            Some(format!("{phase} {nemesis}{outcome}: {}{leader} {detail}", targets.join(", ")))
        }
        What::Told { member, is_leader: true, term, .. } => Some(format!("leader {member}, term {term}")),
        What::Process { member, program, state: ProcessState::Exited, intended: false, detail } => {
            let first = detail.lines().next().unwrap_or_default();
            Some(format!("CRASH of the {program} of {member}: {first}"))
        }
        What::QueryFailed { via, wrong_replica: Some(replica), .. } => {
            Some(format!("WRONG REPLICA {replica} answered through {via}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::history::History;

    #[test]
    fn what_was_noted_before_the_head_comes_after_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.jsonl");
        let recorder = Recorder::create(&path).unwrap();
        recorder.note_at(5, What::Healed {});
        recorder.begin(&Run { seed: 7, ..Run::default() });
        recorder.note_at(9, What::End {});
        recorder.end();
        recorder.note_at(7, What::Healed {});
        recorder.flush().unwrap();
        let history = History::read(&path).unwrap();
        assert_eq!(history.run.seed, 7);
        let expected = [(5, What::Healed {}), (9, What::End {})].map(|(at_ns, what)| Entry { at_ns, what });
        assert_eq!(history.entries, expected);
    }

    #[test]
    fn an_instant_is_on_the_same_clock() {
        let (before, instant, after) = (now_ns(), Instant::now(), now_ns());
        let slack = 5_000_000;
        assert!((before - slack..after + slack).contains(&ns_of(instant)));
        let later = ns_of(instant + Duration::from_secs(10));
        assert!((before + 10_000_000_000 - slack..after + 10_000_000_000 + slack).contains(&later));
    }

    #[test]
    fn people_see_faults_leaders_and_what_must_not_be() {
        let told = |is_leader| What::Told { member: "a".into(), is_leader, leader: "a".into(), term: 3, ready: true };
        assert_eq!(progress(&told(true)).unwrap(), "leader a, term 3");
        assert_eq!(progress(&told(false)), None);
        let fault = What::Fault {
            id: 1,
            nemesis: "ring".into(),
            phase: Phase::Begin,
            outcome: Outcome::Skipped,
            targets: vec!["a".into(), "b".into()],
            hit_leader: true,
            detail: "three members".into(),
        };
        assert_eq!(progress(&fault).unwrap(), "begins ring SKIPPED: a, b (the leader) three members");
    }
}
