//! Tables of the report: time without a leader, series, faults.

use std::collections::BTreeMap;

use super::html::{Cell, clipped, escape, number, table};
use super::{clock, wall};
use crate::checkers::leaderless::{Hit, hits, percentile, sorted};
use crate::checkers::{facts, float, samples, secs};
use crate::history::{History, Outcome};

/// Series with the longest gaps.
const SERIES_MAX: usize = 8;
/// Faults of a run of many hours are not all worth a row.
const FAULTS_MAX: usize = 1_000;

/// How long until the next leader, by nemesis.
pub(super) fn leaderless(history: &History) -> String {
    let mut of: BTreeMap<&str, Vec<Hit<'_>>> = BTreeMap::new();
    for hit in hits(history) {
        of.entry(hit.fault.nemesis).or_default().push(hit);
    }
    if of.is_empty() {
        return String::new();
    }
    let rows = of.into_iter().map(|(nemesis, hits)| {
        let waits = sorted(hits.iter().filter_map(|hit| Some(hit.next?.0)));
        let nobody = hits.iter().filter(|hit| hit.next.is_some()).map(|hit| hit.nobody).max();
        let wait = |percent| Cell::number((!waits.is_empty()).then(|| secs(percentile(&waits, percent))), "s");
        let counts = [hits.len(), hits.len() - waits.len()].map(|count| Cell::number(Some(float(count)), ""));
        let [all, kept] = counts;
        let longest = Cell::number(nobody.map(secs), "s");
        (String::new(), vec![Cell(escape(nemesis), "name"), all, kept, wait(50), wait(95), wait(100), longest])
    });
    let heads = [
        ("Nemesis", ""),
        ("Hit the leader", "number"),
        ("It went on leading", "number"),
        ("Next leader, p50", "number"),
        ("p95", "number"),
        ("Max", "number"),
        ("Nobody led, max", "number"),
    ];
    let note = "From the fault to the moment in which a member gains authority. For a planned fault the old leader may have led on for a part of it.";
    format!(
        "<section><h2>Time without a leader</h2><p class=\"note small dim\">{note}</p>{}</section>\n",
        table(&heads, rows)
    )
}

/// What was stored of the series with the longest gaps.
pub(super) fn series(history: &History) -> String {
    let stored = samples::stored(history);
    let gaps = samples::gaps(history);
    let count = stored.len();
    let rows = stored.into_iter().take(SERIES_MAX).map(|of| {
        let gap = gaps.iter().find(|gap| gap.series == of.series);
        let at = gap.map_or_else(|| "–".into(), |gap| clock(history, gap.span.from));
        let cells = vec![
            Cell(format!("<code>{}</code>", escape(&clipped(of.series, 120))), ""),
            Cell::number(Some(float(of.samples)), ""),
            Cell::number(Some(float(usize::try_from(of.repeated).unwrap_or(usize::MAX))), ""),
            Cell::number(Some(secs(of.longest)), "s"),
            Cell::number(gap.map(|gap| secs(gap.unexcused)), "s"),
            Cell(at, "number"),
        ];
        (String::new(), cells)
    });
    let heads = [
        ("Series", ""),
        ("Samples", "number"),
        ("Arrived again", "number"),
        ("Longest gap", "number"),
        ("Not excused", "number"),
        ("At", "number"),
    ];
    let note = format!(
        "The {} series of {count} with the longest gaps. “Not excused” and “At” are of gaps that are longer than allowed.",
        count.min(SERIES_MAX)
    );
    format!("<section><h2>Samples</h2><p class=\"note small dim\">{note}</p>{}</section>\n", table(&heads, rows))
}

/// All faults.
pub(super) fn faults(history: &History) -> String {
    let faults = facts::faults(history);
    let next: BTreeMap<_, _> = hits(history).into_iter().map(|hit| (hit.fault.id, hit.next)).collect();
    let omitted = faults.len().saturating_sub(FAULTS_MAX);
    let rows = faults.into_iter().take(FAULTS_MAX).map(|fault| {
        let (word, tone) = match fault.outcome {
            Outcome::Installed => ("in force", "good"),
            Outcome::Skipped => ("skipped", ""),
            Outcome::Indeterminate => ("not known", "warn"),
        };
        let leader = if fault.hit_leader { " <span class=\"chip bad\">leader</span>" } else { "" };
        let after = match next.get(&fault.id) {
            Some(Some((after, member))) => {
                format!("{} <span class=\"sub\">{}</span>", number(secs(*after), "s"), escape(member))
            }
            Some(None) => "led on".into(),
            None => "–".into(),
        };
        let cells = vec![
            Cell(
                format!(
                    "<span title=\"{}\">{}</span>",
                    wall(history, fault.span.from),
                    clock(history, fault.span.from)
                ),
                "time",
            ),
            Cell(
                format!("{}<span class=\"sub\">{}</span>", escape(fault.nemesis), escape(&clipped(fault.detail, 200))),
                "name",
            ),
            Cell(format!("<span class=\"chip {tone}\">{word}</span>"), ""),
            Cell(format!("{}{leader}", escape(&fault.targets.join(", "))), ""),
            Cell::number(fault.was_in_force().then(|| secs(fault.span.len())), "s"),
            Cell(after, "number"),
        ];
        (format!("f{}", fault.id), cells)
    });
    let heads =
        [("At", ""), ("Fault", ""), ("Outcome", ""), ("Hit", ""), ("For", "number"), ("Next leader after", "number")];
    let more = if omitted > 0 {
        format!("<p class=\"note dim\">{omitted} more are in the record.</p>")
    } else {
        String::new()
    };
    format!("<section><h2>Faults</h2>{}{more}</section>\n", table(&heads, rows))
}
