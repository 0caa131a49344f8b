//! What the user typed, made into what it means: raw arguments and environment -> [`Command`] with validated settings.
//!
//! ```text
//! argv, env --argv--> one form --clap--> raw::RawArgs (text) --resolve, identity, timing--> Command | every mistake
//!                                        `-- help: --help, docs/flags.md
//! ```
//!
//! [`parse`] is pure but for clap's look at the terminal's width: what the system knows comes in. Mistakes are reported
//! together, with exit code 2, by flag (and variable), value, rule, numbers and way out.
//! Source: REFERENCE.md "Flags"; ripgrep's low and high arguments.

mod access;
mod argv;
mod check;
mod commands;
pub mod defaults;
pub mod duration;
mod error;
mod gate;
mod help;
mod identity;
pub mod logging;
mod pod;
mod raft_tls;
mod raw;
mod resolve;
#[cfg(test)]
mod tests;
mod timing;
mod value;
mod warnings;

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use clap::FromArgMatches;
use tracing::level_filters::LevelFilter;

use crate::api::ApiSettings;
use crate::discovery::DiscoverySettings;
use crate::discovery::host::HostNames;
use crate::gate::GateSettings;
use crate::prometheus::access::AccessSettings;
use crate::proxy::ProxySettings;
use crate::raft_files::RaftTlsSettings;
use crate::role::{Role, RoleSettings};

pub use self::error::{ConfigError, Origin, Setting, UsageError, env_name};
pub use self::help::flags_markdown;
pub use self::logging::{LogFormat, LogSettings};
pub use self::value::LookUp;

/// What the system knows, for [`parse`].
#[derive(Clone, Debug)]
pub struct Environment {
    /// Environment variables.
    pub variables: Vec<(OsString, OsString)>,
    /// The host's own names.
    pub host: HostNames,
    /// Looks up a host name that stands in a listen address; `localhost` needs no look-up.
    pub look_up: LookUp,
}

impl Environment {
    /// The environment of this process.
    pub fn of_process(host: HostNames) -> Self {
        let look_up = |name: &str| (name, 0).to_socket_addrs().ok()?.next().map(|address| address.ip());
        Self { variables: std::env::vars_os().collect(), host, look_up }
    }
}

/// The part of [`Environment`] that settings are made from.
struct Facts {
    pod_name: Option<String>,
    pod_namespace: Option<String>,
    host: HostNames,
    look_up: fn(&str) -> Option<IpAddr>,
    /// This binary can speak to the Kubernetes API.
    kubernetes: bool,
    unknown_variables: Vec<String>,
}

/// Reads the command line (with the program's name in front) and the environment.
pub fn parse(
    argv: impl IntoIterator<Item = OsString>,
    environment: &Environment,
) -> Result<(Command, LogSettings), UsageError> {
    let arguments = argv.into_iter().skip(1).collect();
    let normalized = argv::normalize(arguments, &environment.variables, &help::flag_table());
    let normalized = normalized.map_err(UsageError::Settings)?;
    let program = std::iter::once(env!("CARGO_PKG_NAME").to_owned());
    let matches = help::command().try_get_matches_from(program.chain(normalized.arguments));
    let raw = matches.and_then(|matches| raw::RawArgs::from_arg_matches(&matches)).map_err(UsageError::Arguments)?;
    let variable = |wanted: &str| {
        let found = environment.variables.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.to_string_lossy().into_owned())
    };
    let facts = Facts {
        pod_name: variable("POD_NAME"),
        pod_namespace: variable("POD_NAMESPACE"),
        host: environment.host.clone(),
        look_up: environment.look_up,
        kubernetes: cfg!(feature = "kubernetes"),
        unknown_variables: warnings::unknown_variables(&environment.variables),
    };
    let mut check = check::Check::new(&normalized.origins);
    let logs = log_settings(&raw.flags.logs, &mut check);
    let command = resolve::command(&raw, &facts, &mut check);
    check.finish(command.zip(logs)).map_err(UsageError::Settings)
}

fn log_settings(raw: &raw::RawLogs, check: &mut check::Check) -> Option<LogSettings> {
    let level = check.read("log-level", &raw.log_level, |text| match text {
        "error" => Ok(LevelFilter::ERROR),
        "warn" => Ok(LevelFilter::WARN),
        "info" => Ok(LevelFilter::INFO),
        "debug" => Ok(LevelFilter::DEBUG),
        "trace" => Ok(LevelFilter::TRACE),
        _ => Err("is not a level; write error, warn, info, debug or trace".into()),
    });
    let format = check.read("log-format", &raw.log_format, |text| match text {
        "logfmt" => Ok(LogFormat::Logfmt),
        "json" => Ok(LogFormat::Json),
        _ => Err("is not a format; write logfmt or json".into()),
    });
    Some(LogSettings { level: level?, format: format? })
}

/// What to do, with everything that it needs, checked.
#[derive(Clone, Debug)]
pub enum Command {
    /// Run the sidecar.
    Run(Box<Settings>),
    /// Write the follower configuration once and exit.
    Init(InitSettings),
    /// Print the configuration of a role.
    Render {
        /// The two-section source file.
        source: PathBuf,
        /// Whose configuration.
        role: Role,
        /// Where the gate listens; `None`: off.
        gate: Option<SocketAddr>,
    },
    /// Check the source file.
    CheckConfig {
        /// The two-section source file.
        source: PathBuf,
        /// Where the gate listens; `None`: off.
        gate: Option<SocketAddr>,
    },
    /// The flags are right; what is to be said about them nevertheless.
    CheckFlags(Vec<String>),
    /// Show the status of a running sidecar.
    Status {
        /// Which one.
        whom: Whom,
        /// How.
        form: StatusForm,
    },
    /// Make the leader hand over.
    StepDown(ClientSettings),
    /// Make the sidecar stop as on SIGTERM.
    Shutdown {
        /// Where it is.
        client: ClientSettings,
        /// Longest time to wait until the others are well.
        wait_for_others: Option<Duration>,
    },
    /// Keep this member from leading.
    Cordon(ClientSettings),
    /// Let it lead again.
    Uncordon(ClientSettings),
    /// List the members.
    MemberList(ClientSettings),
    /// Remove a member.
    MemberRemove {
        /// Where the sidecar is.
        client: ClientSettings,
        /// Name of the member, as it was typed.
        name: String,
    },
    /// Make this member blank; confirmed.
    Recover {
        /// Where the sidecar is, if it runs.
        client: ClientSettings,
        /// Directory of the durable state.
        data_dir: PathBuf,
    },
}

/// Whose status is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// That of the sidecar on this host, at its admin address.
    Own(SocketAddr),
    /// That of any member, at the HOST:PORT of its API.
    Other(String),
}

/// How a status is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusForm {
    /// As a table or as JSON.
    Once {
        /// As JSON.
        json: bool,
    },
    /// Again each second.
    Watch {
        /// As JSON.
        json: bool,
    },
    /// As a verdict and an exit code.
    Check,
}

impl StatusForm {
    fn new(check: bool, watch: bool, json: bool) -> Self {
        match (check, watch) {
            (true, _) => Self::Check,
            (false, true) => Self::Watch { json },
            (false, false) => Self::Once { json },
        }
    }
}

/// What the init container needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitSettings {
    /// The two-section source file.
    pub source: PathBuf,
    /// The rendered Prometheus configuration.
    pub output: PathBuf,
    /// Its file mode, e.g. 0o640.
    pub output_mode: u32,
    /// Where the gate will listen; `None`: off.
    pub gate: Option<SocketAddr>,
}

/// Where the running sidecar answers on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientSettings {
    /// API address; never unspecified, never port 0.
    pub api: SocketAddr,
    /// Admin address; a loopback address, never port 0.
    pub admin: SocketAddr,
}

/// Everything that the sidecar needs to run, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The election group.
    pub group: GroupSettings,
    /// Where its peers come from.
    pub discovery: DiscoverySettings,
    /// Role control; `None` for a witness, which has no Prometheus.
    pub role: Option<RoleSettings>,
    /// The remote-write gate; `None`: off.
    pub gate: Option<GateSettings>,
    /// Access to Prometheus, the own and the leader's.
    pub access: AccessSettings,
    /// The own pod, whose label tells what this member is; `None`: the Kubernetes API is left alone.
    pub pod: Option<PodSettings>,
    /// The leader proxy; `None`: off.
    pub proxy: Option<ProxySettings>,
    /// API and admin listeners.
    pub api: ApiSettings,
    /// Time for open requests at shutdown.
    pub shutdown_grace: Duration,
    /// Adds metrics of the process.
    pub runtime_metrics: bool,
    /// Record of what happens, for tests.
    pub event_log: Option<PathBuf>,
    /// Things that work but that the user should know, in plain words; logged at start.
    pub warnings: Vec<String>,
}

/// The own pod (`--pod-leader-label`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodSettings {
    /// Its name.
    pub name: String,
    /// Its namespace; `None`: the one that the service account's files name.
    pub namespace: Option<String>,
    /// This member is a witness.
    pub witness: bool,
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
    /// Certificates of the members; `None`: they talk in plain text.
    pub tls: Option<RaftTlsSettings>,
}
