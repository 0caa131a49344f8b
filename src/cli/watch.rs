//! `status --watch`: the report again and again, until the reader has enough.
//!
//! On a terminal each report takes the place of the one before, and is cut where the window ends. Elsewhere one follows the
//! other, with an empty line between them. Failure behaviour: a sidecar that does not answer is said so in the report's place,
//! and asked again.

use std::io::{self, IsTerminal as _, Write};
use std::time::Duration;

use super::{CliError, Output, client};
use crate::config::Whom;

/// Time between two reports.
const PERIOD: Duration = Duration::from_secs(1);
/// Lines of a window that does not tell.
const ROWS: usize = 24;
/// To the upper left corner.
const HOME: &str = "\x1b[H";
/// Clears the rest of the line.
const CLEAR_LINE: &str = "\x1b[K";
/// Clears everything below.
const CLEAR_BELOW: &str = "\x1b[J";

/// Shows the report of a running sidecar until standard output is closed or Ctrl-C ends the process.
pub async fn watch(whom: &Whom, json: bool) -> Result<Output, CliError> {
    let is_terminal = io::stdout().is_terminal() && !json;
    let rows = || is_terminal.then(window_rows);
    show(async || client::status(whom, json).await, rows, io::stdout()).await
}

/// Lines of the window; some terminals do not know.
fn window_rows() -> usize {
    let rows = rustix::termios::tcgetwinsize(io::stdout()).map_or(0, |size| size.ws_row);
    if rows == 0 { ROWS } else { rows.into() }
}

/// `rows`: of the terminal now; `None`: it is none.
async fn show(
    ask: impl AsyncFn() -> Result<Output, CliError>,
    rows: impl Fn() -> Option<usize>,
    mut to: impl Write,
) -> Result<Output, CliError> {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut is_first = true;
    loop {
        ticks.tick().await;
        let text = match ask().await {
            Ok(output) => String::from_utf8_lossy(&output.text).into_owned(),
            Err(error) => format!("{error}\n(trying again)\n"),
        };
        let block = match rows() {
            Some(rows) => in_place(&text, rows),
            None if is_first => text,
            None => format!("\n{text}"),
        };
        is_first = false;
        match to.write_all(block.as_bytes()).and_then(|()| to.flush()) {
            Ok(()) => {}
            // `status --watch | head` is no failure.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Output::default()),
            Err(error) => return Err(CliError::Write(error)),
        }
    }
}

/// Draws over what is there, without a moment of emptiness; the last row is left to the cursor.
fn in_place(text: &str, rows: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let room = rows.saturating_sub(1).max(1);
    let (shown, note) = if lines.len() <= room {
        (&lines[..], None)
    } else {
        let shown = &lines[..room - 1];
        (shown, Some(format!("({} more lines: the window is too small)", lines.len() - shown.len())))
    };
    let mut drawn = String::from(HOME);
    for line in shown.iter().copied().chain(note.as_deref()) {
        drawn.extend([line, CLEAR_LINE, "\n"]);
    }
    drawn + CLEAR_BELOW
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::cell::RefCell;

    use tokio::time::Instant;

    use super::*;

    /// Takes so many writes, then the pipe is closed.
    struct Pipe<'a>(&'a RefCell<Vec<String>>, usize);

    impl Write for Pipe<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut taken = self.0.borrow_mut();
            if taken.len() == self.1 {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            taken.push(String::from_utf8(bytes.to_vec()).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_report_follows_the_other_each_second_and_an_unreachable_sidecar_is_asked_again() {
        let taken = RefCell::new(Vec::new());
        let asked = RefCell::new(Vec::new());
        let start = Instant::now();
        let ask = async || {
            asked.borrow_mut().push(start.elapsed().as_secs());
            match asked.borrow().len() {
                2 => {
                    let address = "127.0.0.1:9097".parse().unwrap();
                    Err(CliError::NoAnswer { address, after: Duration::from_secs(5) })
                }
                number => Ok(Output::from(format!("report {number}\n"))),
            }
        };
        assert_eq!(
            show(ask, || None, Pipe(&taken, 3)).await.unwrap(),
            Output::default(),
            "a closed pipe is no failure"
        );
        assert_eq!(*asked.borrow(), [0, 1, 2, 3]);
        let silence = "\nthe sidecar on 127.0.0.1:9097 gave no answer within 5 s\n(trying again)\n";
        assert_eq!(*taken.borrow(), ["report 1\n", silence, "\nreport 3\n"]);
    }

    #[tokio::test(start_paused = true)]
    async fn on_a_terminal_each_report_is_drawn_over_the_one_before() {
        let taken = RefCell::new(Vec::new());
        let ask = async || Ok(Output::from("a\nb\n".to_owned()));
        show(ask, || Some(24), Pipe(&taken, 2)).await.unwrap();
        assert_eq!(*taken.borrow(), ["\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J", "\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J"]);
    }

    #[test]
    fn a_report_is_cut_where_the_window_ends() {
        assert_eq!(in_place("a\nb\nc\n", 4), "\x1b[Ha\x1b[K\nb\x1b[K\nc\x1b[K\n\x1b[J");
        assert_eq!(in_place("a\nb\nc\n", 3), "\x1b[Ha\x1b[K\n(2 more lines: the window is too small)\x1b[K\n\x1b[J");
        assert_eq!(in_place("a\nb\n", 0), "\x1b[H(2 more lines: the window is too small)\x1b[K\n\x1b[J");
    }
}
