//! What a refusal means: for a batch of a catch-up that is answered with 400, which may be sent again; and for a replica whom the
//! remote refuses (401, 403, 404 …). Pure.
//!
//! Three kinds of receivers answer 400 to a batch that holds something out of order:
//!
//! - *2.0 receivers* store the valid part and say so in the Written headers: settled.
//! - *Mimir-like* ones store the valid part of 1.0 too and say nothing. They are known by their words: each error of
//!   Mimir carries an identifier that begins with `err-mimir-`; Cortex and its kin begin with `user=`. Settled: to take
//!   such a batch apart would multiply requests and store nothing.
//! - *Prometheus 1.0* and what is built on its storage store nothing: as 2.0, else in pieces ([`super::apart`], which is
//!   bounded: so is what a receiver of the second kind with other words costs).

use std::time::{Duration, Instant};

use super::client::Answer;
use super::wire::Version;

/// Words of receivers that store the valid part.
const STORES_VALID_PART: [&str; 2] = ["err-mimir-", "user="];

/// What is to be done about a batch that was answered with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing: its valid part is stored.
    Settled,
    /// Nothing can be done: what it held is lost.
    Lost,
    /// To be sent as 2.0, or in pieces.
    Retry,
}

/// Judges an answer 400. `version`: of the batch, if known.
pub(super) fn verdict(version: Option<Version>, answer: &Answer) -> Verdict {
    let text = String::from_utf8_lossy(&answer.body);
    if answer.tells_written() || STORES_VALID_PART.iter().any(|words| text.contains(words)) {
        return Verdict::Settled;
    }
    if version == Some(Version::V1) { Verdict::Retry } else { Verdict::Lost }
}

/// Whether a final answer says something about a single batch only: it says nothing about each of several that went
/// together. `version`: of all of them.
pub(super) fn is_for_one(version: Option<Version>, answer: &Answer) -> bool {
    match answer.status.as_u16() {
        413 | 422 => true,
        // Without a way to send them again: one that is refused would cost all of them.
        400 => verdict(version, answer) == Verdict::Lost,
        _ => false,
    }
}

/// A remote that refuses a replica for so long is a reason to let another one write.
const REFUSED_MAX: Duration = Duration::from_secs(60);
/// So long it counts after that: a standby does not see that the trouble is over. Where the remote refuses all of them,
/// leadership goes round no faster than this.
const UNFIT_FOR: Duration = Duration::from_secs(30 * 60);

/// A replica that a remote has been refusing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unfit {
    pub(super) why: String,
    until: Instant,
}

/// Whether a replica is unfit to write. `refused_since`: the remote refuses it, and has taken nothing since.
pub(super) fn fitness(
    before: Option<Unfit>,
    refused_since: Option<Instant>,
    error: Option<String>,
    now: Instant,
) -> Option<Unfit> {
    if refused_since.is_some_and(|since| now.saturating_duration_since(since) >= REFUSED_MAX) {
        let error = error.unwrap_or_else(|| "the remote refuses".to_owned());
        let why = format!("{error}, and has taken nothing from this replica for {} s", REFUSED_MAX.as_secs());
        return Some(Unfit { why, until: now + UNFIT_FOR });
    }
    before.filter(|unfit| unfit.until > now)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use http::{HeaderMap, StatusCode};

    use super::*;

    fn answer(text: &'static str, written: bool) -> Answer {
        answer_of(StatusCode::BAD_REQUEST, text, written)
    }

    fn answer_of(status: StatusCode, text: &'static str, written: bool) -> Answer {
        let mut headers = HeaderMap::new();
        if written {
            headers.insert("x-prometheus-remote-write-samples-written", 3.into());
        }
        Answer { status, headers, body: text.into() }
    }

    #[test]
    fn a_receiver_that_stores_the_valid_part_is_known_by_its_headers_or_its_words() {
        let (v1, v2) = (Some(Version::V1), Some(Version::V2));
        for (version, text, written, expected) in [
            (v1, "out of order sample\n", false, Verdict::Retry),
            (v1, "duplicate sample for timestamp", false, Verdict::Retry),
            (v1, "failed pushing to ingester: (err-mimir-sample-out-of-order).", false, Verdict::Settled),
            (v1, "user=fake: err: out of order sample. timestamp=…", false, Verdict::Settled),
            (v1, "", true, Verdict::Settled),
            (v2, "out of order sample\n", true, Verdict::Settled),
            (v2, "out of order sample\n", false, Verdict::Lost),
            (None, "out of order sample\n", false, Verdict::Lost),
        ] {
            assert_eq!(verdict(version, &answer(text, written)), expected, "{version:?} {text}");
        }
    }

    #[test]
    fn several_batches_are_judged_by_an_answer_that_settles_each_of_them_only() {
        let (v1, v2) = (Some(Version::V1), Some(Version::V2));
        for (status, version, text, written, expected) in [
            (413, v1, "", false, true),
            (422, v2, "", true, true),
            (400, v1, "out of order sample\n", false, false),
            (400, v2, "out of order sample\n", false, true),
            (400, v2, "out of order sample\n", true, false),
            (400, v2, "err-mimir-sample-out-of-order", false, false),
            (204, v2, "", false, false),
            (409, v2, "", false, false),
        ] {
            let answer = answer_of(StatusCode::from_u16(status).unwrap(), text, written);
            assert_eq!(is_for_one(version, &answer), expected, "{status} {version:?} {text}");
        }
    }

    #[test]
    fn a_replica_that_was_refused_for_a_minute_is_unfit_until_half_an_hour_has_passed() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let error = || Some("the remote answers 401 no".to_owned());
        assert_eq!(fitness(None, Some(start), error(), at(59)), None);
        let unfit = fitness(None, Some(start), error(), at(60));
        let words = "the remote answers 401 no, and has taken nothing from this replica for 60 s";
        assert_eq!(unfit.as_ref().map(|unfit| unfit.why.as_str()), Some(words));
        assert_eq!(fitness(unfit.clone(), None, None, at(60 + 1_799)), unfit, "another one writes meanwhile");
        assert_eq!(fitness(unfit, None, None, at(60 + 1_800)), None);
        assert_eq!(fitness(None, None, error(), at(9_000)), None);
    }
}
