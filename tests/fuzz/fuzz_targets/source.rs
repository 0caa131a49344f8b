//! The file with the sections `follower` and `leader`. Seeds: `tests/render/corpus`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| prometheus_elector::fuzzing::source(input));
