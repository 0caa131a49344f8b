//! One request on its way: hold, send, judge, pass on. The I/O around the pure parts.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::BoxError;
use axum::body::Body;
use bytes::Bytes;
use elector_raft::Leadership;
use http::header::{AUTHORIZATION, HOST};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, timeout};
use tower_service::Service;
use tracing::debug;

use super::body::{Outbound, Passed, Supply};
use super::hold::{HELD_MAX, Held, Patience, Places, Shown};
use super::metrics::Answered;
use super::retry::{Failure, READ_BODY_BYTES_MAX, Tries, Verdict, is_read, verdict};
use super::route::HoldReason;
use super::routes::{Destination, Means, Reach, Routes, moved_away};
use super::upstream::{Lease, SendError, pools};
use super::{ProxyError, ProxyMetrics, ProxySettings, headers};
use crate::prometheus::access::Accesses;
use crate::prometheus::readiness::says_not_ready;

/// Sends requests to the leader's Prometheus. Cheap to clone.
#[derive(Clone)]
pub struct Proxy {
    inner: Arc<Inner>,
}

struct Inner {
    /// Own member name as it stands in headers.
    member: HeaderValue,
    leader_wait: Duration,
    routes: Routes,
    places: Places,
    metrics: ProxyMetrics,
}

/// Extension of a request whose credentials were asked for and checked before it came here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CredentialsTaken;

/// What is needed to send a request, once or again.
struct Outgoing {
    method: Method,
    path: PathAndQuery,
    headers: HeaderMap,
    read: bool,
    /// The client's credentials were meant for this member's API.
    credentials_taken: bool,
    supply: Supply,
}

/// A response with its connection.
type Answer = (Response<Incoming>, Lease);

/// An attempt that gave no response.
struct Missed {
    failure: Failure,
    cause: String,
}

impl Proxy {
    /// Starts to follow `leadership`; must be called inside the runtime that requests are handled on. `connector` is
    /// [`super::connector`] with the resolver that knows the members' host names.
    pub(crate) fn new<C>(
        settings: &ProxySettings,
        leadership: watch::Receiver<Leadership>,
        connector: C,
        accesses: Accesses,
    ) -> Self
    where
        C: Service<Uri, Response = TokioIo<TcpStream>> + Clone + Send + Sync + 'static,
        C::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        C::Future: Send + 'static,
    {
        let local_url = settings.local_url.as_ref().map(ToString::to_string);
        let means = Means { pools: pools(connector), accesses, add_credentials: settings.add_credentials };
        Self {
            inner: Arc::new(Inner {
                member: headers::member_token(&settings.member),
                leader_wait: settings.leader_wait,
                routes: Routes::follow(leadership, local_url, means),
                places: Places::default(),
                metrics: ProxyMetrics::default(),
            }),
        }
    }

    /// Counters and gauges, for the registry.
    pub fn metrics(&self) -> &ProxyMetrics {
        &self.inner.metrics
    }

    /// Answers a request with what the leader's Prometheus answers, or with a [`ProxyError`]. `client` is where the
    /// request came from. Dropping the future cancels the request at Prometheus.
    pub async fn handle<B>(&self, client: SocketAddr, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let begin = Instant::now();
        let (answered, response) = self.inner.forward(client.ip(), request).await.unwrap_or_else(|error| {
            debug!(%error, "request not passed on");
            (Answered::Proxy, error.response())
        });
        self.inner.metrics.answered(answered, response.status(), begin.elapsed());
        response
    }
}

impl Inner {
    async fn forward<B>(&self, client: IpAddr, request: Request<B>) -> Result<(Answered, Response<Body>), ProxyError>
    where
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let (mut outgoing, body) = self.accept(client, request)?;
        let mut body = Some(body);
        let mut destinations = self.routes.watch();
        let mut patience = Patience::new(self.leader_wait);
        let mut tries = Tries::default();
        loop {
            let destination = Arc::clone(&destinations.borrow());
            let reach = match &*destination {
                Destination::To(reach) => reach,
                // Nothing can end this wait.
                Destination::Hold(why @ HoldReason::GroupStopped) => {
                    return Err(ProxyError::NoLeader { waited: Duration::ZERO, why: why.to_string() });
                }
                Destination::Hold(why) => {
                    let held = patience.hold(false, &destination, &mut destinations, &self.places, &self.metrics).await;
                    released(held, why.to_string(), |why| ProxyError::NoLeader { waited: self.leader_wait, why })?;
                    continue;
                }
            };
            let Some(place) = self.place(reach, &destination, &mut destinations).await else { continue };
            // Only now is the body wanted: a request that waits keeps it at the client.
            if let Some(body) = body.take() {
                outgoing.take_body(body).await?;
            }
            let begin = Instant::now();
            let missed = match self.attempt(reach, &outgoing, tries, &mut destinations).await {
                Ok(answer) => return self.pass_on(reach, answer, place),
                Err(missed) => missed,
            };
            // Not held for the time of a pause.
            drop(place);
            debug!(leader = %reach.target.leader, failure = ?missed.failure, cause = %missed.cause, "no answer");
            tries.count(missed.failure);
            if missed.failure == Failure::Unreachable {
                patience.spend(begin.elapsed());
            }
            match verdict(missed.failure, outgoing.is_repeatable(), tries) {
                Verdict::GiveUp => return Err(self.error(reach, missed, &outgoing, tries)),
                Verdict::Again => {}
                Verdict::AfterPause => {
                    let why = format!("Prometheus of leader {}: {}", reach.target.leader, missed.cause);
                    let held = patience.hold(true, &destination, &mut destinations, &self.places, &self.metrics).await;
                    released(held, why, |_| self.error(reach, missed, &outgoing, tries))?;
                }
            }
            self.metrics.retries.inc();
        }
    }

    /// Refuses what cannot be passed on, and makes the rest ready to be sent.
    fn accept<B>(&self, client: IpAddr, request: Request<B>) -> Result<(Outgoing, B), ProxyError> {
        let (mut head, body) = request.into_parts();
        if head.method == Method::CONNECT {
            return Err(ProxyError::Tunnel);
        }
        if headers::asks_for_websocket(&head.headers) {
            return Err(ProxyError::WebSocket);
        }
        headers::check_loop(&head.headers, &self.member)?;
        let Some(path) = head.uri.path_and_query().cloned() else { return Err(ProxyError::BadTarget) };
        let read = is_read(&head.method, path.path(), &head.headers);
        headers::to_upstream(&mut head.headers, &head.uri, client, &self.member);
        let credentials_taken = head.extensions.get::<CredentialsTaken>().is_some();
        let (method, headers, supply) = (head.method, head.headers, Supply::Empty);
        Ok((Outgoing { method, path, headers, read, credentials_taken, supply }, body))
    }

    /// Sends the request once and waits for the head of the response.
    async fn attempt(
        &self,
        reach: &Reach,
        outgoing: &Outgoing,
        tries: Tries,
        destinations: &mut watch::Receiver<Arc<Destination>>,
    ) -> Result<Answer, Missed> {
        let request = outgoing.request(reach)?;
        let mut answer = pin!(reach.upstream.send(request));
        tokio::select! {
            biased;
            answer = &mut answer => return outgoing.judge(answer),
            () = moved_away(destinations, &reach.target) => {}
        }
        if verdict(Failure::Moved, outgoing.is_repeatable(), tries.after(Failure::Moved)) == Verdict::Again {
            return Err(Missed { failure: Failure::Moved, cause: "another member leads now".into() });
        }
        match timeout(self.leader_wait, answer).await {
            Ok(answer) => outgoing.judge(answer),
            Err(_) => Err(Missed { failure: Failure::Overdue, cause: "no answer".into() }),
        }
    }

    /// A place among the requests under way to Prometheus; none if there is another destination meanwhile.
    async fn place(
        &self,
        reach: &Reach,
        destination: &Arc<Destination>,
        destinations: &mut watch::Receiver<Arc<Destination>>,
    ) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = reach.places.clone().try_acquire_owned() {
            return Some(place);
        }
        let _shown = Shown::new(&self.metrics.queued_now);
        tokio::select! {
            // First: when leadership moves, places become free where nothing must be sent any more.
            biased;
            Ok(_) = destinations.wait_for(|now| !Arc::ptr_eq(now, destination)) => None,
            place = reach.places.clone().acquire_owned() => place.ok(),
        }
    }

    /// The response for the client.
    fn pass_on(
        &self,
        reach: &Reach,
        (response, lease): Answer,
        place: OwnedSemaphorePermit,
    ) -> Result<(Answered, Response<Body>), ProxyError> {
        let (mut head, body) = response.into_parts();
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(ProxyError::Switched { leader: reach.target.leader.clone() });
        }
        headers::to_client(&mut head.headers, &reach.leader);
        // What was spoken with Prometheus says nothing about what the client speaks.
        head.version = Version::HTTP_11;
        head.extensions.clear();
        let body = Passed::new(body, reach.leader.clone(), self.metrics.cut.clone(), lease, place);
        let answered = if reach.target.local { Answered::Local } else { Answered::Leader };
        Ok((answered, Response::from_parts(head, Body::new(body))))
    }

    fn error(&self, reach: &Reach, missed: Missed, outgoing: &Outgoing, tries: Tries) -> ProxyError {
        let (leader, cause, waited) = (reach.target.leader.clone(), missed.cause, self.leader_wait);
        match missed.failure {
            Failure::ClientBody => ProxyError::ClientBody(cause),
            Failure::Overdue | Failure::Moved => ProxyError::Overdue { leader, waited },
            Failure::NotReady => ProxyError::NotReady { leader, waited },
            Failure::Broken if outgoing.is_repeatable() => ProxyError::Broken { leader, cause, sends: tries.sends },
            Failure::Broken => ProxyError::MaybeDone { leader, cause },
            Failure::Unreachable | Failure::Unsent => {
                ProxyError::Unreachable { leader, address: reach.target.place(), waited, cause }
            }
        }
    }
}

impl Outgoing {
    async fn take_body<B>(&mut self, body: B) -> Result<(), ProxyError>
    where
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let keep_bytes_max = self.read.then_some(READ_BODY_BYTES_MAX);
        self.supply =
            Supply::take(body, keep_bytes_max).await.map_err(|error| ProxyError::ClientBody(error.to_string()))?;
        Ok(())
    }

    /// A read waits for a Prometheus that is not ready.
    fn judge(&self, answer: Result<Answer, SendError>) -> Result<Answer, Missed> {
        match answer {
            Ok((response, _)) if self.is_repeatable() && says_not_ready(response.status(), response.headers()) => {
                Err(Missed { failure: Failure::NotReady, cause: "it is starting or stopping".into() })
            }
            Ok(answer) => Ok(answer),
            Err(error) => Err(Missed { failure: error.failure(), cause: error.to_string() }),
        }
    }

    /// Whether the request may be repeated: a read whose body is still there.
    fn is_repeatable(&self) -> bool {
        self.read && self.supply.is_repeatable()
    }

    /// The request for one attempt.
    fn request(&self, reach: &Reach) -> Result<Request<Outbound>, Missed> {
        let lost = || Missed { failure: Failure::Broken, cause: "the body had been sent in part".into() };
        let body = self.supply.next().ok_or_else(lost)?;
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = Uri::from(self.path.clone());
        *request.headers_mut() = self.headers.clone();
        request.headers_mut().entry(HOST).or_insert_with(|| reach.host.clone());
        if let Some(authorization) = &reach.authorization {
            if self.credentials_taken {
                request.headers_mut().remove(AUTHORIZATION);
            }
            request.headers_mut().entry(AUTHORIZATION).or_insert_with(|| authorization.clone());
        }
        Ok(request)
    }
}

/// Turns the end of a hold into "look again" or the error for the client.
fn released(held: Held, why: String, out_of_time: impl FnOnce(String) -> ProxyError) -> Result<(), ProxyError> {
    match held {
        Held::Released => Ok(()),
        Held::OutOfTime => Err(out_of_time(why)),
        Held::NoPlace => Err(ProxyError::TooManyHeld { max: HELD_MAX, why }),
    }
}
