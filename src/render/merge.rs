//! The merge: what the `leader` section makes of the `follower` section.
//!
//! ```text
//! follower, below; leader, right | absent   | null | scalar | {}       | mapping | []       | list
//! absent or null                 | follower | null | leader | {}       | leader  | []       | leader
//! scalar                         | follower | null | leader | {}       | leader  | error    | error
//! mapping                        | follower | null | leader | follower | recurse | error    | error
//! list                           | follower | null | leader | {}       | leader  | follower | append
//! ```
//!
//! The same at every depth; `null` is the way to clear something. The table is that of the Lease-based tool (mergo
//! v0.3.16), measured. New nodes are added along merged paths only, everything else is shared with the sections.

use super::error::{RenderError, RenderErrorKind};
use super::keys;
use super::resolve::is_null;
use super::source::Source;
use super::tree::{NodeId, Pair, Tree, View};

/// Merges two mappings. Warnings go to `warnings`, each with line and path.
pub(super) fn merge(
    tree: &mut Tree<'_>,
    source: &Source<'_>,
    follower: NodeId,
    leader: NodeId,
    warnings: &mut Vec<String>,
) -> Result<NodeId, RenderError> {
    let mut levels = vec![Level::new(tree, follower, leader)];
    let mut done = None;
    while let Some(level) = levels.last_mut() {
        if let Some(node) = done.take() {
            level.set_merged(node);
        }
        let Some((key, below, slot)) = level.next() else {
            done = levels.pop().map(|level| tree.add_mapping(tree.offset(level.follower), level.merged));
            continue;
        };
        let Some(slot) = slot else {
            level.merged.push((key, below));
            continue;
        };
        let current = level.merged[slot].1;
        match decide(tree, current, below) {
            Decision::Replace => level.merged[slot].1 = below,
            Decision::ReplaceLossy => {
                level.merged[slot].1 = below;
                warnings.push(lossy(tree, source, &path(tree, &levels), current, below));
            }
            Decision::Append(items) => level.merged[slot].1 = tree.add_sequence(tree.offset(current), items),
            Decision::Recurse => {
                let deeper = Level::new(tree, current, below);
                levels.push(deeper);
            }
            Decision::Refuse => {
                let kind = RenderErrorKind::ListOverOther {
                    path: path(tree, &levels),
                    found: tree.view(current).kind(),
                    follower_line: source.position(tree.offset(current)).line,
                };
                return Err(source.error(tree.offset(key), kind));
            }
        }
    }
    Ok(done.unwrap_or(follower))
}

/// A mapping that is being merged.
struct Level {
    follower: NodeId,
    merged: Vec<Pair>,
    /// The leader's pairs, each with the index of the same key in `merged`.
    overrides: Vec<(NodeId, NodeId, Option<usize>)>,
    next: usize,
}

impl Level {
    fn new(tree: &Tree<'_>, follower: NodeId, leader: NodeId) -> Self {
        let (View::Mapping(merged), View::Mapping(leader)) = (tree.view(follower), tree.view(leader)) else {
            return Self { follower, merged: Vec::new(), overrides: Vec::new(), next: 0 };
        };
        let slots = keys::matches(tree, merged, leader);
        let overrides = leader.iter().zip(slots).map(|(&(key, below), slot)| (key, below, slot)).collect();
        Self { follower, merged: merged.to_vec(), overrides, next: 0 }
    }

    fn next(&mut self) -> Option<(NodeId, NodeId, Option<usize>)> {
        let next = self.overrides.get(self.next).copied();
        self.next += 1;
        next
    }

    /// The override handed out last: its slot takes what the recursion made.
    fn set_merged(&mut self, node: NodeId) {
        if let Some(&(_, _, Some(slot))) = self.next.checked_sub(1).and_then(|last| self.overrides.get(last)) {
            self.merged[slot].1 = node;
        }
    }

    fn current_key(&self) -> Option<NodeId> {
        self.next.checked_sub(1).and_then(|last| self.overrides.get(last)).map(|&(key, _, _)| key)
    }
}

/// A cell of the table.
enum Decision {
    Replace,
    /// Replace, and say so: a whole mapping or list disappears.
    ReplaceLossy,
    Append(Vec<NodeId>),
    Recurse,
    Refuse,
}

fn decide(tree: &Tree<'_>, follower: NodeId, leader: NodeId) -> Decision {
    match (tree.view(follower), tree.view(leader)) {
        (_, View::Scalar(scalar)) if is_null(scalar) => Decision::Replace,
        (View::Scalar(scalar), _) if is_null(scalar) => Decision::Replace,
        (View::Scalar(_), View::Scalar(_) | View::Mapping(_)) => Decision::Replace,
        (View::Mapping(_), View::Mapping(_)) => Decision::Recurse,
        (View::Mapping(_) | View::Sequence(_), View::Scalar(_)) | (View::Sequence(_), View::Mapping(_)) => {
            Decision::ReplaceLossy
        }
        (View::Sequence(below), View::Sequence(appended)) => {
            Decision::Append(below.iter().chain(appended).copied().collect())
        }
        (View::Scalar(_) | View::Mapping(_), View::Sequence(_)) => Decision::Refuse,
    }
}

fn lossy(tree: &Tree<'_>, source: &Source<'_>, path: &str, follower: NodeId, leader: NodeId) -> String {
    let line = source.position(tree.offset(leader)).line;
    let (new, old) = (tree.view(leader).kind(), tree.view(follower).kind());
    format!(
        "line {line}: `{path}`: the {new} in `leader` replaces the whole {old} in `follower`; write `null` if that is \
         to be cleared"
    )
}

/// Path of the override in hand, below the section.
fn path(tree: &Tree<'_>, levels: &[Level]) -> String {
    let keys = levels.iter().filter_map(Level::current_key).map(|key| keys::text(tree, key));
    keys.collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use crate::render::{RenderError, Rendered, render};

    /// The leader's value of `a` (at the top and three levels deep), in flow style as far as it is short.
    fn merged(follower: &str, leader: &str) -> Result<String, String> {
        let source = |follower: &str, leader: &str| format!("follower: {{{follower}}}\nleader: {{{leader}}}\n");
        let deep = |inner: &str| format!("x: {{y: {{z: {{{inner}}}}}}}");
        let top = rendered(&source(follower, leader)).map(|rendered| text(&rendered));
        let below = rendered(&source(&deep(follower), &deep(leader)));
        match (top, below) {
            (Ok(top), Ok(below)) => {
                let indented = format!("      {}\n", top.trim_end().replace('\n', "\n      "));
                let expected = if top == "{}\n" {
                    "x:\n  y:\n    z: {}\n".to_owned()
                } else {
                    format!("x:\n  y:\n    z:\n{indented}")
                };
                assert_eq!(text(&below), expected, "the same at every depth");
                Ok(top)
            }
            (Err(top), Err(_)) => Err(top.to_string()),
            (top, below) => panic!("top {top:?}, below {below:?}"),
        }
    }

    fn rendered(source: &str) -> Result<Rendered, RenderError> {
        render(source.as_bytes())
    }

    fn text(rendered: &Rendered) -> String {
        String::from_utf8(rendered.leader.to_vec()).unwrap()
    }

    const SCALARS: [&str; 5] = ["5", "false", "0", "''", "text"];

    #[test]
    fn every_cell_of_the_table() {
        let ok = |follower: &str, leader: &str, expected: &str| {
            assert_eq!(merged(follower, leader).unwrap(), expected, "{follower} and {leader}");
        };
        for kept in ["a: 5", "a: {k: 1}", "a: [1]", "a: null"] {
            assert_eq!(merged(kept, "b: 1").unwrap(), merged(&format!("{kept}, b: 1"), "").unwrap());
            assert_eq!(merged(kept, "a: null").unwrap(), "a: null\n");
        }
        for follower in ["", "a: null", "a: ~"] {
            ok(follower, "a: 5", "a: 5\n");
            ok(follower, "a: {}", "a: {}\n");
            ok(follower, "a: {k: 1}", "a:\n  k: 1\n");
            ok(follower, "a: []", "a: []\n");
            ok(follower, "a: [1]", "a:\n- 1\n");
        }
        for scalar in SCALARS {
            let follower = format!("a: {scalar}");
            ok(&follower, "a: 7", "a: 7\n");
            ok(&follower, "a: {}", "a: {}\n");
            ok(&follower, "a: {k: 1}", "a:\n  k: 1\n");
            assert!(merged(&follower, "a: []").is_err());
            assert!(merged(&follower, "a: [1]").is_err());
            let expected = if scalar == "''" { "a: \"\"\n".to_owned() } else { format!("a: {scalar}\n") };
            ok("a: {k: 1}", &follower, &expected);
            ok("a: [1]", &follower, &expected);
        }
        ok("a: {k: 1}", "a: {}", "a:\n  k: 1\n");
        ok("a: {k: 1, l: 1}", "a: {k: 2, m: 2}", "a:\n  k: 2\n  l: 1\n  m: 2\n");
        assert!(merged("a: {k: 1}", "a: []").is_err() && merged("a: {k: 1}", "a: [1]").is_err());
        assert!(merged("a: {}", "a: []").is_err() && merged("a: {}", "a: [1]").is_err());
        ok("a: [1]", "a: {}", "a: {}\n");
        ok("a: [1]", "a: {k: 1}", "a:\n  k: 1\n");
        ok("a: [1]", "a: []", "a:\n- 1\n");
        ok("a: [1]", "a: [2, [3]]", "a:\n- 1\n- 2\n- - 3\n");
        ok("a: []", "a: [2]", "a:\n- 2\n");
    }

    #[test]
    fn only_what_discards_a_whole_mapping_or_list_is_a_warning() {
        let warnings = |follower: &str, leader: &str| {
            rendered(&format!("follower: {{p: {{a: {follower}}}}}\nleader: {{p: {{a: {leader}}}}}")).unwrap().warnings
        };
        for (follower, leader, said) in [
            ("{k: 1}", "5", "the single value in `leader` replaces the whole mapping"),
            ("[1]", "''", "the single value in `leader` replaces the whole list"),
            ("[1]", "{}", "the mapping in `leader` replaces the whole list"),
            ("[1]", "{k: 1}", "the mapping in `leader` replaces the whole list"),
        ] {
            let warnings = warnings(follower, leader);
            assert_eq!(warnings.len(), 1);
            assert!(warnings[0].starts_with(&format!("line 2: `p.a`: {said}")), "{}", warnings[0]);
        }
        for (follower, leader) in [
            ("{k: 1}", "null"),
            ("[1]", "~"),
            ("5", "{k: 1}"),
            ("5", "6"),
            ("null", "[1]"),
            ("[1]", "[2]"),
            ("{}", "{k: 1}"),
        ] {
            assert_eq!(warnings(follower, leader), [""; 0], "{follower} and {leader}");
        }
    }

    #[test]
    fn a_list_over_something_else_names_path_kinds_and_lines() {
        let error = rendered("follower:\n  a: {b: {c: 1}}\nleader:\n  a:\n    b: [1]\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 5, column 5: `a.b` is a list in `leader` and a mapping in `follower` (line 2), a list can only be \
             appended to a list: make them alike"
        );
    }
}
