#![allow(clippy::unwrap_used, clippy::expect_used)]

mod authority;
mod group;
mod mutants;
mod samples;
mod writer;
