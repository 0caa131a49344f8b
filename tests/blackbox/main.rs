//! Black-box tests: the real binary beside real Prometheus processes, a real DNS server, and a storage that takes
//! remote write. All of them watch for two leaders at once from the first moment to the last.
//!
//! One program, so that it is linked once. Every test has addresses and directories of its own and may run beside any
//! other. `PROMETHEUS` names the Prometheus to use, `KEEP=1` leaves the directories behind.

mod commands;
mod config_reload;
mod gate;
mod group;
mod membership;
mod planned;
mod proxy;
mod secured;
mod takeover;

use test_support::cluster::Options;
use test_support::sidecar::find_binary;

/// Three members with agents that find each other by SRV records.
fn options(label: &'static str) -> anyhow::Result<Options> {
    Ok(Options::new(label, find_binary(Some(env!("CARGO_BIN_EXE_prometheus-elector")))?))
}
