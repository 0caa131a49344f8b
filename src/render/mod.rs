//! Pure: source file -> the bytes of both Prometheus configurations, the follower's and the leader's.
//!
//! ```text
//! bytes -> source (encoding) -> parse (node tree) -> sections -> merge -> [rewriting] -> emit -> bytes
//! ```
//!
//! A scalar keeps its text and how it was written; it is never converted, because Prometheus reads YAML 1.1 by the type
//! of each field and every round trip through typed values changes some (`docs/decisions/render-yaml.md`). Both variants
//! are always built and checked, so that a file whose leader variant is wrong is refused before a takeover needs it.
//!
//! Invariants: no I/O, no recursion, no panic; time linear in the source plus bounded expansions; memory bounded by the
//! constants below. On any error there is no output at all: the caller keeps the last good configuration.
//!
//! Source: a study of gopkg.in/yaml.v2 v2.4.0 (what Prometheus uses) and mergo v0.3.16 (the Lease-based tool).

mod emit;
mod error;
mod gate;
mod keys;
mod merge;
mod parse;
mod resolve;
mod sections;
mod source;
mod timestamp;
mod tree;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use bytes::Bytes;

pub use self::error::{Position, RenderError, RenderErrorKind};
pub use self::gate::{Gated, RunningConfig, Ungated, UngatedReason, read_running, render_gated};
use self::source::Source;
use self::tree::{NodeId, Tree};
use crate::role::Role;

/// Largest source file. A `ConfigMap` holds 1 MiB; 15 MB carry 50,000 targets; what is larger belongs into service
/// discovery. Bounds the memory of a render to a few hundred MiB in the worst case.
pub const SOURCE_BYTES_MAX: usize = 32 << 20;

/// Largest rendered configuration: twice the source, since deep nesting multiplies indentation.
pub const OUTPUT_BYTES_MAX: usize = 2 * SOURCE_BYTES_MAX;

/// Deepest nesting below a section's own mapping, aliases expanded. Prometheus needs about ten levels.
pub const DEPTH_MAX: usize = 1_000;

/// Most keys and values as written: at 40 bytes each 160 MiB, and five times what 15 MB with 50,000 targets have.
pub const NODES_MAX: usize = 4 << 20;

/// Aliases may always expand to this many bytes, however small the file is.
pub const ALIAS_BYTES_FREE: u64 = 4 << 20;

/// Beyond [`ALIAS_BYTES_FREE`]: at most this many times the source, yaml.v2's ratio for small files.
pub const ALIAS_RATIO_MAX: u64 = 100;

/// Aliases never expand to more bytes than this.
pub const ALIAS_BYTES_MAX: u64 = 64 << 20;

/// Both configurations of a source file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// What a follower's Prometheus runs.
    pub follower: Bytes,
    /// What the leader's Prometheus runs; shares memory with `follower` where they are equal.
    pub leader: Bytes,
    /// What the author of the file may not have meant, one sentence each, with line and path.
    pub warnings: Vec<String>,
}

impl Rendered {
    /// The configuration of a role.
    pub fn variant(&self, role: Role) -> &Bytes {
        match role {
            Role::Follower => &self.follower,
            Role::Leader => &self.leader,
        }
    }

    /// Whether a change of role needs no other configuration.
    pub fn is_role_independent(&self) -> bool {
        self.follower == self.leader
    }
}

/// Renders as a sidecar does whose gate is at this address, or off.
///
/// # Errors
/// As [`render`] and [`render_gated`].
pub fn render_for(source: &[u8], gate: Option<SocketAddr>) -> Result<Rendered, RenderError> {
    match gate {
        Some(gate) => render_gated(source, gate).map(|gated| gated.rendered),
        None => render(source),
    }
}

/// Renders both variants of a source file.
///
/// # Errors
/// The first thing that is wrong with the file, with its place.
pub fn render(source: &[u8]) -> Result<Rendered, RenderError> {
    let source = &Source::new(source)?;
    let (mut tree, root) = parse::parse(source, NODES_MAX)?;
    let sections = sections::sections(&tree, source, root)?;
    sections::check_jobs(&tree, source, sections.follower, Role::Follower)?;
    let mut warnings = Vec::new();
    let leader = match sections.leader {
        Some(leader) => {
            let merged = merge::merge(&mut tree, source, sections.follower, leader, &mut warnings)?;
            sections::check_jobs(&tree, source, merged, Role::Leader)?;
            Some(merged)
        }
        None => None,
    };
    let capacity = source.text().len();
    let follower = emit(&tree, sections.follower, Role::Follower, capacity)?;
    let leader = match leader {
        Some(leader) => emit(&tree, leader, Role::Leader, capacity)?,
        None => follower.clone(),
    };
    let leader = if leader == follower { follower.clone() } else { leader };
    Ok(Rendered { follower, leader, warnings })
}

fn emit(tree: &Tree<'_>, root: NodeId, role: Role, capacity: usize) -> Result<Bytes, RenderError> {
    let too_large = |emit::TooLarge| RenderError {
        position: None,
        kind: RenderErrorKind::OutputTooLarge { role: sections::role_name(role) },
    };
    emit::emit(tree, root, capacity).map(Bytes::from).map_err(too_large)
}
