//! Where a request goes: pure, from leadership and the own Prometheus' address.
//!
//! Authority plays no part: while leadership is being handed over the leader holds none and still is the one that
//! answers best. Source: DESIGN.md, P5 and group rule 11 (a witness may lead for a moment and has no Prometheus).

use std::fmt;
use std::net::IpAddr;

use elector_raft::{Leadership, NodeId};
use http::HeaderValue;
use http::Uri;
use http::uri::{Authority, Scheme};

/// Where a request goes now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// To this Prometheus.
    To(Target),
    /// Nowhere yet.
    Hold(HoldReason),
}

/// The leader's Prometheus. Two targets are equal when a pool of connections to one serves the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Identity of the leader: a member that lost its disk comes back under its old name with a new id.
    pub(super) node: NodeId,
    /// Its member name.
    pub(super) leader: String,
    /// Whether this member itself leads.
    pub(super) local: bool,
    /// Where its Prometheus listens.
    pub(super) origin: Origin,
    /// The address of the origin's host, where the group has found the leader: DNS may tell an old one, or a wrong one.
    pub(super) found_at: Option<IpAddr>,
}

impl Target {
    /// Whether the group may still find out where it is.
    pub(super) fn is_sought(&self, leadership: &Leadership) -> bool {
        let host = leadership.leader.as_ref().map(|leader| leader.member.raft_host());
        !self.local && self.found_at.is_none() && host.is_some_and(|host| self.origin.is_named(host))
    }

    /// Whether what was sent to `self` may be lost, now that requests go to `next`. An address that was unknown may be the
    /// one that DNS told.
    pub(super) fn is_left_for(&self, next: &Self) -> bool {
        let has_moved = self.found_at.is_some() && next.found_at.is_some() && self.found_at != next.found_at;
        (self.node, &self.leader, self.local, &self.origin) != (next.node, &next.leader, next.local, &next.origin)
            || has_moved
    }

    /// Where it is, for people.
    pub(super) fn place(&self) -> String {
        match self.found_at {
            Some(ip) => format!("{} ({ip})", self.origin),
            None => self.origin.to_string(),
        }
    }
}

/// Scheme and address of an HTTP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) scheme: Scheme,
    /// Host and port, never user and password: it stands in logs and error messages.
    pub(super) authority: Authority,
}

/// Why there is no target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HoldReason {
    /// Term 0.
    NotFormed,
    /// The group elects, or this member is cut off.
    NoLeader,
    /// A witness, by name.
    WitnessLeads(String),
    /// The leader, by name, was heard of just now, and not found yet: DNS alone may be wrong.
    Sought(String),
    /// The leader, by name, says nothing usable about its Prometheus.
    UnusableUrl(String),
    /// The leader, by name, wants TLS, and why that cannot be spoken.
    NoTls(String, String),
    /// The election group of this process has ended.
    GroupStopped,
}

impl fmt::Display for HoldReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFormed => f.write_str("the group has not formed yet (see `prometheus-elector status`)"),
            Self::NoLeader => f.write_str("no member leads the group, or this member is cut off from it"),
            Self::WitnessLeads(name) => {
                write!(f, "witness {name} leads until it has handed over, and it has no Prometheus")
            }
            Self::Sought(name) => write!(f, "leader {name} was heard of just now, and where it is shows in a moment"),
            Self::UnusableUrl(name) => {
                write!(
                    f,
                    "the Prometheus URL of leader {name} is unusable: set its `advertise-prometheus-url` to \
                     http://HOST:PORT or https://HOST:PORT"
                )
            }
            Self::NoTls(name, why) => write!(f, "Prometheus of leader {name} wants TLS: {why}"),
            Self::GroupStopped => f.write_str("the election group of this member has stopped; restart it"),
        }
    }
}

/// Decides the route. `local_url` is the own Prometheus, `None` for a witness.
pub(super) fn route(leadership: &Leadership, local_url: Option<&str>) -> Route {
    let Some(leader) = &leadership.leader else {
        return Route::Hold(if leadership.term == 0 { HoldReason::NotFormed } else { HoldReason::NoLeader });
    };
    let name = leader.member.name.clone();
    let url = match (leader.is_self, local_url) {
        (true, Some(url)) => url,
        (false, _) if !leader.member.witness && !leader.member.prometheus_url.is_empty() => {
            &leader.member.prometheus_url
        }
        _ => return Route::Hold(HoldReason::WitnessLeads(name)),
    };
    match Origin::parse(url) {
        Some(origin) => {
            let found_at = leader.found_at.filter(|_| !leader.is_self && origin.is_named(leader.member.raft_host()));
            Route::To(Target { node: leader.id, leader: name, local: leader.is_self, origin, found_at })
        }
        None => Route::Hold(HoldReason::UnusableUrl(name)),
    }
}

impl Origin {
    /// Scheme, host and port of a URL; path, user and password are left out. `None` if it is no `http` or `https` URL.
    pub(super) fn parse(url: &str) -> Option<Self> {
        let parts = url.parse::<Uri>().ok()?.into_parts();
        let scheme = parts.scheme.filter(|scheme| [Scheme::HTTP, Scheme::HTTPS].contains(scheme))?;
        let authority = parts.authority.filter(|authority| !authority.host().is_empty())?;
        let authority = match authority.as_str().rsplit_once('@') {
            Some((_, address)) => address.parse().ok()?,
            None => authority,
        };
        Some(Self { scheme, authority })
    }

    /// Whether `host` is its host, and a name.
    fn is_named(&self, host: &str) -> bool {
        let own = self.authority.host().trim_end_matches('.');
        own.eq_ignore_ascii_case(host) && host.parse::<IpAddr>().is_err()
    }

    /// As a URL without path.
    pub(super) fn uri(&self) -> Uri {
        let uri = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone()).path_and_query("/");
        // Cannot fail: nothing is missing.
        uri.build().unwrap_or_default()
    }

    /// As the value of `Host`.
    pub(super) fn host(&self) -> HeaderValue {
        HeaderValue::from_str(self.authority.as_str()).unwrap_or(HeaderValue::from_static(""))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::sync::Arc;

    use elector_raft::{Authority, Leader, Member};

    use super::*;

    fn leadership(term: u64, leader: Option<(bool, &str, bool)>) -> Leadership {
        let leader = leader.map(|(is_self, prometheus_url, witness)| {
            let member =
                Member { name: "p-1".into(), prometheus_url: prometheus_url.into(), witness, ..Member::default() };
            Arc::new(Leader { id: NodeId(7), is_self, member, found_at: None })
        });
        Leadership { term, leader, authority: Authority::None }
    }

    fn to(local: bool, url: &str) -> Route {
        Route::To(target(local, url, None))
    }

    fn target(local: bool, url: &str, found_at: Option<u8>) -> Target {
        let (origin, found_at) = (Origin::parse(url).unwrap(), found_at.map(ip));
        Target { node: NodeId(7), leader: "p-1".into(), local, origin, found_at }
    }

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn every_leadership_has_one_route() {
        const LOCAL: &str = "http://127.0.0.1:9090/";
        const REMOTE: &str = "http://p-1.prom:9090";
        let witness = || Route::Hold(HoldReason::WitnessLeads("p-1".into()));
        let unusable = || Route::Hold(HoldReason::UnusableUrl("p-1".into()));
        let table = [
            ("not formed", leadership(0, None), Some(LOCAL), Route::Hold(HoldReason::NotFormed)),
            ("electing", leadership(3, None), Some(LOCAL), Route::Hold(HoldReason::NoLeader)),
            // The local address wins over what the member says of itself for others.
            ("own leader", leadership(3, Some((true, REMOTE, false))), Some(LOCAL), to(true, LOCAL)),
            ("own witness", leadership(3, Some((true, "", true))), None, witness()),
            ("other leader", leadership(3, Some((false, REMOTE, false))), Some(LOCAL), to(false, REMOTE)),
            ("other leader, own witness", leadership(3, Some((false, REMOTE, false))), None, to(false, REMOTE)),
            ("witness without URL", leadership(3, Some((false, "", false))), Some(LOCAL), witness()),
            ("witness with URL", leadership(3, Some((false, REMOTE, true))), Some(LOCAL), witness()),
            ("no URL", leadership(3, Some((false, "p-1:9090", false))), Some(LOCAL), unusable()),
            (
                "own leader, https",
                leadership(3, Some((true, REMOTE, false))),
                Some("https://[::1]:9090"),
                to(true, "https://[::1]:9090"),
            ),
            (
                "https",
                leadership(3, Some((false, "https://p-1:9090", false))),
                Some(LOCAL),
                to(false, "https://p-1:9090"),
            ),
        ];
        for (case, leadership, local, expected) in table {
            assert_eq!(route(&leadership, local), expected, "{case}");
        }
    }

    #[test]
    fn the_leader_is_asked_where_the_group_found_it_if_its_prometheus_has_the_same_host() {
        let table = [
            ("p-1.prom:9096", "http://p-1.prom:9090", Some(3)),
            ("P-1.prom.:9096", "https://p-1.PROM:9090", Some(3)),
            ("p-1.prom:9096", "http://ingress:9090", None),
            ("p-1.prom:9096", "http://10.0.0.9:9090", None),
            ("10.0.0.9:9096", "http://10.0.0.9:9090", None),
            ("[::1]:9096", "http://[::1]:9090", None),
        ];
        for (raft_address, url, found_at) in table {
            let mut leadership = leadership(3, Some((false, url, false)));
            let leader = Arc::make_mut(leadership.leader.as_mut().unwrap());
            (leader.found_at, leader.member.raft_address) = (Some(ip(3)), raft_address.into());
            assert_eq!(route(&leadership, None), Route::To(target(false, url, found_at)), "{raft_address} {url}");
            leader_is_self(&mut leadership);
            assert_eq!(route(&leadership, Some(url)), Route::To(target(true, url, None)), "its own {url}");
        }
    }

    fn leader_is_self(leadership: &mut Leadership) {
        Arc::make_mut(leadership.leader.as_mut().unwrap()).is_self = true;
    }

    #[test]
    fn what_was_sent_is_given_up_when_another_leads_or_the_leader_is_elsewhere() {
        const URL: &str = "http://p-1.prom:9090";
        let table = [(None, None, false), (None, Some(3), false), (Some(3), None, false), (Some(3), Some(4), true)];
        for (before, now, is_left) in table {
            assert_eq!(target(false, URL, before).is_left_for(&target(false, URL, now)), is_left, "{before:?} {now:?}");
        }
        assert!(target(false, URL, None).is_left_for(&target(false, "http://p-1.prom:9091", None)));
        assert!(target(false, URL, None).is_left_for(&Target { node: NodeId(8), ..target(false, URL, None) }));
    }

    #[test]
    fn an_origin_is_scheme_host_and_port_and_never_a_secret() {
        let table = [
            ("http://p-1.prom:9090/prefix?x=1", Some("http://p-1.prom:9090")),
            ("http://[::1]:9090", Some("http://[::1]:9090")),
            ("http://user:secret@p-1:9090/", Some("http://p-1:9090")),
            ("HTTPS://user:secret@p-1:9090/x", Some("https://p-1:9090")),
            ("http://p-1", Some("http://p-1")),
            ("ftp://p-1", None),
            ("/only/a/path", None),
            ("", None),
        ];
        for (url, expected) in table {
            assert_eq!(Origin::parse(url).map(|origin| origin.to_string()).as_deref(), expected, "{url}");
        }
    }
}
