//! The remote-write gate: one writer by fencing, and nothing lost in a takeover.
//!
//! - [`wire`]: what a remote-write request holds, its halves, and 1.0 as 2.0, read and written without building objects

pub mod wire;
