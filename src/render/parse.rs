//! Events of the YAML parser -> node tree, in one pass, with a stack of its own.
//!
//! Everything that makes a file unreadable, ambiguous or too large is found here, with its place: syntax, nesting, alias
//! expansion, tags, keys. Where YAML 1.1 (yaml.v2, so Prometheus) and 1.2 (our parser) would read different data, the
//! file is refused rather than guessed: a flow scalar next to `:` or `?`, anchors with unusual names, NEL/LS/PS.

use std::borrow::Cow;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Span, StructureStyle, Tag};

use super::error::{RenderError, RenderErrorKind};
use super::keys;
use super::resolve;
use super::source::{Source, is_line_separator};
use super::tree::{Form, NodeId, Pair, Scalar, ScalarTag, Tree};
use super::{ALIAS_BYTES_FREE, ALIAS_BYTES_MAX, ALIAS_RATIO_MAX, DEPTH_MAX};

/// The document's mapping and a section's mapping stand above the nesting that [`DEPTH_MAX`] counts.
const NESTING_MAX: usize = DEPTH_MAX + 2;

/// Bytes that a node takes in the output beside its text (indentation, `- `, `: `, line end), roughly.
const NODE_BYTES: u64 = 16;

/// Reads the file, at most `nodes_max` keys and values; `None` when it holds no value at all.
pub(super) fn parse<'a>(source: &'a Source<'_>, nodes_max: usize) -> Result<(Tree<'a>, Option<NodeId>), RenderError> {
    let mut options = granit_parser::options! {
        bom_inside_document_as_content: true,
        block_scalar_eof_without_line_feed: true,
        emit_unresolved_aliases: true,
        emit_anchor_events: true,
        flow_nesting_limit: NESTING_MAX + 1,
        block_nesting_limit: NESTING_MAX + 1,
    };
    options.set_emit_comments(false);
    let mut parser = Parser::new_from_str_with_options(source.text(), options);
    let mut builder = Builder::new(source, nodes_max);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| syntax_error(source, &error))?;
        builder.event(event, span)?;
    }
    builder.check_separators_before(source.text().len())?;
    Ok((builder.tree, builder.root))
}

/// An open list or mapping.
struct Frame {
    at: usize,
    anchor: usize,
    mapping: bool,
    flow: bool,
    /// Where its children begin in `Builder::pending`.
    children: usize,
    /// `Builder::weight` when it was opened.
    weight: u64,
    /// Nesting below it.
    height: usize,
}

#[derive(Clone, Copy)]
struct Anchor {
    node: NodeId,
    weight: u64,
    height: usize,
}

struct Builder<'a> {
    source: &'a Source<'a>,
    nodes_max: usize,
    tree: Tree<'a>,
    root: Option<NodeId>,
    documents: usize,
    frames: Vec<Frame>,
    pending: Vec<NodeId>,
    /// By the parser's anchor id; `None` while the anchored value is open.
    anchors: Vec<Option<Anchor>>,
    /// Bytes of output so far, aliases expanded.
    weight: u64,
    /// The part of it that came from aliases.
    expanded: u64,
    expanded_max: u64,
    /// Offset up to which characters that end a line in YAML 1.1 only have been judged.
    judged: usize,
}

impl<'a> Builder<'a> {
    fn new(source: &'a Source<'a>, nodes_max: usize) -> Self {
        let ratio = (source.text().len() as u64).saturating_mul(ALIAS_RATIO_MAX);
        Self {
            source,
            nodes_max,
            tree: Tree::default(),
            root: None,
            documents: 0,
            frames: Vec::new(),
            pending: Vec::new(),
            anchors: Vec::new(),
            weight: 0,
            expanded: 0,
            expanded_max: ratio.clamp(ALIAS_BYTES_FREE, ALIAS_BYTES_MAX),
            judged: 0,
        }
    }

    fn event(&mut self, event: Event<'a>, span: Span) -> Result<(), RenderError> {
        let at = offset(&span);
        self.check_tag_end(&span)?;
        match event {
            Event::DocumentStart(..) => self.documents += 1,
            Event::Scalar(text, style, anchor, tag) => self.scalar(text, style, anchor, tag.as_deref(), &span)?,
            Event::SequenceStart(style, anchor, _) => self.open(at, anchor, false, style)?,
            Event::MappingStart(style, anchor, _) => self.open(at, anchor, true, style)?,
            Event::SequenceEnd | Event::MappingEnd => self.close()?,
            Event::Alias(anchor) => self.alias(anchor, at)?,
            Event::UnresolvedAlias(_) => return Err(self.source.error(at, RenderErrorKind::UnknownAlias)),
            Event::Anchor(_, name) if !is_anchor_name(&name) => {
                return Err(self.source.error(at, RenderErrorKind::AnchorName));
            }
            _ => {}
        }
        if self.documents > 1 {
            return Err(self.source.error(at, RenderErrorKind::SeveralDocuments));
        }
        Ok(())
    }

    fn scalar(
        &mut self,
        mut text: Cow<'a, str>,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        span: &Span,
    ) -> Result<(), RenderError> {
        let at = offset(span);
        if style == ScalarStyle::Plain && self.frames.last().is_some_and(|frame| frame.flow) {
            self.check_flow_scalar(&text, span)?;
        }
        self.check_separators_in(style, span)?;
        if let Some(dash) = self.source.dash()
            && text.contains(dash)
        {
            text = Cow::Owned(text.replace(dash, "-"));
        }
        if span.is_empty() && style == ScalarStyle::Plain {
            text = Cow::Borrowed(""); // the parser says `~` where nothing is
        }
        let form = form(style, tag, &text).map_err(|kind| self.source.error(at, kind))?;
        let weight = NODE_BYTES + text.len() as u64;
        self.weight += weight;
        let node = self.tree.add_scalar(at, Scalar { text, form });
        self.define(anchor, Anchor { node, weight, height: 0 });
        self.attach(node, 0, at)
    }

    fn open(&mut self, at: usize, anchor: usize, mapping: bool, style: StructureStyle) -> Result<(), RenderError> {
        if self.frames.len() >= NESTING_MAX {
            return Err(self.source.error(at, RenderErrorKind::TooDeep));
        }
        if anchor >= self.anchors.len() {
            self.anchors.resize(anchor + 1, None);
        }
        let flow = style == StructureStyle::Flow;
        let children = self.pending.len();
        self.frames.push(Frame { at, anchor, mapping, flow, children, weight: self.weight, height: 0 });
        self.weight += NODE_BYTES;
        Ok(())
    }

    fn close(&mut self) -> Result<(), RenderError> {
        let Some(frame) = self.frames.pop() else { return Ok(()) };
        let node = if frame.mapping {
            let children = self.pending[frame.children..].as_chunks::<2>().0;
            let pairs: Vec<Pair> = children.iter().map(|&[key, value]| (key, value)).collect();
            let pairs = keys::settle(&self.tree, self.source, pairs)?;
            self.tree.add_mapping(frame.at, pairs)
        } else {
            let items = self.pending[frame.children..].iter().copied();
            self.tree.add_sequence(frame.at, items)
        };
        self.pending.truncate(frame.children);
        let height = frame.height + 1;
        self.define(frame.anchor, Anchor { node, weight: self.weight - frame.weight, height });
        self.attach(node, height, frame.at)
    }

    fn alias(&mut self, anchor: usize, at: usize) -> Result<(), RenderError> {
        let Some(Some(target)) = self.anchors.get(anchor).copied() else {
            return Err(self.source.error(at, RenderErrorKind::RecursiveAlias));
        };
        self.expanded += target.weight;
        self.weight += target.weight;
        if self.expanded > self.expanded_max {
            let kind = RenderErrorKind::AliasExpansion { limit: self.expanded_max };
            return Err(self.source.error(at, kind));
        }
        if self.frames.len() + target.height > NESTING_MAX {
            return Err(self.source.error(at, RenderErrorKind::TooDeep));
        }
        self.attach(target.node, target.height, at)
    }

    /// Zero means: no anchor.
    fn define(&mut self, id: usize, anchor: Anchor) {
        if id == 0 {
            return;
        }
        if id >= self.anchors.len() {
            self.anchors.resize(id + 1, None);
        }
        self.anchors[id] = Some(anchor);
    }

    fn attach(&mut self, node: NodeId, height: usize, at: usize) -> Result<(), RenderError> {
        if self.tree.len() > self.nodes_max {
            return Err(self.source.error(at, RenderErrorKind::TooManyNodes { limit: self.nodes_max }));
        }
        match self.frames.last_mut() {
            Some(parent) => {
                parent.height = parent.height.max(height);
                self.pending.push(node);
            }
            None => self.root = Some(node),
        }
        Ok(())
    }

    /// In flow context yaml.v2 takes `x:` for text unless a blank follows, and a leading `:` or `?` for an indicator.
    fn check_flow_scalar(&self, text: &str, span: &Span) -> Result<(), RenderError> {
        let ambiguous = |at, indicator| Err(self.source.error(at, RenderErrorKind::AmbiguousFlow { indicator }));
        if let Some(first @ (':' | '?')) = text.chars().next() {
            return ambiguous(offset(span), first);
        }
        let end = span.end.byte_offset().unwrap_or_default();
        let rest = self.source.text().get(end..).unwrap_or_default();
        let after = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let colon = end + rest.len() - after.len();
        match after.strip_prefix(':').map(|after| after.chars().next()) {
            Some(Some(next)) if !text.is_empty() && !matches!(next, ' ' | '\t' | '\r' | '\n') => ambiguous(colon, ':'),
            _ => Ok(()),
        }
    }

    /// yaml.v2 takes `,[]` and more for a part of the tag, up to the next blank.
    fn check_tag_end(&self, span: &Span) -> Result<(), RenderError> {
        let Some(end) = span.tag_span().and_then(|tag| tag.end.byte_offset()) else { return Ok(()) };
        match self.source.text().as_bytes().get(end) {
            None | Some(b' ' | b'\t' | b'\r' | b'\n') => Ok(()),
            Some(_) => Err(self.source.error(end, RenderErrorKind::AmbiguousTag)),
        }
    }

    /// LS and PS are plain characters inside quotes, if no blank is beside them that Prometheus would drop.
    fn check_separators_in(&mut self, style: ScalarStyle, span: &Span) -> Result<(), RenderError> {
        if !self.source.has_line_separators() {
            return Ok(());
        }
        let start = offset(span);
        self.check_separators_before(start)?;
        if !matches!(style, ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted) {
            return Ok(());
        }
        let end = span.end.byte_offset().unwrap_or(start);
        let text = self.source.text().get(start..end).unwrap_or_default();
        for (index, found) in text.char_indices().filter(|&(_, found)| is_line_separator(found)) {
            let before = text[..index].chars().next_back();
            let after = text[index + found.len_utf8()..].chars().next();
            let harmless = |neighbour: Option<char>| {
                neighbour.is_some_and(|c| !matches!(c, ' ' | '\t' | '\r' | '\n' | '\\') && !is_line_separator(c))
            };
            if found == '\u{85}' || !harmless(before) || !harmless(after) {
                return Err(self.line_separator(start + index, found));
            }
        }
        self.judged = end;
        Ok(())
    }

    fn check_separators_before(&mut self, end: usize) -> Result<(), RenderError> {
        if self.source.has_line_separators() && end > self.judged {
            let text = self.source.text().get(self.judged..end).unwrap_or_default();
            if let Some((index, found)) = text.char_indices().find(|&(_, found)| is_line_separator(found)) {
                return Err(self.line_separator(self.judged + index, found));
            }
            self.judged = end;
        }
        Ok(())
    }

    fn line_separator(&self, at: usize, found: char) -> RenderError {
        self.source.error(at, RenderErrorKind::LineSeparator { code: found.into() })
    }
}

fn offset(span: &Span) -> usize {
    span.start.byte_offset().unwrap_or_default()
}

/// What yaml.v2 takes for a name; it would end the name at any other character.
fn is_anchor_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// How a scalar decides its type; tags that yaml.v2 does not know make it text, as there.
fn form(style: ScalarStyle, tag: Option<&Tag>, text: &str) -> Result<Form, RenderErrorKind> {
    let Some(tag) = tag else {
        return Ok(if style == ScalarStyle::Plain { Form::Plain } else { Form::Quoted });
    };
    let tag = match tag.suffix_in_namespace("tag:yaml.org,2002:").as_deref() {
        Some("binary") => ScalarTag::Binary,
        Some("bool") => ScalarTag::Bool,
        Some("float") => ScalarTag::Float,
        Some("int") => ScalarTag::Int,
        Some("null") => ScalarTag::Null,
        Some("timestamp") => ScalarTag::Timestamp,
        // Read as a merge key by `keys`, as a string elsewhere.
        Some("merge") if text == keys::MERGE => return Ok(Form::Plain),
        _ => return Ok(Form::Quoted),
    };
    match resolve::tagged(tag, text) {
        Some(_) => Ok(Form::Tagged(tag)),
        None => Err(RenderErrorKind::BadTag { tag: tag.name() }),
    }
}

fn syntax_error(source: &Source<'_>, error: &ScanError) -> RenderError {
    let at = error.marker().byte_offset().unwrap_or_default();
    if *error.kind() == ErrorKind::RecursionLimitExceeded {
        return source.error(at, RenderErrorKind::TooDeep);
    }
    let hint = match error.kind() {
        ErrorKind::TabNotAllowed | ErrorKind::TabInBlockIndentation | ErrorKind::TabInIndentation => {
            "indent with spaces"
        }
        ErrorKind::UnclosedQuotedScalar => "add the closing quote",
        ErrorKind::UnclosedFlowCollection { .. } => "add the closing bracket, or put the text in quotes",
        ErrorKind::UnexpectedCharacter { .. } => "put a text that begins with this character in quotes",
        ErrorKind::UndeclaredTagHandle => "put a text that begins with `!` in quotes",
        ErrorKind::UnknownQuotedScalarEscape => "write the backslash twice, or use single quotes",
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => "a key needs `: ` on its own line",
        ErrorKind::MappingValueNotAllowed => "put a text that contains `: ` in quotes",
        ErrorKind::ExpectedBlockMappingKey | ErrorKind::ExpectedBlockSequenceEntry | ErrorKind::InvalidIndentation => {
            "check the indentation here and above"
        }
        _ => "",
    };
    source.error(at, RenderErrorKind::Syntax { detail: error.kind().to_string(), hint })
}
