//! The remote-write gate with real Prometheus: one writer by fencing, and not a sample lost.
//!
//! The receiver notes term, sender and samples of every request from its start. Each test ends with the whole verdict: no
//! term goes backwards, no two senders share one, no sample is missing that a covered replica had. One group serves several
//! cases, one after the other.

mod outages;
mod writers;

use anyhow::Result;
use test_support::cluster::Options;
use test_support::gated;
use test_support::sidecar::find_binary;

/// A group with the gate on; remote write 2.0 where asked and possible.
fn options(label: &'static str, is_v2: bool) -> Result<Options> {
    gated::options(label, find_binary(Some(env!("CARGO_BIN_EXE_prometheus-elector")))?, is_v2)
}
