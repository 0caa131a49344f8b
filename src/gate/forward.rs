//! One remote at work: what is done with a request of the own Prometheus.
//!
//! ```text
//! request -> read -> route -> spooled: 204 at once, with the Written headers of 2.0
//!                      ^  `-> through: sent once, the remote's answer is passed back
//!                      |         |     (refused for a sample of before the takeover: like one of the spool)
//!                      +---------+ authority ended on the way: it was cut, and is routed again
//! ```
//!
//! Invariants: a batch that passes through is open in the watermark from before its first byte until its answer, also when
//! Prometheus leaves in between. Without an answer Prometheus gets 502 or 504 and repeats the request itself.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use tokio::sync::watch;

use super::answer::{accepted, passed, refusal};
use super::apart::Learnt;
use super::attempt::{Attempt, Waiting};
use super::client::{Answer, Client, SendError};
use super::cover::Reach;
use super::fence::Tenure;
use super::prometheus::QueueSince;
use super::received::{Received, summary};
use super::refusal::{self, Unfit, Verdict};
use super::remote::RemoteSettings;
use super::runtime::GateSettings;
use super::spool::SpoolError;
use super::standby::{Phase, Route, Shelf};
use super::status::{Counts, count};
use super::watermark::{BatchKey, Outcome, Publisher, Timing, Watermark, key, usable};
use super::{TimeRange, drain, headers, lock, margin, wall_ms};

/// Changes of authority that one request may meet.
const ROUTES_MAX: usize = 4;

/// Larger bodies are read on a blocking thread.
const READ_INLINE_BYTES_MAX: usize = 256 << 10;

/// The writer's progress within one tenure.
pub(super) struct Progress {
    pub(super) tenure: Arc<Tenure>,
    pub(super) since: Instant,
    /// The same in Unix milliseconds.
    begun_ms: i64,
    /// Batches of the spool that have gone out in it.
    pub(super) caught_up: u64,
    pub(super) watermark: Watermark,
    pub(super) publisher: Publisher,
    /// About a strict receiver, from requests that passed through.
    pub(super) learnt: Arc<Learnt>,
}

/// One remote.
pub(super) struct Remote {
    settings: Mutex<Arc<RemoteSettings>>,
    base: PathBuf,
    /// Directory of its spool.
    pub(super) dir: PathBuf,
    /// What standbys keep below the watermark, in milliseconds.
    pub(super) margin_ms: AtomicI64,
    pub(super) shelf: Shelf,
    pub(super) progress: Mutex<Option<Progress>>,
    client: Mutex<Option<Client>>,
    /// End-to-end headers of the newest request, with the credentials that a replayed batch goes with.
    live: watch::Sender<Option<HeaderMap>>,
    pub(super) counts: Counts,
    pub(super) seen: Mutex<Seen>,
    /// Since when this remote's queue in the own Prometheus has run unchanged.
    pub(super) since: Mutex<Option<QueueSince>>,
    /// Since it has been refusing this replica for too long, and until when that counts.
    pub(super) unfit: Mutex<Option<Unfit>>,
    /// Requests on their way to the remote.
    pub(super) in_flight: watch::Sender<usize>,
}

/// What was seen last.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// A request of the own Prometheus.
    pub(super) received: Option<Instant>,
    /// A success.
    pub(super) accepted: Option<Instant>,
    /// What was no success, if it was the newest answer.
    pub(super) error: Option<String>,
}

impl Remote {
    pub(super) fn new(
        settings: RemoteSettings,
        base: PathBuf,
        dir: PathBuf,
        shelf: Shelf,
        since: Option<QueueSince>,
    ) -> Self {
        Self {
            settings: Mutex::new(Arc::new(settings)),
            base,
            dir,
            // Until it is known nothing is dropped.
            margin_ms: AtomicI64::new(i64::MAX),
            shelf,
            progress: Mutex::new(None),
            client: Mutex::new(None),
            live: watch::Sender::new(None),
            counts: Counts::default(),
            seen: Mutex::default(),
            since: Mutex::new(since),
            unfit: Mutex::default(),
            in_flight: watch::Sender::new(0),
        }
    }

    pub(super) fn settings(&self) -> Arc<RemoteSettings> {
        lock(&self.settings).clone()
    }

    /// Sets what standbys keep below the watermark.
    pub(super) fn set_margin(&self, gate: &GateSettings, longest_interval: Duration) {
        let deadline = self.settings().queue.batch_send_deadline;
        let margin = margin::margin(longest_interval, gate.extra_interval, deadline, gate.watermark_period);
        self.margin_ms.store(i64::try_from(margin.as_millis()).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// What its cover is judged by. `values`: the group's.
    pub(super) fn reach(&self, values: &BTreeMap<String, String>) -> Reach {
        let settings = self.settings();
        let value = values.get(&key(&settings.name));
        Reach {
            since_ms: lock(&self.since).as_ref().map(|since| since.since_ms),
            watermark_ms: value.and_then(|value| usable(value, &settings.url.id(), i64::MAX)),
            margin_ms: self.margin_ms.load(Ordering::Relaxed),
            now_ms: wall_ms(),
        }
    }

    /// Why this member should not write to it: it refuses this replica (401, 403, 404 …), and may take another one's.
    pub(super) fn unfit(&self, now: Instant) -> Option<String> {
        let refused_since = lock(&self.progress).as_ref().and_then(|progress| progress.watermark.refused_since());
        let error = lock(&self.seen).error.clone();
        let mut unfit = lock(&self.unfit);
        *unfit = refusal::fitness(unfit.take(), refused_since, error, now);
        unfit.as_ref().map(|unfit| unfit.why.clone())
    }

    /// Replaces the settings; connections with other ones end when their requests have. A new URL starts its watermark anew.
    pub(super) fn replace_settings(&self, settings: RemoteSettings, period: Duration) {
        let settings = Arc::new(settings);
        let old = std::mem::replace(&mut *lock(&self.settings), settings.clone());
        lock(&self.client).take();
        lock(&self.unfit).take();
        let is_new_url = old.url.id() != settings.url.id();
        if !is_new_url && old.queue == settings.queue {
            return;
        }
        if let Some(progress) = &mut *lock(&self.progress) {
            progress.watermark = Watermark::new(timing(&settings, period), Instant::now());
            if is_new_url {
                progress.publisher = Publisher::new(&settings.url.id(), period, None);
            }
        }
    }

    /// Answers a request of the own Prometheus.
    pub(super) async fn handle(&self, headers: &HeaderMap, body: Bytes) -> Response<Body> {
        let received = Arc::new(self.read(headers, body).await);
        lock(&self.seen).received = Some(Instant::now());
        self.live.send_replace(Some(received.headers.clone()));
        for _ in 0..ROUTES_MAX {
            let batch = received.clone();
            let Ok(_waiting) = self.waits(&received) else {
                let message = "too many requests wait for the remote";
                return refusal(StatusCode::SERVICE_UNAVAILABLE, message);
            };
            match self.shelf.route(move || batch.to_batch()).await {
                Ok(Route::Spooled) => {
                    count(&self.counts.spooled);
                    self.keeps(&received);
                    return accepted(received.summary.as_ref());
                }
                Err(error) => {
                    count(&self.counts.spool_refused);
                    let is_odd = matches!(error, SpoolError::Header { .. });
                    let status = if is_odd { StatusCode::BAD_REQUEST } else { StatusCode::SERVICE_UNAVAILABLE };
                    return refusal(status, &error.to_string());
                }
                Ok(Route::Through(tenure)) => match self.forward(&tenure, &received).await {
                    Err(SendError::Ended) => count(&self.counts.cut),
                    Err(error) => {
                        count(&self.counts.unanswered);
                        let is_late = matches!(error, SendError::Timeout(_));
                        let status = if is_late { StatusCode::GATEWAY_TIMEOUT } else { StatusCode::BAD_GATEWAY };
                        return refusal(status, &error.to_string());
                    }
                    Ok(None) => {
                        let message = "too many requests wait for the remote";
                        return refusal(StatusCode::SERVICE_UNAVAILABLE, message);
                    }
                    Ok(Some(answer)) => {
                        self.counts.answered(answer.status);
                        return passed(answer);
                    }
                },
            }
        }
        refusal(StatusCode::SERVICE_UNAVAILABLE, "the leadership of the group keeps changing")
    }

    /// Sends a request through; `None`: too many are open.
    async fn forward(&self, tenure: &Arc<Tenure>, received: &Received) -> Result<Option<Answer>, SendError> {
        let Some(mut attempt) = self.begin(tenure, &received.body, received.range()) else { return Ok(None) };
        let sent = self.client(tenure).send(received.headers.clone(), received.body.clone()).await;
        self.note(&sent);
        let mut answer = sent?;
        if self.may_be_sent_again(tenure, received, &answer) {
            tokio::select! {
                biased;
                () = tenure.ended() => return Err(SendError::Ended),
                () = drain::send_again(self, tenure, received, &answer) => {}
            }
            answer = Answer { status: StatusCode::NO_CONTENT, headers: HeaderMap::new(), body: Bytes::new() };
        }
        attempt.outcome = answer.outcome();
        drop(attempt);
        Ok(Some(answer))
    }

    /// Whether all of a request was refused because the former writer had written later samples of the same series.
    fn may_be_sent_again(&self, tenure: &Arc<Tenure>, received: &Received, answer: &Answer) -> bool {
        let Some(summary) = received.summary.filter(|_| answer.status == StatusCode::BAD_REQUEST) else { return false };
        refusal::verdict(Some(summary.version), answer) == Verdict::Retry
            && self.with_progress(tenure, |progress| received.reaches_back_to(progress.begun_ms)) == Some(true)
    }

    /// A batch that is spooled while leadership is being handed over is not finished: the final watermark must not claim it.
    fn keeps(&self, received: &Received) {
        let Some(range) = received.range() else { return };
        let mut progress = lock(&self.progress);
        let gives_way = matches!(self.shelf.phase(), Phase::Standby);
        if let Some(progress) = progress.as_mut().filter(|_| gives_way) {
            let key = BatchKey::of(&received.body);
            // Too many are open: their floors hold the watermark.
            if progress.watermark.begin(key, range) {
                progress.watermark.end(key, Outcome::Again { retry_after: None }, Instant::now());
            }
        }
    }

    /// Counts a request in the watermark that may wait for the end of a catch-up: it is not in the spool yet.
    fn waits(&self, received: &Received) -> Result<Option<Waiting<'_>>, ()> {
        let (Phase::CatchingUp { tenure, .. }, Some(range)) = (self.shelf.phase(), received.range()) else {
            return Ok(None);
        };
        let key = BatchKey::of(&received.body);
        match self.with_progress(&tenure, |progress| progress.watermark.begin(key, range)) {
            Some(false) => Err(()),
            Some(true) => Ok(Some(Waiting { remote: self, tenure, key })),
            None => Ok(None),
        }
    }

    /// Opens a batch in the watermark; `None`: too many are open.
    pub(super) fn begin<'a>(
        &'a self,
        tenure: &Arc<Tenure>,
        body: &[u8],
        range: Option<TimeRange>,
    ) -> Option<Attempt<'a>> {
        let key = BatchKey::of(body);
        if let Some(range) = range {
            let has_begun = self.with_progress(tenure, |progress| progress.watermark.begin(key, range));
            if has_begun == Some(false) {
                return None;
            }
        }
        let outcome = Outcome::Again { retry_after: None };
        self.in_flight.send_modify(|count| *count += 1);
        Some(Attempt { remote: self, tenure: tenure.clone(), key, outcome })
    }

    /// Keeps the newest answer in mind, or why there is none.
    pub(super) fn note(&self, sent: &Result<Answer, SendError>) {
        let error = match sent {
            Ok(answer) if answer.status.is_success() => None,
            Ok(answer) => Some(format!("the remote answers {} {}", answer.status.as_u16(), answer.text())),
            Err(SendError::Ended) => return,
            Err(error) => Some(error.to_string()),
        };
        lock(&self.seen).error = error;
    }

    /// Batches of the spool have gone out.
    pub(super) fn progressed(&self, tenure: &Arc<Tenure>, batches: usize) {
        self.counts.caught_up.fetch_add(batches as u64, Ordering::Relaxed);
        self.with_progress(tenure, |progress| progress.caught_up += batches as u64);
    }

    /// Requests on their way to the remote.
    pub(super) fn in_flight(&self) -> usize {
        *self.in_flight.borrow()
    }

    /// Completes when no request is on its way.
    pub(super) async fn is_idle(&self) {
        // The sender is this remote's own: there is always a value.
        let _ = self.in_flight.subscribe().wait_for(|count| *count == 0).await;
    }

    /// The client for the present settings within a tenure.
    pub(super) fn client(&self, tenure: &Arc<Tenure>) -> Client {
        let settings = self.settings();
        let mut client = lock(&self.client);
        match &*client {
            Some(client) if client.is_for(&settings, tenure) => client.clone(),
            _ => client.insert(Client::new(settings, tenure.clone(), &self.base)).clone(),
        }
    }

    /// Makes another client if files of `tls_config` have changed.
    pub(super) async fn refresh_client(&self) {
        let Some(client) = lock(&self.client).clone() else { return };
        if client.is_stale().await {
            tracing::info!(remote = %self.settings().name, "files of tls_config have changed: connecting anew");
            lock(&self.client).take();
        }
    }

    /// Headers of the newest request, waiting for the first one.
    pub(super) async fn live_headers(&self) -> HeaderMap {
        let mut live = self.live.subscribe();
        match live.wait_for(Option::is_some).await.map(|headers| headers.clone()) {
            Ok(Some(headers)) => headers,
            // The sender is this remote: it is there.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// A tenure begins. `current`: what stands among the group's values.
    pub(super) fn begin_tenure(&self, tenure: &Arc<Tenure>, period: Duration, current: Option<&str>) {
        let settings = self.settings();
        let watermark = Watermark::new(timing(&settings, period), Instant::now());
        let publisher = Publisher::new(&settings.url.id(), period, current);
        *lock(&self.progress) = Some(Progress {
            tenure: tenure.clone(),
            since: Instant::now(),
            begun_ms: wall_ms(),
            caught_up: 0,
            watermark,
            publisher,
            learnt: Arc::default(),
        });
        self.shelf.catch_up(tenure);
    }

    /// A tenure has ended.
    pub(super) fn end_tenure(&self) {
        self.shelf.stand_by();
        lock(&self.progress).take();
        lock(&self.client).take();
    }

    /// Works on the progress of a tenure, if that is the present one.
    pub(super) fn with_progress<T>(&self, tenure: &Arc<Tenure>, work: impl FnOnce(&mut Progress) -> T) -> Option<T> {
        lock(&self.progress).as_mut().filter(|progress| Arc::ptr_eq(&progress.tenure, tenure)).map(work)
    }

    async fn read(&self, headers: &HeaderMap, body: Bytes) -> Received {
        let (format, arrival_ms) = (headers::format(headers), wall_ms());
        let summary = if body.len() <= READ_INLINE_BYTES_MAX {
            summary(&format, &body, arrival_ms)
        } else {
            let (format, body) = (format.clone(), body.clone());
            let read = tokio::task::spawn_blocking(move || summary(&format, &body, arrival_ms));
            read.await.unwrap_or_else(|error| Err(error.to_string()))
        };
        if let Err(error) = &summary {
            count(&self.counts.unreadable);
            tracing::debug!(remote = %self.settings().name, error, "a body that cannot be read is kept as it is");
        }
        self.counts.bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
        Received { headers: headers::end_to_end(headers), format, summary: summary.ok(), body, arrival_ms }
    }
}

fn timing(settings: &RemoteSettings, period: Duration) -> Timing {
    let queue = settings.queue;
    Timing { batch_send_deadline: queue.batch_send_deadline, max_backoff: queue.max_backoff, period }
}
