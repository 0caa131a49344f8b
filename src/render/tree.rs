//! The node tree: scalars keep their TEXT, with how they were written; nothing is converted.
//!
//! An arena: a node is an index, so a subtree that several aliases share is stored once, and dropping the deepest tree
//! needs no recursion. `parse` fills it, `merge` adds nodes to it, `emit` reads it; a step that rewrites a
//! configuration fits between the last two.

use std::borrow::Cow;
use std::ops::Range;

/// Index of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NodeId(u32);

/// One key and its value.
pub(super) type Pair = (NodeId, NodeId);

/// All nodes of a source file.
#[derive(Debug, Default)]
pub(super) struct Tree<'a> {
    nodes: Vec<Node<'a>>,
    items: Vec<NodeId>,
    pairs: Vec<Pair>,
}

#[derive(Debug)]
struct Node<'a> {
    /// Byte offset in the source: for messages.
    at: u32,
    data: Data<'a>,
}

/// What a node holds; lists are slices of the tree's arrays.
#[derive(Debug)]
enum Data<'a> {
    Scalar(Scalar<'a>),
    Sequence(Slice),
    Mapping(Slice),
}

#[derive(Clone, Copy, Debug)]
struct Slice {
    start: u32,
    end: u32,
}

impl Slice {
    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// A single value as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scalar<'a> {
    /// Its text, after the source's escapes and line folding.
    pub(super) text: Cow<'a, str>,
    /// How it was written.
    pub(super) form: Form,
}

/// How a scalar was written, as far as it decides the type that Prometheus sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Bare: its text decides.
    Plain,
    /// In quotes, as a block, or with a tag that makes it text: a string.
    Quoted,
    /// With one of the tags that decide.
    Tagged(ScalarTag),
}

/// Tags that decide the type of a scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScalarTag {
    /// `!!binary`
    Binary,
    /// `!!bool`
    Bool,
    /// `!!float`
    Float,
    /// `!!int`
    Int,
    /// `!!null`
    Null,
    /// `!!timestamp`
    Timestamp,
}

impl ScalarTag {
    /// As it is written.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Binary => "!!binary",
            Self::Bool => "!!bool",
            Self::Float => "!!float",
            Self::Int => "!!int",
            Self::Null => "!!null",
            Self::Timestamp => "!!timestamp",
        }
    }
}

/// A node for reading.
#[derive(Clone, Copy, Debug)]
pub(super) enum View<'t, 'a> {
    /// A single value.
    Scalar(&'t Scalar<'a>),
    /// A list.
    Sequence(&'t [NodeId]),
    /// Keys (scalars, each once) and values, in source order.
    Mapping(&'t [Pair]),
}

impl View<'_, '_> {
    /// Its kind, for messages.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Scalar(_) => "single value",
            Self::Sequence(_) => "list",
            Self::Mapping(_) => "mapping",
        }
    }
}

impl<'a> Tree<'a> {
    /// The node for reading.
    pub(super) fn view(&self, id: NodeId) -> View<'_, 'a> {
        match &self.nodes[id.0 as usize].data {
            Data::Scalar(scalar) => View::Scalar(scalar),
            Data::Sequence(slice) => View::Sequence(&self.items[slice.range()]),
            Data::Mapping(slice) => View::Mapping(&self.pairs[slice.range()]),
        }
    }

    /// Its byte offset in the source.
    pub(super) fn offset(&self, id: NodeId) -> usize {
        self.nodes[id.0 as usize].at as usize
    }

    /// Number of nodes.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Adds a single value.
    pub(super) fn add_scalar(&mut self, at: usize, scalar: Scalar<'a>) -> NodeId {
        self.add(at, Data::Scalar(scalar))
    }

    /// Adds a list.
    pub(super) fn add_sequence(&mut self, at: usize, items: impl IntoIterator<Item = NodeId>) -> NodeId {
        let start = index(self.items.len());
        self.items.extend(items);
        let end = index(self.items.len());
        self.add(at, Data::Sequence(Slice { start, end }))
    }

    /// Adds a mapping; the keys are scalars and differ.
    pub(super) fn add_mapping(&mut self, at: usize, pairs: impl IntoIterator<Item = Pair>) -> NodeId {
        let start = index(self.pairs.len());
        self.pairs.extend(pairs);
        let end = index(self.pairs.len());
        self.add(at, Data::Mapping(Slice { start, end }))
    }

    fn add(&mut self, at: usize, data: Data<'a>) -> NodeId {
        let id = NodeId(index(self.nodes.len()));
        self.nodes.push(Node { at: index(at), data });
        id
    }
}

/// Offsets and counts fit by far: the limits of size, nodes and alias expansion are checked before.
fn index(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
