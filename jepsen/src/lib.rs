//! The chaos and partition harness: starts a whole deployment, breaks it, and judges the record.
//!
//! ```text
//! plan (seed) -> nemeses -> deployment: pods, DNS, receiver, clients
//!                               |-> recorder -> history.jsonl -> checkers -> verdict, report
//! ```
//!
//! Black box: public endpoints, DNS, signals and files; no type of the elector.

pub mod checkers;
pub mod cli;
pub mod cluster;
pub mod deployment;
pub mod history;
pub mod hub;
pub mod nemesis;
pub mod plan;
pub mod recorder;
pub mod report;
pub mod run;
pub mod stage;
#[cfg(test)]
mod story;
