//! Follows leadership: one destination at a time, published when the route really changes.
//!
//! Leadership is published several times a second, because authority is prolonged; requests that wait must not wake
//! for that. One task per proxy turns it into destinations, and ends with the last clone of the proxy.

use std::sync::Arc;

use elector_raft::Leadership;
use http::HeaderValue;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use super::headers::member_token;
use super::route::{HoldReason, Route, Target, route};
use super::upstream::{Pools, Upstream};

/// Where requests go, with the means to get there.
pub(super) enum Destination {
    To(Reach),
    Hold(HoldReason),
}

/// A target and its connections.
pub(super) struct Reach {
    pub(super) target: Target,
    /// Value of [`super::headers::LEADER`].
    pub(super) leader: HeaderValue,
    pub(super) upstream: Upstream,
}

/// The destination of the moment; wakes whoever waits when it changes.
pub(super) struct Routes {
    destinations: watch::Receiver<Arc<Destination>>,
    _task: AbortOnDropHandle<()>,
}

impl Routes {
    /// Starts to follow `leadership`. Must be called inside a runtime.
    pub(super) fn follow(mut leadership: watch::Receiver<Leadership>, local_url: Option<String>, pools: Pools) -> Self {
        let first = route(&leadership.borrow_and_update(), local_url.as_deref());
        let (publish, destinations) = watch::channel(Arc::new(Destination::new(first.clone(), &pools)));
        let task = tokio::spawn(async move {
            let mut current = first;
            while leadership.changed().await.is_ok() {
                let next = route(&leadership.borrow_and_update(), local_url.as_deref());
                if next != current {
                    log(&next);
                    publish.send_replace(Arc::new(Destination::new(next.clone(), &pools)));
                    current = next;
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

impl Destination {
    fn new(route: Route, pools: &Pools) -> Self {
        match route {
            Route::To(target) => Self::To(Reach { leader: member_token(&target.leader), target, upstream: pools() }),
            Route::Hold(reason) => Self::Hold(reason),
        }
    }
}

fn log(route: &Route) {
    match route {
        Route::To(target) => info!(leader = %target.leader, to = %target.origin, "proxy: requests go to this leader"),
        Route::Hold(reason @ (HoldReason::UnusableUrl(_) | HoldReason::GroupStopped)) => {
            warn!(%reason, "proxy: requests are held");
        }
        Route::Hold(reason) => info!(%reason, "proxy: requests are held"),
    }
}

/// Waits until somebody other than `target` is the target. No leader at all is no reason to leave one that may still
/// answer.
pub(super) async fn moved_away(destinations: &mut watch::Receiver<Arc<Destination>>, target: &Target) {
    let elsewhere = |now: &Arc<Destination>| matches!(&**now, Destination::To(reach) if reach.target != *target);
    if destinations.wait_for(elsewhere).await.is_err() {
        // The proxy is being dropped.
        std::future::pending::<()>().await;
    }
}
