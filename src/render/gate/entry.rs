//! One `remote_write` entry: what the gate's client needs of it, or why it stays outside.

use std::time::Duration;

use super::{Ungated, UngatedReason, at_path, is_null_node};
use crate::gate::margin::parse_duration;
use crate::gate::remote::{ClientSettings, QueueSettings, RemoteSettings, RemoteUrl, Secret, TlsSettings, TlsVersion};
use crate::render::keys;
use crate::render::resolve::Value;
use crate::render::source::Source;
use crate::render::tree::{NodeId, Tree, View};

/// Keys that leave the entry: they are about the way to the remote, and the gate's client goes it.
pub(super) const MOVED: [&str; 7] = [
    "tls_config",
    "proxy_url",
    "no_proxy",
    "proxy_from_environment",
    "proxy_connect_header",
    "follow_redirects",
    "enable_http2",
];

/// Keys that a local hop would break, whatever they hold.
const LOCAL_HOP: [&str; 3] = ["sigv4", "azuread", "google_iam"];

/// Keys of `tls_config` that the gate's client knows; Prometheus has no secret manager for the others (`ca_ref` …).
const TLS: [&str; 10] = [
    "ca",
    "ca_file",
    "cert",
    "cert_file",
    "key",
    "key_file",
    "server_name",
    "insecure_skip_verify",
    "min_version",
    "max_version",
];

type Unsupported = UngatedReason;

/// Reads an entry. `name` is as written, or empty; `path` is empty.
pub(super) fn read(tree: &Tree<'_>, source: &Source<'_>, entry: NodeId) -> Result<RemoteSettings, Ungated> {
    let line = source.position(tree.offset(entry)).line;
    let reader = Reader { tree, node: entry };
    let name = reader.text("name");
    let url = reader.text("url").ok().flatten().and_then(|text| RemoteUrl::parse(&text));
    let shown = url.as_ref().map_or_else(|| "without name".to_owned(), ToString::to_string);
    let label = name.clone().ok().flatten().unwrap_or(shown);
    let ungated = |reason| Ungated { label: label.clone(), reason, line };
    if let Some(key) = reader.local_hop() {
        return Err(ungated(UngatedReason::LocalHop { key }));
    }
    let url = url.ok_or_else(|| ungated(UngatedReason::Unsupported { key: "url" }))?;
    let name = name.map_err(ungated)?.unwrap_or_default();
    let client = reader.client().map_err(ungated)?;
    let queue = reader.queue().map_err(ungated)?;
    Ok(RemoteSettings { name, path: String::new(), url, client, queue, line })
}

/// A mapping whose values are read by the type of each field, as Prometheus reads them. Null is unset.
struct Reader<'t, 'a> {
    tree: &'t Tree<'a>,
    node: NodeId,
}

impl Reader<'_, '_> {
    fn get(&self, key: &str) -> Option<NodeId> {
        at_path(self.tree, self.node, &[key]).filter(|&node| !is_null_node(self.tree, node))
    }

    fn below(&self, key: &'static str) -> Result<Option<Self>, Unsupported> {
        let Some(node) = self.get(key) else { return Ok(None) };
        match self.tree.view(node) {
            View::Mapping(_) => Ok(Some(Self { tree: self.tree, node })),
            View::Scalar(_) | View::Sequence(_) => Err(UngatedReason::Unsupported { key }),
        }
    }

    fn text(&self, key: &'static str) -> Result<Option<String>, Unsupported> {
        let Some(node) = self.get(key) else { return Ok(None) };
        match self.tree.view(node) {
            View::Scalar(scalar) => Ok(Some(scalar.text.clone().into_owned()).filter(|text| !text.is_empty())),
            View::Sequence(_) | View::Mapping(_) => Err(UngatedReason::Unsupported { key }),
        }
    }

    fn bool(&self, key: &'static str, default: bool) -> Result<bool, Unsupported> {
        let Some(node) = self.get(key) else { return Ok(default) };
        match self.tree.view(node) {
            View::Scalar(scalar) => match Value::of(scalar) {
                Value::Bool(value) => Ok(value),
                _ => Err(UngatedReason::Unsupported { key }),
            },
            View::Sequence(_) | View::Mapping(_) => Err(UngatedReason::Unsupported { key }),
        }
    }

    fn duration(&self, key: &'static str, default: Duration) -> Result<Duration, Unsupported> {
        let Some(text) = self.text(key)? else { return Ok(default) };
        parse_duration(&text).ok_or(UngatedReason::Unsupported { key })
    }

    fn local_hop(&self) -> Option<&'static str> {
        let key = LOCAL_HOP.into_iter().find(|key| self.get(key).is_some());
        key.or_else(|| (self.bool("round_robin_dns", false) != Ok(false)).then_some("round_robin_dns"))
    }

    fn client(&self) -> Result<ClientSettings, Unsupported> {
        let default = ClientSettings::default();
        let proxy_url = self.text("proxy_url")?.map(|text| RemoteUrl::parse(&text));
        if proxy_url == Some(None) {
            return Err(UngatedReason::Unsupported { key: "proxy_url" });
        }
        Ok(ClientSettings {
            tls: self.below("tls_config")?.map(|tls| tls.tls()).transpose()?.unwrap_or_default(),
            proxy_url: proxy_url.flatten(),
            no_proxy: self.text("no_proxy")?,
            proxy_from_environment: self.bool("proxy_from_environment", default.proxy_from_environment)?,
            proxy_connect_header: self.headers("proxy_connect_header")?,
            follow_redirects: self.bool("follow_redirects", default.follow_redirects)?,
            enable_http2: self.bool("enable_http2", default.enable_http2)?,
            remote_timeout: self.duration("remote_timeout", default.remote_timeout)?,
        })
    }

    fn tls(&self) -> Result<TlsSettings, Unsupported> {
        let unsupported = UngatedReason::Unsupported { key: "tls_config" };
        let View::Mapping(pairs) = self.tree.view(self.node) else { return Err(unsupported) };
        let known = |key: NodeId| TLS.iter().any(|known| keys::is_string(self.tree, key, known));
        if pairs.iter().any(|&(key, value)| !known(key) && !is_null_node(self.tree, value)) {
            return Err(unsupported);
        }
        let max_version = self.tls_version("max_version")?;
        // The client's TLS library begins at 1.2.
        if max_version.is_some_and(|version| version < TlsVersion::Tls12) {
            return Err(UngatedReason::Unsupported { key: "max_version" });
        }
        Ok(TlsSettings {
            ca: self.text("ca")?,
            ca_file: self.text("ca_file")?,
            cert: self.text("cert")?,
            cert_file: self.text("cert_file")?,
            key: self.text("key")?.map(Secret::new),
            key_file: self.text("key_file")?,
            server_name: self.text("server_name")?,
            insecure_skip_verify: self.bool("insecure_skip_verify", false)?,
            min_version: self.tls_version("min_version")?,
            max_version,
        })
    }

    fn tls_version(&self, key: &'static str) -> Result<Option<TlsVersion>, Unsupported> {
        match self.text(key)?.as_deref() {
            None => Ok(None),
            Some("TLS10") => Ok(Some(TlsVersion::Tls10)),
            Some("TLS11") => Ok(Some(TlsVersion::Tls11)),
            Some("TLS12") => Ok(Some(TlsVersion::Tls12)),
            Some("TLS13") => Ok(Some(TlsVersion::Tls13)),
            Some(_) => Err(UngatedReason::Unsupported { key }),
        }
    }

    fn headers(&self, key: &'static str) -> Result<Vec<(String, Vec<Secret>)>, Unsupported> {
        let unsupported = UngatedReason::Unsupported { key };
        let Some(below) = self.below(key)? else { return Ok(Vec::new()) };
        let View::Mapping(pairs) = self.tree.view(below.node) else { return Err(unsupported) };
        let header = |&(name, values): &(NodeId, NodeId)| {
            let View::Sequence(values) = self.tree.view(values) else { return None };
            let is_scalar = |&value: &NodeId| matches!(self.tree.view(value), View::Scalar(_));
            let texts = values.iter().map(|&value| Secret::new(keys::text(self.tree, value)));
            values.iter().all(is_scalar).then(|| (keys::text(self.tree, name).to_owned(), texts.collect()))
        };
        pairs.iter().map(header).collect::<Option<Vec<_>>>().ok_or(unsupported)
    }

    fn queue(&self) -> Result<QueueSettings, Unsupported> {
        let default = QueueSettings::default();
        let Some(queue) = self.below("queue_config")? else { return Ok(default) };
        Ok(QueueSettings {
            batch_send_deadline: queue.duration("batch_send_deadline", default.batch_send_deadline)?,
            max_backoff: queue.duration("max_backoff", default.max_backoff)?,
        })
    }
}
