//! The own pod for `--pod-leader-label`.

use std::collections::BTreeMap;

use clap::Parser as _;

use super::{REPLICA, mistakes_with, pod, run, try_parse};
use crate::config::check::Check;
use crate::config::raw::RawArgs;
use crate::config::{Command, Facts, PodSettings};
use crate::discovery::host::HostNames;

fn settings(flags: &str, env: &[(&str, &str)]) -> Option<PodSettings> {
    match try_parse(&format!("{REPLICA} {flags}"), env, pod()).map_err(|error| error.to_string()) {
        Ok((Command::Run(settings), _)) => settings.pod,
        other => panic!("{flags}: {other:?}"),
    }
}

fn named(name: &str, namespace: Option<&str>, witness: bool) -> PodSettings {
    PodSettings { name: name.into(), namespace: namespace.map(str::to_owned), witness }
}

#[test]
fn the_kubernetes_api_is_left_alone_unless_the_flag_is_given() {
    assert_eq!(run(REPLICA, pod()).pod, None);
    assert_eq!(settings("", &[("POD_NAME", "a"), ("POD_NAMESPACE", "b")]), None);
    assert_eq!(settings("-pod-leader-label=false", &[]), None);
}

#[test]
fn the_pod_is_known_from_the_downward_api_or_the_host_name_and_not_from_the_member_id() {
    assert_eq!(settings("-pod-leader-label", &[]), Some(named("prom-0", None, false)));
    let env = [("POD_NAME", "prom-7"), ("POD_NAMESPACE", "mon")];
    assert_eq!(settings("-pod-leader-label -member-id x", &env), Some(named("prom-7", Some("mon"), false)));
    let witness = run("-witness -raft-data-dir /d -pod-leader-label", pod());
    assert_eq!(witness.pod, Some(named("prom-0", None, true)));
}

#[test]
fn names_that_no_pod_has_are_refused_with_the_way_out() {
    let env = [("POD_NAME", "a/../b"), ("POD_NAMESPACE", "Mon")];
    assert_eq!(
        mistakes_with(&format!("{REPLICA} -pod-leader-label -member-id m"), &env, pod()),
        [
            "the pod's name \"a/../b\" (from $POD_NAME) is none that Kubernetes gives; set POD_NAME from the field \
             metadata.name",
            "the pod's namespace \"Mon\" (from $POD_NAMESPACE) is none that Kubernetes gives; set POD_NAMESPACE from the \
             field metadata.namespace",
        ]
    );
    let host = HostNames { host: "My_Laptop".into(), fqdn: None };
    let line = format!("{REPLICA} -pod-leader-label -raft-bootstrap-expect 1");
    let found = mistakes_with(&line, &[], host);
    assert!(
        found.len() == 1 && found[0].starts_with("the pod's name \"My_Laptop\" (from the host name) "),
        "{found:?}"
    );
}

#[test]
fn a_binary_without_the_feature_refuses_the_flag_and_names_the_feature() {
    let resolve = |argument: &str| {
        let raw = RawArgs::try_parse_from(["prometheus-elector", argument]).unwrap();
        let facts = Facts {
            pod_name: None,
            pod_namespace: None,
            host: pod(),
            look_up: |_| None,
            kubernetes: false,
            unknown_variables: Vec::new(),
        };
        let origins = BTreeMap::new();
        let mut check = Check::new(&origins);
        let pod = crate::config::pod::resolve(&raw.flags.member, &facts, false, &mut check);
        check.finish(pod).map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(resolve("--pod-leader-label=false"), Ok(None));
    let said = resolve("--pod-leader-label=true").unwrap_err();
    assert!(said[0].contains("needs the cargo feature `kubernetes`"), "{said:?}");
}
