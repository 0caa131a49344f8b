//! Follows leadership: one destination at a time, published when the route really changes.
//!
//! Leadership is published several times a second, because authority is prolonged; requests that wait must not wake
//! for that. One task per proxy turns it into destinations, and ends with the last clone of the proxy.
//!
//! New certificates or credentials make a new destination with a new pool: what is under way ends on its old connection,
//! idle ones are closed, and nothing is sent with what was of before.

use std::sync::Arc;
use std::time::Duration;

use elector_raft::{Leadership, NodeId};
use http::HeaderValue;
use http::uri::Scheme;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use super::headers::member_token;
use super::route::{HoldReason, Route, Target, route};
use super::upstream::{Pools, UNDER_WAY_MAX, Upstream};
use crate::prometheus::access::{Access, Accesses, Whose};

/// How long a new leader is waited for to be found before its name is looked up: a few heartbeats are enough where its calls come from
/// where it listens.
const SOUGHT_MAX: Duration = Duration::from_secs(1);

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
            let mut sought = None;
            let mut current = (Route::Hold(first), means.accesses.borrow_and_update().clone());
            loop {
                let (next, sought_until) = seek(&leadership.borrow_and_update(), local_url.as_deref(), &mut sought);
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
                    () = sleep_until(sought_until.unwrap_or_else(Instant::now)), if sought_until.is_some() => {}
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

/// The route; or none yet, and until when, while the group may still find out where the leader is.
fn seek(
    leadership: &Leadership,
    local_url: Option<&str>,
    sought: &mut Option<(NodeId, Instant)>,
) -> (Route, Option<Instant>) {
    let next = route(leadership, local_url);
    let Route::To(target) = &next else { return (next, None) };
    if !target.is_sought(leadership) {
        *sought = None;
        return (next, None);
    }
    let known = sought.filter(|(node, _)| *node == target.node);
    let (_, since) = *sought.insert(known.unwrap_or_else(|| (target.node, Instant::now())));
    let until = since + SOUGHT_MAX;
    if Instant::now() >= until {
        (next, None)
    } else {
        (Route::Hold(HoldReason::Sought(target.leader.clone())), Some(until))
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

#[cfg(test)]
mod tests {
    use elector_raft::{Authority, Leader, Member};

    use super::*;

    fn led_by(node: u64, host: &str, found_at: Option<[u8; 4]>) -> Leadership {
        let (raft_address, prometheus_url) = (format!("{host}:9096"), format!("http://{host}:9090"));
        let member = Member { name: "p-1".into(), raft_address, prometheus_url, ..Member::default() };
        let leader = Leader { id: NodeId(node), is_self: false, member, found_at: found_at.map(Into::into) };
        Leadership { term: node, leader: Some(Arc::new(leader)), authority: Authority::None }
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_leader_is_waited_for_to_be_found_for_a_moment_and_then_looked_up() {
        let mut sought = None;
        let mut is_held = |leadership: &Leadership| {
            let (route, until) = seek(leadership, None, &mut sought);
            assert_eq!(until.is_some(), matches!(route, Route::Hold(HoldReason::Sought(_))));
            until.is_some()
        };
        let lost = led_by(1, "p-1.prom", None);
        assert!(is_held(&lost));
        assert!(!is_held(&led_by(1, "p-1.prom", Some([10, 0, 0, 3]))), "found");
        assert!(is_held(&lost), "and lost again: its process is another one");
        tokio::time::advance(SOUGHT_MAX / 2).await;
        assert!(is_held(&lost));
        tokio::time::advance(SOUGHT_MAX / 2).await;
        assert!(!is_held(&lost), "it may never be found");
        assert!(is_held(&led_by(2, "p-1.prom", None)), "another one may");
        assert!(!is_held(&led_by(3, "10.0.0.3", None)), "an address needs no finding");
    }
}
