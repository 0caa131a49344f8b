//! A 1.0 request as two halves in time order, for a receiver that refuses a whole request for one sample of it.
//!
//! Samples and histograms are ordered by timestamp, those of one timestamp as they stand in the request; the first half of
//! them makes the older request. An exemplar goes by its own timestamp. Series without content are left out of a half,
//! metadata goes into the older one, fields that this program does not know go into both.

use super::WireError;
use super::compression::{compress, decompress};
use super::proto::{Field, Fields, last_int64, put_bytes};
use super::summary::{histogram_timestamp, sample_timestamp};

const TIMESERIES: u32 = 1;
const METADATA: u32 = 3;
const SAMPLES: u32 = 2;
const EXEMPLARS: u32 = 3;
const HISTOGRAMS: u32 = 4;
const EXEMPLAR_TIMESTAMP: u32 = 3;

/// Both halves of a request, as bodies. The older one is to be sent first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Halves {
    /// Nothing in it is newer than anything in the other.
    pub older: Vec<u8>,
    /// The rest.
    pub newer: Vec<u8>,
}

/// Splits the body of a 1.0 request; `None` where it holds fewer than two samples and histograms.
pub fn split(body: &[u8]) -> Result<Option<Halves>, WireError> {
    let message = decompress(body)?;
    let Some(pivot) = pivot(&message)? else { return Ok(None) };
    let [older, newer] = halves(&message, pivot)?;
    Ok(Some(Halves { older: compress(&older)?, newer: compress(&newer)? }))
}

/// Place of a sample or histogram: its timestamp, then its position among all of the request.
type Place = (i64, usize);

/// The last place of the older half.
fn pivot(message: &[u8]) -> Result<Option<Place>, WireError> {
    let mut places: Vec<Place> = Vec::new();
    for field in Fields::of(message) {
        let field = field?;
        if field.number != TIMESERIES {
            continue;
        }
        for field in Fields::of(field.bytes("WriteRequest")?) {
            if let Some(timestamp) = timestamp(&field?)? {
                places.push((timestamp, places.len()));
            }
        }
    }
    if places.len() < 2 {
        return Ok(None);
    }
    let last = places.len() / 2 - 1;
    Ok(Some(*places.select_nth_unstable(last).1))
}

/// Timestamp of a series' field that is a sample or histogram.
fn timestamp(field: &Field<'_>) -> Result<Option<i64>, WireError> {
    match field.number {
        SAMPLES => sample_timestamp(field.bytes("TimeSeries")?).map(Some),
        HISTOGRAMS => histogram_timestamp(field.bytes("TimeSeries")?).map(Some),
        _ => Ok(None),
    }
}

fn halves(message: &[u8], pivot: Place) -> Result<[Vec<u8>; 2], WireError> {
    let mut requests = [Vec::new(), Vec::new()];
    let mut series = [Half::default(), Half::default()];
    let mut position = 0;
    for field in Fields::of(message) {
        let field = field?;
        match field.number {
            TIMESERIES => {}
            METADATA => {
                requests[0].extend_from_slice(field.raw);
                continue;
            }
            _ => {
                for request in &mut requests {
                    request.extend_from_slice(field.raw);
                }
                continue;
            }
        }
        series.iter_mut().for_each(Half::clear);
        for field in Fields::of(field.bytes("WriteRequest")?) {
            let field = field?;
            let is_newer = if let Some(timestamp) = timestamp(&field)? {
                position += 1;
                (timestamp, position - 1) > pivot
            } else if field.number == EXEMPLARS {
                last_int64(field.bytes("TimeSeries")?, EXEMPLAR_TIMESTAMP, "Exemplar")? > pivot.0
            } else {
                for half in &mut series {
                    half.message.extend_from_slice(field.raw);
                }
                continue;
            };
            let half = &mut series[usize::from(is_newer)];
            half.message.extend_from_slice(field.raw);
            half.has_content = true;
        }
        for (half, request) in series.iter().zip(&mut requests) {
            if half.has_content {
                put_bytes(request, TIMESERIES, &half.message);
            }
        }
    }
    Ok(requests)
}

/// What a series gives to one of the halves.
#[derive(Default)]
struct Half {
    message: Vec<u8>,
    has_content: bool,
}

impl Half {
    fn clear(&mut self) {
        self.message.clear();
        self.has_content = false;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use proptest::prelude::*;
    use prost::Message as _;

    use super::super::testing::{self, v1};
    use super::*;

    fn series(name: &str, timestamps: &[i64]) -> v1::TimeSeries {
        v1::TimeSeries {
            labels: vec![v1::Label { name: "__name__".into(), value: name.into() }],
            samples: timestamps.iter().map(|&timestamp| v1::Sample { value: 1.0, timestamp }).collect(),
            ..Default::default()
        }
    }

    fn request(timeseries: Vec<v1::TimeSeries>) -> v1::WriteRequest {
        v1::WriteRequest { timeseries, metadata: Vec::new() }
    }

    fn split_request(request: &v1::WriteRequest) -> Option<[v1::WriteRequest; 2]> {
        let halves = split(&testing::body(request)).unwrap()?;
        Some([testing::message(&halves.older), testing::message(&halves.newer)])
    }

    #[test]
    fn the_older_half_of_all_samples_comes_first_and_empty_series_are_left_out() {
        let mut whole = request(vec![series("a", &[10, 40]), series("b", &[30]), series("c", &[20]), series("d", &[])]);
        whole.metadata.push(v1::MetricMetadata { metric_family_name: "a".into(), ..Default::default() });
        let [older, newer] = split_request(&whole).unwrap();
        assert_eq!(older.timeseries, [series("a", &[10]), series("c", &[20])]);
        assert_eq!(newer, request(vec![series("a", &[40]), series("b", &[30])]));
        assert_eq!(older.metadata, whole.metadata);
    }

    #[test]
    fn samples_of_one_timestamp_are_halved_in_their_order() {
        let whole = request(vec![series("a", &[5]), series("b", &[5]), series("c", &[5])]);
        let [older, newer] = split_request(&whole).unwrap();
        assert_eq!(older, request(vec![series("a", &[5])]));
        assert_eq!(newer, request(vec![series("b", &[5]), series("c", &[5])]));
    }

    #[test]
    fn one_sample_or_none_cannot_be_split() {
        assert_eq!(split_request(&request(vec![series("a", &[5]), series("b", &[])])), None);
        assert_eq!(split_request(&request(vec![])), None);
    }

    #[test]
    fn unknown_fields_of_request_and_series_go_into_both_halves() {
        let mut message = vec![0x10, 7]; // field 2 of the request
        for timestamp in [1, 2] {
            let mut series = series("a", &[timestamp]).encode_to_vec();
            series.extend([0x30, 9]); // field 6 of the series
            put_bytes(&mut message, TIMESERIES, &series);
        }
        let halves = split(&compress(&message).unwrap()).unwrap().unwrap();
        for half in [&halves.older, &halves.newer] {
            let half = decompress(half).unwrap();
            assert!(half.starts_with(&[0x10, 7]) && half.ends_with(&[0x30, 9]), "{half:?}");
        }
    }

    /// What a request says, in an order that does not depend on how it is cut: labels and content, printed.
    fn facts(request: &v1::WriteRequest) -> Vec<String> {
        let mut facts: Vec<String> = request.metadata.iter().map(|metadata| format!("{metadata:?}")).collect();
        for series in &request.timeseries {
            let labels = &series.labels;
            facts.extend(series.samples.iter().map(|sample| format!("{labels:?} {sample:?}")));
            facts.extend(series.exemplars.iter().map(|exemplar| format!("{labels:?} {exemplar:?}")));
            facts.extend(series.histograms.iter().map(|histogram| format!("{labels:?} {histogram:?}")));
        }
        facts.sort();
        facts
    }

    fn times(request: &v1::WriteRequest) -> Vec<i64> {
        let series = request.timeseries.iter();
        series
            .flat_map(|s| s.samples.iter().map(|s| s.timestamp).chain(s.histograms.iter().map(|h| h.timestamp)))
            .collect()
    }

    proptest! {
        #[test]
        fn halves_are_equal_in_size_in_time_order_and_the_whole_together(whole in testing::request_v1()) {
            let count = times(&whole).len();
            let Some([older, newer]) = split_request(&whole) else {
                prop_assert!(count < 2);
                return Ok(());
            };
            prop_assert_eq!(times(&older).len(), count / 2);
            prop_assert!(times(&older).iter().max() <= times(&newer).iter().min());
            let mut both = facts(&older);
            both.extend(facts(&newer));
            both.sort();
            prop_assert_eq!(both, facts(&whole));
            let content = |s: &v1::TimeSeries| !(s.samples.is_empty() && s.histograms.is_empty() && s.exemplars.is_empty());
            prop_assert!(older.timeseries.iter().chain(&newer.timeseries).all(content));
        }

        #[test]
        fn halving_again_and_again_ends_with_single_samples_in_time_order(whole in testing::request_v1()) {
            let mut left = vec![testing::body(&whole)];
            let mut seen = Vec::new();
            while let Some(body) = left.pop() {
                prop_assert!(seen.len() + left.len() <= times(&whole).len() + 1, "a half was not smaller");
                match split(&body).unwrap() {
                    Some(halves) => left.extend([halves.newer, halves.older]),
                    None => seen.extend(times(&testing::message(&body))),
                }
            }
            let mut sorted = times(&whole);
            sorted.sort_unstable();
            prop_assert_eq!(seen, sorted);
        }

        #[test]
        fn a_damaged_request_gives_a_result_and_no_panic(request in testing::request_v1(), cuts in testing::cuts()) {
            let damaged = testing::damage(request.encode_to_vec(), &cuts);
            let _ = split(&compress(&damaged).unwrap());
        }
    }
}
