//! Follows event logs of sidecars into the record.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::history::{Entry, What};
use crate::recorder::Recorder;

/// The event log of one process.
#[derive(Debug)]
pub(crate) struct Tail {
    member: String,
    path: PathBuf,
    pid: u32,
    /// `None`: not there yet.
    file: Option<BufReader<File>>,
    /// The beginning of a line whose end is not written yet.
    partial: String,
}

impl Tail {
    /// That of a member's process `pid`.
    pub(crate) fn new(member: &str, path: &Path, pid: u32) -> Self {
        Self { member: member.into(), path: path.into(), pid, file: None, partial: String::new() }
    }

    /// Notes the lines that have come. False once nothing can come any more.
    pub(super) fn follow(&mut self, recorder: &Recorder) -> bool {
        // Looked at before the file: what it has written before its end is seen.
        let is_running = Path::new("/proc").join(self.pid.to_string()).exists();
        if self.file.is_none() {
            self.file = File::open(&self.path).ok().map(BufReader::new);
        }
        while let Some(line) = self.line() {
            match event(&line) {
                Ok(Entry { at_ns, what }) => recorder.note_at(at_ns, what),
                Err(error) => {
                    recorder.say(&format!("{}: {error:#}: {line}", self.path.display()));
                    recorder
                        .note(What::Event { member: self.member.clone(), line: json!({"event": "lost", "lines": 1}) });
                }
            }
        }
        is_running
    }

    /// The next whole line.
    fn line(&mut self) -> Option<String> {
        // A read that fails is tried again the next time.
        self.file.as_mut()?.read_line(&mut self.partial).ok()?;
        self.partial.ends_with('\n').then(|| std::mem::take(&mut self.partial))
    }
}

/// An entry from a line of an event log.
fn event(line: &str) -> Result<Entry> {
    let mut line: Value = serde_json::from_str(line).context("no JSON")?;
    let fields = line.as_object_mut().context("no object")?;
    let at_ns = fields.remove("at_ns").and_then(|at| at.as_u64()).context("no `at_ns`")?;
    let member = fields.remove("member").context("no `member`")?;
    let member = member.as_str().context("no name")?.to_owned();
    Ok(Entry { at_ns, what: What::Event { member, line } })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::io::Write as _;

    use super::*;
    use crate::history::{History, Run};

    #[test]
    fn whole_lines_come_into_the_record_once() {
        let dir = tempfile::tempdir().unwrap();
        let (log, out) = (dir.path().join("events"), dir.path().join("history"));
        let recorder = Recorder::create(&out).unwrap();
        recorder.begin(&Run::default());
        let mut tail = Tail::new("a", &log, std::process::id());
        assert!(tail.follow(&recorder), "no file yet");
        let mut file = File::create(&log).unwrap();
        write!(file, "{{\"at_ns\":5,\"member\":\"a\",\"event\":\"start\",\"pid\":1}}\n{{\"at_ns\":6,\"mem").unwrap();
        tail.follow(&recorder);
        write!(file, "ber\":\"a\",\"event\":\"role\"}}\nnonsense\n").unwrap();
        tail.follow(&recorder);
        recorder.flush().unwrap();
        let event = |line| What::Event { member: "a".into(), line };
        let expected =
            [json!({"event": "start", "pid": 1}), json!({"event": "role"}), json!({"event": "lost", "lines": 1})];
        let found = History::read(&out).unwrap().entries;
        assert_eq!(found.iter().map(|entry| entry.what.clone()).collect::<Vec<_>>(), expected.map(event));
        assert_eq!((found[0].at_ns, found[1].at_ns), (5, 6));
        assert!(!Tail::new("a", &log, u32::MAX).follow(&recorder), "the process is gone");
    }
}
