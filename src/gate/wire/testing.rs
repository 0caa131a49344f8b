//! An independent encoder and decoder for tests, and random requests.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use prost::Message;
pub(in crate::gate) use test_support::proto::{v1, v2};

/// A message as the body of a request.
pub(in crate::gate) fn body(message: &impl Message) -> Vec<u8> {
    super::compression::compress(&message.encode_to_vec()).unwrap()
}

/// The message of a body.
pub(in crate::gate) fn message<M: Message + Default>(body: &[u8]) -> M {
    M::decode(&super::compression::decompress(body).unwrap()[..]).unwrap()
}

fn timestamp() -> impl Strategy<Value = i64> {
    prop_oneof![4 => 990..1_010_i64, 4 => 0..3_000_i64, 1 => any::<i64>()]
}

/// Few of them, so that a series often stands in several entries.
fn labels() -> impl Strategy<Value = Vec<v1::Label>> {
    vec(("[a-c]", "[x-z]?"), 0..3)
        .prop_map(|pairs| pairs.into_iter().map(|(name, value)| v1::Label { name, value }).collect())
}

fn histogram() -> impl Strategy<Value = v1::Histogram> {
    let spans = vec((any::<i32>(), any::<u32>()), 0..3)
        .prop_map(|spans| spans.into_iter().map(|(offset, length)| v1::BucketSpan { offset, length }).collect());
    (any::<u64>(), -9.0..9.0_f64, any::<i32>(), spans, vec(any::<i64>(), 0..4), timestamp(), vec(-9.0..9.0_f64, 0..3))
        .prop_map(|(count, sum, schema, positive_spans, positive_deltas, timestamp, custom_values)| v1::Histogram {
            count,
            sum,
            schema,
            positive_spans,
            positive_deltas,
            timestamp,
            custom_values,
        })
}

fn series_v1() -> impl Strategy<Value = v1::TimeSeries> {
    let sample = (-9.0..9.0_f64, timestamp()).prop_map(|(value, timestamp)| v1::Sample { value, timestamp });
    let exemplar = (labels(), -9.0..9.0_f64, timestamp()).prop_map(|(labels, value, timestamp)| v1::Exemplar {
        labels,
        value,
        timestamp,
    });
    (labels(), vec(sample, 0..4), vec(exemplar, 0..2), vec(histogram(), 0..2))
        .prop_map(|(labels, samples, exemplars, histograms)| v1::TimeSeries { labels, samples, exemplars, histograms })
}

/// A request of 1.0.
pub(super) fn request_v1() -> impl Strategy<Value = v1::WriteRequest> {
    let metadata = ("[a-c]{0,3}", "[a-z ]{0,9}", 0..8_i32).prop_map(|(metric_family_name, help, kind)| {
        v1::MetricMetadata { kind, metric_family_name, help, unit: String::new() }
    });
    (vec(series_v1(), 0..8), vec(metadata, 0..3))
        .prop_map(|(timeseries, metadata)| v1::WriteRequest { timeseries, metadata })
}

/// A request of 2.0.
pub(super) fn request_v2() -> impl Strategy<Value = v2::Request> {
    let sample = (-9.0..9.0_f64, timestamp(), timestamp()).prop_map(|(value, timestamp, start_timestamp)| v2::Sample {
        value,
        timestamp,
        start_timestamp,
    });
    let exemplar = (vec(any::<u32>(), 0..4), timestamp()).prop_map(|(labels_refs, timestamp)| v2::Exemplar {
        labels_refs,
        value: 1.5,
        timestamp,
    });
    let metadata = (0..8_i32, any::<u32>(), any::<u32>()).prop_map(|(kind, help_ref, unit_ref)| v2::Metadata {
        kind,
        help_ref,
        unit_ref,
    });
    let series = (
        vec(any::<u32>(), 0..4),
        vec(sample, 0..4),
        vec(histogram(), 0..2),
        vec(exemplar, 0..2),
        proptest::option::of(metadata),
    )
        .prop_map(|(labels_refs, samples, histograms, exemplars, metadata)| v2::TimeSeries {
            labels_refs,
            samples,
            histograms,
            exemplars,
            metadata,
        });
    (vec("[a-z]{0,5}", 0..5), vec(series, 0..8)).prop_map(|(symbols, timeseries)| v2::Request { symbols, timeseries })
}

/// Places to damage: where, how much to take out, what to put in.
pub(super) fn cuts() -> impl Strategy<Value = Vec<(Index, usize, Vec<u8>)>> {
    vec((any::<Index>(), 0..5_usize, vec(any::<u8>(), 0..4)), 1..4)
}

/// Damages a message.
pub(super) fn damage(mut message: Vec<u8>, cuts: &[(Index, usize, Vec<u8>)]) -> Vec<u8> {
    for (at, length, inserted) in cuts {
        let at = at.index(message.len() + 1);
        let end = (at + length).min(message.len());
        message.splice(at..end, inserted.iter().copied());
    }
    message
}
