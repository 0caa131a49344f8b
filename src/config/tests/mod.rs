//! Whole command lines in, settings or exact messages out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access;
mod commands;
mod defaults_in_force;
mod flags;
mod identity;
mod mistakes;
mod pod;
mod raft_tls;
mod timing;

use std::ffi::OsString;

use super::{Command, Environment, LogSettings, Settings, UsageError, parse};
use crate::discovery::host::HostNames;

/// The least that a replica needs.
const REPLICA: &str = "-config c.yaml -output /out/p.yaml -notify-http-url http://127.0.0.1:9090/-/reload";

/// A pod of a `StatefulSet`.
fn pod() -> HostNames {
    HostNames { host: "prom-0".into(), fqdn: Some("prom-0.prom.mon.svc.cluster.local.".into()) }
}

/// A host that knows nothing but its name.
fn bare() -> HostNames {
    HostNames { host: "web".into(), fqdn: None }
}

fn try_parse(line: &str, env: &[(&str, &str)], host: HostNames) -> Result<(Command, LogSettings), UsageError> {
    let argv = std::iter::once("prometheus-elector").chain(line.split_whitespace()).map(OsString::from);
    let variables = env.iter().map(|(name, value)| (name.into(), value.into())).collect();
    parse(argv, &Environment { variables, host, look_up: |_| None })
}

/// The settings of a sidecar that is run with these arguments.
fn run(line: &str, host: HostNames) -> Settings {
    match try_parse(line, &[], host).map_err(|error| error.to_string()) {
        Ok((Command::Run(settings), _)) => *settings,
        other => panic!("{line}: {other:?}"),
    }
}

/// The mistakes in these arguments, one string each.
fn mistakes_with(line: &str, env: &[(&str, &str)], host: HostNames) -> Vec<String> {
    match try_parse(line, env, host) {
        Err(UsageError::Settings(errors)) => errors.iter().map(ToString::to_string).collect(),
        other => panic!("{line}: {other:?}"),
    }
}

/// The mistakes in a pod's arguments beside those that a replica needs.
fn mistakes(line: &str) -> Vec<String> {
    mistakes_with(&format!("{REPLICA} {line}"), &[], pod())
}
