//! Asks every member all the time whether it leads, and proves overlaps.
//!
//! A sample is a window of time: from before the request to after the answer. A member that says "I hold authority in
//! term T" held it at some instant of the window. Authority of one term is held by one member only, and once a higher
//! term acts no lower one may act any more. Two rules follow, which windows can break only by a real violation, never
//! by bad luck with timing:
//!
//! 1. No two members claim the same term.
//! 2. No claim of a term lies wholly after a claim of a higher term.
//!
//! An overlap of two leaders breaks rule 2 as soon as the older one answers once more. What stays unseen is an overlap
//! shorter than the time between two samples of the old leader.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use reqwest::Client;
use tokio::task::JoinHandle;

use crate::http;
use crate::status::LeaderAnswer;
use crate::wait::eventually;

/// A paused member answers no request; its next sample starts after this long.
const SAMPLE_MAX: Duration = Duration::from_millis(500);

/// One member's leadership in one term, as far as samples prove it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenure {
    /// Raft term.
    pub term: u64,
    /// Its name.
    pub member: String,
    /// It led at this time or earlier: the answer of its first claim.
    pub since: Instant,
    /// It led at this time or later: the request of its last claim.
    pub until: Instant,
}

#[derive(Debug, Default)]
struct Record {
    /// By group and term.
    tenures: BTreeMap<(String, u64), Tenure>,
    samples: u64,
    violations: Vec<String>,
}

impl Record {
    fn claim(&mut self, group: &str, member: &str, term: u64, asked: Instant, answered: Instant) {
        let key = (group.to_owned(), term);
        let new = Tenure { term, member: member.into(), since: answered, until: asked };
        let tenure = self.tenures.entry(key.clone()).or_insert(new);
        if tenure.member != member {
            let other = tenure.member.clone();
            return self.violation(format!("term {term} is claimed by {other} and by {member}"));
        }
        tenure.since = tenure.since.min(answered);
        tenure.until = tenure.until.max(asked);
        let tenure = tenure.clone();
        let higher = self.tenures.range((std::ops::Bound::Excluded(&key), std::ops::Bound::Unbounded));
        let higher = higher.take_while(|((g, _), _)| g == group).map(|(_, later)| later);
        let lower = self.tenures.range((group.to_owned(), 0)..key.clone()).map(|(_, earlier)| earlier);
        let mut overlaps: Vec<String> = higher.filter_map(|later| overlap(&tenure, later)).collect();
        overlaps.extend(lower.filter_map(|earlier| overlap(earlier, &tenure)));
        for overlap in overlaps {
            self.violation(overlap);
        }
    }

    fn violation(&mut self, violation: String) {
        if !self.violations.contains(&violation) {
            self.violations.push(violation);
        }
    }
}

fn overlap(lower: &Tenure, higher: &Tenure) -> Option<String> {
    (lower.until > higher.since).then(|| {
        format!(
            "{} still claims term {} after {} has claimed term {}",
            lower.member, lower.term, higher.member, higher.term
        )
    })
}

/// Samples until it is dropped.
#[derive(Debug)]
pub struct Sampler {
    record: Arc<Mutex<Record>>,
    period: Duration,
    client: Client,
    tasks: Vec<JoinHandle<()>>,
}

impl Sampler {
    /// Samples each member once per `period`.
    pub fn new(period: Duration) -> Result<Self> {
        let client = http::client(SAMPLE_MAX)?;
        Ok(Self { record: Arc::default(), period, client, tasks: Vec::new() })
    }

    /// Adds a member of `group` (of two groups each may have a leader), whose API is at `url`.
    pub fn watch(&mut self, group: &str, member: &str, url: &str) {
        let (record, client, period) = (Arc::clone(&self.record), self.client.clone(), self.period);
        let (group, member, url) = (group.to_owned(), member.to_owned(), format!("{url}/_elector/leader"));
        self.tasks.push(tokio::spawn(async move {
            loop {
                let asked = Instant::now();
                // A member that is down claims nothing.
                let answer = http::get_json(&client, &url).await.and_then(|answer| LeaderAnswer::parse(&answer));
                let answered = Instant::now();
                if let Ok(answer) = answer {
                    let mut record = lock(&record);
                    record.samples += 1;
                    if answer.is_leader {
                        record.claim(&group, &member, answer.term, asked, answered);
                    }
                }
                tokio::time::sleep_until((asked + period).into()).await;
            }
        }));
    }

    /// All tenures of `group` so far, by term.
    pub fn tenures(&self, group: &str) -> Vec<Tenure> {
        let record = lock(&self.record);
        record.tenures.iter().filter(|((g, _), _)| g == group).map(|(_, tenure)| tenure.clone()).collect()
    }

    /// The tenure of one term, as far as it is known now.
    pub fn tenure(&self, group: &str, term: u64) -> Option<Tenure> {
        lock(&self.record).tenures.get(&(group.to_owned(), term)).cloned()
    }

    /// The newest tenure of `group`.
    pub fn newest(&self, group: &str) -> Option<Tenure> {
        self.tenures(group).pop()
    }

    /// Waits for a tenure of a later term by another member.
    pub async fn successor(&self, group: &str, of: &Tenure, within: Duration) -> Result<Tenure> {
        eventually(within, &format!("another leader than {}", of.member), async || {
            let newest = self.newest(group).context("no leader was ever seen")?;
            ensure!(newest.term > of.term && newest.member != of.member, "newest is {newest:?}");
            Ok(newest)
        })
        .await
    }

    /// Forgets all terms: after `recover` they start again.
    pub fn forget_all(&self) {
        lock(&self.record).tenures.clear();
    }

    /// An error that lists the overlaps, or that nothing was sampled at all.
    pub fn verdict(&self) -> Result<()> {
        let record = lock(&self.record);
        ensure!(record.violations.is_empty(), "two leaders at once: {}", record.violations.join("; "));
        ensure!(record.samples > 0, "no member ever answered /_elector/leader");
        Ok(())
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn lock(record: &Mutex<Record>) -> MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    /// Claims as (member, term, asked, answered) in milliseconds.
    fn violations(claims: &[(&str, u64, u64, u64)]) -> Vec<String> {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut record = Record::default();
        for (member, term, asked, answered) in claims {
            record.claim("g", member, *term, at(*asked), at(*answered));
        }
        record.violations
    }

    #[test]
    fn an_orderly_change_is_no_violation_even_with_overlapping_windows() {
        assert_eq!(violations(&[("a", 1, 0, 1), ("a", 1, 10, 11), ("b", 2, 9, 20), ("b", 2, 30, 31)]), [""; 0]);
    }

    #[test]
    fn an_old_leader_that_answers_once_more_is_caught() {
        let found = violations(&[("a", 1, 0, 1), ("b", 2, 10, 11), ("a", 1, 12, 13)]);
        assert_eq!(found, ["a still claims term 1 after b has claimed term 2"]);
    }

    #[test]
    fn answers_are_judged_by_their_time_and_not_by_their_order() {
        let found = violations(&[("a", 1, 0, 1), ("a", 1, 12, 13), ("b", 2, 10, 11)]);
        assert_eq!(found, ["a still claims term 1 after b has claimed term 2"]);
    }

    #[test]
    fn one_term_with_two_leaders_is_caught() {
        assert_eq!(violations(&[("a", 1, 0, 1), ("b", 1, 10, 11)]), ["term 1 is claimed by a and by b"]);
    }

    #[test]
    fn two_groups_may_each_have_a_leader() {
        let now = Instant::now();
        let mut record = Record::default();
        record.claim("g", "a", 2, now, now);
        record.claim("h", "b", 1, now + Duration::from_secs(1), now + Duration::from_secs(2));
        assert!(record.violations.is_empty());
    }
}
