//! Keys of a mapping: each once, and merge keys `<<` resolved, so that the tree knows neither.
//!
//! Two keys are the same when Go's reader gives them the same value (`yes` and `on`, `0x1` and `1`). Semantics of `<<`
//! as in yaml.v2, except that an own key beside it always wins, as YAML says; of a list of mappings the first wins.

use std::collections::HashMap;

use super::error::{RenderError, RenderErrorKind};
use super::resolve::Value;
use super::source::Source;
use super::tree::{Form, NodeId, Pair, Tree, View};

/// The merge key.
pub(super) const MERGE: &str = "<<";

/// From here on a hash table is quicker than comparing one by one.
const COMPARED_MAX: usize = 8;

/// Checks the keys of a mapping as written and resolves its merge keys; order is kept.
pub(super) fn settle(tree: &Tree<'_>, source: &Source<'_>, pairs: Vec<Pair>) -> Result<Vec<Pair>, RenderError> {
    let mut merges = false;
    for &(key, _) in &pairs {
        match tree.view(key) {
            View::Scalar(scalar) => merges |= scalar.form == Form::Plain && scalar.text == MERGE,
            other => {
                let kind = RenderErrorKind::KeyNotScalar { found: other.kind() };
                return Err(source.error(tree.offset(key), kind));
            }
        }
    }
    if merges {
        return resolve_merge_keys(tree, source, &pairs);
    }
    match first_duplicate(tree, &pairs) {
        Some((first, second)) => Err(duplicate(tree, source, pairs[first].0, pairs[second].0)),
        None => Ok(pairs),
    }
}

/// For each pair of `leader`, the index of the pair with the same key in `follower`.
pub(super) fn matches(tree: &Tree<'_>, follower: &[Pair], leader: &[Pair]) -> Vec<Option<usize>> {
    let known: HashMap<Value<'_>, usize> =
        follower.iter().enumerate().map(|(index, &(key, _))| (value(tree, key), index)).collect();
    leader.iter().map(|&(key, _)| known.get(&value(tree, key)).copied()).collect()
}

/// The value under a string key.
pub(super) fn get(tree: &Tree<'_>, pairs: &[Pair], key: &str) -> Option<NodeId> {
    pairs.iter().find(|&&(candidate, _)| is_string(tree, candidate, key)).map(|&(_, value)| value)
}

/// Whether a key is this string.
pub(super) fn is_string(tree: &Tree<'_>, key: NodeId, text: &str) -> bool {
    value(tree, key) == Value::Text(text.as_bytes().into())
}

/// Text of a scalar, nothing for other nodes.
pub(super) fn text<'t>(tree: &'t Tree<'_>, node: NodeId) -> &'t str {
    match tree.view(node) {
        View::Scalar(scalar) => scalar.text.as_ref(),
        View::Sequence(_) | View::Mapping(_) => "",
    }
}

fn value<'t>(tree: &'t Tree<'_>, key: NodeId) -> Value<'t> {
    match tree.view(key) {
        View::Scalar(scalar) => Value::of(scalar),
        View::Sequence(_) | View::Mapping(_) => Value::Null, // `settle` lets no such key in
    }
}

fn first_duplicate(tree: &Tree<'_>, pairs: &[Pair]) -> Option<(usize, usize)> {
    if pairs.len() <= COMPARED_MAX {
        let values: Vec<Value<'_>> = pairs.iter().map(|&(key, _)| value(tree, key)).collect();
        return values.iter().enumerate().find_map(|(second, value)| {
            values[..second].iter().position(|earlier| earlier == value).map(|first| (first, second))
        });
    }
    let mut seen = HashMap::with_capacity(pairs.len());
    pairs
        .iter()
        .enumerate()
        .find_map(|(second, &(key, _))| seen.insert(value(tree, key), second).map(|first| (first, second)))
}

fn duplicate(tree: &Tree<'_>, source: &Source<'_>, first: NodeId, second: NodeId) -> RenderError {
    let first_line = source.position(tree.offset(first)).line;
    let kind = RenderErrorKind::DuplicateKey { key: text(tree, second).to_owned(), first_line };
    source.error(tree.offset(second), kind)
}

/// Where a key of the resolved mapping comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Own,
    /// The `<<` at this index.
    Merged(usize),
}

fn resolve_merge_keys(tree: &Tree<'_>, source: &Source<'_>, pairs: &[Pair]) -> Result<Vec<Pair>, RenderError> {
    let is_merge = |key: NodeId| matches!(tree.view(key), View::Scalar(scalar) if scalar.form == Form::Plain && scalar.text == MERGE);
    let mut known: HashMap<Value<'_>, (Origin, NodeId)> = HashMap::new();
    for &(key, _) in pairs.iter().filter(|(key, _)| !is_merge(*key)) {
        if let Some((_, first)) = known.insert(value(tree, key), (Origin::Own, key)) {
            return Err(duplicate(tree, source, first, key));
        }
    }
    let mut resolved = Vec::with_capacity(pairs.len());
    for (index, &(key, below)) in pairs.iter().enumerate() {
        if !is_merge(key) {
            resolved.push((key, below));
            continue;
        }
        for mapping in merged_mappings(tree, source, key, below)? {
            for &(key, below) in mapping {
                match known.get(&value(tree, key)) {
                    // Two `<<` of one mapping have no order that readers agree on.
                    Some(&(Origin::Merged(other), first)) if other != index => {
                        return Err(duplicate(tree, source, first, key));
                    }
                    Some(_) => {}
                    None => {
                        known.insert(value(tree, key), (Origin::Merged(index), key));
                        resolved.push((key, below));
                    }
                }
            }
        }
    }
    Ok(resolved)
}

fn merged_mappings<'t>(
    tree: &'t Tree<'_>,
    source: &Source<'_>,
    key: NodeId,
    below: NodeId,
) -> Result<Vec<&'t [Pair]>, RenderError> {
    let refusal = |view: View<'_, '_>| source.error(tree.offset(key), RenderErrorKind::MergeKey { found: view.kind() });
    match tree.view(below) {
        View::Mapping(pairs) => Ok(vec![pairs]),
        View::Sequence(items) => items
            .iter()
            .map(|&item| match tree.view(item) {
                View::Mapping(pairs) => Ok(pairs),
                other => Err(refusal(other)),
            })
            .collect(),
        other @ View::Scalar(_) => Err(refusal(other)),
    }
}
