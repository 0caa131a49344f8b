//! Real members, real Prometheus and real DNS for tests, demo and benchmark.
