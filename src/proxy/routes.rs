//! Follows leadership: one destination at a time, published when the route really changes.
//!
//! Leadership is published several times a second, because authority is prolonged; requests that wait must not wake
//! for that. One task per proxy turns it into destinations, and ends with the last clone of the proxy.
//!
//! New certificates or credentials make a new destination with a new pool: what is under way ends on its old connection,
//! idle ones are closed, and nothing is sent with what was of before.

use std::sync::Arc;

use elector_raft::Leadership;
use http::HeaderValue;
use http::uri::Scheme;
use tokio::sync::{Semaphore, watch};
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use super::headers::member_token;
use super::route::{HoldReason, Route, Target, route};
use super::upstream::{Pools, UNDER_WAY_MAX, Upstream};
use crate::prometheus::access::{Access, Accesses, Whose};

/// Where requests go, with the means to get there.
pub(super) enum Destination {
    To(Box<Reach>),
    Hold(HoldReason),
}

/// A target and its connections.
pub(super) struct Reach {
    pub(super) target: Target,
    /// Value of [`super::headers::LEADER`].
    pub(super) leader: HeaderValue,
    /// For requests that have none.
    pub(super) authorization: Option<HeaderValue>,
    pub(super) upstream: Upstream,
    /// For requests without `Host`.
    pub(super) host: HeaderValue,
    /// For requests under way.
    pub(super) places: Arc<Semaphore>,
}

/// The destination of the moment; wakes whoever waits when it changes.
pub(super) struct Routes {
    destinations: watch::Receiver<Arc<Destination>>,
    _task: AbortOnDropHandle<()>,
}

/// What destinations are made with.
pub(super) struct Means {
    pub(super) pools: Pools,
    pub(super) accesses: Accesses,
    /// Gives the member's credentials to requests that have none.
    pub(super) add_credentials: bool,
}

impl Routes {
    /// Starts to follow `leadership`. Must be called inside a runtime.
    pub(super) fn follow(
        mut leadership: watch::Receiver<Leadership>,
        local_url: Option<String>,
        mut means: Means,
    ) -> Self {
        let first = HoldReason::NotFormed;
        let (publish, destinations) = watch::channel(Arc::new(Destination::Hold(first.clone())));
        let task = tokio::spawn(async move {
            let mut current = (Route::Hold(first), means.accesses.borrow_and_update().clone());
            loop {
                let next = route(&leadership.borrow_and_update(), local_url.as_deref());
                let access = means.accesses.borrow_and_update().clone();
                let is_same = next == current.0;
                if !is_same || !Arc::ptr_eq(&access, &current.1) {
                    let destination = means.destination(next.clone(), &access).await;
                    if !is_same {
                        log(&next, &destination);
                    }
                    publish.send_replace(Arc::new(destination));
                    current = (next, access);
                }
                tokio::select! {
                    changed = leadership.changed() => if changed.is_err() { break },
                    Ok(()) = means.accesses.changed() => {}
                }
            }
            publish.send_replace(Arc::new(Destination::Hold(HoldReason::GroupStopped)));
            // The sender stays alive, so that waiting for a change never fails.
            std::future::pending::<()>().await;
        });
        Self { destinations, _task: AbortOnDropHandle::new(task) }
    }

    /// A view of one's own.
    pub(super) fn watch(&self) -> watch::Receiver<Arc<Destination>> {
        self.destinations.clone()
    }
}

impl Means {
    async fn destination(&self, route: Route, access: &Arc<Access>) -> Destination {
        let target = match route {
            Route::To(target) => target,
            Route::Hold(reason) => return Destination::Hold(reason),
        };
        let tls = if target.origin.scheme == Scheme::HTTPS {
            match tls(access, target.local).await {
                Ok(tls) => Some(tls),
                Err(why) => return Destination::Hold(HoldReason::NoTls(target.leader, why)),
            }
        } else {
            None
        };
        Destination::To(Box::new(Reach {
            leader: member_token(&target.leader),
            authorization: access.authorization().filter(|_| self.add_credentials).cloned(),
            upstream: (self.pools)(target.origin.uri(), target.found_at, tls),
            host: target.origin.host(),
            places: Arc::new(Semaphore::new(UNDER_WAY_MAX)),
            target,
        }))
    }
}

async fn tls(access: &Arc<Access>, local: bool) -> Result<rustls::ClientConfig, String> {
    let (access, whose) = (access.clone(), if local { Whose::Own } else { Whose::Others });
    let made = tokio::task::spawn_blocking(move || access.tls(whose)).await;
    made.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}

fn log(route: &Route, destination: &Destination) {
    match (route, destination) {
        (Route::To(target), Destination::To(_)) => {
            info!(leader = %target.leader, to = %target.place(), "proxy: requests go to this leader");
        }
        (_, Destination::Hold(reason @ (HoldReason::NoTls(..) | HoldReason::UnusableUrl(_)))) => {
            warn!(%reason, "proxy: requests are held");
        }
        (_, Destination::Hold(reason)) => info!(%reason, "proxy: requests are held"),
        (Route::Hold(_), Destination::To(_)) => {}
    }
}

/// Waits until somebody other than `target` is the target. No leader at all is no reason to leave one that may still
/// answer.
pub(super) async fn moved_away(destinations: &mut watch::Receiver<Arc<Destination>>, target: &Target) {
    let elsewhere =
        |now: &Arc<Destination>| matches!(&**now, Destination::To(reach) if target.is_left_for(&reach.target));
    if destinations.wait_for(elsewhere).await.is_err() {
        // The proxy is being dropped.
        std::future::pending::<()>().await;
    }
}
