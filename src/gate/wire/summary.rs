//! What a request holds, as far as the gate must know: counts for its answer, and the time range for the watermark.
//!
//! The time range covers samples and histograms. Exemplars do not count: an exemplar's timestamp is that of the event it
//! shows, which may be minutes older than the scrape (or, from an exporter with a bad clock, later), and a receiver that
//! refuses one stores the samples beside it all the same. Samples beyond a horizon do not count either: one exporter with
//! a clock that is ahead would otherwise lift the watermark above data of all others that is still on its way.

use super::compression::decompress;
use super::numbers::{v1, v2};
use super::proto::{Fields, last_int64};
use super::{Version, WireError};
use crate::gate::TimeRange;

/// What a request holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Version of remote write.
    pub version: Version,
    /// Entries of `timeseries`; one series may stand in several.
    pub series: u64,
    /// Samples that are numbers.
    pub samples: u64,
    /// Samples that are native histograms.
    pub histograms: u64,
    /// Exemplars.
    pub exemplars: u64,
    /// Samples and histograms beyond the horizon: counted above, left out of the time range.
    pub future: u64,
    /// Timestamps of samples and histograms; `None` without any, e.g. metadata alone.
    pub range: Option<TimeRange>,
}

/// Where the two versions keep what the gate looks for.
struct Layout {
    request: &'static str,
    series: u32,
    samples: u32,
    histograms: u32,
    exemplars: u32,
}

const fn layout(version: Version) -> Layout {
    match version {
        Version::V1 => Layout {
            request: "WriteRequest",
            series: v1::TIMESERIES,
            samples: v1::SAMPLES,
            histograms: v1::HISTOGRAMS,
            exemplars: v1::EXEMPLARS,
        },
        Version::V2 => Layout {
            request: "Request",
            series: v2::TIMESERIES,
            samples: v2::SAMPLES,
            histograms: v2::HISTOGRAMS,
            exemplars: v2::EXEMPLARS,
        },
    }
}

/// `timestamp` of a `Sample`, the same in both versions.
const SAMPLE_TIMESTAMP: u32 = 2;
/// `timestamp` of a `Histogram`, the same in both versions.
const HISTOGRAM_TIMESTAMP: u32 = 15;

/// Timestamp of a `Sample`, in Unix milliseconds.
pub(super) fn sample_timestamp(sample: &[u8]) -> Result<i64, WireError> {
    last_int64(sample, SAMPLE_TIMESTAMP, "Sample")
}

/// Timestamp of a `Histogram`, in Unix milliseconds.
pub(super) fn histogram_timestamp(histogram: &[u8]) -> Result<i64, WireError> {
    last_int64(histogram, HISTOGRAM_TIMESTAMP, "Histogram")
}

impl Summary {
    /// Reads a body in snappy's block format. `horizon_ms`: the latest Unix time in milliseconds that a sample can have
    /// without being from the future.
    pub fn read(version: Version, body: &[u8], horizon_ms: i64) -> Result<Self, WireError> {
        Self::of_message(version, &decompress(body)?, horizon_ms)
    }

    fn of_message(version: Version, message: &[u8], horizon_ms: i64) -> Result<Self, WireError> {
        let layout = layout(version);
        let mut summary = Self { version, series: 0, samples: 0, histograms: 0, exemplars: 0, future: 0, range: None };
        for field in Fields::of(message) {
            let field = field?;
            if field.number == layout.series {
                summary.series += 1;
                summary.add_series(&layout, field.bytes(layout.request)?, horizon_ms)?;
            }
        }
        Ok(summary)
    }

    fn add_series(&mut self, layout: &Layout, series: &[u8], horizon_ms: i64) -> Result<(), WireError> {
        for field in Fields::of(series) {
            let field = field?;
            if field.number == layout.samples {
                self.samples += 1;
                self.include(sample_timestamp(field.bytes("TimeSeries")?)?, horizon_ms);
            } else if field.number == layout.histograms {
                self.histograms += 1;
                self.include(histogram_timestamp(field.bytes("TimeSeries")?)?, horizon_ms);
            } else if field.number == layout.exemplars {
                self.exemplars += 1;
            }
        }
        Ok(())
    }

    fn include(&mut self, timestamp: i64, horizon_ms: i64) {
        if timestamp > horizon_ms {
            self.future += 1;
            return;
        }
        let range = self.range.get_or_insert(TimeRange { min_ms: timestamp, max_ms: timestamp });
        range.min_ms = range.min_ms.min(timestamp);
        range.max_ms = range.max_ms.max(timestamp);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use proptest::prelude::*;
    use prost::Message as _;

    use super::super::testing::{self, v1, v2};
    use super::*;

    #[test]
    fn metadata_alone_has_no_time_range() {
        let request = v1::WriteRequest {
            metadata: vec![v1::MetricMetadata { metric_family_name: "up".into(), ..Default::default() }],
            ..Default::default()
        };
        let summary = Summary::read(Version::V1, &testing::body(&request), i64::MAX).unwrap();
        assert_eq!((summary.series, summary.range), (0, None));
    }

    #[test]
    fn exemplars_and_samples_from_the_future_leave_the_time_range_alone() {
        let sample = |timestamp| v1::Sample { value: 1.0, timestamp };
        let series = v1::TimeSeries {
            samples: vec![sample(500), sample(1_001), sample(1_000)],
            exemplars: vec![v1::Exemplar { timestamp: 3, ..Default::default() }],
            histograms: vec![v1::Histogram { timestamp: 700, ..Default::default() }],
            ..Default::default()
        };
        let request = v1::WriteRequest { timeseries: vec![series], ..Default::default() };
        let summary = Summary::read(Version::V1, &testing::body(&request), 1_000).unwrap();
        assert_eq!(
            summary,
            Summary {
                version: Version::V1,
                series: 1,
                samples: 3,
                histograms: 1,
                exemplars: 1,
                future: 1,
                range: Some(TimeRange { min_ms: 500, max_ms: 1_000 }),
            }
        );
    }

    /// The judge: what an independent decoder finds.
    fn judge(version: Version, message: &[u8], horizon_ms: i64) -> Option<Summary> {
        let mut times = Vec::new();
        let (series, samples, histograms, exemplars);
        match version {
            Version::V1 => {
                let request = v1::WriteRequest::decode(message).ok()?;
                let all = &request.timeseries;
                times.extend(all.iter().flat_map(|s| &s.samples).map(|s| s.timestamp));
                samples = times.len();
                times.extend(all.iter().flat_map(|s| &s.histograms).map(|h| h.timestamp));
                (series, exemplars) = (all.len(), all.iter().map(|s| s.exemplars.len()).sum::<usize>());
            }
            Version::V2 => {
                let request = v2::Request::decode(message).ok()?;
                let all = &request.timeseries;
                times.extend(all.iter().flat_map(|s| &s.samples).map(|s| s.timestamp));
                samples = times.len();
                times.extend(all.iter().flat_map(|s| &s.histograms).map(|h| h.timestamp));
                (series, exemplars) = (all.len(), all.iter().map(|s| s.exemplars.len()).sum::<usize>());
            }
        }
        histograms = times.len() - samples;
        let past = || times.iter().copied().filter(|&time| time <= horizon_ms);
        Some(Summary {
            version,
            series: series as u64,
            samples: samples as u64,
            histograms: histograms as u64,
            exemplars: exemplars as u64,
            future: (times.len() - past().count()) as u64,
            range: past().min().zip(past().max()).map(|(min_ms, max_ms)| TimeRange { min_ms, max_ms }),
        })
    }

    proptest! {
        #[test]
        fn a_request_of_1_0_is_read_as_an_independent_decoder_reads_it(request in testing::request_v1(), horizon in 0..3_000_i64) {
            let summary = Summary::read(Version::V1, &testing::body(&request), horizon).unwrap();
            prop_assert_eq!(Some(summary), judge(Version::V1, &request.encode_to_vec(), horizon));
        }

        #[test]
        fn a_request_of_2_0_is_read_as_an_independent_decoder_reads_it(request in testing::request_v2(), horizon in 0..3_000_i64) {
            let summary = Summary::read(Version::V2, &testing::body(&request), horizon).unwrap();
            prop_assert_eq!(Some(summary), judge(Version::V2, &request.encode_to_vec(), horizon));
        }

        #[test]
        fn any_bytes_give_a_result_and_no_panic(message in proptest::collection::vec(any::<u8>(), 0..200)) {
            for version in [Version::V1, Version::V2] {
                let _ = Summary::of_message(version, &message, 0);
            }
        }

        /// What a strict decoder accepts, this reads alike; it may accept more, since it looks at less.
        #[test]
        fn a_damaged_request_is_refused_or_read_as_an_independent_decoder_reads_it(
            first in testing::request_v1(), second in testing::request_v2(), cuts in testing::cuts(),
        ) {
            for (version, message) in [(Version::V1, first.encode_to_vec()), (Version::V2, second.encode_to_vec())] {
                let damaged = testing::damage(message, &cuts);
                match (Summary::of_message(version, &damaged, i64::MAX), judge(version, &damaged, i64::MAX)) {
                    (Ok(summary), Some(judged)) => prop_assert_eq!(summary, judged),
                    // Groups: the decoder skips them.
                    (Err(WireError::WireType { .. }) | Ok(_), _) | (Err(_), None) => {}
                    (Err(error), Some(_)) => prop_assert!(false, "refused what another reads: {}", error),
                }
            }
        }
    }
}
