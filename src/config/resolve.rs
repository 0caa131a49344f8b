//! Raw arguments -> [`Command`] with validated settings, or every mistake at once. Pure: what the system knows comes in
//! as [`Facts`].

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::check::{Check, present};
use super::commands::{RawCommand, RawMemberCommand};
use super::error::ConfigError;
use super::identity::{self, Listen};
use super::raw::{RawArgs, RawFiles, RawFlags, RawPrometheus};
use super::{
    ClientSettings, Command, Facts, GroupSettings, InitSettings, Settings, StatusForm, Whom, access, defaults, pod,
    raft_tls, timing, value, warnings,
};
use crate::api::ApiSettings;
use crate::discovery::DiscoverySettings;
use crate::prometheus::{HealthSettings, NotifySettings, ReadinessSettings};
use crate::proxy::ProxySettings;
use crate::role::{OutputSettings, RoleSettings};

/// What the command line means. An error was collected for every `None`.
pub(super) fn command(raw: &RawArgs, facts: &Facts, check: &mut Check) -> Option<Command> {
    let flags = &raw.flags;
    match &raw.command {
        None => {
            if check.boolean("init", &flags.files.init)? {
                init(flags, facts, check).map(Command::Init)
            } else {
                settings(flags, facts, check).map(|settings| Command::Run(Box::new(settings)))
            }
        }
        Some(RawCommand::Render { role }) => {
            let (source, gate) = (source(&flags.files, check), gate_address(flags, facts, check));
            Some(Command::Render { source: source?, role: (*role).into(), gate: gate? })
        }
        Some(RawCommand::CheckConfig) => {
            let (source, gate) = (source(&flags.files, check), gate_address(flags, facts, check));
            Some(Command::CheckConfig { source: source?, gate: gate? })
        }
        Some(RawCommand::CheckFlags) => {
            let warnings = if check.boolean("init", &flags.files.init)? {
                init(flags, facts, check).map(|_| Vec::new())
            } else {
                settings(flags, facts, check).map(|settings| settings.warnings)
            };
            warnings.map(Command::CheckFlags)
        }
        Some(RawCommand::Status { json, watch, check: is_check, of }) => {
            let form = StatusForm::new(*is_check, *watch, *json);
            let whom = client(flags, facts, check)?;
            Some(Command::Status { whom: of.clone().map_or(Whom::Own(whom.admin), Whom::Other), form })
        }
        Some(RawCommand::StepDown) => client(flags, facts, check).map(Command::StepDown),
        Some(RawCommand::Cordon) => client(flags, facts, check).map(Command::Cordon),
        Some(RawCommand::Shutdown { wait_for_others }) => {
            client(flags, facts, check).map(|client| Command::Shutdown { client, wait_for_others: *wait_for_others })
        }
        Some(RawCommand::Uncordon) => client(flags, facts, check).map(Command::Uncordon),
        Some(RawCommand::Member { command: RawMemberCommand::List }) => {
            client(flags, facts, check).map(Command::MemberList)
        }
        Some(RawCommand::Member { command: RawMemberCommand::Remove { name } }) => {
            client(flags, facts, check).map(|client| Command::MemberRemove { client, name: name.clone() })
        }
        Some(RawCommand::Recover { yes }) => recover(flags, *yes, facts, check),
    }
}

fn init(raw: &RawFlags, facts: &Facts, check: &mut Check) -> Option<InitSettings> {
    if check.boolean("witness", &raw.member.witness)? {
        let first = check.setting("init", "true");
        let second = check.setting("witness", "true");
        let rule = "a witness has no configuration to write; take one of them away".to_owned();
        check.push(ConfigError::Conflict { first, second, rule });
        return None;
    }
    let (source, output) = (source(&raw.files, check), output(&raw.files, check));
    let output_mode = check.read("output-mode", &raw.files.output_mode, value::file_mode);
    let gate = gate_address(raw, facts, check);
    Some(InitSettings { source: source?, output: output?, output_mode: output_mode?, gate: gate? })
}

fn settings(raw: &RawFlags, facts: &Facts, check: &mut Check) -> Option<Settings> {
    let witness = check.boolean("witness", &raw.member.witness);
    let api = listen(raw, facts, check);
    let identity = identity::resolve(raw, facts, api.as_ref().map(|(_, at)| *at), witness == Some(true), check);
    let access = access::resolve(&raw.prometheus, identity.as_ref().map(|identity| &identity.member), check);
    let timing = timing::resolve(&raw.group, check);
    let shutdown_grace = check.delay("api-shutdown-grace-delay", &raw.api.api_shutdown_grace_delay);
    let lease_name = check.read("lease-name", &raw.group.lease_name, value::name);
    let dns_server = check.read_optional("dns-server", raw.discovery.dns_server.as_deref(), value::name_server);
    let refresh = check.period("dns-refresh-period", &raw.discovery.dns_refresh_period);
    let runtime_metrics = check.boolean("runtime-metrics", &raw.logs.runtime_metrics);
    let gate_only = super::gate::is_only(raw, check);
    let data_dir = data_dir(raw, witness == Some(true), gate_only == Some(true), check);
    let role = if witness? {
        witness_has_no_prometheus(raw, check).map(|()| None)
    } else {
        role(raw, shutdown_grace, gate_only?, check).map(Some)
    };
    let gate = super::gate::resolve(raw, data_dir.as_deref(), witness?, check);
    let proxy = proxy(raw, witness?, check);
    let pod = pod::resolve(&raw.member, facts, witness?, check);
    let tls = raft_tls::resolve(&raw.group, check);
    let ((api, listen), identity, timing, tls) = (api?, identity?, timing?, tls?);
    let token_file = present(raw.group.raft_token_file.as_deref()).map(PathBuf::from);
    let proof = (token_file.is_some(), tls.as_ref().map(|tls| tls.mode));
    let warnings = warnings::collect(raw, facts, &identity, listen, proof);
    let proxy = proxy?.map(|proxy| ProxySettings { member: identity.member.name.clone(), ..proxy });
    Some(Settings {
        group: GroupSettings {
            member: identity.member,
            group_name: lease_name?,
            listen: listen.raft,
            data_dir: data_dir?,
            bootstrap_expect: identity.bootstrap_expect,
            lease_duration: timing.lease,
            renew_deadline: timing.renew,
            retry_period: timing.retry,
            member_removal_delay: timing.removal,
            token_file,
            tls,
        },
        discovery: DiscoverySettings { source: identity.source, dns_server: dns_server?, refresh_period: refresh? },
        role: role?,
        gate: gate?,
        access: access?,
        pod: pod?,
        proxy,
        api,
        shutdown_grace: shutdown_grace?,
        runtime_metrics: runtime_metrics?,
        event_log: present(raw.logs.event_log.as_deref()).map(PathBuf::from),
        warnings,
    })
}

/// The three listeners; no two of them may want the same port of the same address.
fn listen(raw: &RawFlags, facts: &Facts, check: &mut Check) -> Option<(ApiSettings, Listen)> {
    let parse = |text: &str| value::listen_address(text, facts.look_up);
    let texts = [
        ("api-listen-address", &raw.api.api_listen_address),
        ("raft-listen-address", &raw.group.raft_listen_address),
        ("admin-listen-address", &raw.api.admin_listen_address),
    ];
    let [api, raft, _] =
        texts.map(|(flag, text)| if flag == "admin-listen-address" { None } else { check.read(flag, text, parse) });
    let admin = admin_address(raw, facts, check);
    let (api, raft, admin) = (api?, raft?, admin?);
    let mut good = true;
    let places = [api, raft, admin];
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        if overlap(places[one], places[other]) {
            good = false;
            let first = check.setting(texts[one].0, texts[one].1);
            let second = check.setting(texts[other].0, texts[other].1);
            let rule = format!("both listen on port {}; give each a port of its own", places[one].port());
            check.push(ConfigError::Conflict { first, second, rule });
        }
    }
    let web_config_file = present(raw.api.api_web_config_file.as_deref()).map(PathBuf::from);
    good.then_some((ApiSettings { listen: api, admin_listen: admin, web_config_file }, Listen { api, raft }))
}

fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let same_address = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && same_address
}

fn admin_address(raw: &RawFlags, facts: &Facts, check: &mut Check) -> Option<SocketAddr> {
    let (flag, text) = ("admin-listen-address", &raw.api.admin_listen_address);
    let address = check.read(flag, text, |text| value::listen_address(text, facts.look_up))?;
    if !address.ip().is_loopback() {
        let rule = format!(
            "is reachable from other hosts, but whoever reaches it may depose and remove members; write a loopback \
             address such as 127.0.0.1:{}",
            address.port()
        );
        check.value(flag, text, rule);
        return None;
    }
    Some(address)
}

/// Where the gate of a sidecar with the same flags listens; `Some(None)`: it is off.
#[expect(clippy::option_option, reason = "off and wrong are different answers")]
fn gate_address(raw: &RawFlags, facts: &Facts, check: &mut Check) -> Option<Option<SocketAddr>> {
    if !super::gate::is_on(raw, check)? {
        return Some(None);
    }
    let address = admin_address(raw, facts, check)?;
    if address.port() == 0 {
        let rule = "has port 0, but the gate listens there and its port stands in the configuration; write a port, or \
                    turn the gate off with --remote-write-gate=off";
        check.value("admin-listen-address", &raw.api.admin_listen_address, rule);
        return None;
    }
    Some(Some(address))
}

fn source(raw: &RawFiles, check: &mut Check) -> Option<PathBuf> {
    let reason = "the path of the file with the sections `follower` and `leader`";
    check.required("config", raw.config.as_deref(), reason).map(PathBuf::from)
}

fn output(raw: &RawFiles, check: &mut Check) -> Option<PathBuf> {
    let output =
        check.required("output", raw.output.as_deref(), "the path of the Prometheus configuration to write")?;
    if let Some(config) = present(raw.config.as_deref())
        && same_path(Path::new(config), Path::new(output))
    {
        let first = check.setting("config", config);
        let second = check.setting("output", output);
        let rule = "the output would overwrite its source; give the output another path".to_owned();
        check.push(ConfigError::Conflict { first, second, rule });
        return None;
    }
    Some(output.into())
}

/// Equal paths but for `.` and doubled slashes.
fn same_path(one: &Path, other: &Path) -> bool {
    let plain =
        |path: &Path| path.components().filter(|part| *part != std::path::Component::CurDir).collect::<PathBuf>();
    plain(one) == plain(other)
}

fn data_dir(raw: &RawFlags, witness: bool, gate_only: bool, check: &mut Check) -> Option<PathBuf> {
    if let Some(given) = present(raw.group.raft_data_dir.as_deref()) {
        return Some(given.into());
    }
    if witness || gate_only {
        let who = if witness { "a witness has" } else { "with gate-only there is" };
        let reason = format!("{who} no output beside which its state could go; give a directory that is kept");
        check.push(ConfigError::Missing { flag: "raft-data-dir", reason });
        return None;
    }
    // A missing output is reported where it is read.
    let output = Path::new(present(raw.files.output.as_deref())?);
    Some(output.with_file_name(defaults::RAFT_DATA_DIR_NAME))
}

fn role(raw: &RawFlags, shutdown_grace: Option<Duration>, gate_only: bool, check: &mut Check) -> Option<RoleSettings> {
    let source = source(&raw.files, check);
    let output = if gate_only {
        Some(None)
    } else {
        let path = output(&raw.files, check);
        let mode = check.read("output-mode", &raw.files.output_mode, value::file_mode);
        path.zip(mode).map(|(path, mode)| Some(OutputSettings { path, mode }))
    };
    let local = gate_only.then(|| format!("http://127.0.0.1:{}/-/reload", raw.proxy.api_proxy_prometheus_local_port));
    let notify = notify(&raw.prometheus, local.as_deref(), check);
    let readiness = readiness(&raw.prometheus, check);
    let health = health(&raw.prometheus, check);
    Some(RoleSettings {
        source: source?,
        output: output?,
        notify: notify?,
        readiness: readiness?,
        health: health?,
        demote_timeout: defaults::DEMOTE_TIMEOUT_MAX.min(shutdown_grace? / 2),
        cover_timeout: shutdown_grace? / 3,
    })
}

fn notify(raw: &RawPrometheus, default: Option<&str>, check: &mut Check) -> Option<NotifySettings> {
    let reason = "where Prometheus is told to reload, for example http://127.0.0.1:9090/-/reload";
    let given = present(raw.notify_http_url.as_deref()).or(default);
    let url = check.required("notify-http-url", given, reason);
    let url = url.and_then(|url| check.read("notify-http-url", url, value::http_url));
    let method = check.read("notify-http-method", &raw.notify_http_method, |text| {
        let method = reqwest::Method::from_bytes(text.to_ascii_uppercase().as_bytes());
        method.map_err(|_| "is not a request method; write POST or PUT".into())
    });
    let attempts = &raw.notify_retry_max_attempts;
    let max_attempts = check.read("notify-retry-max-attempts", attempts, at_least_one);
    let retry_delay = check.delay("notify-retry-delay", &raw.notify_retry_delay);
    let timeout = check.period("notify-timeout", &raw.notify_timeout);
    Some(NotifySettings {
        url: url?,
        method: method?,
        max_attempts: max_attempts?,
        retry_delay: retry_delay?,
        timeout: timeout?,
    })
}

#[expect(clippy::option_option, reason = "not wanted and wrong are different answers")]
fn readiness(raw: &RawPrometheus, check: &mut Check) -> Option<Option<ReadinessSettings>> {
    let url = check.read_optional("readiness-http-url", raw.readiness_http_url.as_deref(), value::http_url);
    let poll_period = check.period("readiness-poll-period", &raw.readiness_poll_period);
    let timeout = check.period("readiness-timeout", &raw.readiness_timeout);
    let (url, poll_period, timeout) = (url?, poll_period?, timeout?);
    Some(url.map(|url| ReadinessSettings { url, poll_period, timeout }))
}

fn health(raw: &RawPrometheus, check: &mut Check) -> Option<HealthSettings> {
    let url = check.read_optional("healthcheck-http-url", raw.healthcheck_http_url.as_deref(), value::http_url);
    let period = check.period("healthcheck-period", &raw.healthcheck_period);
    let timeout = check.period("healthcheck-timeout", &raw.healthcheck_timeout);
    let successes = &raw.healthcheck_success_threshold;
    let success_threshold = check.read("healthcheck-success-threshold", successes, at_least_one);
    let failures = &raw.healthcheck_failure_threshold;
    let failure_threshold = check.read("healthcheck-failure-threshold", failures, at_least_one);
    Some(HealthSettings {
        url: url?,
        period: period?,
        timeout: timeout?,
        success_threshold: success_threshold?,
        failure_threshold: failure_threshold?,
    })
}

fn at_least_one(text: &str) -> Result<u32, String> {
    value::number(text, 1, u32::from(u16::MAX))
}

/// Settings that need a Prometheus contradict `witness`.
fn witness_has_no_prometheus(raw: &RawFlags, check: &mut Check) -> Option<()> {
    let given = [
        ("config", raw.files.config.as_deref()),
        ("output", raw.files.output.as_deref()),
        ("notify-http-url", raw.prometheus.notify_http_url.as_deref()),
        ("readiness-http-url", raw.prometheus.readiness_http_url.as_deref()),
        ("healthcheck-http-url", raw.prometheus.healthcheck_http_url.as_deref()),
    ];
    let local_port = Some(raw.proxy.api_proxy_prometheus_local_port.as_str());
    let local_port =
        ("api-proxy-prometheus-local-port", local_port.filter(|_| check.given("api-proxy-prometheus-local-port")));
    let mut good = true;
    for (flag, text) in given.into_iter().chain([local_port]) {
        let Some(text) = present(text) else { continue };
        good = false;
        let first = check.setting("witness", "true");
        let second = check.setting(flag, text);
        let rule = "a witness has no Prometheus; take one of them away".to_owned();
        check.push(ConfigError::Conflict { first, second, rule });
    }
    good.then_some(())
}

/// The proxy without its member's name, which is filled in where it is known.
#[expect(clippy::option_option, reason = "off and wrong are different answers")]
fn proxy(raw: &RawFlags, witness: bool, check: &mut Check) -> Option<Option<ProxySettings>> {
    let add_credentials = access::adds_credentials(raw, check);
    let (raw, prometheus) = (&raw.proxy, &raw.prometheus);
    let enabled = check.boolean("api-proxy-enabled", &raw.api_proxy_enabled);
    let local_url = check.read("api-proxy-prometheus-local-port", &raw.api_proxy_prometheus_local_port, |text| {
        let port = value::port(text)?;
        value::http_url(&format!("{}://{}:{port}", access::scheme(prometheus, port), Ipv4Addr::LOCALHOST))
    });
    let leader_wait = check.delay("proxy-leader-wait", &raw.proxy_leader_wait);
    let (enabled, local_url, leader_wait) = (enabled?, local_url?, leader_wait?);
    let add_credentials = add_credentials?;
    let local_url = (!witness).then_some(local_url);
    Some(enabled.then(|| ProxySettings { member: String::new(), local_url, leader_wait, add_credentials }))
}

/// Where a sidecar that was started with the same flags can be asked from the same host.
fn client(raw: &RawFlags, facts: &Facts, check: &mut Check) -> Option<ClientSettings> {
    let (flag, text) = ("api-listen-address", &raw.api.api_listen_address);
    let api = check.read(flag, text, |text| value::listen_address(text, facts.look_up));
    let admin = admin_address(raw, facts, check);
    let (api, admin) = (api?, admin?);
    let mut good = true;
    for (flag, text, address) in [(flag, text, api), ("admin-listen-address", &raw.api.admin_listen_address, admin)] {
        if address.port() == 0 {
            good = false;
            check.value(
                flag,
                text,
                "has port 0, which says nothing to a client; write the port that the sidecar logged",
            );
        }
    }
    let ip = if api.ip().is_unspecified() { IpAddr::from(Ipv4Addr::LOCALHOST) } else { api.ip() };
    good.then_some(ClientSettings { api: (ip, api.port()).into(), admin })
}

fn recover(raw: &RawFlags, yes: bool, facts: &Facts, check: &mut Check) -> Option<Command> {
    let missing = "the directory of the group's state (or --output, beside which it is by default)";
    let output = present(raw.files.output.as_deref());
    if present(raw.group.raft_data_dir.as_deref()).is_none() && output.is_none() {
        check.push(ConfigError::Missing { flag: "raft-data-dir", reason: missing.into() });
    }
    if !yes {
        check.push(ConfigError::NotConfirmed(
            "recover gives this member's part of the group up for good and can make two groups while other members \
             live: read `prometheus-elector recover --help`, then repeat it with --yes",
        ));
    }
    let (client, data_dir) = (client(raw, facts, check), data_dir(raw, false, false, check));
    Some(Command::Recover { client: client?, data_dir: data_dir? })
}
