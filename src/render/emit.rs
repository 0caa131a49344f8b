//! Node tree -> YAML that yaml.v2 (Prometheus) reads back as exactly the same values.
//!
//! Rules, each tested against yaml.v2:
//! 1. A bare source scalar that is a bool, number, null or timestamp: verbatim (an empty one becomes `null`).
//! 2. A bare string: bare only if it matches `[A-Za-z_/][A-Za-z0-9_./-]*` and is a string; otherwise double-quoted.
//! 3. A quoted or block source: double-quoted. Never from quoted to bare.
//! 4. Escapes: `"`, `\`, C0, 0x7F-0x9F, U+2028/2029, U+FEFF, U+FFFE/FFFF; never `\/`, never surrogate pairs.
//! 5. Lines are never wrapped; block style only; a key of over [`SIMPLE_KEY_BYTES_MAX`] bytes as `? key`.
//! 6. Tags that decide the type are kept, with the value in double quotes.
//! 7. No anchors, no `<<`, one document, keys in source order.

use super::OUTPUT_BYTES_MAX;
use super::resolve::is_plain_string;
use super::tree::{Form, NodeId, Pair, Scalar, Tree, View};

/// yaml.v2 looks at most 1024 characters ahead for the `:` of a key.
const SIMPLE_KEY_BYTES_MAX: usize = 1000;

/// Bytes of a quoted text that may need an escape: ASCII ones, and the lead bytes of the others.
const SUSPECT: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = true;
        byte += 1;
    }
    table[b'"' as usize] = true;
    table[b'\\' as usize] = true;
    table[0x7F] = true;
    table[0xC2] = true;
    table[0xE2] = true;
    table[0xEF] = true;
    table
};

/// The output passes [`OUTPUT_BYTES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

/// Writes a configuration; `capacity` is the expected size.
pub(super) fn emit(tree: &Tree<'_>, root: NodeId, capacity: usize) -> Result<Vec<u8>, TooLarge> {
    let mut out = Vec::with_capacity(capacity.min(OUTPUT_BYTES_MAX));
    let mut levels = Vec::new();
    if let Some(level) = value(tree, &mut out, root, 0, true) {
        levels.push(level);
    }
    while let Some(level) = levels.last_mut() {
        if out.len() > OUTPUT_BYTES_MAX {
            return Err(TooLarge);
        }
        let continued = std::mem::take(&mut level.continues_line);
        let indent = level.indent;
        let deeper = match &mut level.rest {
            Rest::Items([]) | Rest::Pairs([]) => {
                levels.pop();
                continue;
            }
            Rest::Items([item, rest @ ..]) => {
                level.rest = Rest::Items(rest);
                indentation(&mut out, if continued { 0 } else { indent });
                out.extend_from_slice(b"-");
                value(tree, &mut out, *item, indent + 2, true)
            }
            Rest::Pairs([(key, below), rest @ ..]) => {
                level.rest = Rest::Pairs(rest);
                indentation(&mut out, if continued { 0 } else { indent });
                let long = key_text(tree, &mut out, *key, indent);
                // A list stands at the indentation of its key, as Go writes it, except after `? key`.
                let is_list = matches!(tree.view(*below), View::Sequence(_));
                value(tree, &mut out, *below, if is_list && !long { indent } else { indent + 2 }, false)
            }
        };
        levels.extend(deeper);
    }
    if out.len() > OUTPUT_BYTES_MAX { Err(TooLarge) } else { Ok(out) }
}

/// A list or mapping that is being written.
struct Level<'t> {
    rest: Rest<'t>,
    indent: usize,
    /// Its first entry stands on the line of the `- ` above it.
    continues_line: bool,
}

enum Rest<'t> {
    Items(&'t [NodeId]),
    Pairs(&'t [Pair]),
}

/// Writes what follows a `-` or `:`; a collection with content is handed back to be written entry by entry.
fn value<'t>(
    tree: &'t Tree<'_>,
    out: &mut Vec<u8>,
    node: NodeId,
    indent: usize,
    after_dash: bool,
) -> Option<Level<'t>> {
    let start_of_file = out.is_empty();
    let rest = match tree.view(node) {
        View::Scalar(scalar) => {
            out.push(b' ');
            scalar_text(out, scalar);
            out.push(b'\n');
            return None;
        }
        View::Sequence([]) => {
            out.extend_from_slice(if start_of_file { b"[]\n" } else { b" []\n" });
            return None;
        }
        View::Mapping([]) => {
            out.extend_from_slice(if start_of_file { b"{}\n" } else { b" {}\n" });
            return None;
        }
        View::Sequence(items) => Rest::Items(items),
        View::Mapping(pairs) => Rest::Pairs(pairs),
    };
    if !start_of_file {
        out.push(if after_dash { b' ' } else { b'\n' });
    }
    Some(Level { rest, indent, continues_line: after_dash })
}

/// Writes a key and its `:`; tells whether it had to be written as `? key`.
fn key_text(tree: &Tree<'_>, out: &mut Vec<u8>, key: NodeId, indent: usize) -> bool {
    let start = out.len();
    if let View::Scalar(scalar) = tree.view(key) {
        scalar_text(out, scalar);
    }
    let long = out.len() - start > SIMPLE_KEY_BYTES_MAX;
    if long {
        out.splice(start..start, *b"? ");
        out.push(b'\n');
        indentation(out, indent);
    }
    out.push(b':');
    long
}

fn indentation(out: &mut Vec<u8>, width: usize) {
    out.resize(out.len() + width, b' ');
}

fn scalar_text(out: &mut Vec<u8>, scalar: &Scalar<'_>) {
    let text = scalar.text.as_ref();
    match scalar.form {
        Form::Plain if text.is_empty() => out.extend_from_slice(b"null"),
        Form::Plain if is_bare_word(text) || !is_plain_string(text) => out.extend_from_slice(text.as_bytes()),
        Form::Plain | Form::Quoted => quoted(out, text),
        Form::Tagged(tag) => {
            out.extend_from_slice(tag.name().as_bytes());
            out.push(b' ');
            quoted(out, text);
        }
    }
}

/// Rule 2's pattern; whether such a word is a string or a bool or null, bare it is the same as in the source.
fn is_bare_word(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || matches!(first, b'_' | b'/'))
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'/' | b'-'))
}

fn quoted(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut copied = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if !SUSPECT[usize::from(byte)] {
            continue;
        }
        let Some(found) = text[at..].chars().next() else { continue };
        let code = u32::from(found);
        let escape = match found {
            '"' => "\\\"".to_owned(),
            '\\' => "\\\\".to_owned(),
            '\n' => "\\n".to_owned(),
            '\r' => "\\r".to_owned(),
            '\t' => "\\t".to_owned(),
            '\0'..='\x1f' | '\x7f'..='\u{9f}' => format!("\\x{code:02X}"),
            '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => format!("\\u{code:04X}"),
            _ => continue,
        };
        out.extend_from_slice(&bytes[copied..at]);
        out.extend_from_slice(escape.as_bytes());
        copied = at + found.len_utf8();
    }
    out.extend_from_slice(&bytes[copied..]);
    out.push(b'"');
}
