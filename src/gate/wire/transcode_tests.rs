//! Transcoding against an independent decoder.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;
use prost::Message as _;

use super::super::testing::{self, v1, v2};
use super::*;

fn labels(pairs: &[(&str, &str)]) -> Vec<v1::Label> {
    pairs.iter().map(|&(name, value)| v1::Label { name: name.into(), value: value.into() }).collect()
}

fn sample(timestamp: i64) -> v1::Sample {
    v1::Sample { value: 2.5, timestamp }
}

fn transcoded(request: &v1::WriteRequest) -> (Transcoded, v2::Request) {
    let transcoded = transcode(&testing::body(request)).unwrap();
    let message = testing::message(&transcoded.body);
    (transcoded, message)
}

#[test]
fn labels_become_references_and_samples_stay_what_they_are() {
    let series = |code: &str, timestamp| v1::TimeSeries {
        labels: labels(&[("__name__", "up"), ("code", code)]),
        samples: vec![sample(timestamp)],
        ..Default::default()
    };
    let request = v1::WriteRequest {
        timeseries: vec![series("200", 5), series("up", 6)],
        metadata: vec![v1::MetricMetadata { metric_family_name: "up".into(), ..Default::default() }],
    };
    let (counts, message) = transcoded(&request);
    assert_eq!(message.symbols, ["", "__name__", "up", "code", "200"]);
    let refs: Vec<&[u32]> = message.timeseries.iter().map(|series| &series.labels_refs[..]).collect();
    assert_eq!(refs, [[1, 2, 3, 4], [1, 2, 3, 2]]);
    assert_eq!(message.timeseries[0].samples, [v2::Sample { value: 2.5, timestamp: 5, start_timestamp: 0 }]);
    assert_eq!((counts.samples, counts.histograms, counts.exemplars, counts.exemplars_left_out), (2, 0, 0, 0));
}

#[test]
fn exemplars_move_to_an_entry_of_their_series_and_without_one_they_are_left_out() {
    let exemplar = |timestamp| v1::Exemplar { labels: labels(&[("trace_id", "x")]), value: 1.0, timestamp };
    let alone = |name: &str, timestamp| v1::TimeSeries {
        labels: labels(&[("__name__", name)]),
        exemplars: vec![exemplar(timestamp)],
        ..Default::default()
    };
    let with_sample = |name: &str, timestamp| v1::TimeSeries {
        labels: labels(&[("__name__", name)]),
        samples: vec![sample(timestamp)],
        ..Default::default()
    };
    let timeseries = vec![alone("a", 1), with_sample("a", 2), with_sample("a", 3), alone("a", 4), alone("b", 5)];
    let (counts, message) = transcoded(&v1::WriteRequest { timeseries, metadata: Vec::new() });
    let found: Vec<(i64, Vec<i64>)> = message
        .timeseries
        .iter()
        .map(|s| (s.samples[0].timestamp, s.exemplars.iter().map(|exemplar| exemplar.timestamp).collect()))
        .collect();
    assert_eq!(found, [(2, vec![]), (3, vec![1, 4])]);
    assert_eq!((counts.samples, counts.exemplars, counts.exemplars_left_out), (2, 2, 1));
    let texts: Vec<&str> =
        message.timeseries[1].exemplars[0].labels_refs.iter().map(|&at| &message.symbols[at as usize][..]).collect();
    assert_eq!(texts, ["trace_id", "x"]);
}

#[test]
fn samples_and_histograms_of_one_series_become_two_entries() {
    let series = v1::TimeSeries {
        labels: labels(&[("__name__", "a")]),
        samples: vec![sample(1)],
        histograms: vec![v1::Histogram { timestamp: 2, ..Default::default() }],
        ..Default::default()
    };
    let (_, message) = transcoded(&v1::WriteRequest { timeseries: vec![series], metadata: Vec::new() });
    let counts: Vec<_> = message.timeseries.iter().map(|s| (s.samples.len(), s.histograms.len())).collect();
    assert_eq!(counts, [(0, 1), (1, 0)]);
    assert_eq!(message.timeseries[0].labels_refs, message.timeseries[1].labels_refs);
}

#[test]
fn metadata_alone_becomes_an_empty_request() {
    let metadata = vec![v1::MetricMetadata { metric_family_name: "up".into(), ..Default::default() }];
    let (_, message) = transcoded(&v1::WriteRequest { timeseries: Vec::new(), metadata });
    assert_eq!(message, v2::Request { symbols: vec![String::new()], timeseries: Vec::new() });
}

/// Everything that a request says, each with its labels, in one order.
fn facts_v1(request: &v1::WriteRequest) -> Vec<String> {
    let mut facts = Vec::new();
    for series in &request.timeseries {
        let texts = |labels: &[v1::Label]| -> Vec<(String, String)> {
            labels.iter().map(|label| (label.name.clone(), label.value.clone())).collect()
        };
        let labels = texts(&series.labels);
        facts.extend(series.samples.iter().map(|s| format!("{labels:?} {} {}", s.value, s.timestamp)));
        facts.extend(series.histograms.iter().map(|histogram| format!("{labels:?} {histogram:?}")));
        let exemplars = series.exemplars.iter();
        facts.extend(exemplars.map(|e| format!("{labels:?} {:?} {} {}", texts(&e.labels), e.value, e.timestamp)));
    }
    facts.sort();
    facts
}

fn facts_v2(request: &v2::Request) -> Vec<String> {
    let mut facts = Vec::new();
    for series in &request.timeseries {
        let texts = |refs: &[u32]| -> Vec<(String, String)> {
            let text = |at: u32| request.symbols[at as usize].clone();
            refs.chunks(2).map(|pair| (text(pair[0]), text(pair[1]))).collect()
        };
        let labels = texts(&series.labels_refs);
        facts.extend(series.samples.iter().map(|s| format!("{labels:?} {} {}", s.value, s.timestamp)));
        facts.extend(series.histograms.iter().map(|histogram| format!("{labels:?} {histogram:?}")));
        let exemplars = series.exemplars.iter();
        facts.extend(exemplars.map(|e| format!("{labels:?} {:?} {} {}", texts(&e.labels_refs), e.value, e.timestamp)));
    }
    facts.sort();
    facts
}

proptest! {
    #[test]
    fn a_request_of_2_0_says_what_that_of_1_0_says(mut request in testing::request_v1()) {
        let (counts, message) = transcoded(&request);
        let has_content = |labels: &[v1::Label], all: &[v1::TimeSeries]| {
            all.iter().any(|s| s.labels == labels && !(s.samples.is_empty() && s.histograms.is_empty()))
        };
        let all = request.timeseries.clone();
        let homeless = request.timeseries.extract_if(.., |series| !has_content(&series.labels, &all));
        let left_out: usize = homeless.map(|series| series.exemplars.len()).sum();
        prop_assert_eq!(counts.exemplars_left_out, left_out as u64);
        prop_assert_eq!(facts_v2(&message), facts_v1(&request));
        let facts = counts.samples + counts.histograms + counts.exemplars;
        prop_assert_eq!(facts, facts_v1(&request).len() as u64);
        // What 2.0 asks for.
        prop_assert_eq!(&message.symbols[0], "");
        let distinct: std::collections::HashSet<&String> = message.symbols.iter().collect();
        prop_assert_eq!(distinct.len(), message.symbols.len());
        for series in &message.timeseries {
            prop_assert!(series.samples.is_empty() != series.histograms.is_empty());
            prop_assert_eq!(series.labels_refs.len() % 2, 0);
        }
    }

    #[test]
    fn a_damaged_request_gives_a_result_and_no_panic(request in testing::request_v1(), cuts in testing::cuts()) {
        let damaged = testing::damage(request.encode_to_vec(), &cuts);
        let _ = transcode(&compress(&damaged).unwrap());
    }
}
