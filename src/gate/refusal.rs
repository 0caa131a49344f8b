//! What a 400 of a catch-up means, and how a batch is taken apart. Pure.
//!
//! Three kinds of receivers answer 400 to a batch that holds something out of order:
//!
//! - *2.0 receivers* store the valid part and say so in the Written headers: settled.
//! - *Mimir-like* ones store the valid part of 1.0 too and say nothing. They are known by their words: each error of
//!   Mimir carries an identifier that begins with `err-mimir-`; Cortex and its kin begin with `user=`. Settled: to take
//!   such a batch apart would multiply requests and store nothing.
//! - *Prometheus 1.0* and what is built on its storage store nothing: as 2.0, else in halves.
//!
//! A receiver of the second kind with other words is bounded: pieces are not divided below one timestamp (samples of one
//! scrape, which are all new or all old), nor beyond [`PIECES_MAX`] requests a batch.

use super::client::Answer;
use super::wire::{Summary, Version, split};

/// Requests that one batch may cost.
const PIECES_MAX: u32 = 128;
/// Words of receivers that store the valid part.
const STORES_VALID_PART: [&str; 2] = ["err-mimir-", "user="];

/// What is to be done about a batch that was answered with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing: its valid part is stored.
    Settled,
    /// Nothing can be done: what it held is lost.
    Lost,
    /// To be sent as 2.0, or in halves.
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

/// The pieces of a batch that are still to be sent, the oldest on top.
#[derive(Debug)]
pub(super) struct Apart {
    stack: Vec<Vec<u8>>,
    sent: u32,
}

impl Apart {
    /// Divides a refused batch of 1.0.
    pub(super) fn new(body: &[u8]) -> Self {
        let mut apart = Self { stack: Vec::new(), sent: 0 };
        apart.refused(body, true);
        apart
    }

    /// Whether nothing is left to send.
    pub(super) fn is_empty(&self) -> bool {
        self.stack.is_empty()
    }

    /// The piece to send next.
    pub(super) fn next(&mut self) -> Option<Vec<u8>> {
        self.sent += 1;
        self.stack.pop()
    }

    /// A piece was refused: it is divided. `false`: it is not worth another request.
    pub(super) fn refused(&mut self, piece: &[u8], may_split: bool) -> bool {
        let pending = u32::try_from(self.stack.len()).unwrap_or(u32::MAX);
        if !may_split || self.sent.saturating_add(pending).saturating_add(2) > PIECES_MAX {
            return false;
        }
        let range = Summary::read(Version::V1, piece, i64::MAX).ok().and_then(|summary| summary.range);
        if range.is_none_or(|range| range.min_ms == range.max_ms) {
            return false;
        }
        let Ok(Some(halves)) = split(piece) else { return false };
        self.stack.push(halves.newer);
        self.stack.push(halves.older);
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use http::{HeaderMap, StatusCode};

    use super::*;
    use crate::gate::testing::batch;

    fn answer(text: &'static str, written: bool) -> Answer {
        let mut headers = HeaderMap::new();
        if written {
            headers.insert("x-prometheus-remote-write-samples-written", 3.into());
        }
        Answer { status: StatusCode::BAD_REQUEST, headers, body: text.into() }
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

    /// Sends all pieces to a receiver that refuses those which hold a timestamp up to `old`; what it takes, in order.
    fn take_apart(points: &[(&str, i64)], old: i64) -> (Vec<(i64, i64)>, u32) {
        let mut apart = Apart::new(&batch(points));
        let (mut taken, mut requests) = (Vec::new(), 0);
        while let Some(piece) = apart.next() {
            requests += 1;
            let range = Summary::read(Version::V1, &piece, i64::MAX).unwrap().range.unwrap();
            if range.min_ms <= old {
                apart.refused(&piece, true);
            } else {
                taken.push((range.min_ms, range.max_ms));
            }
        }
        (taken, requests)
    }

    #[test]
    fn pieces_go_out_oldest_first_and_are_not_divided_below_one_timestamp() {
        let points: Vec<(&str, i64)> = (0..80).map(|index| ("a", index / 10)).collect();
        let (taken, requests) = take_apart(&points, 4);
        assert!(taken.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{taken:?}");
        assert_eq!((taken.first().unwrap().0, taken.last().unwrap().1), (5, 7));
        assert!(requests <= 16, "{requests}");
        let (taken, requests) = take_apart(&points, 100);
        assert_eq!((taken, requests), (vec![], 14), "two requests for each of eight timestamps, less two");
    }

    #[test]
    fn a_batch_costs_a_bounded_number_of_requests() {
        let points: Vec<(&str, i64)> = (0..2_000).map(|at| ("a", at)).collect();
        assert!(take_apart(&points, 5_000).1 <= PIECES_MAX);
        let mut exhausted = Apart::new(&batch(&points));
        let piece = exhausted.next().unwrap();
        assert!(!exhausted.refused(&piece, false));
    }
}
