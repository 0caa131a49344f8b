//! The source file as text: size, encoding and characters are checked before any YAML is read.
//!
//! Prometheus's YAML reader refuses control characters and takes NEL, LS and PS for line ends; what it would read
//! otherwise than we do is refused here or, for characters inside quotes, in `parse`. It reads the `-` of `[-]` as text,
//! which our parser refuses: such a dash is replaced by a stand-in and put back by `parse`.

use std::borrow::Cow;

use super::SOURCE_BYTES_MAX;
use super::error::{Position, RenderError, RenderErrorKind};

const BOM: &[u8] = b"\xef\xbb\xbf";

/// Bytes that need a look: controls, the dash, and the lead bytes of C1 controls, LS, PS and U+FFFE/FFFF.
const SUSPECT: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = !matches!(byte, 0x09 | 0x0A | 0x0D);
        byte += 1;
    }
    table[0x2D] = true;
    table[0x7F] = true;
    table[0xC2] = true;
    table[0xE2] = true;
    table[0xEF] = true;
    table
};

/// Checked text of a source file, without its byte order mark.
#[derive(Debug)]
pub(super) struct Source<'a> {
    text: Cow<'a, str>,
    /// Whether NEL, LS or PS occur (almost never): then every scalar has to be looked at.
    has_line_separators: bool,
    /// Stands for a dash in `text`.
    dash: Option<char>,
}

impl<'a> Source<'a> {
    /// Checks size, encoding and characters.
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, RenderError> {
        if bytes.len() > SOURCE_BYTES_MAX {
            let kind = RenderErrorKind::SourceTooLarge { bytes: bytes.len() };
            return Err(RenderError { position: None, kind });
        }
        if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
            return Err(RenderError { position: None, kind: RenderErrorKind::Utf16 });
        }
        let skipped = if bytes.starts_with(BOM) { BOM.len() } else { 0 };
        let body = &bytes[skipped..];
        let text = std::str::from_utf8(body).map_err(|error| {
            let valid = error.valid_up_to();
            let byte = body.get(valid).copied().unwrap_or_default();
            let good = std::str::from_utf8(&body[..valid]).unwrap_or_default();
            let kind = RenderErrorKind::NotUtf8 { byte, offset: skipped + valid };
            RenderError { position: Some(position_in(good, valid)), kind }
        })?;
        let mut source = Source { text: Cow::Borrowed(text), has_line_separators: false, dash: None };
        if source.check_characters()? {
            source.replace_lone_dashes();
        }
        Ok(source)
    }

    /// The text.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The character that stands for `-` in the text, if one had to.
    pub(super) fn dash(&self) -> Option<char> {
        self.dash
    }

    /// Whether a scalar may hold a character that only YAML 1.1 takes for a line end.
    pub(super) fn has_line_separators(&self) -> bool {
        self.has_line_separators
    }

    /// Line and column of a byte offset.
    pub(super) fn position(&self, offset: usize) -> Position {
        position_in(&self.text, offset)
    }

    /// An error at a byte offset.
    pub(super) fn error(&self, offset: usize, kind: RenderErrorKind) -> RenderError {
        RenderError { position: Some(self.position(offset)), kind }
    }

    /// Tells whether a dash needs a stand-in.
    fn check_characters(&mut self) -> Result<bool, RenderError> {
        let bytes = self.text.as_bytes();
        let (mut has_line_separators, mut has_lone_dash) = (false, false);
        for (offset, &byte) in bytes.iter().enumerate() {
            if !SUSPECT[usize::from(byte)] {
                continue;
            }
            if byte == b'-' {
                has_lone_dash |= is_lone_dash(bytes, offset);
                continue;
            }
            let Some(found) = self.text[offset..].chars().next() else { continue };
            if is_line_separator(found) {
                has_line_separators = true;
            } else if matches!(u32::from(found), 0..0x20 | 0x7F..0xA0 | 0xFFFE | 0xFFFF) {
                return Err(self.error(offset, RenderErrorKind::ControlCharacter { code: found.into() }));
            }
        }
        self.has_line_separators = has_line_separators;
        Ok(has_lone_dash)
    }

    /// A dash right before a flow indicator that may begin a scalar. One character takes the place of one, so lines and
    /// columns stay right; it is one that the text holds neither raw nor as an escape.
    fn replace_lone_dashes(&mut self) {
        let bytes = self.text.as_bytes();
        let unused = |candidate: &char| {
            let code = u32::from(*candidate);
            let escapes = [
                format!("\\u{code:04x}"),
                format!("\\u{code:04X}"),
                format!("\\U{code:08x}"),
                format!("\\U{code:08X}"),
            ];
            !self.text.contains(*candidate) && !escapes.iter().any(|escape| self.text.contains(escape))
        };
        // Private use, with one letter in its hexadecimal form: an escape has two spellings at the most.
        let Some(stand_in) = ('\u{E000}'..='\u{E009}').find(unused) else { return };
        let replaced = self.text.char_indices().map(|(at, c)| if is_lone_dash(bytes, at) { stand_in } else { c });
        self.text = Cow::Owned(replaced.collect());
        self.dash = Some(stand_in);
    }
}

fn is_lone_dash(bytes: &[u8], at: usize) -> bool {
    let begins = at == 0 || matches!(bytes[at - 1], b' ' | b'\t' | b'\r' | b'\n' | b'[' | b'{' | b',' | b':');
    bytes[at] == b'-' && begins && matches!(bytes.get(at + 1), Some(b',' | b'[' | b']' | b'{' | b'}'))
}

/// Characters that end a line in YAML 1.1 only.
pub(super) fn is_line_separator(found: char) -> bool {
    matches!(found, '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn position_in(text: &str, offset: usize) -> Position {
    let before = text.get(..offset).unwrap_or(text);
    let bytes = before.as_bytes();
    let mut line = 1;
    let mut line_start = 0;
    for (index, &byte) in bytes.iter().enumerate() {
        // A lone CR ends a line too; in CRLF the LF does.
        let lone_cr = byte == b'\r' && text.as_bytes().get(index + 1) != Some(&b'\n');
        if byte == b'\n' || lone_cr {
            line += 1;
            line_start = index + 1;
        }
    }
    Position { line, column: before[line_start..].chars().count() + 1 }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn error(bytes: &[u8]) -> String {
        Source::new(bytes).expect_err("refused").to_string()
    }

    #[test]
    fn a_byte_order_mark_is_dropped_and_does_not_shift_columns() {
        let source = Source::new(b"\xef\xbb\xbfa: 1").unwrap();
        assert_eq!(source.text(), "a: 1");
        assert_eq!(source.position(3), Position { line: 1, column: 4 });
    }

    #[test]
    fn columns_count_characters_and_every_kind_of_line_end_counts_once() {
        let source = Source::new("é: 1\r\nb: 2\rü: x\n".as_bytes()).unwrap();
        assert_eq!(source.position(3), Position { line: 1, column: 3 });
        assert_eq!(source.position(7), Position { line: 2, column: 1 });
        assert_eq!(source.position(14), Position { line: 3, column: 2 });
    }

    #[test]
    fn wrong_encodings_name_the_byte_and_its_place() {
        assert_eq!(
            error(b"a: 1\nb: caf\xe9\n"),
            "line 2, column 7: the byte 0xe9 at offset 11 is not UTF-8: save the file as UTF-8"
        );
        assert_eq!(error(b"\xff\xfea\0"), "the file is UTF-16: save it as UTF-8");
    }

    #[test]
    fn control_characters_are_refused_with_their_place() {
        for (text, code) in [("a: \u{0}", "0000"), ("a: \u{1b}", "001B"), ("a: \u{7f}", "007F"), ("a: \u{9f}", "009F")]
        {
            let message = error(text.as_bytes());
            assert!(message.starts_with(&format!("line 1, column 4: the control character U+{code}")), "{message}");
        }
        assert!(error("a: \u{ffff}".as_bytes()).contains("U+FFFF"));
        assert!(Source::new("a: \u{a0}\u{e9}\u{fffd}\u{1f600}\t\r\n".as_bytes()).is_ok());
    }

    #[test]
    fn a_file_over_the_limit_is_refused_before_it_is_read() {
        let message = error(&vec![b' '; SOURCE_BYTES_MAX + 1]);
        assert!(message.contains("33554433 bytes, the limit is 33554432"), "{message}");
    }
}
