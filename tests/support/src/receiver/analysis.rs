//! What follows from the notes of a receiver. Pure.
//!
//! Two kinds of claims: about requests (who may write, in which order) and about samples (what is missing).
//!
//! A missing sample is proven, not guessed from the distance of two samples: the scrape target has noted when each replica
//! scraped it ([`Scrapes`]), and every sample's value says which scrape it is. Between two samples of a series that follow
//! each other in the store, the second one's replica must not have scraped: else that scrape was lost, because what a replica
//! has it writes in order. So a machine that is busy and scrapes late breaks no test.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use super::decode::Series;
use super::record::Request;

/// One sender's time as the writer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Term of all its requests.
    pub term: u64,
    /// The sender.
    pub sender: String,
    /// Start of its first request.
    pub first: Instant,
    /// Start of its last request.
    pub last: Instant,
    /// When the body of its last whole request was there.
    pub last_whole: Option<Instant>,
}

/// The turns of the writers. An error if a request has no term or sender, if a term goes backwards, or if two senders share
/// one: then two replicas wrote at once.
pub fn turns(requests: &[Request]) -> Result<Vec<Turn>> {
    let mut turns: Vec<Turn> = Vec::new();
    for (number, request) in requests.iter().enumerate() {
        let (Some(term), Some(sender)) = (request.term, request.sender.as_ref()) else {
            bail!("request {number} came without a term or a sender: {}", request.who());
        };
        match turns.last_mut() {
            Some(turn) if turn.term == term => {
                ensure!(turn.sender == *sender, "{} and {sender} both wrote in term {term}", turn.sender);
                turn.last = request.at;
                turn.last_whole = turn.last_whole.max(request.whole);
            }
            last => {
                if let Some(turn) = last {
                    let late = request.at.duration_since(turn.first).as_millis();
                    let after = format!("{late} ms after {} had begun to write in term {}", turn.sender, turn.term);
                    ensure!(term > turn.term, "{} began a request {after}", request.who());
                }
                let (first, last_whole) = (request.at, request.whole);
                turns.push(Turn { term, sender: sender.clone(), first, last: first, last_whole });
            }
        }
    }
    Ok(turns)
}

/// Requests of a sender that began after a time.
pub fn requests_after(requests: &[Request], sender: &str, after: Instant) -> usize {
    let is_late = |request: &&Request| request.sender.as_deref() == Some(sender) && request.at > after;
    requests.iter().filter(is_late).count()
}

/// Samples in answered requests that are no newer than what was sent of their series before: a writer repeats what the
/// former one, with phases of its own, or itself had sent.
pub fn sent_twice(requests: &[Request]) -> usize {
    let mut newest: HashMap<&Series, i64> = HashMap::new();
    let mut twice = 0;
    for request in requests.iter().filter(|request| request.status().is_some_and(|status| status < 500)) {
        for point in &request.points {
            let newest = newest.entry(&point.series).or_insert(i64::MIN);
            twice += usize::from(point.timestamp_ms <= *newest);
            *newest = point.timestamp_ms.max(*newest);
        }
    }
    twice
}

/// Samples of each series, in order of time.
pub type Stored = BTreeMap<Series, Vec<(i64, f64)>>;

/// The largest time between two samples of one series, with the series.
pub fn largest_gap(stored: &Stored) -> Option<(Duration, Series)> {
    let gap = |samples: &[(i64, f64)]| samples.windows(2).map(|pair| pair[1].0 - pair[0].0).max();
    let gaps = stored.iter().filter_map(|(series, samples)| Some((gap(samples)?, series)));
    let (gap_ms, series) = gaps.max_by_key(|(gap_ms, _)| *gap_ms)?;
    Some((Duration::from_millis(u64::try_from(gap_ms).unwrap_or(0)), series.clone()))
}

/// When each scraper scraped the target, by its number: the values of the samples that it got, in order. A scraper is one
/// replica with one part of the target: each has a phase of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scrapes(pub BTreeMap<u64, Vec<u64>>);

impl Scrapes {
    /// Those of one replica, by part.
    pub fn of_replica(&self, replica: usize) -> impl Iterator<Item = &[u64]> {
        let first = u64::try_from(replica).unwrap_or(u64::MAX).saturating_mul(PARTS_MAX);
        self.0.range(first..first.saturating_add(PARTS_MAX)).map(|(_, values)| values.as_slice())
    }
}

/// Values of one scrape are `milliseconds * SCRAPERS_MAX + scraper`, so that a value tells both and rises with time.
pub const SCRAPERS_MAX: u64 = 1024;
/// Parts of the target; `scraper = replica * PARTS_MAX + part`.
pub const PARTS_MAX: u64 = 64;

/// Two replicas whose phases are this close stand in for each other: the next sample is one interval away in either case.
const SAME_MOMENT_MS: u64 = 25;

/// A scrape whose sample is not in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The series.
    pub series: Series,
    /// Number of the scraper.
    pub scraper: u64,
    /// Unix milliseconds of the scrape.
    pub at_ms: u64,
}

/// All scrapes that the store lacks although their scraper's next sample is there.
///
/// A scrape that fails leaves a staleness marker with the time of its start. What the target noted before that need not be
/// there: a writer that wrote the marker had finished the series so far. Nor does the first scrape that it noted from then on:
/// that may be the one that failed.
pub fn missing(stored: &Stored, scrapes: &Scrapes) -> Vec<Missing> {
    let mut missing = Vec::new();
    for (series, samples) in stored {
        let (mut last, mut failed_ms) = (None, None);
        for &(at_ms, value) in samples {
            let Some(after) = whole(value) else {
                failed_ms = u64::try_from(at_ms).ok();
                continue;
            };
            let failed_ms = failed_ms.take();
            let Some(before) = last.replace(after) else { continue };
            let id = after % SCRAPERS_MAX;
            let own = scrapes.0.get(&id).map_or(&[][..], Vec::as_slice);
            let failed = failed_ms.map(|at_ms| own.iter().find(|&&scrape| scrape / SCRAPERS_MAX >= at_ms));
            let excused = failed.map_or(0, |first| first.copied().unwrap_or(u64::MAX));
            let since_ms = before / SCRAPERS_MAX + SAME_MOMENT_MS;
            let is_between = |scrape: u64| scrape / SCRAPERS_MAX > since_ms && scrape < after;
            let gone = own.iter().filter(|&&scrape| is_between(scrape) && scrape > excused);
            missing.extend(gone.map(|scrape| Missing {
                series: series.clone(),
                scraper: id,
                at_ms: scrape / SCRAPERS_MAX,
            }));
        }
    }
    missing
}

fn whole(value: f64) -> Option<u64> {
    // Milliseconds of our time times a thousand are below what a float cannot hold exactly.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    value.is_finite().then_some(value as u64)
}

/// An error that says how many are missing, and when.
pub fn ensure_none(missing: &[Missing]) -> Result<()> {
    let (Some(first), Some(last)) = (missing.iter().min_by_key(|m| m.at_ms), missing.iter().max_by_key(|m| m.at_ms))
    else {
        return Ok(());
    };
    let span = last.at_ms - first.at_ms;
    let series = missing.iter().map(|missing| &missing.series).collect::<std::collections::BTreeSet<_>>().len();
    bail!(
        "{} samples of {series} series are missing; the first is of scraper {} at {} in {}, the last {span} ms later",
        missing.len(),
        first.scraper,
        first.at_ms,
        first.series
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::receiver::decode::Point;
    use crate::receiver::record::End;

    fn request(start: Instant, at_ms: u64, term: u64, sender: &str) -> Request {
        Request::begun(start + Duration::from_millis(at_ms), Some(term), Some(sender.into()))
    }

    fn turns_of(requests: &[(u64, u64, &str)]) -> Result<Vec<(u64, String)>> {
        let start = Instant::now();
        let requests: Vec<_> = requests.iter().map(|(at, term, sender)| request(start, *at, *term, sender)).collect();
        Ok(turns(&requests)?.into_iter().map(|turn| (turn.term, turn.sender)).collect())
    }

    #[test]
    fn writers_take_turns_and_may_come_back_in_a_later_term() {
        let found = turns_of(&[(0, 1, "a"), (1, 1, "a"), (2, 4, "b"), (3, 4, "b"), (9, 5, "a")]).unwrap();
        assert_eq!(found, [(1, "a".into()), (4, "b".into()), (5, "a".into())]);
    }

    #[test]
    fn a_term_that_goes_backwards_is_found() {
        let error = turns_of(&[(0, 1, "a"), (10, 2, "b"), (25, 1, "a")]).unwrap_err().to_string();
        assert_eq!(error, "a in term 1 began a request 15 ms after b had begun to write in term 2");
    }

    #[test]
    fn two_senders_in_one_term_and_requests_without_one_are_found() {
        let error = turns_of(&[(0, 3, "a"), (1, 3, "b"), (2, 3, "a")]).unwrap_err().to_string();
        assert_eq!(error, "a and b both wrote in term 3");
        let nameless = Request::begun(Instant::now(), Some(1), None);
        assert!(turns(&[nameless]).unwrap_err().to_string().contains("without a term or a sender"));
        let ungated = Request::begun(Instant::now(), None, Some("a".into()));
        assert!(turns(&[ungated]).is_err());
    }

    #[test]
    fn late_requests_of_a_sender_are_counted() {
        let start = Instant::now();
        let all = [request(start, 0, 1, "a"), request(start, 5, 2, "b"), request(start, 9, 1, "a")];
        assert_eq!(requests_after(&all, "a", start + Duration::from_millis(3)), 1);
        assert_eq!(requests_after(&all, "a", start + Duration::from_millis(9)), 0);
    }

    #[test]
    fn a_sample_counts_as_sent_twice_only_where_the_receiver_answered() {
        let start = Instant::now();
        let with = |status: Option<u16>, at: &[i64]| {
            let point = |&timestamp_ms: &i64| Point { series: "s".into(), timestamp_ms, value: 0.0 };
            let end = status.map(|status| (start, End::Answered(status)));
            Request { points: at.iter().map(point).collect(), end, ..request(start, 0, 1, "a") }
        };
        let requests = [with(Some(503), &[1, 2]), with(Some(204), &[1, 2]), with(Some(400), &[2, 3]), with(None, &[3])];
        assert_eq!(sent_twice(&requests), 1);
    }

    fn stored(values: &[u64]) -> Stored {
        // The timestamp is close to the scrape's own, but not equal to it.
        #[expect(clippy::cast_precision_loss)]
        let sample = |&value: &u64| (i64::try_from(value / SCRAPERS_MAX).unwrap() - 3, value as f64);
        BTreeMap::from([("s".into(), values.iter().map(sample).collect())])
    }

    fn scrapes(of: &[(u64, &[u64])]) -> Scrapes {
        let value = |replica: u64| move |at: &u64| at * SCRAPERS_MAX + replica;
        Scrapes(of.iter().map(|&(replica, at)| (replica, at.iter().map(value(replica)).collect())).collect())
    }

    #[test]
    fn a_change_of_the_writer_at_another_phase_misses_nothing() {
        let scrapes = scrapes(&[(0, &[100, 200, 300, 400]), (1, &[150, 250, 350, 450])]);
        let (a, b) = (&scrapes.0[&0], &scrapes.0[&1]);
        assert_eq!(missing(&stored(&[a[0], a[1], b[1], b[2], b[3]]), &scrapes), []);
        assert_eq!(missing(&stored(&[a[0], b[0], a[1], b[1], b[2]]), &scrapes), [], "overlap is no gap");
    }

    #[test]
    fn a_scrape_that_the_next_writer_had_and_that_is_not_there_is_missing() {
        let scrapes = scrapes(&[(0, &[100, 200, 300, 400]), (1, &[150, 250, 350, 450])]);
        let (a, b) = (&scrapes.0[&0], &scrapes.0[&1]);
        let found = missing(&stored(&[a[0], b[2], b[3]]), &scrapes);
        assert_eq!(
            found.iter().map(|missing| (missing.scraper, missing.at_ms)).collect::<Vec<_>>(),
            [(1, 150), (1, 250)]
        );
        assert!(ensure_none(&found).unwrap_err().to_string().contains("2 samples of 1 series"));
        ensure_none(&[]).unwrap();
    }

    #[test]
    fn replicas_that_scrape_at_the_same_moment_stand_in_for_each_other() {
        let scrapes = scrapes(&[(0, &[100, 200, 301]), (1, &[104, 203, 299, 400, 500])]);
        let (a, b) = (&scrapes.0[&0], &scrapes.0[&1]);
        assert_eq!(missing(&stored(&[a[0], a[1], b[2], b[3]]), &scrapes), []);
        let found = missing(&stored(&[a[0], a[1], b[3], b[4]]), &scrapes);
        assert_eq!(found.iter().map(|missing| missing.at_ms).collect::<Vec<_>>(), [299], "a whole interval");
    }

    #[test]
    fn a_late_scrape_is_a_gap_and_nothing_missing() {
        let scrapes = scrapes(&[(1, &[100, 200, 900])]);
        let stored = stored(&scrapes.0[&1]);
        assert_eq!(missing(&stored, &scrapes), []);
        assert_eq!(largest_gap(&stored).unwrap().0, Duration::from_millis(700));
        assert_eq!(largest_gap(&Stored::new()), None);
    }

    /// What is missing of series `s`, with a staleness marker in it.
    fn missing_with_marker(values: &[u64], marker_ms: i64, scrapes: &Scrapes) -> Vec<u64> {
        let mut stored = stored(values);
        for samples in stored.values_mut() {
            samples.push((marker_ms, f64::NAN));
            samples.sort_by_key(|(at_ms, _)| *at_ms);
        }
        missing(&stored, scrapes).into_iter().map(|missing| missing.at_ms).collect()
    }

    #[test]
    fn a_staleness_marker_is_no_scrape() {
        let scrapes = scrapes(&[(1, &[100, 200])]);
        assert_eq!(missing_with_marker(&scrapes.0[&1], 150, &scrapes), [0; 0]);
    }

    #[test]
    fn a_scrape_that_failed_is_not_missing_and_one_that_was_lost_later_is() {
        let scrapes = scrapes(&[(1, &[100, 200, 300, 400, 500])]);
        let own = &scrapes.0[&1];
        assert_eq!(missing_with_marker(&[own[0], own[2], own[3], own[4]], 198, &scrapes), [0; 0]);
        assert_eq!(missing_with_marker(&[own[0], own[4]], 198, &scrapes), [300, 400]);
        assert_eq!(missing_with_marker(&[own[0], own[2], own[4]], 198, &scrapes), [400], "it excuses nothing later");
    }

    #[test]
    fn what_the_next_writer_had_before_a_failed_scrape_of_the_old_one_need_not_be_there() {
        let scrapes = scrapes(&[(0, &[100, 200, 300]), (1, &[150, 250, 350, 450])]);
        let (a, b) = (&scrapes.0[&0], &scrapes.0[&1]);
        // The receiver takes 250 no more after the marker at 298.
        assert_eq!(missing_with_marker(&[a[0], a[1], b[2], b[3]], 298, &scrapes), [0; 0]);
        assert_eq!(missing_with_marker(&[a[0], a[1], b[3]], 198, &scrapes), [350], "its first one may have failed");
    }
}
