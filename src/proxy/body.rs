//! Bodies on their way: streamed, never gathered, except a read's small one.
//!
//! A body that is streamed to Prometheus can be sent once. It is *lent* to the client library: one that comes back
//! untouched (the connection could not be made) serves the next attempt, one that was touched is gone.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use axum::BoxError;
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use http::HeaderValue;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::OwnedSemaphorePermit;
use tracing::warn;

use super::upstream::Lease;

/// What a request's body is made of at each attempt.
pub(super) enum Supply {
    /// None.
    Empty,
    /// Small enough to be kept.
    Whole(Bytes),
    /// Passed through once; `None` inside when it is lent or gone.
    Once(Arc<Mutex<Option<Body>>>),
}

/// The body of one attempt.
pub(super) enum Outbound {
    Whole(Option<Bytes>),
    Lent(Lent),
}

/// A body that goes home when it is dropped untouched.
pub(super) struct Lent {
    body: Option<Body>,
    /// `None` once the body was touched.
    home: Option<Arc<Mutex<Option<Body>>>>,
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            *home.lock().unwrap_or_else(PoisonError::into_inner) = self.body.take();
        }
    }
}

impl Supply {
    /// Takes a body: a read's is kept if it has at most `keep_bytes_max` bytes, every other is passed through.
    pub(super) async fn take<B>(body: B, keep_bytes_max: Option<usize>) -> Result<Self, axum::Error>
    where
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        if body.is_end_stream() {
            return Ok(Self::Empty);
        }
        let body = Body::new(body);
        match keep_bytes_max {
            Some(max) if body.size_hint().lower() <= max as u64 => Self::gather(body, max).await,
            _ => Ok(Self::once(body)),
        }
    }

    async fn gather(mut body: Body, max: usize) -> Result<Self, axum::Error> {
        let mut kept = BytesMut::new();
        while let Some(frame) = body.frame().await {
            // A trailer of a form means nothing to Prometheus.
            let Ok(data) = frame?.into_data() else { continue };
            kept.extend_from_slice(&data);
            if kept.len() > max {
                let begin = stream::iter([Ok(kept.freeze())]);
                return Ok(Self::once(Body::from_stream(begin.chain(body.into_data_stream()))));
            }
        }
        Ok(Self::Whole(kept.freeze()))
    }

    fn once(body: Body) -> Self {
        Self::Once(Arc::new(Mutex::new(Some(body))))
    }

    /// The body for the next attempt; `None` if it is gone.
    pub(super) fn next(&self) -> Option<Outbound> {
        match self {
            Self::Empty => Some(Outbound::Whole(None)),
            Self::Whole(bytes) => Some(Outbound::Whole(Some(bytes.clone()))),
            Self::Once(home) => {
                let body = home.lock().unwrap_or_else(PoisonError::into_inner).take()?;
                Some(Outbound::Lent(Lent { body: Some(body), home: Some(Arc::clone(home)) }))
            }
        }
    }

    /// Whether every attempt gets the same body.
    pub(super) fn is_repeatable(&self) -> bool {
        !matches!(self, Self::Once(_))
    }
}

impl http_body::Body for Outbound {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Lent(lent) => match &mut lent.body {
                Some(body) => {
                    lent.home = None;
                    Pin::new(body).poll_frame(context)
                }
                None => Poll::Ready(None),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Lent(lent) => lent.body.as_ref().is_none_or(http_body::Body::is_end_stream),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Lent(lent) => lent.body.as_ref().map_or(SizeHint::with_exact(0), http_body::Body::size_hint),
        }
    }
}

/// A response body on its way to the client. When Prometheus breaks it off, the error goes on to hyper, which then
/// closes the client's connection without the mark of a complete body.
pub(super) struct Passed {
    body: Incoming,
    /// For the log; shares its bytes with the response header.
    leader: HeaderValue,
    cut: Counter,
    /// Returned when the body has been read to its end.
    lease: Option<Lease>,
    /// Given back then, or when the client has gone.
    _place: OwnedSemaphorePermit,
}

impl Passed {
    pub(super) fn new(
        body: Incoming,
        leader: HeaderValue,
        cut: Counter,
        lease: Lease,
        place: OwnedSemaphorePermit,
    ) -> Self {
        Self { body, leader, cut, lease: Some(lease), _place: place }
    }
}

impl Drop for Passed {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take()
            && self.body.is_end_stream()
        {
            lease.give_back();
        }
    }
}

impl http_body::Body for Passed {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(context));
        match &frame {
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                this.lease = None;
                this.cut.inc();
                warn!(leader = ?this.leader, %error, "Prometheus broke off a response; the client's connection is cut");
            }
            None => {
                if let Some(lease) = this.lease.take() {
                    lease.give_back();
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use futures_util::FutureExt;

    use super::*;

    async fn read(outbound: Outbound) -> Bytes {
        outbound.collect().await.unwrap().to_bytes()
    }

    /// A body of unknown length.
    fn streamed(chunks: &'static [&'static str]) -> Body {
        Body::from_stream(stream::iter(
            chunks.iter().map(|chunk| Ok::<_, axum::Error>(Bytes::from_static(chunk.as_bytes()))),
        ))
    }

    #[tokio::test]
    async fn a_small_body_of_a_read_is_kept_for_every_attempt() {
        let supply = Supply::take(streamed(&["query", "=up"]), Some(8)).await.unwrap();
        assert!(supply.is_repeatable());
        for _ in 0..2 {
            assert_eq!(read(supply.next().unwrap()).await, "query=up");
        }
    }

    #[tokio::test]
    async fn a_larger_one_is_passed_once_and_whole() {
        for body in [streamed(&["query", "=up", "[5m]"]), Body::from("query=up[5m]")] {
            let supply = Supply::take(body, Some(8)).await.unwrap();
            assert!(!supply.is_repeatable());
            assert_eq!(read(supply.next().unwrap()).await, "query=up[5m]");
            assert!(supply.next().is_none());
        }
    }

    #[tokio::test]
    async fn the_body_of_a_write_comes_back_only_untouched() {
        let supply = Supply::take(streamed(&["a", "b"]), None).await.unwrap();
        drop(supply.next().unwrap());
        let mut touched = supply.next().expect("came back untouched");
        assert!(supply.next().is_none(), "lent");
        assert_eq!(touched.frame().now_or_never().unwrap().unwrap().unwrap().into_data().unwrap(), "a");
        drop(touched);
        assert!(supply.next().is_none(), "gone");
    }

    #[tokio::test]
    async fn no_body_stays_no_body() {
        let supply = Supply::take(Body::empty(), None).await.unwrap();
        assert!(supply.is_repeatable() && supply.next().unwrap().is_end_stream());
    }
}
