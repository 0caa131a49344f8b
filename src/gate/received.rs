//! A request of the own Prometheus as it was read. Pure.

use bytes::Bytes;
use http::HeaderMap;

use super::TimeRange;
use super::spool::{Batch, Format};
use super::watermark::FUTURE_TOLERANCE;
use super::wire::{CONTENT_ENCODING, Summary, Version};

/// A request of the own Prometheus.
pub(super) struct Received {
    pub(super) headers: HeaderMap,
    pub(super) format: Format,
    pub(super) summary: Option<Summary>,
    pub(super) body: Bytes,
    pub(super) arrival_ms: i64,
}

impl Received {
    pub(super) fn range(&self) -> Option<TimeRange> {
        self.summary.and_then(|summary| summary.range)
    }

    /// Whether it holds samples that are no newer than what a writer until `begun_ms` may have written, by its own clock.
    pub(super) fn reaches_back_to(&self, begun_ms: i64) -> bool {
        self.range().is_some_and(|range| range.min_ms <= later(begun_ms))
    }
}

/// Reads a body as its headers say.
pub(super) fn summary(format: &Format, body: &[u8], arrival_ms: i64) -> Result<Summary, String> {
    let Some(version) = Version::of(Some(&format.content_type)) else {
        return Err(format!("unknown Content-Type `{}`", format.content_type));
    };
    if !format.content_encoding.eq_ignore_ascii_case(CONTENT_ENCODING) {
        return Err(format!("unknown Content-Encoding `{}`", format.content_encoding));
    }
    Summary::read(version, body, later(arrival_ms)).map_err(|error| error.to_string())
}

/// What other clocks may show at a time of the own one, in Unix milliseconds.
fn later(at_ms: i64) -> i64 {
    at_ms.saturating_add(i64::try_from(FUTURE_TOLERANCE.as_millis()).unwrap_or(i64::MAX))
}

impl Received {
    pub(super) fn to_batch(&self) -> Batch {
        Batch {
            received_at_ms: self.arrival_ms,
            range: self.range(),
            format: self.format.clone(),
            body: self.body.to_vec(),
        }
    }
}
