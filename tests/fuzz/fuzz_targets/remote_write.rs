//! Bodies that a Prometheus sends to the gate. Seeds: `tests/fuzz/seeds/remote_write`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| prometheus_elector::fuzzing::remote_write(input));
