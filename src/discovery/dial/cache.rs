//! Pure: what is known of one name, and now -> use it, ask, or wait.
//!
//! | last answer | younger than [`FLOOR`] | older |
//! |---|---|---|
//! | addresses | used | ask; from [`PATIENCE`] on use them while the question runs on |
//! | none exist | error | ask and wait |
//! | DNS failed, addresses known from before | used | used at once; ask in the background |
//! | DNS failed, nothing known | error | ask and wait |
//!
//! There is at most one question per name at a time; others join it.

use std::net::IpAddr;
use std::time::Duration;

use hickory_resolver::proto::rr::Name;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::discovery::error::LookupError;

/// An answer this young is used again: a dead peer that is dialled ten times a second costs two questions a second.
pub(super) const FLOOR: Duration = Duration::from_millis(500);
/// How long a dial waits for DNS when addresses from before are known. Half of the time-out of a heartbeat at default
/// timings: DNS inside a cluster answers in a few milliseconds, and dialling the old address needs the rest.
pub(super) const PATIENCE: Duration = Duration::from_millis(50);

/// What is known of one name.
#[derive(Default)]
pub(super) struct Entry {
    /// The last addresses; empty when DNS has said since that there are none.
    pub(super) addresses: Vec<IpAddr>,
    /// The absolute name that had them.
    pub(super) name: Option<Name>,
    /// When the last question ended, and its error.
    last: Option<(Instant, Option<LookupError>)>,
    question: Option<Question>,
}

/// A question under way.
struct Question {
    since: Instant,
    /// Cancelled when it ends, however that happens.
    done: CancellationToken,
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Dial these, or nothing, without a question.
    Answer(Result<Vec<IpAddr>, LookupError>),
    /// Dial these, and let a question run in the background.
    UseAndAsk(Vec<IpAddr>),
    /// Ask, or join the question under way, and wait for its end, at most until the instant (`None`: it ends by itself).
    Ask(Option<Instant>),
}

impl Entry {
    /// What to do for a dial at `now`.
    pub(super) fn decide(&self, now: Instant) -> Decision {
        if let (Some((at, _)), Some(outcome)) = (&self.last, self.outcome())
            && now < *at + FLOOR
        {
            return Decision::Answer(outcome);
        }
        if self.addresses.is_empty() {
            return Decision::Ask(None);
        }
        if let Some((_, Some(_))) = self.last {
            return Decision::UseAndAsk(self.addresses.clone());
        }
        let until = self.question().map_or(now, |question| question.since) + PATIENCE;
        if now < until { Decision::Ask(Some(until)) } else { Decision::UseAndAsk(self.addresses.clone()) }
    }

    /// What the last question ended with; `None` before the first. Addresses from before stand in when DNS failed.
    pub(super) fn outcome(&self) -> Option<Result<Vec<IpAddr>, LookupError>> {
        let (_, error) = self.last.as_ref()?;
        Some(match error {
            Some(error) if self.addresses.is_empty() => Err(error.clone()),
            _ => Ok(self.addresses.clone()),
        })
    }

    /// The question under way.
    fn question(&self) -> Option<&Question> {
        self.question.as_ref().filter(|question| !question.done.is_cancelled())
    }

    /// The question under way, or a new one that the caller has to ask (`true`).
    pub(super) fn join(&mut self, now: Instant) -> (CancellationToken, bool) {
        if let Some(question) = self.question() {
            return (question.done.clone(), false);
        }
        let done = CancellationToken::new();
        self.question = Some(Question { since: now, done: done.clone() });
        (done, true)
    }

    /// Notes how a question ended. Only DNS itself can take addresses away.
    pub(super) fn finish(&mut self, outcome: Result<(Name, Vec<IpAddr>), LookupError>, now: Instant) {
        let error = match outcome {
            Ok((name, addresses)) => {
                (self.name, self.addresses) = (Some(name), addresses);
                None
            }
            Err(error) => {
                if matches!(error, LookupError::NotFound { .. }) {
                    (self.name, self.addresses) = (None, Vec::new());
                }
                Some(error)
            }
        };
        self.last = Some((now, error));
        self.question = None;
    }

    /// When it was last of use; the oldest makes room for a new name.
    pub(super) fn touched(&self) -> Option<Instant> {
        let asked = self.question().map(|question| question.since);
        asked.max(self.last.as_ref().map(|(at, _)| *at))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn ip(last: u8) -> Vec<IpAddr> {
        vec![IpAddr::from([10, 0, 0, last])]
    }

    fn good(last: u8) -> (Name, Vec<IpAddr>) {
        (Name::from_ascii("p.").unwrap(), ip(last))
    }

    fn outage() -> LookupError {
        LookupError::Failed { asked: "A p.".into(), cause: "silence".into() }
    }

    fn gone() -> LookupError {
        LookupError::NotFound { asked: "A p.".into() }
    }

    #[test]
    fn a_new_name_is_asked_for_and_waited_for() {
        assert_eq!(Entry::default().decide(Instant::now()), Decision::Ask(None));
    }

    #[test]
    fn a_young_answer_is_used_and_an_old_one_is_asked_for_again() {
        let (mut entry, t) = (Entry::default(), Instant::now());
        entry.join(t);
        entry.finish(Ok(good(1)), t);
        assert_eq!(entry.decide(t + FLOOR - MS), Decision::Answer(Ok(ip(1))));
        assert_eq!(entry.decide(t + FLOOR), Decision::Ask(Some(t + FLOOR + PATIENCE)));
    }

    #[test]
    fn a_slow_question_costs_every_dial_together_one_patience() {
        let (mut entry, t) = (Entry::default(), Instant::now());
        entry.finish(Ok(good(1)), t);
        let asked = t + FLOOR;
        assert!(entry.join(asked).1);
        assert!(!entry.join(asked + PATIENCE / 2).1, "there is one question at a time");
        assert_eq!(entry.decide(asked + PATIENCE / 2), Decision::Ask(Some(asked + PATIENCE)));
        assert_eq!(entry.decide(asked + PATIENCE), Decision::UseAndAsk(ip(1)));
        assert_eq!(entry.outcome(), Some(Ok(ip(1))));
    }

    #[test]
    fn while_dns_fails_the_last_addresses_are_used_at_once() {
        let (mut entry, t) = (Entry::default(), Instant::now());
        entry.finish(Ok(good(1)), t);
        entry.finish(Err(outage()), t + FLOOR);
        assert_eq!(entry.decide(t + FLOOR), Decision::Answer(Ok(ip(1))));
        assert_eq!(entry.decide(t + FLOOR * 2), Decision::UseAndAsk(ip(1)));
        entry.finish(Ok(good(2)), t + FLOOR * 3);
        assert_eq!(entry.decide(t + FLOOR * 3), Decision::Answer(Ok(ip(2))));
    }

    #[test]
    fn what_dns_says_is_gone_is_not_dialled_even_when_dns_fails_later() {
        let (mut entry, t) = (Entry::default(), Instant::now());
        entry.finish(Ok(good(1)), t);
        entry.finish(Err(gone()), t);
        assert_eq!(entry.decide(t), Decision::Answer(Err(gone())));
        assert_eq!(entry.decide(t + FLOOR), Decision::Ask(None));
        entry.finish(Err(outage()), t + FLOOR);
        assert_eq!(entry.decide(t + FLOOR), Decision::Answer(Err(outage())));
        assert_eq!(entry.name, None);
    }

    #[test]
    fn a_question_that_died_is_no_question() {
        let (mut entry, t) = (Entry::default(), Instant::now());
        entry.finish(Ok(good(1)), t);
        entry.join(t + FLOOR).0.cancel();
        let later = t + FLOOR * 2;
        assert_eq!(entry.decide(later), Decision::Ask(Some(later + PATIENCE)));
        assert!(entry.join(later).1, "a new one starts");
    }
}
