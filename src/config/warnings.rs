//! Things that work but that the user should know. Pure; the sidecar logs them at start.

use std::ffi::OsString;
use std::net::SocketAddr;

use elector_raft::TlsMode;

use super::check::present;
use super::error::{env_name, is_env_name};
use super::identity::{Identity, Listen};
use super::raw::RawFlags;
use super::{Facts, help};
use crate::discovery::Source;

/// `proof`: whether members have a token, and how they use certificates.
pub(super) fn collect(
    raw: &RawFlags,
    facts: &Facts,
    identity: &Identity,
    listen: Listen,
    proof: (bool, Option<TlsMode>),
) -> Vec<String> {
    let mut warnings = Vec::new();
    if present(raw.unused.kubeconfig.as_deref()).is_some() {
        warnings.push("--kubeconfig is not used: the election needs no Kubernetes API; take the flag away".to_owned());
    }
    if !identity.alone && !listen.raft.ip().is_loopback() {
        warnings.extend(unproven(listen.raft, proof));
    }
    if identity.bootstrap_expect == 2 {
        let two = "a group of two members stops when either is lost; add a third, or a witness on another host";
        warnings.push(two.to_owned());
    }
    warnings.extend(other_name_in_dns(facts, identity));
    warnings.extend(facts.unknown_variables.iter().map(|variable| {
        format!("the environment variable {variable} belongs to no flag and has no effect; see --help for the names")
    }));
    warnings
}

/// What whoever reaches the Raft port may do.
fn unproven(raft: SocketAddr, proof: (bool, Option<TlsMode>)) -> Option<String> {
    match proof {
        (_, Some(TlsMode::Required)) | (true, None) => None,
        (token, Some(TlsMode::Optional)) => {
            let who = if token { "whoever knows the raft token" } else { "anybody" };
            Some(format!(
                "--raft-tls-mode=optional: {who} can still speak to {raft} without a certificate; once all members have \
                 theirs, set --raft-tls-mode=required"
            ))
        }
        (false, None) => Some(format!(
            "the election group is NOT authenticated: whoever reaches {raft} can join it and take the lead; \
             give every member the same --raft-token-file"
        )),
    }
}

/// In a `StatefulSet` DNS calls every member by its pod's name, and the group counts names.
fn other_name_in_dns(facts: &Facts, identity: &Identity) -> Option<String> {
    let Source::Dns { service, .. } = &identity.source else { return None };
    let (label, rest) = facts.host.fqdn.as_deref()?.split_once('.')?;
    let name = &identity.member.name;
    let listed = rest.trim_end_matches('.') == service.trim_end_matches('.') && label != name;
    listed.then(|| {
        format!(
            "this member is called {name:?}, but DNS lists it as {label:?} in {service}; names must agree, so take \
             --member-id away or set it to {label:?}"
        )
    })
}

/// Variables that look like a flag's but are none: likely misspelled. A Service called `prometheus-elector` makes
/// Kubernetes set `PROMETHEUS_ELECTOR_SERVICE_…` and `PROMETHEUS_ELECTOR_PORT…` in every pod: those are left out.
pub(super) fn unknown_variables(variables: &[(OsString, OsString)]) -> Vec<String> {
    let table = help::flag_table();
    let known: Vec<_> = table.root.keys().map(|flag| env_name(flag)).collect();
    let names = variables.iter().filter_map(|(name, _)| name.to_str()).filter(|name| is_env_name(name));
    let of_kubernetes = |name: &str| {
        name.contains("_SERVICE_HOST") || name.contains("_SERVICE_PORT") || {
            name.ends_with("_PORT") || name.contains("_PORT_")
        }
    };
    let mut unknown: Vec<_> = names
        .filter(|name| !known.iter().any(|known| known == name) && !of_kubernetes(name))
        .map(str::to_owned)
        .collect();
    unknown.sort();
    unknown
}
