//! What a running configuration says about cover, margin and labels: read, not rendered.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use sha2::{Digest as _, Sha256};
use url::{Host, Url};

use super::{at_path, intervals};
use crate::gate::remote::hex;
use crate::render::error::RenderError;
use crate::render::source::Source;
use crate::render::tree::{NodeId, Tree, View};
use crate::render::{NODES_MAX, emit, keys, parse};

/// What a running configuration says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunningConfig {
    /// The queues that lead to the gate: name on its listener, and what tells it from another queue. A queue is restarted
    /// when its entry or the external labels change.
    pub queues: BTreeMap<String, String>,
    /// Hash of the external labels.
    pub external_labels: String,
    /// The longest scrape or evaluation interval.
    pub longest_interval: Duration,
}

/// Reads a configuration, as Prometheus prints it, for a gate at this address.
///
/// # Errors
/// Where it is not YAML.
pub fn read_running(config: &[u8], gate: SocketAddr) -> Result<RunningConfig, RenderError> {
    let source = &Source::new(config)?;
    let (tree, root) = parse::parse(source, NODES_MAX)?;
    let Some(root) = root else { return Ok(RunningConfig::default()) };
    let tree = &tree;
    let bytes = |node: Option<NodeId>| node.and_then(|node| emit::emit(tree, node, 0).ok()).unwrap_or_default();
    let labels = bytes(at_path(tree, root, &["global", "external_labels"]));
    let entries = match at_path(tree, root, &["remote_write"]).map(|list| tree.view(list)) {
        Some(View::Sequence(entries)) => entries,
        _ => &[],
    };
    let queue = |&entry: &NodeId| {
        let name = name_at_gate(tree, entry, gate)?;
        let digest = Sha256::new().chain_update(bytes(Some(entry))).chain_update(&labels).finalize();
        Some((name, hex(&digest[..8])))
    };
    Ok(RunningConfig {
        queues: entries.iter().filter_map(queue).collect(),
        external_labels: hex(&Sha256::digest(&labels)[..8]),
        longest_interval: intervals::longest(tree, root),
    })
}

/// The name under which an entry writes to the gate, if it does.
fn name_at_gate(tree: &Tree<'_>, entry: NodeId, gate: SocketAddr) -> Option<String> {
    let url = Url::parse(keys::text(tree, at_path(tree, entry, &["url"])?)).ok()?;
    let is_loopback = match url.host()? {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    };
    let name = url.path().strip_prefix("/write/")?;
    let name = percent_decode_str(name).decode_utf8().ok()?.into_owned();
    (is_loopback && url.port_or_known_default() == Some(gate.port())).then_some(name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(config: &str) -> RunningConfig {
        read_running(config.as_bytes(), "127.0.0.1:9097".parse().unwrap()).unwrap()
    }

    const CONFIG: &str = "
global:
  scrape_interval: 15s
  external_labels: {a: b}
scrape_configs:
- job_name: slow
  scrape_interval: 2m
remote_write:
- url: http://127.0.0.1:9097/write/one
  queue_config: {capacity: 1}
- url: http://localhost:9097/write/a%20b
- url: http://127.0.0.1:9098/write/other-port
- url: http://remote:9097/write/other-host
- url: http://127.0.0.1:9097/elsewhere
";

    #[test]
    fn queues_that_lead_to_the_gate_are_known_by_their_name_there() {
        let running = read(CONFIG);
        assert_eq!(running.queues.keys().collect::<Vec<_>>(), ["a b", "one"]);
        assert_eq!(running.longest_interval, Duration::from_secs(120));
        assert_eq!(read("global: {}\n").queues.len(), 0);
    }

    #[test]
    fn a_queue_is_another_one_when_its_entry_or_the_external_labels_change_and_only_then() {
        let before = read(CONFIG);
        let entry = read(&CONFIG.replace("capacity: 1", "capacity: 2"));
        assert_ne!(before.queues["one"], entry.queues["one"]);
        assert_eq!(before.queues["a b"], entry.queues["a b"]);
        assert_eq!(before.external_labels, entry.external_labels);
        let labels = read(&CONFIG.replace("{a: b}", "{a: c}"));
        assert_ne!(before.queues["a b"], labels.queues["a b"]);
        assert_ne!(before.external_labels, labels.external_labels);
        let rest = read(&CONFIG.replace("2m", "3m"));
        assert_eq!(before.queues, rest.queues);
    }
}
