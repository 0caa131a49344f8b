//! Pure: outcomes of lookups -> what is worth a log line, and the counters.
//!
//! Only changes are: a lookup that fails every few seconds for a day is one line at its start and one at its end.

use std::time::{Duration, Instant};

use elector_raft::Peer;

use super::error::LookupError;
use super::peers::PEERS_MAX;

/// How discovery fares, for metrics and status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LookupStatus {
    /// Lookups that found peers.
    pub answered: u64,
    /// Lookups in which DNS said that there are none.
    pub not_found: u64,
    /// Lookups without an answer.
    pub failed: u64,
    /// When the last good answer came; `None` until the first one.
    pub answered_at: Option<Instant>,
    /// Why the last lookup failed; `None` when it did not.
    pub last_error: Option<LookupError>,
    /// Peers that were found beyond the bound of [`PEERS_MAX`] and left out.
    pub left_out: usize,
}

impl LookupStatus {
    /// Age of the last good answer.
    pub fn age(&self, now: Instant) -> Option<Duration> {
        self.answered_at.map(|at| now.saturating_duration_since(at))
    }
}

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Other peers than before.
    Peers { appeared: Vec<Peer>, gone: Vec<Peer>, count: usize },
    /// The first failure in a row.
    Failing { error: LookupError, kept: usize },
    /// The first success after failures.
    Recovered { failures: u32 },
    /// More peers than can be used.
    LeftOut { count: usize },
}

/// What was told last.
#[derive(Debug, Default)]
pub(super) struct Journal {
    pub(super) status: LookupStatus,
    peers: Vec<Peer>,
    failures: u32,
}

impl Journal {
    /// Failures in a row.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    pub(super) fn answered(&mut self, peers: &[Peer], left_out: usize, now: Instant) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.failures > 0 {
            changes.push(Change::Recovered { failures: self.failures });
        }
        let missing = |from: &[Peer], held: &[Peer]| -> Vec<Peer> {
            held.iter().filter(|peer| !from.contains(peer)).cloned().collect()
        };
        let (appeared, gone) = (missing(&self.peers, peers), missing(peers, &self.peers));
        if !appeared.is_empty() || !gone.is_empty() {
            changes.push(Change::Peers { appeared, gone, count: peers.len() });
        }
        if left_out > 0 && self.status.left_out == 0 {
            changes.push(Change::LeftOut { count: left_out });
        }
        self.failures = 0;
        self.peers = peers.to_vec();
        self.status.answered += 1;
        self.status.answered_at = Some(now);
        self.status.last_error = None;
        self.status.left_out = left_out;
        changes
    }

    pub(super) fn failed(&mut self, error: LookupError) -> Vec<Change> {
        self.failures = self.failures.saturating_add(1);
        match error {
            LookupError::NotFound { .. } => self.status.not_found += 1,
            _ => self.status.failed += 1,
        }
        self.status.last_error = Some(error.clone());
        let first = self.failures == 1;
        first.then_some(Change::Failing { error, kept: self.peers.len() }).into_iter().collect()
    }
}

impl Change {
    /// Writes the log line.
    pub(super) fn log(&self) {
        match self {
            Self::Peers { appeared, gone, count } => {
                tracing::info!(count, appeared = names(appeared), gone = names(gone), "discovery found other peers");
            }
            Self::Failing { error, kept } => {
                tracing::warn!(%error, kept, "discovery finds no peers now; the last good answer stays in use");
            }
            Self::Recovered { failures } => tracing::info!(failures, "discovery finds peers again"),
            Self::LeftOut { count } => {
                let max = PEERS_MAX;
                tracing::warn!(left_out = count, max, "too many peers; is this the right service?");
            }
        }
    }
}

fn names(peers: &[Peer]) -> String {
    let name = |peer: &Peer| peer.name.clone().unwrap_or_else(|| peer.address.clone());
    peers.iter().map(name).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn peer(name: &str) -> Peer {
        Peer { name: Some(name.into()), address: format!("{name}.p:9096") }
    }

    fn outage() -> LookupError {
        LookupError::Failed { asked: "SRV x".into(), cause: "silence".into() }
    }

    #[test]
    fn the_same_answer_again_is_no_news() {
        let (mut journal, now) = (Journal::default(), Instant::now());
        let (a, b) = (peer("a"), peer("b"));
        let first = Change::Peers { appeared: vec![a.clone()], gone: vec![], count: 1 };
        assert_eq!(journal.answered(std::slice::from_ref(&a), 0, now), [first]);
        assert_eq!(journal.answered(std::slice::from_ref(&a), 0, now), []);
        let swapped = Change::Peers { appeared: vec![b.clone()], gone: vec![a], count: 1 };
        assert_eq!(journal.answered(&[b], 0, now), [swapped]);
        assert_eq!(journal.status.answered, 3);
    }

    #[test]
    fn an_outage_is_told_at_its_start_and_its_end() {
        let (mut journal, now) = (Journal::default(), Instant::now());
        journal.answered(&[peer("a")], 0, now);
        assert_eq!(journal.failed(outage()), [Change::Failing { error: outage(), kept: 1 }]);
        assert_eq!(journal.failed(outage()), []);
        assert_eq!(journal.failed(LookupError::NotFound { asked: "SRV x".into() }), []);
        assert_eq!((journal.status.failed, journal.status.not_found), (2, 1));
        assert_eq!(journal.status.age(now + Duration::from_secs(7)), Some(Duration::from_secs(7)));
        assert_eq!(journal.answered(&[peer("a")], 0, now), [Change::Recovered { failures: 3 }]);
        assert_eq!(journal.status.last_error, None);
    }

    #[test]
    fn too_many_peers_are_told_once() {
        let (mut journal, now) = (Journal::default(), Instant::now());
        journal.answered(&[], 0, now);
        assert_eq!(journal.answered(&[], 3, now), [Change::LeftOut { count: 3 }]);
        assert_eq!(journal.answered(&[], 4, now), []);
        journal.answered(&[], 0, now);
        assert_eq!(journal.answered(&[], 1, now), [Change::LeftOut { count: 1 }]);
    }
}
