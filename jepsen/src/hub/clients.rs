//! Clients: a steady stream of queries through every member's proxy, and whether the answers are the leader's.
//!
//! A query is right when it is answered with 200, the header names a leader, and the data are of that replica: every replica's
//! samples tell by their value who scraped them. Which leader that was when, the event logs know.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use reqwest::Client;
use serde_json::Value;
use test_support::http;
use test_support::receiver::analysis::{PARTS_MAX, SCRAPERS_MAX};
use test_support::target::SCRAPE_METRIC;
use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;

use super::API_PORT;
use super::roster::Roster;
use crate::history::{Ns, What};
use crate::recorder::{Recorder, ns_of};

/// Queries a second through all members together.
const PER_SECOND: u32 = 200;
/// Longer than any proxy holds a request; an answer that takes longer counts as failed.
const ANSWER_MAX: Duration = Duration::from_secs(15);
/// Open queries of one member: what comes beyond is not sent.
const OPEN_MAX: usize = 1_500;
/// Connections that are kept: after a takeover hundreds would stay open, and look like a leak of the sidecar.
const IDLE_MAX: usize = 16;
const LEADER_HEADER: &str = "x-prometheus-elector-leader";

/// What clients ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// An instant query.
    Query,
    /// The running configuration: agents answer no `PromQL`.
    Config,
}

impl Question {
    fn path(self) -> String {
        match self {
            Self::Query => format!("/api/v1/query?query={SCRAPE_METRIC}%7Bseries%3D%220%22%7D"),
            Self::Config => "/api/v1/status/config".into(),
        }
    }

    /// Number of the replica whose answer this is.
    fn replica(self, body: &str) -> Option<u64> {
        let answer: Value = serde_json::from_str(body).ok()?;
        match self {
            Self::Query => {
                let value: f64 = answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()?;
                // Whole and positive, as the target made it.
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                Some(value as u64 % SCRAPERS_MAX / PARTS_MAX)
            }
            Self::Config => {
                let rest = answer["data"]["yaml"].as_str()?.split_once("replica:")?.1;
                let digits = rest.trim_start_matches(|c: char| !c.is_ascii_digit());
                digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
            }
        }
    }
}

/// What became of a query that was not right.
#[derive(Debug, Default, PartialEq, Eq)]
struct Failure {
    status: Option<u16>,
    wrong_replica: Option<String>,
    reachable: bool,
    detail: String,
}

impl Failure {
    fn answered(status: u16, detail: String) -> Self {
        Self { status: Some(status), reachable: true, detail, ..Self::default() }
    }
}

/// Sends through one member until the task is dropped; `members` share the rate.
pub(super) async fn ask_through(
    via: String,
    members: usize,
    question: Question,
    roster: Roster,
    recorder: Recorder,
) -> Result<()> {
    let client = http::builder(ANSWER_MAX).pool_max_idle_per_host(IDLE_MAX).build().context("build an HTTP client")?;
    let path = question.path();
    let tally = Arc::new(Mutex::new(Tally::default()));
    let open = Arc::new(Semaphore::new(OPEN_MAX));
    let mut ticks = tokio::time::interval(Duration::from_secs(1) * u32::try_from(members).unwrap_or(1) / PER_SECOND);
    // A machine that is late must not get the missed ones all at once.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // A pod that does not exist has no address to ask at.
        let Some(seat) = roster.seat(&via) else { continue };
        let Ok(permit) = Arc::clone(&open).try_acquire_owned() else { continue };
        let url = format!("http://{}:{API_PORT}{path}", seat.address);
        let (client, tally, recorder, via) = (client.clone(), Arc::clone(&tally), recorder.clone(), via.clone());
        tokio::spawn(async move {
            let start = Instant::now();
            let outcome = send(&client, &url, question).await;
            drop(permit);
            let (at_ns, end) = (ns_of(start), Instant::now());
            match outcome {
                Ok(()) => {
                    let done = tally.lock().unwrap_or_else(PoisonError::into_inner).add(ns_of(end), end - start);
                    if let Some((at_ns, ok, longest_ms)) = done {
                        recorder.note_at(at_ns, What::Queries { via, ok, longest_ms });
                    }
                }
                Err(Failure { status, wrong_replica, reachable, detail }) => {
                    let end_ns = ns_of(end);
                    recorder
                        .note_at(at_ns, What::QueryFailed { via, end_ns, status, wrong_replica, reachable, detail });
                }
            }
        });
    }
}

async fn send(client: &Client, url: &str, question: Question) -> Result<(), Failure> {
    let answer = client.get(url).send().await.map_err(|error| unanswered(&error))?;
    let status = answer.status().as_u16();
    let leader = answer.headers().get(LEADER_HEADER).and_then(|leader| leader.to_str().ok().map(ToOwned::to_owned));
    let body = answer.text().await.map_err(|error| unanswered(&error))?;
    judge(status, leader.as_deref(), &body, question)
}

fn unanswered(error: &reqwest::Error) -> Failure {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    // The first one names the URL only.
    let detail = causes.skip(1).map(ToString::to_string).collect::<Vec<_>>().join(": ");
    Failure { reachable: !error.is_connect(), detail, ..Failure::default() }
}

/// Whether an answer is the leader's own.
fn judge(status: u16, leader: Option<&str>, body: &str, question: Question) -> Result<(), Failure> {
    if status != 200 {
        return Err(Failure::answered(status, body.chars().take(160).collect()));
    }
    let Some(leader) = leader else {
        return Err(Failure::answered(status, format!("no {LEADER_HEADER}")));
    };
    let Some(replica) = question.replica(body) else {
        return Err(Failure::answered(status, format!("no sample in the answer of {leader}")));
    };
    let named = leader.rsplit_once('-');
    if named.is_some_and(|(_, number)| number == replica.to_string()) {
        return Ok(());
    }
    let wrong = format!("{}-{replica}", named.map_or(leader, |(name, _)| name));
    Err(Failure { wrong_replica: Some(wrong), ..Failure::answered(status, format!("the header says {leader}")) })
}

/// Right answers of one second.
#[derive(Debug, Default)]
struct Tally {
    second: Ns,
    ok: u64,
    longest: Duration,
}

impl Tally {
    /// Counts one more; returns the second before, once it is over: its start, answers and longest wait.
    fn add(&mut self, at_ns: Ns, took: Duration) -> Option<(Ns, u64, u64)> {
        const SECOND: Ns = 1_000_000_000;
        let second = at_ns / SECOND;
        let before = (self.second < second && self.ok > 0)
            .then(|| (self.second * SECOND, self.ok, u64::try_from(self.longest.as_millis()).unwrap_or(u64::MAX)));
        if self.second < second {
            *self = Self { second, ..Self::default() };
        }
        self.ok += 1;
        self.longest = self.longest.max(took);
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(scraper: u64) -> String {
        let value = 1_790_000_000_123 * SCRAPERS_MAX + scraper;
        format!(r#"{{"status":"success","data":{{"result":[{{"metric":{{}},"value":[1790000000.2,"{value}"]}}]}}}}"#)
    }

    #[test]
    fn the_value_tells_the_replica() {
        assert_eq!(Question::Query.replica(&body(2 * PARTS_MAX + 3)), Some(2));
        assert_eq!(Question::Query.replica(r#"{"data":{"result":[]}}"#), None);
        let yaml = "  params:\\n    replica:\\n    - \\\"11\\\"\\n";
        assert_eq!(Question::Config.replica(&format!(r#"{{"data":{{"yaml":"{yaml}"}}}}"#)), Some(11));
    }

    #[test]
    fn only_the_leaders_own_answer_is_right() {
        let judge = |status, leader, body: &str| judge(status, leader, body, Question::Query);
        let own = body(PARTS_MAX);
        assert_eq!(judge(200, Some("prom-1"), &own), Ok(()));
        let wrong = judge(200, Some("prom-0"), &own).err().unwrap_or_default();
        assert_eq!(wrong.wrong_replica.as_deref(), Some("prom-1"));
        for failed in [judge(200, None, &own), judge(503, Some("prom-1"), &own), judge(200, Some("prom-1"), "{}")] {
            let failed = failed.err().unwrap_or_default();
            assert!(failed.wrong_replica.is_none() && failed.reachable && failed.status.is_some(), "{failed:?}");
        }
    }

    #[test]
    fn a_second_is_told_when_it_is_over() {
        let mut tally = Tally::default();
        let ms = Duration::from_millis;
        assert_eq!(tally.add(7_100_000_000, ms(9)), None);
        assert_eq!(tally.add(7_900_000_000, ms(3)), None);
        assert_eq!(tally.add(9_000_000_000, ms(1)), Some((7_000_000_000, 2, 9)));
        assert_eq!(tally.add(10_000_000_000, ms(1)), Some((9_000_000_000, 1, 1)));
    }
}
