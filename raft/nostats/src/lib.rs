//! Takes the place of the crate `base2histogram` below openraft (`[patch.crates-io]`), and keeps nothing.
//!
//! openraft records run-time statistics whether or not its feature `runtime-stats`, the only way to read them, is on. With
//! the original crate the first record builds tables of 25 MiB, twice what the rest of this program uses. Here the feature
//! is off, so nobody can miss the numbers: see `docs/decisions/group-memory.md`.

use std::fmt;
use std::marker::PhantomData;

/// A histogram that keeps nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram<T = ()>(PhantomData<T>);

impl<T> Histogram<T> {
    /// An empty one.
    pub const fn new() -> Self {
        Self(PhantomData)
    }

    /// Keeps nothing.
    pub fn record(&mut self, _value: u64) {}

    /// Keeps nothing.
    pub fn record_n(&mut self, _value: u64, _count: u64) {}

    /// All zero.
    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats::default()
    }
}

/// Percentiles of nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PercentileStats {
    /// Number of samples.
    pub samples: u64,
    /// 0.1st percentile.
    pub p0_1: u64,
    /// 1st percentile.
    pub p1: u64,
    /// 5th percentile.
    pub p5: u64,
    /// 10th percentile.
    pub p10: u64,
    /// Median.
    pub p50: u64,
    /// 90th percentile.
    pub p90: u64,
    /// 99th percentile.
    pub p99: u64,
    /// 99.9th percentile.
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not kept")
    }
}

/// A chart of nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsciiChart;

impl AsciiChart {
    /// An empty one.
    pub const fn new() -> Self {
        Self
    }

    /// Still empty.
    #[must_use]
    pub fn add<T>(self, _name: &str, _histogram: Histogram<T>) -> Self {
        self
    }
}

impl fmt::Display for AsciiChart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not kept")
    }
}
