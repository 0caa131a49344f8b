//! Text to HTML: everything of a record is escaped here.

use std::fmt::Write as _;

/// Text as the content of an element or of a quoted attribute.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() && c != '\n' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// At most so many characters, and a sign that there were more.
pub(super) fn clipped(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A number of things with its thousands apart, or a measure with as many digits as matter.
pub(super) fn number(value: f64, unit: &str) -> String {
    let digits = match value.abs() {
        _ if unit.is_empty() || unit == "MiB" => 0,
        small if small < 10.0 => 2,
        _ => 1,
    };
    let plain = format!("{value:.digits$}");
    let (whole, rest) = plain.split_once('.').map_or((plain.as_str(), None), |(whole, rest)| (whole, Some(rest)));
    let mut out = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 && digit.is_ascii_digit() && !out.ends_with('-') {
            out.push(',');
        }
        out.push(digit);
    }
    if let Some(rest) = rest {
        out.push('.');
        out.push_str(rest);
    }
    if !unit.is_empty() {
        out.push('\u{a0}');
        out.push_str(unit);
    }
    out
}

/// A cell: its content, which is HTML, and its class.
pub(super) struct Cell(pub String, pub &'static str);

impl Cell {
    /// A number, or a dash.
    pub(super) fn number(value: Option<f64>, unit: &str) -> Self {
        Self(value.map_or_else(|| "–".into(), |value| number(value, unit)), "number")
    }
}

/// A table. `heads`: title and class of each column; on a narrow page each row becomes a card with these titles in it. `rows`: an id, which
/// may be empty, and cells.
pub(super) fn table(heads: &[(&str, &str)], rows: impl IntoIterator<Item = (String, Vec<Cell>)>) -> String {
    let mut out = String::from("<table><thead><tr>");
    for (head, class) in heads {
        let _ = write!(out, "<th scope=\"col\" class=\"{class}\">{head}");
    }
    out.push_str("</tr></thead><tbody>");
    for (id, cells) in rows {
        let id = if id.is_empty() { String::new() } else { format!(" id=\"{}\"", escape(&id)) };
        let _ = write!(out, "\n<tr{id}>");
        for ((head, _), Cell(content, class)) in heads.iter().zip(cells) {
            let _ = write!(out, "<td class=\"{class}\" data-label=\"{head}\">{content}</td>");
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table>");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_record_is_markup() {
        assert_eq!(escape("<a href=\"x\">'&\u{7}"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;\u{fffd}");
    }

    #[test]
    fn numbers_read_well() {
        let read = [(1_234_567.0, ""), (123.0, ""), (1.604, "s"), (73.26, "s"), (4_321.0, "s"), (-1_000.0, "")];
        let expected = ["1,234,567", "123", "1.60\u{a0}s", "73.3\u{a0}s", "4,321.0\u{a0}s", "-1,000"];
        assert_eq!(read.map(|(value, unit)| number(value, unit)), expected);
    }

    #[test]
    fn what_is_too_long_is_clipped_at_a_character() {
        assert_eq!((clipped("äöü", 2), clipped("äöü", 3)), ("äö…".into(), "äöü".into()));
    }
}
