//! `POST /write/<name>`: the door for the own Prometheus, on loopback only.
//!
//! - Only peers on loopback addresses are answered: what comes in is sent on with the authority of the group.
//! - What a page in a browser on this host sends (it carries `Origin`) is refused.
//! - A body has at most [`BODY_BYTES_MAX`] bytes; all bodies together at most [`BODIES_BYTES_MAX`]: further requests wait.
//! - An unknown name is 503, not 404: Prometheus throws a batch away after a 404, and may simply be ahead of the sidecar.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Path, State};
use axum::routing::post;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, ORIGIN};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use tokio::sync::Semaphore;

use super::Gate;
use super::answer::refusal;

/// Largest body: the limit of Prometheus's receiver and of Mimir's, once decompressed; as sent it is a tenth.
pub const BODY_BYTES_MAX: usize = 32 << 20;
/// Bodies in memory at once.
pub const BODIES_BYTES_MAX: usize = 128 << 20;
const KIB: usize = 1 << 10;

#[derive(Clone)]
struct Door {
    gate: Gate,
    room: Arc<Semaphore>,
}

/// The routes. The server must give the peer's address as [`ConnectInfo`].
pub fn router(gate: Gate) -> Router {
    let room = Arc::new(Semaphore::new(BODIES_BYTES_MAX / KIB));
    Router::new().route("/write/{name}", post(write)).with_state(Door { gate, room })
}

async fn write(
    State(door): State<Door>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(name): Path<String>,
    request: Request<Body>,
) -> Response<Body> {
    if !peer.ip().to_canonical().is_loopback() {
        return refusal(StatusCode::FORBIDDEN, "only this host's Prometheus may write");
    }
    let (parts, body) = request.into_parts();
    if parts.headers.contains_key(ORIGIN) {
        return refusal(StatusCode::FORBIDDEN, "a browser must not write");
    }
    let size = body_size(&parts.headers);
    if size > BODY_BYTES_MAX {
        return too_large();
    }
    let permits = u32::try_from(size.div_ceil(KIB)).unwrap_or(u32::MAX);
    let Ok(_room) = door.room.acquire_many(permits).await else {
        return refusal(StatusCode::SERVICE_UNAVAILABLE, "shutting down");
    };
    match read(body).await {
        Ok(body) => door.gate.handle(&name, &parts.headers, body).await,
        Err(refusal) => refusal,
    }
}

/// Bytes to be expected, the most where the request does not tell.
fn body_size(headers: &HeaderMap) -> usize {
    let told = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    told.unwrap_or(BODY_BYTES_MAX)
}

async fn read(body: Body) -> Result<Bytes, Response<Body>> {
    match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Err(_) => Err(refusal(StatusCode::BAD_REQUEST, "the request ended before its body")),
    }
}

fn too_large() -> Response<Body> {
    let message =
        format!("the body has more than {BODY_BYTES_MAX} bytes: lower queue_config.max_samples_per_send of this entry");
    refusal(StatusCode::PAYLOAD_TOO_LARGE, &message)
}
