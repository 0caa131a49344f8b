//! Requests put together, against an independent decoder.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message as _;

use super::super::numbers::v2 as numbers;
use super::super::testing::{self, v1, v2};
use super::*;

/// The body of all messages.
fn join_to_body(version: Version, messages: &[Vec<u8>]) -> Result<Vec<u8>, WireError> {
    let bodies: Vec<Vec<u8>> = messages.iter().map(|message| compress(message).unwrap()).collect();
    join(version, bodies.iter().map(Vec::as_slice))
}

/// The message of all messages.
fn join_messages(version: Version, messages: &[Vec<u8>]) -> Result<Vec<u8>, WireError> {
    join_to_body(version, messages).map(|body| decompress(&body).unwrap())
}

/// All that a request says, in its order, with texts in the place of references.
fn said(request: &v2::Request) -> Vec<String> {
    let text = |at: u32| &request.symbols[at as usize];
    let texts = |refs: &[u32]| refs.iter().map(|&at| text(at).clone()).collect::<Vec<_>>();
    let entry = |series: &v2::TimeSeries| {
        let exemplars: Vec<_> =
            series.exemplars.iter().map(|e| (texts(&e.labels_refs), e.value, e.timestamp)).collect();
        let metadata = series.metadata.as_ref().map(|m| (m.kind, text(m.help_ref), text(m.unit_ref)));
        let labels = texts(&series.labels_refs);
        format!("{labels:?} {:?} {:?} {exemplars:?} {metadata:?}", series.samples, series.histograms)
    };
    request.timeseries.iter().map(entry).collect()
}

/// A request that keeps to 2.0: references lead into the table. Few symbols, so that requests share some.
fn valid_v2() -> impl Strategy<Value = v2::Request> {
    testing::request_v2().prop_map(|mut request| {
        request.symbols.iter_mut().for_each(|symbol| symbol.truncate(1));
        request.symbols.insert(0, String::new());
        let count = u32::try_from(request.symbols.len()).unwrap();
        for series in &mut request.timeseries {
            let exemplars = series.exemplars.iter_mut().flat_map(|exemplar| &mut exemplar.labels_refs);
            let metadata = series.metadata.iter_mut().flat_map(|m| [&mut m.help_ref, &mut m.unit_ref]);
            series.labels_refs.iter_mut().chain(exemplars).chain(metadata).for_each(|at| *at %= count);
        }
        request
    })
}

#[test]
fn requests_of_2_0_share_one_table_and_a_symbol_stands_there_once() {
    let request = |symbols: &[&str], timestamp| v2::Request {
        symbols: symbols.iter().map(ToString::to_string).collect(),
        timeseries: vec![v2::TimeSeries {
            labels_refs: vec![1, 2],
            samples: vec![v2::Sample { value: 2.5, timestamp, start_timestamp: 1 }],
            exemplars: vec![v2::Exemplar { labels_refs: vec![4, 3], value: 1.0, timestamp }],
            metadata: Some(v2::Metadata { kind: 1, help_ref: 3, unit_ref: 0 }),
            ..Default::default()
        }],
    };
    let first = request(&["", "__name__", "up", "help", "trace"], 5);
    let second = request(&["", "__name__", "down", "trace", "up"], 6);
    let bodies = [testing::body(&first), testing::body(&second)];
    let joined: v2::Request = testing::message(&join(Version::V2, bodies.iter().map(Vec::as_slice)).unwrap());
    assert_eq!(joined.symbols, ["", "__name__", "up", "help", "trace", "down"]);
    assert_eq!(joined.timeseries[0], first.timeseries[0]);
    let mut expected = second.timeseries[0].clone();
    expected.labels_refs = vec![1, 5];
    expected.exemplars[0].labels_refs = vec![2, 4];
    expected.metadata = Some(v2::Metadata { kind: 1, help_ref: 4, unit_ref: 0 });
    assert_eq!(joined.timeseries[1..], [expected]);
}

fn put_symbols(out: &mut Vec<u8>, symbols: &[&str]) {
    for symbol in symbols {
        put_bytes(out, numbers::SYMBOLS, symbol.as_bytes());
    }
}

/// A request of one entry, with a field of its own in each message, and its table behind the entry.
fn with_unknown_fields(symbols: &[&str], [name, value, help]: [u8; 3]) -> Vec<u8> {
    let (mut message, mut series) = (Vec::new(), Vec::new());
    put_bytes(&mut message, 9, b"of the request");
    put_bytes(&mut series, numbers::LABELS_REFS, &[name, value]);
    put_bytes(&mut series, numbers::SAMPLES, b"\x39of a samp");
    put_varint_field(&mut series, 6, 1_000);
    put_bytes(&mut series, numbers::EXEMPLARS, &[0x0A, 1, value, 0x4D, 1, 2, 3, 4, 0x0A, 0]);
    put_bytes(&mut series, numbers::METADATA, &[0x18, help, 0x7A, 1, b'x', 0x20, 0]);
    put_bytes(&mut message, numbers::TIMESERIES, &series);
    put_symbols(&mut message, symbols);
    message
}

#[test]
fn fields_that_this_program_does_not_know_survive_and_symbols_stand_in_front() {
    let messages = [with_unknown_fields(&["", "a"], [1, 1, 1]), with_unknown_fields(&["", "b", "a"], [2, 1, 1])];
    let joined = join_messages(Version::V2, &messages).unwrap();
    let mut expected = Vec::new();
    put_symbols(&mut expected, &["", "a", "b"]);
    expected.extend(with_unknown_fields(&[], [1, 1, 1]));
    expected.extend(with_unknown_fields(&[], [1, 2, 2]));
    assert_eq!(joined, expected);
}

#[test]
fn what_cannot_be_renumbered_with_certainty_is_refused() {
    let request = |series: &[u8]| {
        let mut message = Vec::new();
        put_symbols(&mut message, &["", "a"]);
        put_bytes(&mut message, numbers::TIMESERIES, series);
        message
    };
    let beyond = |reference| WireError::Reference { reference, symbols: 2 };
    let kind = |message, field, expected| WireError::Kind { message, field, expected };
    for (message, error) in [
        (request(b"\x0a\x02\x01\x02"), beyond(2)),
        (request(b"\x0a\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), beyond(u64::MAX)),
        (request(b"\x22\x03\x0a\x01\x02"), beyond(2)),
        (request(b"\x2a\x02\x18\x02"), beyond(2)),
        (request(b"\x2a\x02\x20\x03"), beyond(3)),
        (request(b"\x0a\x01\x80"), WireError::Truncated),
        (request(b"\x0a\x02\x01"), WireError::Truncated),
        (request(b"\x08\x01"), kind("TimeSeries", 1, "length-delimited")),
        (request(b"\x22\x02\x08\x01"), kind("Exemplar", 1, "length-delimited")),
        (request(b"\x2a\x03\x1a\x01\x01"), kind("Metadata", 3, "a varint")),
        (b"\x22\x01a".to_vec(), WireError::FirstSymbol),
        (Vec::new(), WireError::FirstSymbol),
        (b"\x22\x00\x2a\x05".to_vec(), WireError::Truncated),
    ] {
        let good = request(b"\x0a\x02\x01\x01");
        assert_eq!(join_messages(Version::V2, &[good, message.clone()]), Err(error), "{message:?}");
    }
}

#[test]
fn requests_that_are_too_large_together_are_refused_and_so_is_what_renumbering_makes_too_large() {
    let half = vec![numbers::SYMBOLS.to_le_bytes()[0] << 3 | 2; MESSAGE_BYTES_MAX / 2 + 1];
    for version in [Version::V1, Version::V2] {
        let refused = join_to_body(version, &[half.clone(), half.clone()]);
        assert_eq!(refused, Err(WireError::TooLarge { bytes: MESSAGE_BYTES_MAX + 2 }));
    }
    // A reference that took one byte takes two behind so many symbols.
    let many = v2::Request { symbols: (0..200).map(|at| "x".repeat(at)).collect(), timeseries: Vec::new() };
    let timeseries = vec![v2::TimeSeries { labels_refs: vec![1; 1 << 18], ..Default::default() }];
    let mut one = v2::Request { symbols: vec![String::new(), "y".into()], timeseries }.encode_to_vec();
    put_bytes(&mut one, 9, &vec![0; MESSAGE_BYTES_MAX - (1 << 18) - 40_000]);
    assert!(join_messages(Version::V2, std::slice::from_ref(&one)).is_ok());
    let refused = join_to_body(Version::V2, &[many.encode_to_vec(), one]);
    let refused = refused.map(|joined| joined.len());
    assert!(matches!(refused, Err(WireError::TooLarge { bytes }) if bytes > MESSAGE_BYTES_MAX), "{refused:?}");
}

proptest! {
    #[test]
    fn requests_of_2_0_say_together_what_each_of_them_says(requests in vec(valid_v2(), 1..5)) {
        let messages: Vec<Vec<u8>> = requests.iter().map(v2::Request::encode_to_vec).collect();
        let joined = join_messages(Version::V2, &messages).unwrap();
        let request = v2::Request::decode(&joined[..]).unwrap();
        prop_assert_eq!(said(&request), requests.iter().flat_map(said).collect::<Vec<_>>());
        prop_assert_eq!(&request.symbols[0], "");
        let distinct: std::collections::HashSet<&String> = request.symbols.iter().collect();
        prop_assert_eq!(distinct.len(), request.symbols.len());
        prop_assert!(Fields::of(&joined).map(|field| field.unwrap().number).is_sorted());
        prop_assert_eq!(join_messages(Version::V2, std::slice::from_ref(&joined)).unwrap(), joined);
    }

    #[test]
    fn requests_of_1_0_say_together_what_each_of_them_says(requests in vec(testing::request_v1(), 1..5)) {
        let messages: Vec<Vec<u8>> = requests.iter().map(v1::WriteRequest::encode_to_vec).collect();
        let joined = v1::WriteRequest::decode(&join_messages(Version::V1, &messages).unwrap()[..]).unwrap();
        let expected = v1::WriteRequest {
            timeseries: requests.iter().flat_map(|request| request.timeseries.clone()).collect(),
            metadata: requests.iter().flat_map(|request| request.metadata.clone()).collect(),
        };
        prop_assert_eq!(joined, expected);
    }

    #[test]
    fn a_damaged_request_of_2_0_is_refused_or_says_what_it_says_alone(
        first in valid_v2(), second in valid_v2(), cuts in testing::cuts(),
    ) {
        let messages = [first.encode_to_vec(), testing::damage(second.encode_to_vec(), &cuts)];
        if let (Ok(joined), Ok(alone)) = (join_messages(Version::V2, &messages), v2::Request::decode(&messages[1][..])) {
            let joined = v2::Request::decode(&joined[..]).unwrap();
            prop_assert_eq!(said(&joined), [said(&first), said(&alone)].concat());
        }
    }

    #[test]
    fn any_bytes_give_a_result_and_no_panic(bodies in vec(vec(any::<u8>(), 0..200), 0..3)) {
        for version in [Version::V1, Version::V2] {
            let _ = join(version, bodies.iter().map(Vec::as_slice));
            let _ = join_to_body(version, &bodies);
        }
    }

    /// Bytes that come far enough to be renumbered.
    #[test]
    fn any_series_gives_a_result_and_no_panic(series in vec(prop_oneof![any::<u8>(), 0..6_u8, Just(0x0A), Just(0x22), Just(0x2A)], 0..60)) {
        let mut message = b"\x22\x00\x22\x01a".to_vec();
        put_bytes(&mut message, numbers::TIMESERIES, &series);
        let _ = join_to_body(Version::V2, &[message]);
    }
}
