//! Real members, real Prometheus and real DNS for tests, demo and benchmark.

pub mod dns;
pub mod eventually;
