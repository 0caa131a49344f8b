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
