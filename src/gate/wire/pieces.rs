//! A 1.0 request taken apart into single samples, for a receiver that refuses a whole request for one sample of it.
//!
//! Taken apart, a request is a list of samples and histograms in time order, any choice of which makes a request. What goes
//! with no sample (metadata, exemplars, fields that this program does not know) makes one of its own: no receiver refuses it
//! for an order.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::Range;

use super::WireError;
use super::compression::{compress, decompress};
use super::numbers::v1::{EXEMPLARS, HISTOGRAMS, LABEL_NAME, LABEL_VALUE, LABELS, SAMPLES, TIMESERIES};
use super::proto::{Field, Fields, put_bytes};
use super::summary::{histogram_timestamp, sample_timestamp};

/// Labels that tell targets apart.
const TARGET_LABELS: [&[u8]; 2] = [b"job", b"instance"];

/// A sample or histogram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Unix milliseconds.
    pub at_ms: i64,
    /// Tells its series from others.
    pub series: u64,
    /// Tells its target from others, as far as labels do.
    pub target: u64,
    /// Its entry of `timeseries`.
    entry: usize,
    raw: Range<usize>,
}

/// A 1.0 request in pieces.
#[derive(Clone, Debug)]
pub struct Pieces {
    message: Vec<u8>,
    /// Labels of each entry.
    heads: Vec<Vec<u8>>,
    samples: Vec<Sample>,
    beside: Vec<u8>,
}

impl Pieces {
    /// Takes the body of a 1.0 request apart.
    pub fn read(body: &[u8]) -> Result<Self, WireError> {
        let message = decompress(body)?;
        let (mut heads, mut samples, mut beside) = (Vec::new(), Vec::new(), Vec::new());
        for field in Fields::of(&message) {
            let field = field?;
            if field.number != TIMESERIES {
                beside.extend_from_slice(field.raw);
                continue;
            }
            let series = field.bytes("WriteRequest")?;
            let (head, exemplars) = read_entry(&message, series, heads.len(), &mut samples)?;
            if !exemplars.is_empty() {
                put_bytes(&mut beside, TIMESERIES, &[head.as_slice(), &exemplars].concat());
            }
            heads.push(head);
        }
        samples.sort_by_key(|sample| sample.at_ms);
        Ok(Self { message, heads, samples, beside })
    }

    /// All samples and histograms, the oldest first; of one timestamp as they stand in the request.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// The body of a request with these samples, given by their place among all, in ascending order.
    pub fn body(&self, places: &[usize]) -> Result<Vec<u8>, WireError> {
        let mut request = Vec::new();
        let mut places = places.iter().filter_map(|&place| self.samples.get(place)).peekable();
        while let Some(sample) = places.next() {
            let mut series = self.heads.get(sample.entry).cloned().unwrap_or_default();
            series.extend_from_slice(self.message.get(sample.raw.clone()).unwrap_or_default());
            while let Some(next) = places.next_if(|next| next.entry == sample.entry) {
                series.extend_from_slice(self.message.get(next.raw.clone()).unwrap_or_default());
            }
            put_bytes(&mut request, TIMESERIES, &series);
        }
        compress(&request)
    }

    /// The body of a request with what goes with no sample, if there is anything.
    pub fn beside(&self) -> Option<Result<Vec<u8>, WireError>> {
        (!self.beside.is_empty()).then(|| compress(&self.beside))
    }
}

/// Reads an entry of `timeseries`: its labels, and its exemplars.
fn read_entry(
    message: &[u8],
    series: &[u8],
    entry: usize,
    samples: &mut Vec<Sample>,
) -> Result<(Vec<u8>, Vec<u8>), WireError> {
    let (mut head, mut exemplars, first) = (Vec::new(), Vec::new(), samples.len());
    let (mut name, mut target) = (DefaultHasher::new(), DefaultHasher::new());
    for field in Fields::of(series) {
        let field = field?;
        let at_ms = match field.number {
            SAMPLES => sample_timestamp(field.bytes("TimeSeries")?)?,
            HISTOGRAMS => histogram_timestamp(field.bytes("TimeSeries")?)?,
            EXEMPLARS => {
                exemplars.extend_from_slice(field.raw);
                continue;
            }
            _ => {
                head.extend_from_slice(field.raw);
                if field.number == LABELS {
                    field.raw.hash(&mut name);
                    hash_target(&field, &mut target)?;
                }
                continue;
            }
        };
        let start = field.raw.as_ptr().addr() - message.as_ptr().addr();
        samples.push(Sample { at_ms, series: 0, target: 0, entry, raw: start..start + field.raw.len() });
    }
    let (name, target) = (name.finish(), target.finish());
    for sample in &mut samples[first..] {
        (sample.series, sample.target) = (name, target);
    }
    Ok((head, exemplars))
}

fn hash_target(label: &Field<'_>, hasher: &mut DefaultHasher) -> Result<(), WireError> {
    let (mut name, mut value) = (&b""[..], &b""[..]);
    for field in Fields::of(label.bytes("TimeSeries")?) {
        let field = field?;
        match field.number {
            LABEL_NAME => name = field.bytes("Label")?,
            LABEL_VALUE => value = field.bytes("Label")?,
            _ => {}
        }
    }
    if TARGET_LABELS.contains(&name) {
        (name, value).hash(hasher);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use proptest::prelude::*;
    use prost::Message as _;

    use super::super::testing::{self, v1};
    use super::super::{Version, join};
    use super::*;

    /// What a request says, in an order that does not depend on how it is cut.
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

    fn series(name: &str, instance: &str, timestamps: &[i64]) -> v1::TimeSeries {
        let label = |name: &str, value: &str| v1::Label { name: name.into(), value: value.into() };
        v1::TimeSeries {
            labels: vec![label("__name__", name), label("instance", instance)],
            samples: timestamps.iter().map(|&timestamp| v1::Sample { value: 1.0, timestamp }).collect(),
            ..Default::default()
        }
    }

    #[test]
    fn series_and_targets_are_known_by_their_labels_wherever_they_stand() {
        let timeseries = vec![series("a", "x", &[2, 9]), series("b", "x", &[3]), series("a", "y", &[4])];
        let first = testing::body(&v1::WriteRequest { timeseries, metadata: Vec::new() });
        let timeseries = vec![series("a", "x", &[1])];
        let second = testing::body(&v1::WriteRequest { timeseries, metadata: Vec::new() });
        let pieces = Pieces::read(&join(Version::V1, [first.as_slice(), &second]).unwrap()).unwrap();
        let samples = pieces.samples();
        assert_eq!(samples.iter().map(|sample| sample.at_ms).collect::<Vec<_>>(), [1, 2, 3, 4, 9]);
        assert!(samples[0].series == samples[1].series && samples[1].series == samples[4].series);
        assert!(samples[1].series != samples[2].series && samples[1].series != samples[3].series);
        assert!(samples[1].target == samples[2].target && samples[1].target != samples[3].target);
        let both: v1::WriteRequest = testing::message(&pieces.body(&[1, 4]).unwrap());
        assert_eq!(both.timeseries, [series("a", "x", &[2, 9])]);
        assert!(pieces.beside().is_none());
    }

    proptest! {
        #[test]
        fn single_samples_and_what_is_beside_are_the_whole_together(whole in testing::request_v1()) {
            let pieces = Pieces::read(&testing::body(&whole)).unwrap();
            let mut parts: Vec<Vec<u8>> = (0..pieces.samples().len()).map(|place| pieces.body(&[place]).unwrap()).collect();
            parts.extend(pieces.beside().map(Result::unwrap));
            let joined: v1::WriteRequest = testing::message(&join(Version::V1, parts.iter().map(Vec::as_slice)).unwrap());
            prop_assert_eq!(facts(&joined), facts(&whole));
            let all: Vec<usize> = (0..pieces.samples().len()).collect();
            let again = Pieces::read(&pieces.body(&all).unwrap()).unwrap();
            prop_assert_eq!(again.samples().len(), all.len());
        }

        #[test]
        fn a_damaged_request_gives_a_result_and_no_panic(request in testing::request_v1(), cuts in testing::cuts()) {
            let damaged = testing::damage(request.encode_to_vec(), &cuts);
            let _ = Pieces::read(&compress(&damaged).unwrap());
        }
    }
}
