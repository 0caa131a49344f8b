//! What the user typed: every flag as text, with its help and the text of its default. What it means is decided in
//! [`super::resolve`]. One struct for each topic of `--help`.
//!
//! The doc comments of the fields ARE the help texts. A default that depends on other flags stands at the end of the
//! help text in the form that clap uses for fixed ones: `[default: …]`.

// Help is read in a terminal, where back-ticks are noise.
#![allow(clippy::doc_markdown)]

use super::commands::RawCommand;
use super::{defaults, duration};

/// Makes a group of Prometheus replicas act as one: one of them writes, all of them answer.
///
/// Without a command it runs the sidecar. Flags are written -flag value, -flag=value, --flag value or --flag=value,
/// before or after the command. A flag that takes a BOOL is true when it stands alone; write -flag=false for false.
/// A DURATION is written like 300ms, 1.5s or 1m30s. Every flag can be given as an environment variable; the command
/// line wins, and an empty variable counts as unset.
#[derive(Debug, clap::Parser)]
#[command(name = "prometheus-elector", version, max_term_width = 100, subcommand_help_heading = "Commands")]
pub(super) struct RawArgs {
    #[command(flatten)]
    pub flags: RawFlags,
    #[command(subcommand)]
    pub command: Option<RawCommand>,
}

#[derive(Debug, clap::Args)]
pub(super) struct RawFlags {
    #[command(flatten)]
    pub files: RawFiles,
    #[command(flatten)]
    pub prometheus: RawPrometheus,
    #[command(flatten)]
    pub api: RawApi,
    #[command(flatten)]
    pub gate: RawGate,
    #[command(flatten)]
    pub proxy: RawProxy,
    #[command(flatten)]
    pub member: RawMember,
    #[command(flatten)]
    pub group: RawGroup,
    #[command(flatten)]
    pub discovery: RawDiscovery,
    #[command(flatten)]
    pub logs: RawLogs,
    #[command(flatten)]
    pub unused: RawUnused,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Configuration")]
pub(super) struct RawFiles {
    /// Path of the file with the sections `follower` and `leader`. Required, except for a witness
    #[arg(long, value_name = "FILE")]
    pub config: Option<String>,
    /// Path of the Prometheus configuration to write. Required, except for a witness and with gate-only
    #[arg(long, value_name = "FILE")]
    pub output: Option<String>,
    /// File mode of the output, in octal digits
    #[arg(long, value_name = "MODE", default_value_t = format!("0{:o}", defaults::OUTPUT_MODE))]
    pub output_mode: String,
    /// Write the follower configuration once and exit (for an init container)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_value = "false", default_missing_value = "true")]
    pub init: String,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Prometheus")]
pub(super) struct RawPrometheus {
    /// Where to tell Prometheus to reload, e.g. http://127.0.0.1:9090/-/reload. Required, except with init or witness; with
    /// gate-only it only says where Prometheus is [default with gate-only: the local port]
    #[arg(long, value_name = "URL")]
    pub notify_http_url: Option<String>,
    /// Method of the reload request
    #[arg(long, value_name = "METHOD", default_value = defaults::NOTIFY_HTTP_METHOD)]
    pub notify_http_method: String,
    /// Attempts to reload before it is tried less often (it is never given up)
    #[arg(long, value_name = "COUNT", default_value_t = defaults::NOTIFY_RETRY_MAX_ATTEMPTS.to_string())]
    pub notify_retry_max_attempts: String,
    /// Pause between two attempts to reload
    #[arg(long, value_name = "DURATION", default_value_t = duration::format(defaults::NOTIFY_RETRY_DELAY))]
    pub notify_retry_delay: String,
    /// A reload that takes longer is reported as slow; it is waited for, not repeated
    #[arg(long, value_name = "DURATION", default_value_t = duration::format(defaults::NOTIFY_TIMEOUT))]
    pub notify_timeout: String,
    /// Wait until this URL answers 200 before this member may lead, and see there later that Prometheus ends [default: do not wait]
    #[arg(long, value_name = "URL")]
    pub readiness_http_url: Option<String>,
    /// Time between two readiness polls
    #[arg(long, value_name = "DURATION", default_value_t = duration::format(defaults::READINESS_POLL_PERIOD))]
    pub readiness_poll_period: String,
    /// Time for one readiness poll
    #[arg(long, value_name = "DURATION", default_value_t = duration::format(defaults::READINESS_TIMEOUT))]
    pub readiness_timeout: String,
    /// Any 2xx answer of this URL is a successful health check
    /// [default: only check that Prometheus accepts connections]
    #[arg(long, value_name = "URL")]
    pub healthcheck_http_url: Option<String>,
    /// Time between two health checks
    #[arg(long, value_name = "DURATION", default_value_t = duration::format(defaults::HEALTHCHECK_PERIOD))]
    pub healthcheck_period: String,
    /// Time for one health check
    #[arg(long, value_name = "DURATION", default_value_t = duration::format(defaults::HEALTHCHECK_TIMEOUT))]
    pub healthcheck_timeout: String,
    /// Successes in a row after which an unhealthy member may lead again
    #[arg(long, value_name = "COUNT", default_value_t = defaults::HEALTHCHECK_SUCCESS_THRESHOLD.to_string())]
    pub healthcheck_success_threshold: String,
    /// Failures in a row after which a member does not lead
    #[arg(long, value_name = "COUNT", default_value_t = defaults::HEALTHCHECK_FAILURE_THRESHOLD.to_string())]
    pub healthcheck_failure_threshold: String,
    /// File with the CA certificates that the certificate of every Prometheus comes from, in PEM. Like the files of the next
    /// flags it is read again when it changes [default: the system's]
    #[arg(long, value_name = "FILE")]
    pub prometheus_ca_file: Option<String>,
    /// File with the client certificate for Prometheus, in PEM. The proxy presents it too, for all who reach the API address
    /// [default: none]
    #[arg(long, value_name = "FILE")]
    pub prometheus_client_cert_file: Option<String>,
    /// File with its key, in PEM [default: none]
    #[arg(long, value_name = "FILE")]
    pub prometheus_client_key_file: Option<String>,
    /// Name that the certificate of every Prometheus must prove [default: the host of its URL; here also that of
    /// advertise-prometheus-url]
    #[arg(long, value_name = "NAME")]
    pub prometheus_tls_server_name: Option<String>,
    /// File with USER:PASSWORD for Prometheus, in one line: for reload and checks, and for the proxy only with
    /// proxy-add-credentials [default: none]
    #[arg(long, value_name = "FILE")]
    pub prometheus_basic_auth_file: Option<String>,
    /// File with a bearer token for Prometheus, in the place of user and password [default: none]
    #[arg(long, value_name = "FILE")]
    pub prometheus_bearer_token_file: Option<String>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "API")]
pub(super) struct RawApi {
    /// Where API, metrics and proxy listen; :PORT means all IPv4 and IPv6 addresses
    #[arg(long, value_name = "ADDRESS", default_value = defaults::API_LISTEN_ADDRESS)]
    pub api_listen_address: String,
    /// Time for open requests at shutdown
    #[arg(long, value_name = "DURATION", default_value_t = duration::format(defaults::API_SHUTDOWN_GRACE_DELAY))]
    pub api_shutdown_grace_delay: String,
    /// File that turns on TLS or passwords for the API address, in the format of Prometheus's web.config.file; read anew
    /// when it changes [default: plain, for everybody]
    #[arg(long, value_name = "FILE")]
    pub api_web_config_file: Option<String>,
    /// Where step-down, cordon, uncordon and member remove are taken; a loopback address
    #[arg(long, value_name = "ADDRESS", default_value = defaults::ADMIN_LISTEN_ADDRESS)]
    pub admin_listen_address: String,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Remote-write gate")]
pub(super) struct RawGate {
    /// on: the remote_write entries of the leader section go through the sidecar, which lets one replica write and loses
    /// nothing in a takeover; off: they appear and disappear with a reload
    #[arg(long, value_name = "on|off", default_value = defaults::REMOTE_WRITE_GATE)]
    pub remote_write_gate: String,
    /// Only the gate: Prometheus is configured by somebody else, whose remote_write points at
    /// http://127.0.0.1:9097/write/NAME for the entry of that name in the leader section. Nothing is rendered or reloaded.
    /// Takes no output; needs raft-data-dir
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_value = "false", default_missing_value = "true")]
    pub gate_only: String,
    /// Longest interval of scrapes or rules that the configuration does not show, such as those of rule groups; standbys
    /// keep so much more [default: none]
    #[arg(long, value_name = "DURATION")]
    pub gate_extra_interval: Option<String>,
    /// Largest spool of one entry on the disk of a standby; more stays in Prometheus
    #[arg(long, value_name = "SIZE", default_value = defaults::GATE_SPOOL_SIZE)]
    pub gate_spool_size: String,
    /// Directory of the spools [default: gate inside raft-data-dir]
    #[arg(long, value_name = "DIRECTORY")]
    pub gate_spool_dir: Option<String>,
    /// Shortest time between two messages of the writer to the standbys about how far it has got
    #[arg(long, value_name = "DURATION", default_value_t = duration::format(defaults::WATERMARK_PERIOD))]
    pub watermark_period: String,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Proxy")]
pub(super) struct RawProxy {
    /// Send every other request on the API address to the leader's Prometheus
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_value = "false", default_missing_value = "true")]
    pub api_proxy_enabled: String,
    /// Port of this member's Prometheus on 127.0.0.1; https if notify-http-url is, on that port
    #[arg(long, value_name = "PORT", default_value_t = defaults::PROMETHEUS_PORT.to_string())]
    pub api_proxy_prometheus_local_port: String,
    /// Port of this member's Prometheus as other members reach it
    #[arg(long, value_name = "PORT", default_value_t = defaults::PROMETHEUS_PORT.to_string())]
    pub api_proxy_prometheus_remote_port: String,
    /// Headless service of the StatefulSet: a member's host is MEMBER.SERVICE [default: the peer service]
    #[arg(long, value_name = "SERVICE")]
    pub api_proxy_prometheus_service_name: Option<String>,
    /// How long a request waits while there is no leader; then it is answered 503
    #[arg(long, value_name = "DURATION", default_value_t = duration::format(defaults::PROXY_LEADER_WAIT))]
    pub proxy_leader_wait: String,
    /// Give the credentials for Prometheus to requests that have none: whoever reaches the API address may then ask
    /// Prometheus everything. Needs raft-token-file or raft-tls-mode=required
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_value = "false", default_missing_value = "true")]
    pub proxy_add_credentials: String,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Member")]
pub(super) struct RawMember {
    /// Name of this member, unique in the group [default: $POD_NAME, else the host name]
    #[arg(long, value_name = "NAME")]
    pub member_id: Option<String>,
    /// Base URL of this member's Prometheus as other members reach it [default: the member's host and the
    /// remote port; https if notify-http-url is, on that port]
    #[arg(long, value_name = "URL")]
    pub advertise_prometheus_url: Option<String>,
    /// Base URL of this member's API as other members reach it [default: the member's host and the API port]
    #[arg(long, value_name = "URL")]
    pub advertise_api_url: Option<String>,
    /// Vote only: no Prometheus, never the leader. Makes two replicas safe. Needs raft-data-dir
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_value = "false", default_missing_value = "true")]
    pub witness: String,
    /// Keep the label prometheus-elector/role of the own pod at leader, follower or witness, for a Service that selects the
    /// leader, and write an Event when this member becomes it. Needs a service account's token and a Role
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_value = "false", default_missing_value = "true")]
    pub pod_leader_label: String,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Election group")]
pub(super) struct RawGroup {
    /// Name of the election; members with another name are refused
    #[arg(long, value_name = "NAME", default_value = defaults::LEASE_NAME)]
    pub lease_name: String,
    /// Others wait this long after they last heard from the leader; more than 1.23 renew deadlines
    #[arg(long, value_name = "DURATION", default_value_t = duration::format(defaults::LEASE_DURATION))]
    pub lease_duration: String,
    /// A leader that no majority has acknowledged for this long gives up; at least 3 retry periods
    #[arg(long, value_name = "DURATION", default_value_t = duration::format(defaults::LEASE_RENEW_DEADLINE))]
    pub lease_renew_deadline: String,
    /// Time between two heartbeats of the leader; round trips between members must stay below half of it
    #[arg(long, value_name = "DURATION", default_value_t = duration::format(defaults::LEASE_RETRY_PERIOD))]
    pub lease_retry_period: String,
    /// Where the members of the group talk; :PORT means all IPv4 and IPv6 addresses
    #[arg(long, value_name = "ADDRESS", default_value = defaults::RAFT_LISTEN_ADDRESS)]
    pub raft_listen_address: String,
    /// HOST:PORT by which other members reach that [default: own entry of peers, else the member's host and the Raft
    /// port]
    #[arg(long, value_name = "ADDRESS")]
    pub raft_advertise_address: Option<String>,
    /// Directory of the group's durable state [default: .prometheus-elector-raft beside the output]
    #[arg(long, value_name = "DIRECTORY")]
    pub raft_data_dir: Option<String>,
    /// Members that are expected at the very first start; a majority of them forms the group
    /// [default: 3, or the number of peers]
    #[arg(long, value_name = "COUNT")]
    pub raft_bootstrap_expect: Option<String>,
    /// File with the group's shared token, one a line: the first is sent, each is accepted. Like the files of the next flags it
    /// is read again when it changes [default: no token]
    #[arg(long, value_name = "FILE")]
    pub raft_token_file: Option<String>,
    /// File with the CA certificates that the certificate of every member comes from, in PEM: use one that issues for this
    /// group only. With the next two the Raft port speaks TLS, and both sides prove themselves [default: no TLS]
    #[arg(long, value_name = "FILE")]
    pub raft_tls_ca_file: Option<String>,
    /// File with this member's certificate, in PEM, for server and client; it holds the member's name or the host of
    /// raft-advertise-address [default: no TLS]
    #[arg(long, value_name = "FILE")]
    pub raft_tls_cert_file: Option<String>,
    /// File with its key, in PEM [default: no TLS]
    #[arg(long, value_name = "FILE")]
    pub raft_tls_key_file: Option<String>,
    /// required: members without a certificate are refused; optional: plain text is taken too, and spoken with members that
    /// know no TLS, for the way to TLS and back [default: required, if the files are given]
    #[arg(long, value_name = "required|optional")]
    pub raft_tls_mode: Option<String>,
    /// A member that is absent from DNS and silent for this long is removed
    #[arg(long, value_name = "DURATION", default_value_t = duration::format(defaults::MEMBER_REMOVAL_DELAY))]
    pub member_removal_delay: String,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Discovery")]
pub(super) struct RawDiscovery {
    /// Headless service whose DNS records list the members
    /// [default: api-proxy-prometheus-service-name, else taken from the pod's own name]
    #[arg(long, value_name = "SERVICE")]
    pub peer_service_name: Option<String>,
    /// NAME=HOST:PORT,… with the Raft addresses of all members, this one included; replaces DNS
    /// [default: none, use DNS]
    #[arg(long, value_name = "LIST")]
    pub peers: Option<String>,
    /// Name server to ask, IP or IP:PORT [default: the system's]
    #[arg(long, value_name = "ADDRESS")]
    pub dns_server: Option<String>,
    /// Time between two look-ups of the members
    #[arg(long, value_name = "DURATION", default_value_t = duration::format(defaults::DNS_REFRESH_PERIOD))]
    pub dns_refresh_period: String,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Logs and metrics")]
pub(super) struct RawLogs {
    /// error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = defaults::LOG_LEVEL)]
    pub log_level: String,
    /// logfmt or json
    #[arg(long, value_name = "FORMAT", default_value = defaults::LOG_FORMAT)]
    pub log_format: String,
    /// File to which each start, change of authority, role and configuration, and shutdown is appended, as a line of JSON with the
    /// time of CLOCK_MONOTONIC: for tests. It grows without an end [default: none]
    #[arg(long, value_name = "FILE")]
    pub event_log: Option<String>,
    /// Add metrics of the process and its runtime
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_value = "false", default_missing_value = "true")]
    pub runtime_metrics: String,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Accepted from the Lease-based tool, without effect")]
pub(super) struct RawUnused {
    /// There is no Lease, so it needs no namespace [default: none]
    #[arg(long, value_name = "NAMESPACE")]
    pub lease_namespace: Option<String>,
    /// The Kubernetes API is not used; logged as a warning [default: none]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<String>,
}
