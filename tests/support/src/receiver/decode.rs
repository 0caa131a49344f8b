//! Reads a remote-write request.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use prost::Message;

use crate::proto::{v1, v2};

/// Labels of a series, as `{name="value", …}` in order of their names.
pub type Series = Arc<str>;

/// Largest body once decompressed.
const BODY_BYTES_MAX: usize = 64 << 20;

/// Version of remote write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// `prometheus.WriteRequest`
    V1,
    /// `io.prometheus.write.v2.Request`
    V2,
}

/// One sample of a series; a histogram counts as one with the value of its sum.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Whose it is.
    pub series: Series,
    /// Unix milliseconds.
    pub timestamp_ms: i64,
    /// Its value; NaN for a staleness marker.
    pub value: f64,
}

/// Version of a body by its `Content-Type`.
pub fn version(content_type: &str) -> Result<Version> {
    let mut parts = content_type.split(';').map(str::trim);
    ensure!(parts.next() == Some("application/x-protobuf"), "Content-Type `{content_type}`");
    match parts.find_map(|part| part.strip_prefix("proto=")) {
        None | Some("prometheus.WriteRequest") => Ok(Version::V1),
        Some("io.prometheus.write.v2.Request") => Ok(Version::V2),
        Some(other) => bail!("unknown message `{other}`"),
    }
}

/// The samples of a body compressed with snappy, in the order in which they stand in it.
pub fn points(version: Version, body: &[u8]) -> Result<Vec<Point>> {
    let length = snap::raw::decompress_len(body).context("no snappy")?;
    ensure!(length <= BODY_BYTES_MAX, "{length} bytes once decompressed");
    let plain = snap::raw::Decoder::new().decompress_vec(body).context("no snappy")?;
    match version {
        Version::V1 => Ok(points_v1(v1::WriteRequest::decode(&*plain)?)),
        Version::V2 => points_v2(&v2::Request::decode(&*plain)?),
    }
}

fn points_v1(request: v1::WriteRequest) -> Vec<Point> {
    let mut points = Vec::new();
    for series in request.timeseries {
        let labels = series.labels.iter().map(|label| (label.name.as_str(), label.value.as_str())).collect();
        let name = series_name(&labels);
        points.extend(series.samples.iter().map(|sample| point(&name, sample.timestamp, sample.value)));
        points.extend(series.histograms.iter().map(|histogram| point(&name, histogram.timestamp, histogram.sum)));
    }
    points
}

fn points_v2(request: &v2::Request) -> Result<Vec<Point>> {
    ensure!(request.symbols.first().is_some_and(String::is_empty), "the first symbol must be empty");
    let symbol = |reference: u32| {
        let symbol = request.symbols.get(usize::try_from(reference).unwrap_or(usize::MAX));
        symbol.map(String::as_str).with_context(|| format!("no symbol {reference}"))
    };
    let mut points = Vec::new();
    for series in &request.timeseries {
        ensure!(series.labels_refs.len() % 2 == 0, "a label without a value");
        let pairs = series.labels_refs.chunks_exact(2);
        let labels = pairs.map(|pair| Ok((symbol(pair[0])?, symbol(pair[1])?))).collect::<Result<_>>()?;
        let name = series_name(&labels);
        points.extend(series.samples.iter().map(|sample| point(&name, sample.timestamp, sample.value)));
        points.extend(series.histograms.iter().map(|histogram| point(&name, histogram.timestamp, histogram.sum)));
    }
    Ok(points)
}

fn point(series: &Series, timestamp_ms: i64, value: f64) -> Point {
    Point { series: Arc::clone(series), timestamp_ms, value }
}

fn series_name(labels: &BTreeMap<&str, &str>) -> Series {
    let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", labels.join(", ")).into()
}

/// A body of 1.0 with one sample of each series: labels by name and value, and its time.
pub fn encode(series: impl Iterator<Item = (Vec<(String, String)>, i64)>, value: f64) -> Vec<u8> {
    let one = |(labels, timestamp): (Vec<(String, String)>, i64)| v1::TimeSeries {
        labels: labels.into_iter().map(|(name, value)| v1::Label { name, value }).collect(),
        samples: vec![v1::Sample { value, timestamp }],
        ..Default::default()
    };
    compressed(&v1::WriteRequest { timeseries: series.map(one).collect(), metadata: Vec::new() })
}

fn compressed(message: &impl Message) -> Vec<u8> {
    // Fails for more than four gigabytes only.
    snap::raw::Encoder::new().compress_vec(&message.encode_to_vec()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    /// A body of 1.0: series by their name, timestamps.
    fn body_v1(points: &[(&str, i64)]) -> Vec<u8> {
        let series = |&(name, timestamp): &(&str, i64)| (vec![("__name__".to_owned(), name.to_owned())], timestamp);
        encode(points.iter().map(series), 1.5)
    }

    /// The same of 2.0.
    fn body_v2(points: &[(&str, i64)]) -> Vec<u8> {
        let mut symbols = vec![String::new(), "__name__".to_owned()];
        let series = |&(name, timestamp): &(&str, i64)| {
            symbols.push(name.into());
            let labels_refs = vec![1, u32::try_from(symbols.len()).unwrap() - 1];
            let sample = v2::Sample { value: 1.5, timestamp, start_timestamp: 0 };
            v2::TimeSeries { labels_refs, samples: vec![sample], ..Default::default() }
        };
        let timeseries = points.iter().map(series).collect();
        super::compressed(&v2::Request { symbols, timeseries })
    }

    #[test]
    fn both_versions_give_the_same_samples() {
        let expected = [("a", 1), ("b", -2)].map(|(name, timestamp_ms)| Point {
            series: format!("{{__name__=\"{name}\"}}").into(),
            timestamp_ms,
            value: 1.5,
        });
        assert_eq!(points(Version::V1, &body_v1(&[("a", 1), ("b", -2)])).unwrap(), expected);
        assert_eq!(points(Version::V2, &body_v2(&[("a", 1), ("b", -2)])).unwrap(), expected);
    }

    #[test]
    fn what_is_no_request_is_an_error() {
        assert!(points(Version::V1, b"nonsense").is_err());
        let labels_refs = vec![1, 7];
        let series = v2::TimeSeries { labels_refs, ..v2::TimeSeries::default() };
        let request = v2::Request { symbols: vec![String::new()], timeseries: vec![series] };
        assert!(points(Version::V2, &super::compressed(&request)).unwrap_err().to_string().contains("no symbol 1"));
    }

    #[test]
    fn the_content_type_tells_the_version() {
        assert_eq!(version("application/x-protobuf").unwrap(), Version::V1);
        assert_eq!(version("application/x-protobuf;proto=prometheus.WriteRequest").unwrap(), Version::V1);
        assert_eq!(version("application/x-protobuf; proto=io.prometheus.write.v2.Request").unwrap(), Version::V2);
        assert!(version("application/json").is_err() && version("application/x-protobuf;proto=x").is_err());
    }
}
