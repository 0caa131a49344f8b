//! The two sections of a source file, and what must hold for a whole variant.

use std::collections::HashMap;

use super::error::{RenderError, RenderErrorKind};
use super::keys;
use super::resolve::is_null;
use super::source::Source;
use super::tree::{NodeId, Tree, View};
use crate::role::Role;

/// The sections; `leader` only where it holds something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sections {
    /// A mapping.
    pub(super) follower: NodeId,
    /// A mapping with at least one key.
    pub(super) leader: Option<NodeId>,
}

/// Finds the sections; any other key is an error.
pub(super) fn sections(tree: &Tree<'_>, source: &Source<'_>, root: Option<NodeId>) -> Result<Sections, RenderError> {
    let missing = RenderError { position: None, kind: RenderErrorKind::MissingFollower };
    let Some(root) = root else { return Err(missing) };
    let pairs = match tree.view(root) {
        View::Mapping(pairs) => pairs,
        View::Scalar(scalar) if is_null(scalar) => return Err(missing),
        other => {
            let kind = RenderErrorKind::NotSections { found: other.kind() };
            return Err(source.error(tree.offset(root), kind));
        }
    };
    let unknown =
        pairs.iter().find(|&&(key, _)| !["follower", "leader"].iter().any(|name| keys::is_string(tree, key, name)));
    if let Some(&(key, _)) = unknown {
        let kind = RenderErrorKind::UnknownSection { key: keys::text(tree, key).to_owned() };
        return Err(source.error(tree.offset(key), kind));
    }
    let section = |name: &'static str| -> Result<Option<NodeId>, RenderError> {
        let Some(node) = keys::get(tree, pairs, name) else { return Ok(None) };
        match tree.view(node) {
            View::Mapping(_) => Ok(Some(node)),
            View::Scalar(scalar) if is_null(scalar) => Ok(None),
            other => {
                let kind = RenderErrorKind::SectionNotMapping { section: name, found: other.kind() };
                Err(source.error(tree.offset(node), kind))
            }
        }
    };
    let leader = section("leader")?.filter(|&node| !matches!(tree.view(node), View::Mapping([])));
    let follower = section("follower")?.ok_or(missing)?;
    Ok(Sections { follower, leader })
}

/// Two scrape jobs of one name: Prometheus would refuse the file, after the takeover and not before it.
pub(super) fn check_jobs(tree: &Tree<'_>, source: &Source<'_>, config: NodeId, role: Role) -> Result<(), RenderError> {
    let View::Mapping(pairs) = tree.view(config) else { return Ok(()) };
    let Some(View::Sequence(jobs)) = keys::get(tree, pairs, "scrape_configs").map(|node| tree.view(node)) else {
        return Ok(());
    };
    let mut seen: HashMap<&str, NodeId> = HashMap::with_capacity(jobs.len());
    for &job in jobs {
        let View::Mapping(pairs) = tree.view(job) else { continue };
        let Some(name) = keys::get(tree, pairs, "job_name") else { continue };
        // Prometheus reads the name as a string: the text counts, whatever it would resolve to.
        let View::Scalar(scalar) = tree.view(name) else { continue };
        if is_null(scalar) {
            continue;
        }
        if let Some(first) = seen.insert(&scalar.text, job) {
            let kind = RenderErrorKind::DuplicateJob {
                job: scalar.text.clone().into_owned(),
                role: role_name(role),
                first_line: source.position(tree.offset(first)).line,
            };
            return Err(source.error(tree.offset(job), kind));
        }
    }
    Ok(())
}

/// For messages.
pub(super) fn role_name(role: Role) -> &'static str {
    match role {
        Role::Follower => "follower",
        Role::Leader => "leader",
    }
}
