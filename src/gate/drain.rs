//! Taking over: the spool goes out in order, then requests pass.
//!
//! ```text
//! oldest batch -> send -> answered for good        -> next          (2xx, 409, 413, 422, receivers that store the valid part)
//!                   |---> 429, 5xx, no answer      -> wait, again   (Retry-After, else 30 ms to 5 s)
//!                   |---> 401, 403, 404, redirect  -> wait, again   (this replica is broken: nothing is thrown away)
//!                   `---> 400 -> as 2.0 -> Written headers          -> next
//!                                  `-----> none -> halves, in order -> next
//! spool empty -> Writer
//! ```
//!
//! The spool holds what the old writer has written. A receiver that stores the valid part of a batch needs nothing more;
//! Prometheus with 1.0 refuses all of a batch for one sample. How the two are told apart is in [`refusal`].
//!
//! Invariants: one batch at a time; a batch leaves the spool only when it is answered for good. When the tenure ends the
//! future is dropped wherever it is, and the next writer, or this one in its next tenure, begins with the same batch.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::client::{Answer, SendError};
use super::fence::Tenure;
use super::forward::Remote;
use super::headers;
use super::refusal::{Apart, Verdict, verdict};
use super::spool::{Batch, Format};
use super::standby::Intake;
use super::status::count;
use super::watermark::Outcome;
use super::wire::{CONTENT_ENCODING, CONTENT_TYPE_V2, VERSION_HEADER_V2, Version, transcode};

/// Fewer batches than this are the end of the spool: new requests wait until it is empty.
const CLOSING_BATCHES: u64 = 16;
/// A catch-up that takes longer lets requests in one by one.
const PACED_AFTER: Duration = Duration::from_secs(1);
/// While an answer takes longer, requests are not kept waiting: the remote may hang.
const SLOW_AFTER: Duration = Duration::from_millis(500);
/// Prometheus's own back-off.
const BACKOFF_MIN: Duration = Duration::from_millis(30);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// Longest `Retry-After` that is honoured.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
/// Pause when the spool cannot be read, or the remote refuses this replica.
const TROUBLE_PAUSE: Duration = Duration::from_secs(5);
/// Requests that halves may cost in one takeover.
const APART_REQUESTS_MAX: u32 = 4096;

/// Sends the spool of a remote, until requests pass through. To be dropped when the tenure ends.
pub(super) async fn drain(remote: &Remote, tenure: &Arc<Tenure>) {
    let mut catch_up = CatchUp { remote, tenure, speaks_v2: None, requests_left: APART_REQUESTS_MAX };
    let total = remote.shelf.size().batches;
    let (begin, mut gives_turn) = (Instant::now(), false);
    let name = remote.settings().name.clone();
    if total > 0 {
        tracing::info!(remote = %name, term = tenure.term(), batches = total, "catching up: the spool goes out first");
    }
    loop {
        match remote.shelf.front().await {
            Ok(Some(batch)) => {
                let is_long = begin.elapsed() > PACED_AFTER;
                let intake = match remote.shelf.size().batches {
                    0..=CLOSING_BATCHES => Intake::Closed,
                    _ if is_long => Intake::Paced,
                    _ => Intake::Open,
                };
                remote.shelf.set_intake(tenure, intake);
                catch_up.deliver(&batch).await;
                count(&remote.counts.caught_up);
                remote.progressed(tenure);
                gives_turn = !gives_turn;
                if gives_turn {
                    remote.shelf.give_turn();
                }
                if let Err(error) = remote.shelf.pop(tenure).await {
                    tracing::warn!(remote = %name, %error, "the spool cannot be shortened: a batch is sent twice");
                    tokio::time::sleep(TROUBLE_PAUSE).await;
                }
            }
            Ok(None) => {
                if remote.shelf.pass_through(tenure).await {
                    tracing::info!(remote = %name, term = tenure.term(), "requests pass through to the remote");
                    return;
                }
                if !tenure.holds() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(remote = %name, %error, "the spool cannot be read; trying again");
                remote.shelf.set_intake(tenure, Intake::Open);
                tokio::time::sleep(TROUBLE_PAUSE).await;
            }
        }
    }
}

/// One catch-up.
struct CatchUp<'a> {
    remote: &'a Remote,
    tenure: &'a Arc<Tenure>,
    /// Whether the receiver tells what it has written, once known.
    speaks_v2: Option<bool>,
    /// Requests that halves may still cost.
    requests_left: u32,
}

impl CatchUp<'_> {
    /// Sends a batch until it is answered for good.
    async fn deliver(&mut self, batch: &Batch) {
        let body = Bytes::from(batch.body.clone());
        let mut backoff = BACKOFF_MIN;
        loop {
            let Some(mut attempt) = self.remote.begin(self.tenure, &body, batch.range) else {
                tokio::time::sleep(BACKOFF_MAX).await;
                continue;
            };
            let sent = self.send(&batch.format, body.clone()).await;
            self.remote.note(&sent);
            match rest(sent, &mut backoff) {
                ControlFlow::Break(answer) => {
                    attempt.outcome = answer.outcome();
                    if answer.status.as_u16() == 400 {
                        self.refused(batch, &answer).await;
                    }
                    return;
                }
                ControlFlow::Continue((outcome, pause)) => {
                    attempt.outcome = outcome;
                    drop(attempt);
                    self.pause(pause).await;
                }
            }
        }
    }

    /// Sends a body until there is an answer that settles it.
    async fn settle(&self, format: &Format, body: Bytes) -> Answer {
        let mut backoff = BACKOFF_MIN;
        loop {
            let sent = self.send(format, body.clone()).await;
            match rest(sent, &mut backoff) {
                ControlFlow::Break(answer) => return answer,
                ControlFlow::Continue((_, pause)) => self.pause(pause).await,
            }
        }
    }

    async fn send(&self, format: &Format, body: Bytes) -> Result<Answer, SendError> {
        let sending = async {
            let live = self.remote.live_headers().await;
            count(&self.remote.counts.catch_up_requests);
            self.remote.client(self.tenure).send(headers::replay(&live, format), body).await
        };
        let mut sending = std::pin::pin!(sending);
        if let Ok(sent) = tokio::time::timeout(SLOW_AFTER, &mut sending).await {
            return sent;
        }
        self.remote.shelf.set_intake(self.tenure, Intake::Open);
        sending.await
    }

    /// Requests must not wait for a remote that does not take anything.
    async fn pause(&self, pause: Duration) {
        self.remote.shelf.set_intake(self.tenure, Intake::Open);
        tokio::time::sleep(pause).await;
    }

    /// A batch that was answered with 400.
    async fn refused(&mut self, batch: &Batch, answer: &Answer) {
        let version = Version::of(Some(&batch.format.content_type));
        match verdict(version, answer) {
            Verdict::Settled => return,
            Verdict::Lost => return self.lost(answer),
            Verdict::Retry => {}
        }
        if self.speaks_v2 != Some(false) {
            match transcode(&batch.body) {
                Ok(transcoded) => {
                    let format = Format {
                        content_type: CONTENT_TYPE_V2.into(),
                        content_encoding: CONTENT_ENCODING.into(),
                        version: VERSION_HEADER_V2.into(),
                    };
                    let told = self.settle(&format, transcoded.body.into()).await.tells_written();
                    self.speaks_v2 = Some(told);
                    if told {
                        return;
                    }
                }
                Err(_) => return self.lost(answer),
            }
        }
        self.take_apart(batch, answer).await;
    }

    async fn take_apart(&mut self, batch: &Batch, answer: &Answer) {
        let mut apart = Apart::new(&batch.body);
        let mut lost = apart.is_empty();
        while let Some(piece) = apart.next() {
            let piece = Bytes::from(piece);
            let status = self.settle(&batch.format, piece.clone()).await.status;
            self.requests_left = self.requests_left.saturating_sub(1);
            if status.as_u16() == 400 {
                let may_split = self.requests_left > 0;
                lost |= !apart.refused(&piece, may_split);
            }
        }
        if lost {
            self.lost(answer);
        }
    }

    fn lost(&self, answer: &Answer) {
        count(&self.remote.counts.catch_up_lost);
        tracing::debug!(remote = %self.remote.settings().name, answer = %answer.text(), "a batch, or a part of it, was refused");
    }
}

/// What an attempt leaves to do: nothing, or to wait.
fn rest(sent: Result<Answer, SendError>, backoff: &mut Duration) -> ControlFlow<Answer, (Outcome, Duration)> {
    let outcome = sent.as_ref().map_or(Outcome::Again { retry_after: None }, Answer::outcome);
    let grown = (*backoff * 2).min(BACKOFF_MAX);
    let pause = match outcome {
        Outcome::Final { .. } => match sent {
            Ok(answer) => return ControlFlow::Break(answer),
            Err(_) => std::mem::replace(backoff, grown),
        },
        Outcome::Again { retry_after: Some(asked) } => asked.clamp(BACKOFF_MIN, RETRY_AFTER_MAX),
        Outcome::Again { retry_after: None } => std::mem::replace(backoff, grown),
        Outcome::Refused => TROUBLE_PAUSE,
    };
    ControlFlow::Continue((outcome, pause))
}
