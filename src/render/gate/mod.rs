//! Gated variants: every `remote_write` entry of the `leader` section stands in BOTH configurations and points at the gate.
//!
//! ```text
//! leader.remote_write -> [ entry | entry | … ] -> gated:   {url: http://127.0.0.1:9097/write/<name>, …} in both variants
//!                                                 ungated: as it is, in the leader's variant only, with a reason
//! ```
//!
//! So a change of role changes nothing for Prometheus's queues; the gate alone decides who writes. Everything else is
//! merged as without the gate, by the same table: the follower's variant takes the gated entries as if its `leader` section
//! held nothing else.
//!
//! What the local hop takes over leaves the entry (`entry::MOVED`) and goes to the gate's client. `remote_timeout` stays as
//! well: without it Prometheus would give the gate up after 30 s where the remote may take longer. All other keys stay, also
//! those that this program does not know. Entries of the `follower` section are each replica's own and are left alone.
//!
//! An entry without `name` gets one of its URL's host and hash, so that neither the order of entries nor a change to another
//! one changes it (and with it the queue). Entries that share a URL are told apart by their content; a warning asks for names.
//!
//! Pure; no recursion, no panic. Errors and bounds are those of `render`.

mod entry;
mod intervals;
mod names;
mod running;

pub use self::running::{RunningConfig, read_running};

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::error::{RenderError, RenderErrorKind};
use super::resolve::is_null;
use super::source::Source;
use super::tree::{Form, NodeId, Pair, Scalar, Tree, View};
use super::{NODES_MAX, Rendered, emit, keys, merge, parse, sections};
use crate::gate::remote::RemoteSettings;
use crate::role::Role;

/// What may stand in a path as it is.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A source file rendered for the gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gated {
    /// Both configurations. Equal where `remote_write` is the only override and all of it is gated.
    pub rendered: Rendered,
    /// The gated entries, in the order of the file.
    pub remotes: Vec<RemoteSettings>,
    /// Entries that stay outside, in the order of the file. Each is among the warnings of `rendered` too.
    pub ungated: Vec<Ungated>,
    /// The longest scrape or evaluation interval that either configuration shows.
    pub longest_interval: Duration,
}

/// A `remote_write` entry that is written by rewriting the configuration at each change of role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ungated {
    /// Its `name`, else its URL without secrets, else `without name`.
    pub label: String,
    /// Why.
    pub reason: UngatedReason,
    /// Line of the entry in the source file, from 1.
    pub line: usize,
}

/// Why an entry is not gated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UngatedReason {
    /// A key that a local hop would break: the signature covers the host, or the resolution of names is the point.
    LocalHop {
        /// The key.
        key: &'static str,
    },
    /// A key whose value the gate's client cannot honour, or Prometheus would refuse.
    Unsupported {
        /// The key.
        key: &'static str,
    },
}

impl fmt::Display for UngatedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LocalHop { key } => write!(f, "`{key}` does not survive a local hop"),
            Self::Unsupported { key } => write!(f, "the gate cannot do what its `{key}` says"),
        }
    }
}

/// Renders both variants for a gate that listens on a loopback address.
///
/// # Errors
/// As [`super::render`]; besides, two entries of one `name`.
pub fn render_gated(source: &[u8], gate: SocketAddr) -> Result<Gated, RenderError> {
    let source = &Source::new(source)?;
    let (mut tree, root) = parse::parse(source, NODES_MAX)?;
    let tree = &mut tree;
    let sections = sections::sections(tree, source, root)?;
    sections::check_jobs(tree, source, sections.follower, Role::Follower)?;
    let mut rewriting = Rewriting::default();
    let (mut follower, mut leader) = (sections.follower, sections.follower);
    if let Some(section) = sections.leader {
        let section = rewriting.rewrite(tree, source, section, gate);
        leader = merge::merge(tree, source, sections.follower, section, &mut rewriting.warnings)?;
        if let Some(overrides) = rewriting.overrides_of_follower {
            follower = merge::merge(tree, source, sections.follower, overrides, &mut rewriting.warnings)?;
        }
    }
    sections::check_jobs(tree, source, leader, Role::Leader)?;
    for (config, role) in [(follower, Role::Follower), (leader, Role::Leader)] {
        check_names(tree, source, config, role)?;
    }
    rewriting.warnings.extend(external_labels_warning(tree, source, follower, leader));
    let longest_interval = intervals::longest(tree, follower).max(intervals::longest(tree, leader));
    let capacity = source.text().len();
    let follower = super::emit(tree, follower, Role::Follower, capacity)?;
    let leader = super::emit(tree, leader, Role::Leader, capacity)?;
    let leader = if leader == follower { follower.clone() } else { leader };
    let rendered = Rendered { follower, leader, warnings: rewriting.warnings };
    Ok(Gated { rendered, remotes: rewriting.remotes, ungated: rewriting.ungated, longest_interval })
}

/// What the rewriting of the `leader` section gives.
#[derive(Default)]
struct Rewriting {
    remotes: Vec<RemoteSettings>,
    ungated: Vec<Ungated>,
    warnings: Vec<String>,
    /// A section that holds the gated entries and nothing else.
    overrides_of_follower: Option<NodeId>,
}

impl Rewriting {
    /// The `leader` section with its entries pointed at the gate.
    fn rewrite(&mut self, tree: &mut Tree<'_>, source: &Source<'_>, section: NodeId, gate: SocketAddr) -> NodeId {
        let View::Mapping(pairs) = tree.view(section) else { return section };
        let mut pairs = pairs.to_vec();
        let Some(slot) = pairs.iter().position(|&(key, _)| keys::is_string(tree, key, "remote_write")) else {
            return section;
        };
        let (key, list) = pairs[slot];
        let View::Sequence(entries) = tree.view(list) else { return section };
        let read = |&entry: &NodeId| (entry, entry::read(tree, source, entry));
        let mut entries: Vec<names::Read> = entries.iter().map(read).collect();
        self.warnings.extend(names::assign(tree, &mut entries));
        let (mut all, mut gated) = (Vec::with_capacity(entries.len()), Vec::with_capacity(entries.len()));
        for (entry, read) in entries {
            match read {
                Ok(mut settings) => {
                    settings.path = format!("/write/{}", utf8_percent_encode(&settings.name, PATH));
                    let url = format!("http://{gate}{}", settings.path);
                    let node = point_at_gate(tree, entry, url, &settings.name);
                    all.push(node);
                    gated.push(node);
                    self.remotes.push(settings);
                }
                Err(ungated) => {
                    all.push(entry);
                    self.warnings.push(format!(
                        "line {}: `remote_write`: the entry `{}` is not gated ({}): it is rewritten at each change of \
                         role, and two replicas may write to it for a moment",
                        ungated.line, ungated.label, ungated.reason
                    ));
                    self.ungated.push(ungated);
                }
            }
        }
        let at = tree.offset(list);
        if !gated.is_empty() {
            let gated = tree.add_sequence(at, gated);
            self.overrides_of_follower = Some(tree.add_mapping(tree.offset(section), [(key, gated)]));
        }
        pairs[slot].1 = tree.add_sequence(at, all);
        tree.add_mapping(tree.offset(section), pairs)
    }
}

/// The entry without what the gate's client does, with its name and with the gate's URL.
fn point_at_gate(tree: &mut Tree<'_>, entry: NodeId, url: String, name: &str) -> NodeId {
    let View::Mapping(pairs) = tree.view(entry) else { return entry };
    let is = |key: NodeId, text: &str| keys::is_string(tree, key, text);
    let kept = |&(key, value): &Pair| {
        let is_unset = is_null_node(tree, value) || keys::text(tree, value).is_empty();
        let is_moved = entry::MOVED.iter().any(|moved| is(key, moved));
        !(is_moved || is(key, "name") && is_unset)
    };
    let mut pairs: Vec<Pair> = pairs.iter().filter(|pair| kept(pair)).copied().collect();
    let has_name = pairs.iter().any(|&(key, _)| is(key, "name"));
    let Some(slot) = pairs.iter().position(|&(key, _)| is(key, "url")) else { return entry };
    let at = tree.offset(pairs[slot].1);
    pairs[slot].1 = tree.add_scalar(at, Scalar { text: url.into(), form: Form::Quoted });
    if !has_name {
        let key = tree.add_scalar(at, Scalar { text: "name".into(), form: Form::Plain });
        let name = tree.add_scalar(at, Scalar { text: name.to_owned().into(), form: Form::Quoted });
        pairs.insert(slot + 1, (key, name));
    }
    tree.add_mapping(tree.offset(entry), pairs)
}

fn is_null_node(tree: &Tree<'_>, node: NodeId) -> bool {
    matches!(tree.view(node), View::Scalar(scalar) if is_null(scalar))
}

/// Below a mapping, the node at a path of keys.
fn at_path(tree: &Tree<'_>, node: NodeId, path: &[&str]) -> Option<NodeId> {
    path.iter().try_fold(node, |node, key| match tree.view(node) {
        View::Mapping(pairs) => keys::get(tree, pairs, key),
        View::Scalar(_) | View::Sequence(_) => None,
    })
}

/// Two entries of one name: Prometheus would refuse the file, and the gate could not tell them apart.
fn check_names(tree: &Tree<'_>, source: &Source<'_>, config: NodeId, role: Role) -> Result<(), RenderError> {
    let Some(View::Sequence(entries)) = at_path(tree, config, &["remote_write"]).map(|list| tree.view(list)) else {
        return Ok(());
    };
    let mut seen: HashMap<&str, NodeId> = HashMap::with_capacity(entries.len());
    for &entry in entries {
        let Some(name) = at_path(tree, entry, &["name"]).filter(|&name| !is_null_node(tree, name)) else { continue };
        let text = keys::text(tree, name);
        if text.is_empty() {
            continue;
        }
        if let Some(first) = seen.insert(text, entry) {
            let kind = RenderErrorKind::DuplicateRemote {
                name: text.to_owned(),
                role: sections::role_name(role),
                first_line: source.position(tree.offset(first)).line,
            };
            return Err(source.error(tree.offset(entry), kind));
        }
    }
    Ok(())
}

/// External labels belong to every queue: where they differ by role, a change of role restarts them all.
fn external_labels_warning(tree: &Tree<'_>, source: &Source<'_>, follower: NodeId, leader: NodeId) -> Option<String> {
    let labels = |config| at_path(tree, config, &["global", "external_labels"]);
    let bytes = |node: Option<NodeId>| node.and_then(|node| emit::emit(tree, node, 0).ok());
    let ours = labels(leader);
    if bytes(labels(follower)) == bytes(ours) {
        return None;
    }
    let line = ours.map_or(1, |node| source.position(tree.offset(node)).line);
    Some(format!(
        "line {line}: `global.external_labels` differ between the roles: Prometheus restarts every remote-write queue at \
         each change of role, and what waits in them is not covered by the gate; set them in `follower` only"
    ))
}
