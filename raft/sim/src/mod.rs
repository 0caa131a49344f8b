//! The group under simulation: whole groups in one thread, virtual time, seeded faults, checkers.
//!
//! This module is compiled in the package `elector-raft-sim` only, together with the production sources around it. See
//! `raft/README.md`, "How it is proven".

mod boot;
pub mod chance;
mod checkers;
mod clock;
pub(crate) mod device;
pub mod dns;
pub mod executor;
mod faults;
pub(crate) mod hooks;
mod lost_cause;
pub mod mutants;
mod nemesis;
mod net;
mod quiet;
mod restarted_leader;
pub(crate) mod rules;
mod run;
mod scenarios;
pub mod sleep;
mod stories;
pub mod tasks;
pub(crate) mod world;

pub use checkers::Violation;
pub use hooks::moment;
pub use run::{Outcome, run};
pub use scenarios::Story;
