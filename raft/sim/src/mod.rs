//! The group under simulation: whole groups in one thread, virtual time, seeded faults, checkers.
//!
//! This module is compiled in the package `elector-raft-sim` only, together with the production sources around it. See
//! `raft/README.md`, "How it is proven".

pub mod chance;
mod checkers;
pub(crate) mod device;
pub mod dns;
pub mod executor;
pub mod mutants;
mod nemesis;
mod net;
mod quiet;
pub(crate) mod rules;
mod run;
mod scenarios;
pub(crate) mod world;

pub use checkers::Violation;
pub use run::{Outcome, run};
pub use scenarios::Story;
pub use world::moment;
