//! What the user typed, made into what it means: raw arguments -> validated [`Settings`].

use std::path::PathBuf;
use std::time::Duration;

use crate::api::ApiSettings;
use crate::discovery::DiscoverySettings;
use crate::proxy::ProxySettings;
use crate::role::RoleSettings;

/// Everything that the sidecar needs to run, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The election group.
    pub group: GroupSettings,
    /// Where its peers come from.
    pub discovery: DiscoverySettings,
    /// Role control; `None` for a witness, which has no Prometheus.
    pub role: Option<RoleSettings>,
    /// The leader proxy; `None`: off.
    pub proxy: Option<ProxySettings>,
    /// API and admin listeners.
    pub api: ApiSettings,
    /// Time for open requests at shutdown.
    pub shutdown_grace: Duration,
    /// Adds metrics of the process.
    pub runtime_metrics: bool,
    /// Things that work but that the user should know, in plain words; logged at start.
    pub warnings: Vec<String>,
}

/// Settings of the election group.
#[derive(Clone, Debug)]
pub struct GroupSettings {
    /// How this member describes itself.
    pub member: elector_raft::Member,
    /// Name of the election (`lease-name`); members of another name are refused.
    pub group_name: String,
    /// Raft listener.
    pub listen: std::net::SocketAddr,
    /// Directory of the durable state.
    pub data_dir: PathBuf,
    /// Smallest number of members with which a group may form is a majority of this.
    pub bootstrap_expect: usize,
    /// No voter grants a vote for this long after it has heard from a leader.
    pub lease_duration: Duration,
    /// How long after the last quorum acknowledgement a leader may still act.
    pub renew_deadline: Duration,
    /// Heartbeat interval.
    pub retry_period: Duration,
    /// Absent and silent for this long: removed.
    pub member_removal_delay: Duration,
    /// File with the shared token of the group, one a line: the first is sent, each is accepted.
    pub token_file: Option<PathBuf>,
}
