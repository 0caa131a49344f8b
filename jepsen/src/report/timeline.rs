//! The timeline: one row a lane, all with the same axis. What is drawn is bounded: spans are few, and what comes all the time is gathered
//! in pieces (`BUCKETS_MAX`).
//!
//! Each lane is an SVG whose x is milliseconds of the run, stretched to the width of the page; text lies over it as HTML, so that it is
//! not stretched. Strokes keep their width, so that nothing is too short to be seen.

use std::fmt::Write as _;

use super::html::escape;
use super::{clock, lanes};
use crate::checkers::Verdicts;
use crate::checkers::facts::{MS, SECOND, whole};
use crate::checkers::span::Span;
use crate::history::{History, Ns};

/// Pieces of the run in which writes and queries are counted, at most, none shorter than a second.
pub(super) const BUCKETS_MAX: u64 = 480;
/// Lines on the axis at the coarsest.
const TICKS_MAX: u64 = 8;

/// One lane in the making.
pub(super) struct Lane {
    whole: Span,
    height: u32,
    shapes: String,
    texts: String,
}

impl Lane {
    pub(super) fn new(history: &History, height: u32) -> Self {
        let mut lane = Self { whole: whole(history), height, shapes: String::new(), texts: String::new() };
        lane.ticks();
        lane
    }

    fn ticks(&mut self) {
        for (at, class) in ticks(self.whole) {
            let class = if class.is_empty() { "tick".to_owned() } else { format!("tick tick{}", &class[1..]) };
            let (x, height) = (self.x(at), self.height);
            let _ = write!(self.shapes, "<path class=\"{class}\" d=\"M{x} 0V{height}\"/>");
        }
    }

    /// Milliseconds of the run.
    fn x(&self, at: Ns) -> String {
        let ns = at.clamp(self.whole.from, self.whole.until) - self.whole.from;
        format!("{}.{:03}", ns / MS, ns % MS / 1_000).trim_end_matches('0').trim_end_matches('.').to_owned()
    }

    /// A box over a span, from `y` for `height`, with words for who points at it.
    pub(super) fn draw(&mut self, span: Span, y: f64, height: f64, class: &str, title: &str) {
        let span = span.common(self.whole);
        if span.is_empty() {
            return;
        }
        // A box without a width is not drawn at all: a microsecond at the least.
        let (x, width) = (self.x(span.from), self.x(self.whole.from + span.len().max(MS / 1_000)));
        let title = if title.is_empty() { String::new() } else { format!("<title>{}</title>", escape(title)) };
        let _ = write!(
            self.shapes,
            "<rect class=\"{class}\" x=\"{x}\" width=\"{width}\" y=\"{y}\" height=\"{height}\">{title}</rect>"
        );
    }

    /// Like [`Lane::draw`], and a click leads somewhere on this page.
    pub(super) fn link(&mut self, to: &str, span: Span, y: f64, height: f64, class: &str, title: &str) {
        let _ = write!(self.shapes, "<a href=\"#{}\">", escape(to));
        self.draw(span, y, height, class, title);
        self.shapes.push_str("</a>");
    }

    /// Words over a span, cut off where they do not fit.
    pub(super) fn write(&mut self, span: Span, top: u32, class: &str, words: &str) {
        let span = span.common(self.whole);
        let (left, width) = (self.percent(span.from - self.whole.from), self.percent(span.len()));
        let _ = write!(
            self.texts,
            "<span class=\"t {class}\" style=\"left:{left}%;width:{width}%;top:{top}px\"><b>{}</b></span>",
            escape(words)
        );
    }

    fn percent(&self, ns: Ns) -> String {
        percent(ns, self.whole)
    }

    /// The row: a label, a smaller one below it, and the lane.
    pub(super) fn row(self, label: &str, small: &str) -> String {
        let width = self.x(self.whole.until);
        let small = if small.is_empty() { String::new() } else { format!("<small>{}</small>", escape(small)) };
        format!(
            "<div class=\"label\"><span>{}</span>{small}</div><div class=\"lane\" style=\"height:{height}px\"><svg viewBox=\"0 0 {width} {height}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}\">{}</svg>{}</div>\n",
            escape(label),
            escape(label),
            self.shapes,
            self.texts,
            height = self.height,
        )
    }
}

fn percent(ns: Ns, whole: Span) -> String {
    let parts = u128::from(ns) * 100_000 / u128::from(whole.len().max(1));
    format!("{}.{:03}", parts / 1_000, parts % 1_000)
}

/// Instants of the axis, and from which zoom on they are shown (a class of the style).
fn ticks(whole: Span) -> Vec<(Ns, &'static str)> {
    let steps = [1, 2, 5, 10, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 14_400, 28_800, 86_400].map(|s| s * SECOND);
    let at_least = |zoom: u64| {
        let fits = steps.iter().filter(|step| whole.len() / *step <= TICKS_MAX * zoom);
        fits.copied().next().unwrap_or(whole.len().max(1))
    };
    let coarse = at_least(1);
    // Finer ones are parts of coarser ones, so that a zoom adds lines and moves none.
    let parts = |of: Ns, step: Ns| if of.is_multiple_of(step) { step } else { of };
    let middle = parts(coarse, at_least(4));
    let fine = parts(middle, at_least(16));
    let count = (whole.len() / fine).min(TICKS_MAX * 16 + 1);
    let class = |offset: Ns| match () {
        () if offset.is_multiple_of(coarse) => "",
        () if offset.is_multiple_of(middle) => "z4",
        () => "z16",
    };
    (0..=count).map(|index| (whole.from + index * fine, class(index * fine))).collect()
}

fn axis(history: &History) -> String {
    let whole = whole(history);
    let mut out = String::from("<div class=\"label\"></div><div class=\"lane axis\">");
    let mut coarse = 0;
    for (at, class) in ticks(whole) {
        let left = percent(at - whole.from, whole);
        // The outer ones stay within the lane.
        let place = match at - whole.from {
            0 => " first",
            offset if offset * 50 > whole.len() * 49 => " last",
            _ => "",
        };
        // Every second one is left out on a narrow page.
        let half = if class.is_empty() && coarse % 2 == 1 { " half" } else { "" };
        coarse += u32::from(class.is_empty());
        let time = clock(history, at);
        let time = time.split_once('.').map_or(time.as_str(), |(time, _)| time);
        let _ = write!(out, "<span class=\"{class}{place}{half}\" style=\"left:{left}%\">{time}</span>");
    }
    out.push_str("</div>\n");
    out
}

/// The whole section.
pub(super) fn section(history: &History, verdicts: &Verdicts) -> String {
    let zooms = [("z1", "1×", " checked"), ("z4", "4×", ""), ("z16", "16×", "")].map(|(id, text, checked)| {
        format!("<label><input type=\"radio\" name=\"zoom\" id=\"{id}\"{checked}><span>{text}</span></label>")
    });
    let legend = [
        ("hit", "fault on the leader"),
        ("fault", "other fault"),
        ("none", "nobody leads; refused or unanswered write; failed query"),
        ("down", "sidecar or Prometheus does not run"),
        ("paused", "paused; excused query"),
    ]
    .map(|(class, words)| {
        let colour = match class {
            "none" => "bad",
            "down" => "text",
            "paused" => "warn",
            other => other,
        };
        format!("<span><i style=\"background:var(--{colour})\"></i>{words}</span>")
    });
    let rows = [axis(history), lanes::faults(history), lanes::leader(history), lanes::members(history)];
    let more = [lanes::writes(history), lanes::queries(history), lanes::findings(history, verdicts)];
    format!(
        "<section id=\"timeline\"><div class=\"bar\"><h2>Timeline</h2><div class=\"zoom\" role=\"radiogroup\" aria-label=\"Zoom\">{}</div></div>\n\
         <div class=\"legend\">{}</div>\n<div id=\"scroll\" tabindex=\"0\" aria-label=\"Timeline\"><div id=\"lanes\">\n{}{}</div></div></section>\n",
        zooms.concat(),
        legend.concat(),
        rows.concat(),
        more.concat(),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_zoom_adds_lines_to_the_axis_and_moves_none() {
        let of = [(1, 1), (35, 5), (59, 10), (98, 30), (240, 30), (1_800, 300), (7_321, 1_800), (90_000, 14_400)];
        for (seconds, step) in of {
            let whole = Span::new(5 * SECOND, (5 + seconds) * SECOND);
            let ticks = ticks(whole);
            assert!(ticks.len() <= 130, "{seconds} s: {}", ticks.len());
            assert!(ticks.iter().all(|(at, _)| (whole.from..=whole.until).contains(at)), "{seconds} s");
            let spaces = |shown: &[&str]| -> BTreeSet<Ns> {
                let shown: Vec<_> =
                    ticks.iter().filter(|(_, class)| shown.contains(class)).map(|(at, _)| *at).collect();
                shown.windows(2).map(|pair| pair[1] - pair[0]).collect()
            };
            assert_eq!(spaces(&[""]), BTreeSet::from([step * SECOND]), "{seconds} s");
            assert_eq!([spaces(&["", "z4"]).len(), spaces(&["", "z4", "z16"]).len()], [1, 1], "{seconds} s");
        }
    }

    #[test]
    fn a_place_is_a_part_of_the_whole() {
        let whole = Span::new(10 * SECOND, 18 * SECOND);
        assert_eq!([0, SECOND, 8 * SECOND].map(|at| percent(at, whole)), ["0.000", "12.500", "100.000"]);
    }
}
