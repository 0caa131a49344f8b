//! Taking over: the spool goes out in order, then requests pass.
//!
//! ```text
//! oldest batches -> send -> answered for good        -> next        (2xx, 409, 413, 422, receivers that store the valid part)
//!   in one, if     |---> 429, 5xx, no answer      -> wait, again, fewer at once  (Retry-After, else 30 ms to 5 s)
//!   of one format  |---> 401, 403, 404, redirect  -> wait, again   (this replica is broken: nothing is thrown away)
//!                  |---> 413, 422 for several     -> again, half as many
//!                  |---> 400 to 1.0 -> as 2.0 -> Written headers          -> next
//!                  |                      `----> none -> in pieces        -> next
//!                  `---> 400 to 2.0 -> Written headers                    -> next
//!                               `----> none -> several: again, half as many; one: lost
//! spool empty -> Writer
//! ```
//!
//! The spool holds what the old writer has written. A receiver that stores the valid part of a batch needs nothing more;
//! Prometheus with 1.0 refuses all of a batch for one sample. How the two are told apart is in [`refusal`](super::refusal),
//! how a batch is taken apart in [`apart`](super::apart).
//!
//! Invariants: one request at a time, of neighbours in their order (pieces: see there); a batch leaves the spool only when
//! it is answered for good. When the tenure ends the future is dropped wherever it is, and the next writer, or this one in
//! its next tenure, begins with the same batch.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;

use super::apart::{Apart, Learnt, Sending};
use super::attempt::Attempt;
use super::client::{Answer, SendError};
use super::fence::Tenure;
use super::forward::Remote;
use super::headers;
use super::received::Received;
use super::refusal::{Verdict, is_for_one, verdict};
use super::spool::{Batch, Format};
use super::standby::Intake;
use super::status::count;
use super::watermark::Outcome;
use super::wire::{CONTENT_ENCODING, CONTENT_TYPE_V2, Pieces, VERSION_HEADER_V2, Version, join, transcode};

/// Fewer batches than this are the end of the spool: new requests wait until it is empty.
const CLOSING_BATCHES: u64 = 64;
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
/// Most batches in one request.
const TOGETHER_MAX: usize = 64;
/// Most bytes of batches that go together, compressed: half of what the smallest usual limit of a proxy is.
const TOGETHER_BYTES_MAX: usize = 512 << 10;

/// Sends the spool of a remote, until requests pass through. To be dropped when the tenure ends.
pub(super) async fn drain(remote: &Remote, tenure: &Arc<Tenure>) {
    let mut catch_up = CatchUp::new(remote, tenure, Arc::default());
    let total = remote.shelf.size().batches;
    let begin = Instant::now();
    let name = remote.settings().name.clone();
    if total > 0 {
        tracing::info!(remote = %name, term = tenure.term(), batches = total, "catching up: the spool goes out first");
    }
    loop {
        match remote.shelf.fronts(together(catch_up.together)).await {
            Ok(batches) if !batches.is_empty() => {
                let is_long = begin.elapsed() > PACED_AFTER;
                let intake = match remote.shelf.size().batches {
                    0..=CLOSING_BATCHES => Intake::Closed,
                    _ if is_long => Intake::Paced,
                    _ => Intake::Open,
                };
                remote.shelf.set_intake(tenure, intake);
                if !catch_up.deliver(&batches).await {
                    continue;
                }
                if let Err(error) = remote.shelf.pop(tenure, batches.len()).await {
                    tracing::warn!(remote = %name, %error, "the spool cannot be shortened: a batch is sent twice");
                    tokio::time::sleep(TROUBLE_PAUSE).await;
                }
                remote.progressed(tenure, batches.len());
                remote.shelf.give_turns(batches.len().div_ceil(2));
            }
            Ok(_) => {
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

/// Sends a request that passed through, and was refused for what the former writer had written already, like a batch of the spool. To
/// be dropped when the tenure ends.
pub(super) async fn send_again(remote: &Remote, tenure: &Arc<Tenure>, received: &Received, refused: &Answer) {
    let learnt = remote.with_progress(tenure, |progress| progress.learnt.clone()).unwrap_or_default();
    CatchUp::new(remote, tenure, learnt).refused(&received.format, &received.body, refused).await;
}

/// Chooses the batches behind the first one that go out with it.
fn together(limit: usize) -> impl FnMut(&Batch, &Batch) -> bool + Send + 'static {
    let (mut count, mut behind_bytes) = (1, 0);
    move |first, next| {
        count += 1;
        behind_bytes += next.body.len();
        let is_known = version_of(&first.format).is_some();
        let is_alike = first.range.is_some() && next.range.is_some() && first.format == next.format;
        is_known && is_alike && count <= limit && first.body.len() + behind_bytes <= TOGETHER_BYTES_MAX
    }
}

fn version_of(format: &Format) -> Option<Version> {
    Version::of(Some(&format.content_type))
}

/// Puts several batches of one format together.
fn joined(batches: &[Batch]) -> Option<Vec<u8>> {
    let version = version_of(&batches.first()?.format)?;
    join(version, batches.iter().map(|batch| batch.body.as_slice())).ok()
}

/// Opens batches in the watermark; `None`: too many are open.
fn begin<'a>(remote: &'a Remote, tenure: &Arc<Tenure>, batches: &[Batch]) -> Option<Vec<Attempt<'a>>> {
    batches.iter().map(|batch| remote.begin(tenure, &batch.body, batch.range)).collect()
}

/// One catch-up.
struct CatchUp<'a> {
    remote: &'a Remote,
    tenure: &'a Arc<Tenure>,
    /// Whether the receiver tells what it has written, once known.
    speaks_v2: Option<bool>,
    /// Whether it refuses a whole request for one sample.
    is_strict: bool,
    /// Batches that may go out together.
    together: usize,
    learnt: Arc<Learnt>,
}

impl<'a> CatchUp<'a> {
    fn new(remote: &'a Remote, tenure: &'a Arc<Tenure>, learnt: Arc<Learnt>) -> Self {
        Self { remote, tenure, speaks_v2: None, is_strict: false, together: TOGETHER_MAX, learnt }
    }

    /// Sends batches until they are answered for good. `false`: they are to be chosen anew.
    async fn deliver(&mut self, batches: &[Batch]) -> bool {
        let Some(first) = batches.first() else { return true };
        let body = match batches {
            [single] => single.body.clone(),
            several => {
                // One of them is not what its range says, or all of them are too much.
                let Some(body) = joined(several) else {
                    self.halve(batches.len());
                    return false;
                };
                body
            }
        };
        let body = Bytes::from(body);
        let mut backoff = BACKOFF_MIN;
        loop {
            let Some(mut attempts) = begin(self.remote, self.tenure, batches) else {
                tokio::time::sleep(BACKOFF_MAX).await;
                continue;
            };
            let sent = self.send(&first.format, body.clone()).await;
            self.remote.note(&sent);
            match rest(sent, &mut backoff) {
                ControlFlow::Break(answer) => {
                    if batches.len() > 1 && is_for_one(version_of(&first.format), &answer) {
                        self.halve(batches.len());
                        return false;
                    }
                    if answer.status == StatusCode::BAD_REQUEST {
                        self.refused(&first.format, &body, &answer).await;
                    } else if self.is_strict {
                        self.learnt.has_taken(&body);
                    }
                    if batches.len() >= self.together {
                        self.together = TOGETHER_MAX.min(self.together + self.together.div_ceil(4));
                    }
                    for attempt in &mut attempts {
                        attempt.outcome = answer.outcome();
                    }
                    return true;
                }
                ControlFlow::Continue((outcome, pause)) => {
                    for attempt in &mut attempts {
                        attempt.outcome = outcome;
                    }
                    drop(attempts);
                    self.pause(pause).await;
                    if batches.len() > 1 {
                        // It may be too much for the remote, or for its limit of samples at once.
                        self.halve(batches.len());
                        return false;
                    }
                }
            }
        }
    }

    /// So many were too many.
    fn halve(&mut self, count: usize) {
        self.together = (count / 2).max(1);
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

    /// A body that was answered with 400.
    async fn refused(&mut self, format: &Format, body: &[u8], answer: &Answer) {
        match verdict(version_of(format), answer) {
            Verdict::Settled => return,
            Verdict::Lost => return self.lost(answer),
            Verdict::Retry => {}
        }
        if self.speaks_v2 != Some(false) {
            match transcode(body) {
                Ok(transcoded) => {
                    let v2 = Format {
                        content_type: CONTENT_TYPE_V2.into(),
                        content_encoding: CONTENT_ENCODING.into(),
                        version: VERSION_HEADER_V2.into(),
                    };
                    let told = self.settle(&v2, transcoded.body.into()).await.tells_written();
                    self.speaks_v2 = Some(told);
                    if told {
                        return;
                    }
                }
                Err(_) => return self.lost(answer),
            }
        }
        self.is_strict = true;
        let Ok(pieces) = Pieces::read(body) else { return self.lost(answer) };
        let this = &*self;
        let offer =
            |piece| -> Sending<'_> { Box::pin(async move { this.settle(format, piece).await.status.as_u16() != 400 }) };
        if Apart::send(&pieces, &this.learnt, &offer).await {
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
