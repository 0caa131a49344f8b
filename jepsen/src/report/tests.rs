#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::checkers::judge;
use crate::history::{Entry, What};
use crate::story::{good, ns};

fn page(change: impl Fn(&mut History)) -> String {
    let mut history = good();
    change(&mut history);
    let verdicts = judge(&mut history);
    render(&history, &verdicts)
}

#[test]
fn every_tile_is_of_a_figure_that_there_is() {
    let verdicts = judge(&mut good());
    for Tile { title, checker, figure, beside } in TILES {
        for name in [Some(figure), beside.map(|(name, _)| name)].into_iter().flatten() {
            assert!(find(&verdicts, checker, name).is_some(), "{title}: {checker} has no figure {name}");
        }
    }
}

#[test]
fn the_verdict_is_at_the_top_and_its_reasons_are_there() {
    let passed = page(|_| {});
    assert!(passed.contains("<p id=\"word\">Passed</p><p>Each of the 9 promises held"));
    assert!(!passed.contains("<h2>Findings</h2>"));
    let unknown = page(|history| history.entries.retain(|entry| entry.what != What::End {}));
    assert!(unknown.contains("<p id=\"word\">Unknown</p><p>Of 9 promises none is known to be broken, and 1 could"));
    let failed = page(|history| {
        for entry in &mut history.entries {
            match &mut entry.what {
                What::Write { sender, .. } if entry.at_ns == ns(30.25) => "c".clone_into(sender),
                _ => {}
            }
        }
        history.entries.retain(|entry| entry.what != What::End {});
    });
    assert!(failed.contains("<p id=\"word\">Failed</p><p>Of 9 promises 1 did not hold, and 1 could not be judged."));
    assert!(failed.contains("a and c both wrote in term 1"));
}

#[test]
fn nothing_comes_from_outside_and_nothing_runs() {
    let page = page(|_| {});
    for word in ["<script", "javascript:", "http://", "https://", "url(", "@import", " src=", " onclick"] {
        assert!(!page.contains(word), "{word}");
    }
    assert!(page.contains("default-src 'none'; style-src 'unsafe-inline'"));
}

#[test]
fn nothing_of_a_record_becomes_markup() {
    const EVIL: &str = "\"><script>alert('1')</script>&";
    let page = page(|history| {
        history.run.command.push_str(EVIL);
        history.run.versions.push((EVIL.into(), EVIL.into()));
        history.run.members[2].name.push_str(EVIL);
        for entry in &mut history.entries {
            match &mut entry.what {
                What::Fault { nemesis, targets, detail, .. } => {
                    for text in [nemesis, detail].into_iter().chain(targets) {
                        text.push_str(EVIL);
                    }
                }
                What::Process { member, detail, intended, .. } => {
                    member.push_str(EVIL);
                    detail.push_str(EVIL);
                    *intended = false;
                }
                What::Series { series, times_ms, .. } => {
                    series.push_str(EVIL);
                    times_ms.truncate(20);
                }
                What::Write { sender, .. } => sender.push_str(EVIL),
                What::Event { member, .. } | What::Told { member, .. } => member.push_str(EVIL),
                What::QueryFailed { via, detail, reachable, .. } => {
                    via.push_str(EVIL);
                    detail.push_str(EVIL);
                    *reachable = true;
                }
                _ => {}
            }
        }
    });
    assert!(!page.contains("<script"));
    assert!(page.matches("&lt;script&gt;").count() > 20);
}

#[test]
fn a_long_record_makes_no_long_page() {
    let page = page(|history| {
        let short: Vec<Entry> = history.entries.clone();
        for round in 1..40 {
            for entry in &short {
                let at_ns = entry.at_ns + round * 20_000_000;
                let is_many =
                    matches!(entry.what, What::Write { .. } | What::Queries { .. } | What::QueryFailed { .. });
                if is_many && entry.at_ns < ns(239.0) {
                    history.entries.push(Entry { at_ns, what: entry.what.clone() });
                }
            }
        }
    });
    assert!(page.len() < 300_000, "{} bytes", page.len());
}

#[test]
fn times_read_well() {
    let history = good();
    assert_eq!(
        [-0.25, 0.0, 61.27, 3_725.0].map(|at| clock(&history, ns(at))),
        ["-0:00.2", "0:00.0", "1:01.2", "62:05.0"]
    );
    assert_eq!(
        [9, 119, 120, 7_200].map(|s| span_words(s * 1_000_000_000)),
        ["9.0 s", "119.0 s", "2 min 0 s", "2 h 0 min"]
    );
    assert_eq!(wall(&history, ns(5.0)), "2023-11-14 22:13:25 UTC");
}
