//! What the chart is told, so that a release can be judged: samples that tell who has scraped them, remote writes to our receiver,
//! event logs.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use serde_json::{Value, json};

use crate::deployment::options;

/// Where the event log lies in the sidecar's container: in the volume of the group's state.
const EVENTS: &str = "/var/lib/prometheus-elector/events.jsonl";
/// A member that is gone is removed sooner than by default, so that a run of minutes sees what follows; and memory and
/// descriptors are among the metrics.
const ARGUMENTS: [&str; 2] = ["-member-removal-delay=20s", "-runtime-metrics"];

/// The source file of every replica: the target knows them by their addresses.
fn source(hub: Ipv4Addr) -> String {
    let mut spec = options::source("any", 0, hub);
    if let Some(gated) = &mut spec.gated {
        gated.replica = None;
    }
    spec.render()
}

/// Values of the chart for a release whose pods reach us at `hub`; YAML.
pub fn yaml(hub: Ipv4Addr, members: usize, witness: bool) -> String {
    let mut yaml = String::new();
    for (key, value) in settings(members, witness) {
        // Writing to a string cannot fail; JSON is YAML.
        let _ = writeln!(yaml, "{key}: {value}");
    }
    yaml.push_str("config:\n");
    for line in source(hub).lines() {
        let _ = writeln!(yaml, "  {line}");
    }
    yaml
}

fn settings(members: usize, witness: bool) -> [(&'static str, Value); 5] {
    let events = format!("-event-log={EVENTS}");
    let arguments = [ARGUMENTS.as_slice(), &[&events]].concat();
    [
        // Short names: the report has them in its margin.
        ("fullnameOverride", "prom".into()),
        ("replicaCount", members.into()),
        ("bootstrapExpect", (members + usize::from(witness)).into()),
        ("elector", json!({"extraArgs": arguments})),
        ("witness", json!({"enabled": witness, "extraArgs": arguments})),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_told_apart_by_their_addresses_only() {
        let values = yaml(Ipv4Addr::new(10, 244, 0, 1), 2, true);
        assert!(values.contains("\nreplicaCount: 2\nbootstrapExpect: 3\n"), "{values}");
        assert!(values.contains("\nconfig:\n  follower:\n") && values.contains("\n  leader:\n"), "{values}");
        assert!(values.contains("10.244.0.1:9009/api/v1/write") && !values.contains("replica:"), "{values}");
        assert!(values.contains(
            r#"witness: {"enabled":true,"extraArgs":["-member-removal-delay=20s","-runtime-metrics","-event-log="#
        ));
    }
}
