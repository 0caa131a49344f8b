//! What the gate's tests share: batches, leadership, a receiver that decodes and records, and a gate behind its listener.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod member;

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use elector_raft::{Authority, Leadership, Now};
use http::{HeaderMap, Request, Response, StatusCode, Version as HttpVersion};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::remote::{ClientSettings, QueueSettings, RemoteSettings, RemoteUrl};
use super::wire::testing::{body, message, v1, v2};
use super::wire::{CONTENT_TYPE_V2, Version};
use super::{Routes, lock};

pub(super) use self::member::{Member, PERIOD, eventually};

/// Settings of a remote `r` with a URL.
pub(super) fn settings(url: &str) -> RemoteSettings {
    RemoteSettings {
        name: "r".into(),
        path: "/write/r".into(),
        url: RemoteUrl::parse(url).unwrap(),
        client: ClientSettings { remote_timeout: Duration::from_secs(5), ..ClientSettings::default() },
        queue: QueueSettings { batch_send_deadline: Duration::ZERO, max_backoff: Duration::ZERO },
        line: 1,
    }
}

/// A render with these remotes.
pub(super) fn routes(remotes: &[RemoteSettings]) -> Routes {
    Routes { remotes: remotes.to_vec(), longest_interval: Some(Duration::ZERO), ..Routes::default() }
}

/// Authority without an end.
pub(super) fn leads(term: u64) -> Leadership {
    Leadership { term, leader: None, authority: Authority::SoleVoter }
}

/// Authority for a while.
pub(super) fn leads_for(term: u64, duration: Duration) -> Leadership {
    let deadline = Instant::now() + duration;
    Leadership { term, leader: None, authority: Authority::Until { deadline, suspended: Now::read().suspended } }
}

/// Another member leads.
pub(super) fn follows(term: u64) -> Leadership {
    Leadership { term, leader: None, authority: Authority::None }
}

/// A sample: series and Unix milliseconds.
pub(super) type Point = (String, i64);

/// Points with names of their own.
pub(super) fn owned(points: &[(&str, i64)]) -> Vec<Point> {
    points.iter().map(|&(name, at)| (name.to_owned(), at)).collect()
}

fn label(name: &str, value: &str) -> v1::Label {
    v1::Label { name: name.into(), value: value.into() }
}

/// A request of 1.0 with one sample per point.
pub(super) fn batch(points: &[(&str, i64)]) -> Bytes {
    let series = |&(name, timestamp): &(&str, i64)| v1::TimeSeries {
        labels: vec![label("__name__", name)],
        samples: vec![v1::Sample { value: 1.0, timestamp }],
        ..Default::default()
    };
    let request = v1::WriteRequest { timeseries: points.iter().map(series).collect(), metadata: Vec::new() };
    body(&request).into()
}

/// A request of 2.0.
pub(super) fn batch_v2(points: &[(&str, i64)]) -> Bytes {
    let mut symbols = vec![String::new(), "__name__".to_owned()];
    let timeseries = points
        .iter()
        .map(|&(name, timestamp)| {
            symbols.push(name.to_owned());
            let labels_refs = vec![1, u32::try_from(symbols.len() - 1).unwrap()];
            let samples = vec![v2::Sample { value: 1.0, timestamp, start_timestamp: 0 }];
            v2::TimeSeries { labels_refs, samples, ..Default::default() }
        })
        .collect();
    body(&v2::Request { symbols, timeseries }).into()
}

/// Headers of Prometheus.
pub(super) fn headers_of(version: Version) -> HeaderMap {
    let (content_type, version) = match version {
        Version::V1 => ("application/x-protobuf", "0.1.0"),
        Version::V2 => (CONTENT_TYPE_V2, "2.0.0"),
    };
    let mut headers = HeaderMap::new();
    headers.insert("content-type", content_type.parse().unwrap());
    headers.insert("content-encoding", "snappy".parse().unwrap());
    headers.insert("x-prometheus-remote-write-version", version.parse().unwrap());
    headers.insert("authorization", "Bearer of-the-sender".parse().unwrap());
    headers
}

fn points_of(version: Version, body: &[u8]) -> Vec<Point> {
    match version {
        Version::V1 => message::<v1::WriteRequest>(body)
            .timeseries
            .into_iter()
            .flat_map(|series| {
                let name = series.labels.iter().find(|label| label.name == "__name__").unwrap().value.clone();
                series.samples.into_iter().map(move |sample| (name.clone(), sample.timestamp))
            })
            .collect(),
        Version::V2 => {
            let request = message::<v2::Request>(body);
            let name_of = |refs: &[u32]| request.symbols[refs[1] as usize].clone();
            let all = request.timeseries.iter();
            all.flat_map(|series| series.samples.iter().map(|s| (name_of(&series.labels_refs), s.timestamp))).collect()
        }
    }
}

/// How a receiver treats a batch that holds something out of order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Stores what is new, 204.
    Lenient,
    /// Prometheus 2.42: stores nothing of a 1.0 batch, 400; takes 2.0 without storing, 204.
    Prometheus2,
    /// Prometheus 3: as before with 1.0; of 2.0 the valid part, 400 with the Written headers.
    Prometheus3,
    /// Stores the valid part, 400; does not know 2.0.
    Mimir,
    /// Stores what is new, 204; more than so many samples are too much, 413.
    Limited(usize),
}

/// What a receiver has seen of one request.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) uri: String,
    pub(super) http: HttpVersion,
    pub(super) headers: HeaderMap,
}

impl Seen {
    pub(super) fn term(&self) -> u64 {
        self.headers["x-prometheus-elector-term"].to_str().unwrap().parse().unwrap()
    }
}

struct Store {
    kind: Kind,
    newest: HashMap<String, i64>,
    stored: Vec<Point>,
    seen: Vec<Seen>,
    /// Answers instead of storing, first to last.
    answers: Vec<(u16, &'static [(&'static str, &'static str)])>,
    delay: Duration,
    /// Requests that have arrived, answered or not.
    arrived: usize,
}

/// A receiver of remote write.
#[derive(Clone)]
pub(super) struct Receiver {
    pub(super) address: SocketAddr,
    store: Arc<Mutex<Store>>,
}

impl Receiver {
    /// A receiver on a port of loopback.
    pub(super) async fn start(kind: Kind) -> Self {
        Self::start_with(kind, None).await
    }

    /// With TLS, and HTTP/2 if the acceptor offers it.
    pub(super) async fn start_with(kind: Kind, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let store = Store {
            kind,
            newest: HashMap::new(),
            stored: Vec::new(),
            seen: Vec::new(),
            answers: Vec::new(),
            delay: Duration::ZERO,
            arrived: 0,
        };
        let receiver = Self { address, store: Arc::new(Mutex::new(store)) };
        let accepting = receiver.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (receiver, tls) = (accepting.clone(), tls.clone());
                tokio::spawn(async move {
                    let service = service_fn(move |request| receiver.clone().answer(request));
                    let Some(tls) = tls else {
                        let http = hyper::server::conn::http1::Builder::new();
                        let _ = http.serve_connection(TokioIo::new(stream), service).await;
                        return;
                    };
                    let Ok(stream) = tls.accept(stream).await else { return };
                    let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    if is_h2 {
                        let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                        let _ = http.serve_connection(TokioIo::new(stream), service).await;
                    } else {
                        let http = hyper::server::conn::http1::Builder::new();
                        let _ = http.serve_connection(TokioIo::new(stream), service).await;
                    }
                });
            }
        });
        receiver
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/api/v1/push", self.address)
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let (parts, body) = request.into_parts();
        let Ok(body) = body.collect().await else { return Ok(Response::new(Full::default())) };
        let delay = {
            let mut store = lock(&self.store);
            store.arrived += 1;
            store.delay
        };
        tokio::time::sleep(delay).await;
        Ok(lock(&self.store).take(&parts, &body.to_bytes()))
    }

    /// Answers the next requests with these, storing nothing.
    pub(super) fn answers(&self, answers: &[(u16, &'static [(&'static str, &'static str)])]) {
        lock(&self.store).answers = answers.to_vec();
    }

    /// Takes its time.
    pub(super) fn set_delay(&self, delay: Duration) {
        lock(&self.store).delay = delay;
    }

    /// Requests that have arrived, answered or not.
    pub(super) fn arrived(&self) -> usize {
        lock(&self.store).arrived
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        lock(&self.store).seen.clone()
    }

    /// What is stored, in order.
    pub(super) fn stored(&self) -> Vec<Point> {
        lock(&self.store).stored.clone()
    }

    /// Puts a sample there, as another writer did.
    pub(super) fn has(&self, series: &str, timestamp: i64) {
        lock(&self.store).newest.insert(series.into(), timestamp);
    }
}

impl Store {
    fn take(&mut self, parts: &http::request::Parts, body: &[u8]) -> Response<Full<Bytes>> {
        let content_type = parts.headers.get("content-type").map(|value| value.to_str().unwrap());
        let version = Version::of(content_type).unwrap();
        let points = points_of(version, body);
        let mut response = Response::new(Full::default());
        if self.answers.is_empty() {
            let (status, text, written) = self.store(version, &points);
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            *response.body_mut() = Full::from(text);
            if let Some(written) = written {
                response.headers_mut().insert("x-prometheus-remote-write-samples-written", written.into());
            }
        } else {
            let (status, headers) = self.answers.remove(0);
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            for (name, value) in headers {
                response.headers_mut().insert(*name, value.parse().unwrap());
            }
        }
        self.seen.push(Seen { uri: parts.uri.to_string(), http: parts.version, headers: parts.headers.clone() });
        response
    }

    fn store(&mut self, version: Version, points: &[Point]) -> (u16, &'static str, Option<u64>) {
        let is_new = |newest: &HashMap<String, i64>, (name, at): &Point| newest.get(name).is_none_or(|old| at > old);
        if matches!(self.kind, Kind::Limited(samples_max) if points.len() > samples_max) {
            return (413, "too many samples\n", None);
        }
        let all_new = points.iter().all(|point| is_new(&self.newest, point));
        if !all_new && version == Version::V1 && matches!(self.kind, Kind::Prometheus2 | Kind::Prometheus3) {
            return (400, "out of order sample\n", None);
        }
        match (version, self.kind) {
            (Version::V2, Kind::Prometheus2) => return (204, "", None),
            (Version::V2, Kind::Mimir) => return (415, "unsupported", None),
            _ => {}
        }
        let mut written = 0;
        for point in points {
            if is_new(&self.newest, point) {
                self.newest.insert(point.0.clone(), point.1);
                self.stored.push(point.clone());
                written += 1;
            }
        }
        let told = (version == Version::V2).then_some(written);
        match self.kind {
            _ if all_new => (204, "", told),
            Kind::Lenient | Kind::Limited(_) => (204, "", told),
            Kind::Mimir => (400, "failed pushing: out of order (err-mimir-sample-out-of-order)", None),
            Kind::Prometheus2 | Kind::Prometheus3 => (400, "out of order sample\n", told),
        }
    }
}
