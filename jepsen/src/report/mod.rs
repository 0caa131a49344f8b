//! The report of a run: one HTML file with everything in it. No script, nothing from outside (a content security policy says so), light
//! and dark, for narrow and wide windows.
//!
//! ```text
//! history, verdicts -> verdict and tiles | promises | timeline | findings | tables | figures
//! ```
//!
//! Text of a record is escaped in `html`; the timeline is of a bounded size however long the run was.

mod html;
mod lanes;
mod tables;
mod timeline;

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use self::html::{Cell, clipped, escape, number, table};
use crate::checkers::facts::whole;
use crate::checkers::{Figure, Finding, Outcome, Verdicts, overall, secs};
use crate::history::{History, Ns};

const STYLE: &str = include_str!("style.css");
/// Characters of a finding, or of an entry that proves it: a crash has its log in it.
const WORDS_MAX: usize = 1_500;
/// Findings of one checker that are seen at once; the others are folded.
const OPEN_MAX: usize = 8;

/// A number at the top of the page.
struct Tile {
    title: &'static str,
    checker: &'static str,
    /// Name of a figure of this checker.
    figure: &'static str,
    /// Another one that is told beside it, and the words after that.
    beside: Option<(&'static str, &'static str)>,
}

const fn tile(
    title: &'static str,
    checker: &'static str,
    figure: &'static str,
    beside: Option<(&'static str, &'static str)>,
) -> Tile {
    Tile { title, checker, figure, beside }
}

const TILES: [Tile; 6] = [
    tile("Faults", "coverage", "faults in force", Some(("faults that hit the leader", "hit the leader"))),
    tile("Takeovers", "coverage", "takeovers", None),
    tile(
        "Next leader, median",
        "leaderless",
        "fault to next leader, p50",
        Some(("fault to next leader, max", "at most")),
    ),
    tile("Longest gap", "samples", "longest gap that nothing excuses", Some(("longest gap allowed", "allowed"))),
    tile("Remote writes", "single writer", "remote writes", None),
    tile("Queries", "queries", "answered queries", Some(("failed without excuse", "failed"))),
];

/// The whole page. The history is in order.
pub fn render(history: &History, verdicts: &Verdicts) -> String {
    let title = format!("Chaos run {}: {}", history.run.seed, overall(verdicts).word());
    let mut page = String::new();
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n",
        escape(&title)
    );
    let _ = writeln!(
        page,
        "<header><h1>Chaos run</h1><span class=\"chip\">seed {}</span><span class=\"dim\">{}, {}</span></header>\n<main>",
        history.run.seed,
        wall(history, history.run.start_ns),
        span_words(whole(history).len())
    );
    page.push_str(&top(history, verdicts));
    page.push_str(&promises(verdicts));
    page.push_str(&timeline::section(history, verdicts));
    page.push_str(&findings(history, verdicts));
    page.push_str(&tables::leaderless(history));
    page.push_str(&tables::series(history));
    page.push_str(&tables::faults(history));
    page.push_str(&figures(verdicts));
    let _ = writeln!(page, "</main>\n<footer class=\"small dim\">{}</footer>\n</body>\n</html>", versions(history));
    page
}

fn top(history: &History, verdicts: &Verdicts) -> String {
    let outcome = overall(verdicts);
    let of = |wanted| verdicts.iter().filter(|(_, verdict)| verdict.outcome() == wanted).count();
    let words = match (of(Outcome::Fail), of(Outcome::Unknown), verdicts.len()) {
        (0, 0, all) => format!("Each of the {all} promises held, and the record shows it."),
        (0, unknown, all) => {
            format!("Of {all} promises none is known to be broken, and {unknown} could not be judged.")
        }
        (broken, 0, all) => format!("Of {all} promises {broken} did not hold."),
        (broken, unknown, all) => {
            format!("Of {all} promises {broken} did not hold, and {unknown} could not be judged.")
        }
    };
    let word = match outcome {
        Outcome::Pass => "Passed",
        Outcome::Unknown => "Unknown",
        Outcome::Fail => "Failed",
    };
    let tone = tone(outcome);
    let mut out =
        format!("<section id=\"verdict\" class=\"{tone}\"><p id=\"word\">{word}</p><p>{words}</p>\n<dl id=\"tiles\">");
    for Tile { title, checker, figure, beside } in &TILES {
        let number = |name| find(verdicts, checker, name).map(|figure| number(figure.value, figure.unit));
        let Some(value) = number(figure) else { continue };
        let beside = beside.and_then(|(name, words)| Some(format!(" <small>{} {words}</small>", number(name)?)));
        let _ = write!(out, "<div><dt>{title}</dt><dd>{value}{}</dd></div>", beside.unwrap_or_default());
    }
    let gate = if history.run.gate { "on" } else { "off" };
    let _ = writeln!(
        out,
        "<div><dt>Members</dt><dd>{} <small>gate {gate}</small></dd></div></dl>",
        history.run.members.len()
    );
    let _ = writeln!(out, "<pre id=\"again\">{}</pre></section>", escape(&history.run.command));
    out
}

fn find<'a>(verdicts: &'a Verdicts, checker: &str, name: &str) -> Option<&'a Figure> {
    let (_, verdict) = verdicts.iter().find(|(of, _)| of.name == checker)?;
    verdict.figures.iter().find(|figure| figure.name == name)
}

fn promises(verdicts: &Verdicts) -> String {
    let rows = verdicts.iter().map(|(checker, verdict)| {
        let outcome = verdict.outcome();
        let chip = format!("<span class=\"chip {}\">{}</span>", tone(outcome), outcome.word());
        let mut words = escape(checker.promise);
        if outcome != Outcome::Pass {
            let reason = escape(&clipped(&verdict.reason(), 300));
            words = format!("{reason}<span class=\"sub\">{words}</span>");
        }
        (String::new(), vec![Cell(escape(checker.name), "name"), Cell(chip, ""), Cell(words, "")])
    });
    let heads = [("Promise", ""), ("Verdict", ""), ("In words", "")];
    format!("<section id=\"promises\"><h2>Promises</h2>{}</section>\n", table(&heads, rows))
}

fn findings(history: &History, verdicts: &Verdicts) -> String {
    let mut out = String::new();
    for (checker, verdict) in verdicts {
        let all: Vec<_> = verdict.findings.iter().map(|of| finding(history, checker.name, of)).collect();
        let (shown, folded) = all.split_at(all.len().min(OPEN_MAX));
        out.push_str(&shown.concat());
        let more = folded.len() + verdict.omitted();
        if more > 0 {
            let left = match verdict.omitted() {
                0 => String::new(),
                omitted => format!("<div class=\"finding dim\">{omitted} are not listed</div>"),
            };
            let _ = writeln!(
                out,
                "<details class=\"more\"><summary>{more} more of {}</summary>{}{left}</details>",
                checker.name,
                folded.concat()
            );
        }
    }
    if out.is_empty() { out } else { format!("<section><h2>Findings</h2>{out}</section>\n") }
}

fn finding(history: &History, checker: &str, finding: &Finding) -> String {
    let proof: Vec<_> = finding.proof.iter().filter_map(|entry| serde_json::to_string(entry).ok()).collect();
    let proof = proof.iter().map(|line| escape(&clipped(line, WORDS_MAX))).collect::<Vec<_>>().join("\n");
    let proof = match finding.proof.len() {
        0 => String::new(),
        1 => format!("<details><summary>the entry that proves it</summary><pre>{proof}</pre></details>"),
        all => format!("<details><summary>the {all} entries that prove it</summary><pre>{proof}</pre></details>"),
    };
    format!(
        "<div class=\"finding\"><p><span class=\"chip {}\">{checker}</span><span class=\"dim small\" title=\"{}\">{}</span>\
         <span>{}</span></p>{proof}</div>\n",
        tone(finding.outcome),
        wall(history, finding.at_ns),
        clock(history, finding.at_ns),
        escape(&clipped(&finding.words, WORDS_MAX)),
    )
}

fn figures(verdicts: &Verdicts) -> String {
    let mut out = String::from("<section><h2>Figures</h2><div class=\"figures\">");
    for (checker, verdict) in verdicts.iter().filter(|(_, verdict)| !verdict.figures.is_empty()) {
        let _ = write!(out, "<div><h3>{}</h3><dl>", checker.name);
        for Figure { name, value, unit } in &verdict.figures {
            let _ = write!(out, "<dt>{}</dt><dd>{}</dd>", escape(name), number(*value, unit));
        }
        out.push_str("</dl></div>\n");
    }
    out.push_str("</div></section>\n");
    out
}

fn versions(history: &History) -> String {
    let members = history.run.members.iter().map(|member| {
        let witness = if member.witness { " (witness)" } else { "" };
        format!("{}{witness}", member.name)
    });
    let members = members.collect::<Vec<_>>().join(", ");
    let versions = history.run.versions.iter().map(|(program, version)| format!("{program} {version}"));
    let all =
        versions.chain([format!("Members: {members}"), format!("scraped every {} ms", history.run.scrape_interval_ms)]);
    all.map(|text| format!("<span>{}</span>", escape(&text))).collect::<Vec<_>>().concat()
}

fn tone(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "good",
        Outcome::Unknown => "warn",
        Outcome::Fail => "bad",
    }
}

/// Since the start, as minutes and seconds.
fn clock(history: &History, at: Ns) -> String {
    let (sign, ns) = match at.checked_sub(history.run.start_ns) {
        Some(after) => ("", after),
        None => ("-", history.run.start_ns - at),
    };
    let tenths = ns / 100_000_000;
    format!("{sign}{}:{:02}.{}", tenths / 600, tenths / 10 % 60, tenths % 10)
}

/// A time span for people.
fn span_words(ns: Ns) -> String {
    match ns / 1_000_000_000 {
        seconds if seconds < 120 => format!("{:.1} s", secs(ns)),
        seconds if seconds < 7_200 => format!("{} min {} s", seconds / 60, seconds % 60),
        seconds => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
    }
}

/// Wall clock, UTC.
fn wall(history: &History, at: Ns) -> String {
    let unix_ms = history.run.start_unix_ms.saturating_add(at.saturating_sub(history.run.start_ns) / 1_000_000);
    // A time that no calendar has is not worth an error.
    let at = UNIX_EPOCH.checked_add(Duration::from_millis(unix_ms)).unwrap_or(UNIX_EPOCH);
    let text = humantime::format_rfc3339_seconds(at).to_string();
    text.replace('T', " ").replace('Z', " UTC")
}

#[cfg(test)]
mod tests;
