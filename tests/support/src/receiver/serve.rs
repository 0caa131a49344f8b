//! Serving: notes the head, reads the body, answers as it was told.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use super::behaviour::Behaviour;
use super::decode::{self, Point, Version};
use super::record::{End, Request};
use super::store::{Order, Sorted};
use super::{Log, Shared, TERM_HEADER, lock};

/// Pause after an accept that failed, for want of file descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

type Answer = Response<Full<Bytes>>;

/// Why a connection is closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("closed without an answer")]
struct Closed;

pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    loop {
        let Ok((socket, from)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(|request| handle(Arc::clone(&shared), from.ip(), request));
            // A connection that breaks is noted with its request.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
        });
    }
}

/// The note about one request; dropped before its end, the request was broken off.
struct Note {
    shared: Arc<Shared>,
    index: usize,
}

impl Note {
    fn begin(shared: Arc<Shared>, from: IpAddr, headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let term = text(TERM_HEADER).and_then(|term| term.parse().ok());
        let mut log = lock(&shared.log);
        let index = log.requests.len();
        // Under the lock, so that the order of the notes is that of their times.
        let request = Request::begun(Instant::now(), term, text(AUTHORIZATION.as_str()).and_then(user));
        log.requests.push(Request { from: Some(from), ..request });
        drop(log);
        Self { shared, index }
    }

    fn write<T>(&self, work: impl FnOnce(&mut Log, usize) -> T) -> T {
        work(&mut lock(&self.shared.log), self.index)
    }

    fn end(&self, end: End) {
        self.write(|log, index| {
            log.requests[index].end.get_or_insert((Instant::now(), end));
        });
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        self.end(End::Broken);
    }
}

/// User of basic credentials.
fn user(authorization: &str) -> Option<String> {
    let pair = BASE64_STANDARD.decode(authorization.strip_prefix("Basic ")?).ok()?;
    Some(String::from_utf8(pair).ok()?.split_once(':')?.0.to_owned())
}

async fn handle(shared: Arc<Shared>, from: IpAddr, request: http::Request<Incoming>) -> Result<Answer, Closed> {
    let note = Note::begin(Arc::clone(&shared), from, request.headers());
    let mut behaviour = shared.behaviour.subscribe();
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Closed)?.to_bytes();
    if *behaviour.borrow() == Behaviour::Sink {
        return Ok(answer(&note, StatusCode::NO_CONTENT, ""));
    }
    let content_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let read = decode::version(content_type).and_then(|version| Ok((version, decode::points(version, &body)?)));
    let (version, points) = match read {
        Ok(read) => read,
        Err(error) => return Ok(answer(&note, StatusCode::BAD_REQUEST, &format!("{error:#}"))),
    };
    note.write(|log, index| {
        let request = &mut log.requests[index];
        (request.whole, request.version) = (Some(Instant::now()), Some(version));
        request.points.clone_from(&points);
    });
    let mut current = behaviour.borrow_and_update().clone();
    loop {
        current = match current {
            Behaviour::Slow(pause, then) => {
                tokio::time::sleep(pause).await;
                *then
            }
            Behaviour::Stuck(text, then) => {
                let is_stuck = points.iter().any(|point| point.series.contains(&text));
                if is_stuck { Behaviour::Hang } else { *then }
            }
            Behaviour::Hang => {
                // Ends with the receiver, with a new behaviour, or with the connection.
                let _ = behaviour.changed().await;
                return Err(Closed);
            }
            Behaviour::Reset => return Err(Closed),
            Behaviour::Status(code) => {
                let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                return Ok(answer(&note, status, "as it was told"));
            }
            Behaviour::TooMany(pause) => {
                let mut told = answer(&note, StatusCode::TOO_MANY_REQUESTS, "slow down");
                told.headers_mut().insert(RETRY_AFTER, pause.as_secs().into());
                return Ok(told);
            }
            Behaviour::Forward(to) => return forward(&note, &shared.forwarder, to, &head.headers, body).await,
            storing => return Ok(store(&note, &storing, version, points)),
        };
    }
}

/// Has a real receiver answer.
async fn forward(
    note: &Note,
    client: &reqwest::Client,
    to: SocketAddr,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Answer, Closed> {
    let mut request = client.post(format!("http://{to}/api/v1/write")).body(body);
    for name in [CONTENT_TYPE, CONTENT_ENCODING] {
        if let Some(value) = headers.get(&name) {
            request = request.header(name, value);
        }
    }
    let response = request.send().await.map_err(|_| Closed)?;
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.map_err(|_| Closed)?;
    let mut told = answer(note, status, &text);
    let is_told = |name: &http::HeaderName| name.as_str().starts_with("x-prometheus-remote-write-");
    told.headers_mut().extend(headers.into_iter().filter(|(name, _)| name.as_ref().is_some_and(is_told)));
    Ok(told)
}

/// Stores what the behaviour allows.
fn store(note: &Note, behaviour: &Behaviour, version: Version, points: Vec<Point>) -> Answer {
    let order = if *behaviour == Behaviour::Accept { Order::Any } else { Order::Rising };
    if *behaviour == Behaviour::OldPrometheus && version == Version::V2 {
        // It reads the fields of 1.0, finds none, and is content.
        return answer(note, StatusCode::NO_CONTENT, "");
    }
    let is_whole = version == Version::V1 && matches!(behaviour, Behaviour::Prometheus | Behaviour::OldPrometheus);
    let Sorted { taken, refused } = note.write(|log, index| {
        let mut sorted = log.store.sort(order, points);
        if is_whole && !sorted.refused.is_empty() {
            sorted.taken.clear();
        }
        log.store.add(&sorted.taken);
        log.requests[index].stored = sorted.taken.len();
        sorted
    });
    let mut told = match refused.first() {
        None => answer(note, StatusCode::NO_CONTENT, ""),
        Some(point) if *behaviour == Behaviour::Mimir => {
            let text = format!(
                "failed pushing to ingester: user=anonymous: the sample has been rejected because another sample with a \
                 more recent timestamp has already been ingested (err-mimir-sample-out-of-order). series {}",
                point.series
            );
            answer(note, StatusCode::BAD_REQUEST, &text)
        }
        Some(_) => answer(note, StatusCode::BAD_REQUEST, "out of order sample"),
    };
    if version == Version::V2 {
        let numbers = [("samples", taken.len()), ("histograms", 0), ("exemplars", 0)];
        for (what, number) in numbers {
            let name = format!("x-prometheus-remote-write-{what}-written");
            if let Ok(name) = http::HeaderName::try_from(name) {
                told.headers_mut().insert(name, number.into());
            }
        }
    }
    told
}

fn answer(note: &Note, status: StatusCode, text: &str) -> Answer {
    note.end(End::Answered(status.as_u16()));
    let mut answer = Response::new(Full::new(Bytes::from(text.to_owned())));
    *answer.status_mut() = status;
    answer
}
