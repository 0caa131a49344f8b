//! Records written by hand. Times are seconds since the start of the run.

use serde_json::{Value, json};

use crate::history::{Entry, History, Member, Ns, Outcome, Phase, ProcessState, Run, What};

/// `start_ns` of every story.
const START: f64 = 1_000.0;
/// Wall clock at the start.
pub(crate) const START_UNIX_MS: i64 = 1_700_000_000_000;

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(crate) fn ns(at: f64) -> Ns {
    ((START + at) * 1e9).round() as Ns
}

#[allow(clippy::cast_possible_truncation)]
pub(crate) fn unix_ms(at: f64) -> i64 {
    START_UNIX_MS + (at * 1e3).round() as i64
}

pub(crate) struct Story(pub(crate) History);

impl Story {
    /// Members `a`, `b`, `c`; gate on; scraped every second.
    pub(crate) fn new() -> Self {
        let members = ["a", "b", "c"].map(|name| Member { name: name.into(), witness: false }).to_vec();
        Self(History {
            run: Run {
                seed: 7,
                command: "jepsen run --seed 7".into(),
                start_unix_ms: START_UNIX_MS.unsigned_abs(),
                start_ns: ns(0.0),
                members,
                gate: true,
                scrape_interval_ms: 1_000,
                ..Run::default()
            },
            entries: Vec::new(),
        })
    }

    pub(crate) fn add(mut self, at: f64, what: What) -> Self {
        self.0.entries.push(Entry { at_ns: ns(at), what });
        self
    }

    pub(crate) fn event(self, at: f64, member: &str, line: Value) -> Self {
        self.add(at, What::Event { member: member.into(), line })
    }

    pub(crate) fn authority(self, at: f64, member: &str, state: &str, term: u64, until: f64) -> Self {
        let line = json!({ "event": "authority", "state": state, "term": term, "until_ns": ns(until) });
        self.event(at, member, line)
    }

    pub(crate) fn gained(self, at: f64, member: &str, term: u64, until: f64) -> Self {
        self.authority(at, member, "gained", term, until)
    }

    /// Authority from its gain to its last end, extended every half second.
    pub(crate) fn reign(self, member: &str, term: u64, from: f64, until: f64) -> Self {
        let mut story = self.gained(from, member, term, until.min(from + 0.8));
        let mut at = from;
        while at + 0.8 < until {
            at += 0.5;
            story = story.authority(at, member, "extended", term, until.min(at + 0.8));
        }
        story
    }

    pub(crate) fn fault(
        self,
        id: u64,
        nemesis: &str,
        from: f64,
        until: f64,
        targets: &[&str],
        hit_leader: bool,
    ) -> Self {
        let fault = |phase| What::Fault {
            id,
            nemesis: nemesis.into(),
            phase,
            outcome: Outcome::Installed,
            targets: targets.iter().map(|target| (*target).into()).collect(),
            hit_leader,
            detail: String::new(),
        };
        self.add(from, fault(Phase::Begin)).add(until, fault(Phase::End))
    }

    pub(crate) fn process(self, at: f64, member: &str, program: &str, state: ProcessState) -> Self {
        let what = What::Process {
            member: member.into(),
            program: program.into(),
            state,
            intended: true,
            detail: String::new(),
        };
        self.add(at, what)
    }

    pub(crate) fn write(self, from: f64, until: f64, sender: &str, term: impl Into<Option<u64>>) -> Self {
        let what = What::Write {
            end_ns: ns(until),
            sender: sender.into(),
            term: term.into(),
            status: Some(204),
            samples: 10,
            first_ms: Some(unix_ms(from - 1.0)),
            last_ms: Some(unix_ms(from)),
        };
        self.add(from, what)
    }

    pub(crate) fn told(self, at: f64, member: &str, leader: &str, term: u64) -> Self {
        let what = What::Told {
            member: member.into(),
            is_leader: member == leader,
            leader: leader.into(),
            term,
            ready: !leader.is_empty(),
        };
        self.add(at, what)
    }

    pub(crate) fn config(self, at: f64, member: &str, role: &str) -> Self {
        self.event(
            at,
            member,
            json!({ "event": "config", "state": "in_force", "role": role, "hash": "x", "error": null }),
        )
    }

    /// One series with a sample a second, without those of some times.
    pub(crate) fn series(self, at: f64, without: &[std::ops::Range<f64>]) -> Self {
        let seconds = (-5..1_000).map(f64::from).take_while(|second| *second < at);
        let kept = seconds.filter(|second| without.iter().all(|range| !range.contains(second)));
        let times_ms = kept.map(unix_ms).collect();
        self.add(at, What::Series { series: "up{instance=\"x\"}".into(), times_ms, repeated: 3 })
    }

    pub(crate) fn query_failed(self, from: f64, until: f64, via: &str) -> Self {
        let what = What::QueryFailed {
            via: via.into(),
            end_ns: ns(until),
            status: Some(503),
            wrong_replica: None,
            reachable: true,
            detail: "no leader".into(),
        };
        self.add(from, what)
    }

    pub(crate) fn end(self, at: f64) -> History {
        let mut history = self.add(at, What::End {}).0;
        history.in_order();
        history
    }
}

/// A good run of four minutes: the leader's sidecar is killed at 60 s, a follower is cut off from 120 s to 140 s, all is healed at
/// 145 s. `a` leads first, then `b`.
pub(crate) fn good() -> History {
    let mut story = Story::new()
        .reign("a", 1, -5.0, 60.5)
        .reign("b", 2, 61.6, 300.0)
        .fault(1, "kill-sidecar", 60.0, 65.0, &["a"], true)
        .fault(2, "cut-off", 120.0, 140.0, &["c"], false)
        .process(60.0, "a", "sidecar", ProcessState::Exited)
        .process(65.0, "a", "sidecar", ProcessState::Started)
        .event(65.1, "a", json!({ "event": "start", "pid": 110, "version": "0.1.0" }))
        .config(62.0, "b", "leader")
        .config(66.5, "a", "follower")
        .add(145.0, What::Healed {})
        .series(238.0, &[]);
    for (index, member) in (1..).zip(["a", "b", "c"]) {
        story = story
            .process(-11.0, member, "prometheus", ProcessState::Started)
            .process(-10.0, member, "sidecar", ProcessState::Started)
            .event(-9.9, member, json!({ "event": "start", "pid": 100 + index, "version": "0.1.0" }))
            .told(-4.0, member, "a", 1)
            .config(-4.0, member, if member == "a" { "leader" } else { "follower" });
        for second in 0..48_u32 {
            let at = f64::from(second * 5);
            let restarted = member == "a" && at > 60.0;
            let pid = if restarted { 110 } else { 100 + index };
            let usage =
                What::Usage { member: member.into(), pid, rss_bytes: (30 << 20) + u64::from(second), descriptors: 40 };
            story = story.add(at, usage);
        }
    }
    story = story.told(61.8, "b", "b", 2).told(61.8, "c", "b", 2).told(66.0, "a", "b", 2);
    story = story.told(121.0, "c", "", 2).told(141.0, "c", "b", 2);
    for second in 0..239_u32 {
        let at = f64::from(second) + 0.25;
        if !(60.0..62.0).contains(&at) {
            story = story.write(at, at + 0.01, if at < 60.0 { "a" } else { "b" }, if at < 60.0 { 1 } else { 2 });
        }
        for via in ["a", "b", "c"] {
            let is_down = via == "a" && (60.0..65.0).contains(&at) || via == "c" && (120.0..140.0).contains(&at);
            let ok = if is_down { 0 } else { 60 };
            story = story.add(at, What::Queries { via: via.into(), ok, longest_ms: if is_down { 0 } else { 30 } });
        }
    }
    story = story.query_failed(62.5, 62.5, "a");
    if let Some(Entry { what: What::QueryFailed { reachable, .. }, .. }) = story.0.entries.last_mut() {
        *reachable = false;
    }
    story.end(240.0)
}
