//! Output of the demo: lines that stay, and below them a block that is drawn anew.
//!
//! On a terminal the block is redrawn in place. Elsewhere (a log, a pipe) nothing moves: lines come one after the
//! other, and the block is reduced to one line now and then.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// Where the block cannot be redrawn, it is printed this often.
const PLAIN_PERIOD: Duration = Duration::from_secs(2);

/// How a piece of text looks on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Bold,
    Dim,
    Good,
    Bad,
}

/// The place where the demo writes.
#[derive(Debug)]
pub(crate) struct Screen {
    terminal: bool,
    color: bool,
    /// Lines of the block that are on the screen now.
    drawn: usize,
    last_plain: Option<Instant>,
}

impl Screen {
    pub(crate) fn new() -> Self {
        let terminal = std::io::stdout().is_terminal();
        let color = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { terminal, color, drawn: 0, last_plain: None }
    }

    /// `text` in a style, where there are colours.
    pub(crate) fn paint(&self, style: Style, text: &str) -> String {
        let code = match style {
            Style::Bold => "1",
            Style::Dim => "2",
            Style::Good => "32",
            Style::Bad => "31",
        };
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// A line that stays.
    pub(crate) fn line(&mut self, text: &str) {
        self.erase();
        println!("  {text}");
    }

    /// A step that went well.
    pub(crate) fn done(&mut self, text: &str) {
        let mark = self.paint(Style::Good, "✓");
        self.line(&format!("{mark} {text}"));
    }

    /// Something that went wrong.
    pub(crate) fn failed(&mut self, text: &str) {
        let mark = self.paint(Style::Bad, "✗");
        self.line(&format!("{mark} {text}"));
    }

    /// Draws the block anew; `plain` says the same in one line.
    pub(crate) fn draw(&mut self, block: &[String], plain: &str) {
        if !self.terminal {
            if self.last_plain.is_none_or(|last| last.elapsed() >= PLAIN_PERIOD) {
                self.last_plain = Some(Instant::now());
                println!("  {plain}");
            }
            return;
        }
        self.erase();
        for line in block {
            println!("  {line}");
        }
        self.drawn = block.len();
        // Nothing depends on it: without it the block appears a little later.
        let _ = std::io::stdout().flush();
    }

    /// Leaves the block as it is; what comes goes below it.
    pub(crate) fn keep_block(&mut self) {
        self.drawn = 0;
    }

    fn erase(&mut self) {
        if self.drawn > 0 {
            print!("\x1b[{}A\x1b[J", self.drawn);
            self.drawn = 0;
        }
    }
}

/// A number with a comma between each three digits.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
