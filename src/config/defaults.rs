//! One constant per default and per bound, with its unit and its reason.
//!
//! Names are the flags' names. A default without a comment on its value is the one that users of the Lease-based tool
//! have (REFERENCE.md), kept so that their alerts and runbooks stay true.

use std::time::Duration;

/// Prometheus often runs under another user but with the same group; nobody else needs its credentials.
pub const OUTPUT_MODE: u32 = 0o640;

/// The method that Prometheus documents for `/-/reload`.
pub const NOTIFY_HTTP_METHOD: &str = "POST";
/// Attempts before the slow, endless retry of role control takes over.
pub const NOTIFY_RETRY_MAX_ATTEMPTS: u32 = 5;
/// Pause between those attempts.
pub const NOTIFY_RETRY_DELAY: Duration = Duration::from_secs(10);
/// A reload that takes longer is reported as slow.
pub const NOTIFY_TIMEOUT: Duration = Duration::from_secs(2);

/// Time between two readiness polls.
pub const READINESS_POLL_PERIOD: Duration = Duration::from_secs(5);
/// Time for one readiness poll.
pub const READINESS_TIMEOUT: Duration = Duration::from_secs(2);

/// Time between two health checks.
pub const HEALTHCHECK_PERIOD: Duration = Duration::from_secs(5);
/// Time for one health check.
pub const HEALTHCHECK_TIMEOUT: Duration = Duration::from_secs(2);
/// Successes in a row.
pub const HEALTHCHECK_SUCCESS_THRESHOLD: u32 = 3;
/// Failures in a row.
pub const HEALTHCHECK_FAILURE_THRESHOLD: u32 = 3;

/// Name of the election; it keeps two groups under one Service apart, and most Services hold one group.
pub const LEASE_NAME: &str = "prometheus-elector";
/// A killed leader is replaced within two leases, because the last voter stands for election that long after it heard
/// from it; with a lease of 1 s, 1 takeover of 30 took longer than the 2 s that are promised (`make bench`).
pub const LEASE_DURATION: Duration = Duration::from_millis(900);
/// 720 ms * 1.23 = 886 ms: ends before the lease of 900 ms, also with clocks 10 % off in opposite directions.
pub const LEASE_RENEW_DEADLINE: Duration = Duration::from_millis(720);
/// Seven heartbeats fit into the renew deadline, and round trips may take up to 50 ms.
pub const LEASE_RETRY_PERIOD: Duration = Duration::from_millis(100);
/// Below this, timers and one flush to disk are no longer small beside a heartbeat. Also keeps every value at or above
/// the millisecond that Raft counts in.
pub const LEASE_RETRY_PERIOD_MIN: Duration = Duration::from_millis(10);

/// All addresses of both families: members reach each other by pod address.
pub const RAFT_LISTEN_ADDRESS: &str = ":9096";
/// Name of the state's directory beside the output file, where a drop-in deployment has a writable volume already.
pub const RAFT_DATA_DIR_NAME: &str = ".prometheus-elector-raft";
/// The smallest group that survives the loss of a member. Members.
pub const RAFT_BOOTSTRAP_EXPECT: usize = 3;
/// Every voter answers every heartbeat: more than this is a typing error, not a group. Members.
pub const MEMBERS_MAX: usize = 31;
/// Longer than a pod takes to move to another node, short enough that a scaled-down group gets its majority back soon.
pub const MEMBER_REMOVAL_DELAY: Duration = Duration::from_mins(5);

/// One SRV query per second and member costs a name server nothing and finds a moved pod before it has started.
pub const DNS_REFRESH_PERIOD: Duration = Duration::from_secs(1);
/// Where every name server listens.
pub const DNS_PORT: u16 = 53;

/// All addresses of both families: API and proxy are as open as Prometheus itself.
pub const API_LISTEN_ADDRESS: &str = ":9095";
/// Loopback, beside the other two ports: whoever is in the pod may step down, cordon and remove.
pub const ADMIN_LISTEN_ADDRESS: &str = "127.0.0.1:9097";
/// One writer by fencing is what this program is for.
pub const REMOTE_WRITE_GATE: &str = "on";
/// Ten minutes of 20,000 samples a second.
pub const GATE_SPOOL_SIZE: &str = "256MiB";
/// A spool that cannot hold one batch of Prometheus's defaults in each of its segments is a typing error. Bytes.
pub const GATE_SPOOL_SIZE_MIN: u64 = 1 << 20;
/// One small entry in the group's log every other second, and as much more to keep on a standby.
pub const WATERMARK_PERIOD: Duration = Duration::from_secs(2);
/// Name of the spools' directory inside that of the group's state.
pub const GATE_SPOOL_DIR_NAME: &str = "gate";

/// Prometheus's own default port.
pub const PROMETHEUS_PORT: u16 = 9090;
/// A takeover takes 2 s; this covers it twice, and ends before the 10 s after which most clients give up.
pub const PROXY_LEADER_WAIT: Duration = Duration::from_secs(5);
/// Half of the 30 s that Kubernetes gives a pod to end.
pub const API_SHUTDOWN_GRACE_DELAY: Duration = Duration::from_secs(15);
/// Longest time that a planned handover waits for the follower configuration to be in force, never more than half of
/// the grace delay. Prometheus answers a reload within 1 s unless it flushes a dead remote, which may take minutes.
pub const DEMOTE_TIMEOUT_MAX: Duration = Duration::from_secs(5);

/// What an operator wants to read every day.
pub const LOG_LEVEL: &str = "info";
/// The layout of Prometheus's own log.
pub const LOG_FORMAT: &str = "logfmt";

/// A shorter period is a mistyped unit, and would keep a core busy.
pub const PERIOD_MIN: Duration = Duration::from_millis(10);
