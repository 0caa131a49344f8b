//! The status page, and the stream of reports that keeps it up to date.
//!
//! ```text
//! index.html (embedded) -> GET /_elector/
//! Shared::report -> one task a stream -> a channel of one event -> GET /_elector/events
//! ```
//!
//! Invariants: the page loads nothing from anywhere else, and its policy forbids it to; the number of streams is bounded, and
//! what each holds is one event; nothing is computed while nobody looks. Failure behaviour: a reader that takes nothing for
//! long loses its stream, and the page dials again by itself; all streams end with the drain.

use std::convert::Infallible;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderName, StatusCode, header};
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, sleep_until, timeout};

use super::Shared;

/// Streams at once: some people with a page open on each screen.
pub(super) const STREAMS_MAX: usize = 32;
/// Longest time between two reports of a stream: the page counts authority down in between.
const PERIOD: Duration = Duration::from_millis(500);
/// Shortest time between two, however fast things change.
const PAUSE: Duration = Duration::from_millis(100);
/// A reader that takes nothing for so long has gone without a word.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) const PAGE: &str = include_str!("index.html");
const TOO_MANY: &str = "the status page is open too often already; close one, or ask /_elector/status\n";

/// Nothing but what stands in the page itself, and reports from where it came from.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; style-src '{}'; script-src '{}'; img-src data:; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        hash(inside("style")),
        hash(inside("script"))
    )
});

/// What the page's only element of a name holds.
pub(super) fn inside(name: &str) -> &'static str {
    let (_, begun) = PAGE.split_once(&format!("<{name}>")).unwrap_or_default();
    begun.split_once(&format!("</{name}>")).unwrap_or_default().0
}

/// As a policy names an inline element (CSP level 3, section 2.3.1).
pub(super) fn hash(content: &str) -> String {
    format!("sha256-{}", BASE64_STANDARD.encode(Sha256::digest(content)))
}

/// From `/_elector` to `/_elector/`, also below a prefix that a reverse proxy adds.
pub(super) async fn redirect() -> Response {
    (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, "_elector/")]).into_response()
}

pub(super) async fn page() -> Response {
    let headers: [(HeaderName, &str); 6] = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, &POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    (headers, PAGE).into_response()
}

/// The report as server-sent events: at once, when something changes, and at least each [`PERIOD`].
pub(super) async fn events(State(shared): State<Arc<Shared>>) -> Response {
    let Ok(place) = shared.streams.clone().try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, TOO_MANY).into_response();
    };
    let (sender, mut events) = mpsc::channel(1);
    tokio::spawn(async move {
        tokio::select! {
            () = shared.drain.cancelled() => {}
            () = sender.closed() => {}
            () = report(&shared, &sender, place) => {}
        }
    });
    let events = stream::poll_fn(move |context| events.poll_recv(context).map(|event| event.map(Ok::<_, Infallible>)));
    let headers: [(HeaderName, &str); 4] = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // nginx collects answers otherwise.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Body::from_stream(events)).into_response()
}

/// Reports until the reader falls asleep.
async fn report(shared: &Shared, events: &mpsc::Sender<Bytes>, _place: OwnedSemaphorePermit) {
    let mut group = shared.inputs.group.status.clone();
    let mut role = shared.inputs.role.as_ref().map(|role| role.status.clone());
    loop {
        // Room first: a slow reader gets the newest report, and misses those in between.
        let Ok(Ok(room)) = timeout(PATIENCE, events.reserve()).await else { return };
        group.mark_unchanged();
        if let Some(role) = &mut role {
            role.mark_unchanged();
        }
        let Ok(report) = serde_json::to_string(&shared.report()) else { return };
        room.send(format!("event: status\ndata: {report}\n\n").into());
        let sent = Instant::now();
        let role_changed = async {
            match &mut role {
                Some(role) => drop(role.changed().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = group.changed() => {}
            () = role_changed => {}
            () = sleep_until(sent + PERIOD) => {}
        }
        sleep_until(sent + PAUSE).await;
    }
}
