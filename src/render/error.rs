//! What can be wrong with a source file, in words for the person who has to mend it.
//!
//! Messages name keys, jobs and positions, never values: a value may be a password.

use std::fmt;

use super::{ALIAS_BYTES_MAX, DEPTH_MAX, OUTPUT_BYTES_MAX, SOURCE_BYTES_MAX};

/// A place in the source file, as editors count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// Why a source file cannot be rendered, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{kind}", prefix(*position))]
pub struct RenderError {
    /// The place to look at; `None` where the whole file is meant.
    pub position: Option<Position>,
    /// What is wrong.
    pub kind: RenderErrorKind,
}

fn prefix(position: Option<Position>) -> String {
    position.map(|p| format!("{p}: ")).unwrap_or_default()
}

/// What is wrong with a source file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderErrorKind {
    /// More than [`SOURCE_BYTES_MAX`].
    #[error(
        "the file has {bytes} bytes, the limit is {SOURCE_BYTES_MAX}: move targets out into file_sd_configs or http_sd_configs"
    )]
    SourceTooLarge {
        /// Size of the file.
        bytes: usize,
    },
    /// A byte order mark of UTF-16.
    #[error("the file is UTF-16: save it as UTF-8")]
    Utf16,
    /// Bytes that are not UTF-8.
    #[error("the byte 0x{byte:02x} at offset {offset} is not UTF-8: save the file as UTF-8")]
    NotUtf8 {
        /// The first wrong byte.
        byte: u8,
        /// Its offset in the file, from 0.
        offset: usize,
    },
    /// A character that YAML forbids.
    #[error(
        "the control character U+{code:04X} is not allowed in YAML: delete it, or write it as an escape in double quotes"
    )]
    ControlCharacter {
        /// Its code point.
        code: u32,
    },
    /// NEL, LS or PS, which YAML 1.1 (Prometheus) takes for the end of a line and YAML 1.2 does not.
    #[error(
        "the character U+{code:04X} ends a line for Prometheus but not for an editor: replace it, or write it as an escape in double quotes"
    )]
    LineSeparator {
        /// Its code point.
        code: u32,
    },
    /// The parser does not understand the file.
    #[error("not valid YAML: {detail}{}", hint_suffix(hint))]
    Syntax {
        /// In the parser's words.
        detail: String,
        /// What usually mends it, or nothing.
        hint: &'static str,
    },
    /// A plain scalar in `[…]` or `{…}` that YAML 1.1 and 1.2 read differently.
    #[error(
        "in [...] and {{...}} Prometheus reads this `{indicator}` differently from other YAML readers: put the text in quotes, or a space after a `{indicator}` that is meant as one"
    )]
    AmbiguousFlow {
        /// `:` or `?`.
        indicator: char,
    },
    /// A tag with no blank after it.
    #[error(
        "Prometheus takes this character for a part of the tag before it: put a space, or `\"\"` for an empty text, between them"
    )]
    AmbiguousTag,
    /// An anchor name that Prometheus would cut short.
    #[error(
        "the name of this anchor is not readable for Prometheus: use letters, digits, `_` and `-` only and a space after it, or put a text that begins with `&` in quotes"
    )]
    AnchorName,
    /// A second `---`.
    #[error(
        "a second YAML document begins here, the file must have one only: remove the `---` and what belongs to the other document"
    )]
    SeveralDocuments,
    /// Deeper than [`DEPTH_MAX`].
    #[error(
        "nested deeper than {DEPTH_MAX} levels, aliases included: no Prometheus configuration needs that, flatten it"
    )]
    TooDeep,
    /// More than [`super::NODES_MAX`].
    #[error("more than {limit} keys and values: move targets out into file_sd_configs or http_sd_configs")]
    TooManyNodes {
        /// The limit.
        limit: usize,
    },
    /// Aliases that multiply.
    #[error(
        "aliases expand the file to more than {limit} bytes here (never more than {ALIAS_BYTES_MAX}, nor a hundredfold): write fewer or smaller aliases"
    )]
    AliasExpansion {
        /// The limit for this file.
        limit: u64,
    },
    /// An alias without an anchor. Its name is not told: it may be a password that begins with `*`.
    #[error(
        "this alias (`*name`) has no anchor (`&name`) above it: define one, or put a text that begins with `*` in quotes"
    )]
    UnknownAlias,
    /// An alias inside its own anchor.
    #[error("the alias stands inside the value of its own anchor, which would never end: move it out")]
    RecursiveAlias,
    /// One key twice in a mapping.
    #[error("the key `{key}` is already set in line {first_line}: keep one of the two")]
    DuplicateKey {
        /// The key's text.
        key: String,
        /// Line of the first one.
        first_line: usize,
    },
    /// A mapping or a list as a key.
    #[error(
        "a {found} cannot be a key: use a single value, or put the text in quotes (a template in braces needs them)"
    )]
    KeyNotScalar {
        /// `mapping` or `list`.
        found: &'static str,
    },
    /// `<<` with something else than mappings.
    #[error(
        "the merge key `<<` takes a mapping or a list of mappings, usually aliases, and found a {found}: put `<<` in quotes if it is meant as text"
    )]
    MergeKey {
        /// What was found.
        found: &'static str,
    },
    /// `!!int`, `!!binary` … on a value that is none.
    #[error("the value is not a valid {tag}: correct it or remove the tag")]
    BadTag {
        /// The tag.
        tag: &'static str,
    },
    /// The file is not a mapping.
    #[error("the file must be a mapping with the sections `follower` and `leader`, found a {found}")]
    NotSections {
        /// What was found.
        found: &'static str,
    },
    /// Another key than the two sections.
    #[error(
        "unknown section `{key}`: the file has exactly `follower` and, optionally, `leader`; move it below one of them"
    )]
    UnknownSection {
        /// The key's text.
        key: String,
    },
    /// No `follower`.
    #[error(
        "the section `follower` is missing or empty: it holds the configuration that every replica runs (`follower: {{}}` if there is none)"
    )]
    MissingFollower,
    /// A section that is not a mapping.
    #[error("the section `{section}` must be a mapping, a Prometheus configuration, found a {found}")]
    SectionNotMapping {
        /// `follower` or `leader`.
        section: &'static str,
        /// What was found.
        found: &'static str,
    },
    /// A list in `leader` meets something else in `follower`.
    #[error(
        "`{path}` is a list in `leader` and a {found} in `follower` (line {follower_line}), a list can only be appended to a list: make them alike"
    )]
    ListOverOther {
        /// Path below the section.
        path: String,
        /// Kind of the follower's value.
        found: &'static str,
        /// Line of the follower's value.
        follower_line: usize,
    },
    /// Two scrape jobs of one name.
    #[error(
        "two entries of `scrape_configs` are named `{job}` in the {role} configuration (the other one is in line {first_line}), Prometheus refuses that: rename one (lists of `leader` are appended to those of `follower`)"
    )]
    DuplicateJob {
        /// The job's name.
        job: String,
        /// `follower` or `leader`.
        role: &'static str,
        /// Line of the first one.
        first_line: usize,
    },
    /// Two `remote_write` entries of one name.
    #[error(
        "two entries of `remote_write` are named `{name}` in the {role} configuration (the other one is in line {first_line}), Prometheus refuses that: rename one (lists of `leader` are appended to those of `follower`)"
    )]
    DuplicateRemote {
        /// The entries' name.
        name: String,
        /// `follower` or `leader`.
        role: &'static str,
        /// Line of the first one.
        first_line: usize,
    },
    /// More than [`OUTPUT_BYTES_MAX`].
    #[error(
        "the {role} configuration has more than {OUTPUT_BYTES_MAX} bytes once rendered: nest less, or move targets out into file_sd_configs or http_sd_configs"
    )]
    OutputTooLarge {
        /// `follower` or `leader`.
        role: &'static str,
    },
}

fn hint_suffix(hint: &str) -> String {
    if hint.is_empty() { String::new() } else { format!(" ({hint})") }
}
