//! A leased election group over openraft: who may act as leader, and until when.
//!
//! The crate knows nothing of Prometheus, Kubernetes or DNS. It is told who its peers may be ([`PeerSet`]) and whether
//! its own member can do the leader's work ([`Eligibility`]); it tells who leads ([`Leadership`]) and how the group is
//! ([`GroupStatus`]).

#![cfg_attr(feature = "simulation", expect(dead_code, reason = "only a part of the crate is under simulation"))]
#![cfg_attr(feature = "simulation", allow(unreachable_pub, missing_docs, reason = "no other package uses it"))]

mod abandon;
pub mod clock;
mod contacts;
mod doubts;
mod formation;
/// For `make fuzz` only: cargo-fuzz sets `--cfg fuzzing`.
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing {
    /// A member under fire.
    pub struct Target(crate::network::fuzzing::Target);

    impl Target {
        /// A member whose state is in `dir`.
        pub fn new(dir: &std::path::Path) -> Self {
            Self(crate::network::fuzzing::Target::new(dir))
        }

        /// Gives it the messages of `input`; panics if it does not bear them.
        pub fn attack(&self, input: &[u8]) {
            self.0.attack(input);
        }
    }
}
#[cfg(not(feature = "simulation"))]
pub mod group;
pub mod handle;
mod handover;
mod hello;
mod instance;
pub mod leadership;
mod lives;
mod membership;
#[cfg(test)]
mod membership_tests;
mod network;
pub mod observer;
pub mod peers;
mod report;
mod requests;
mod roster;
#[cfg_attr(feature = "simulation", path = "../sim/src/rt.rs")]
mod rt;
mod rules;
mod shared;
#[cfg(feature = "simulation")]
#[path = "../sim/src/mod.rs"]
pub mod sim;
#[cfg(not(feature = "simulation"))]
pub mod sockets;
pub mod state;
pub mod status;
pub mod store;
mod tasks;
#[cfg(test)]
mod testing;
pub mod timing;
pub mod types;
mod view;

pub use clock::Now;
#[cfg(not(feature = "simulation"))]
pub use group::{Group, GroupConfig, GroupError, recover};
pub use handle::{CommandError, DIGEST_BYTES_MAX, Eligibility, GroupEnds, GroupHandle, Request};
pub use leadership::{Authority, Leader, Leadership};
#[cfg(not(feature = "simulation"))]
pub use network::{Tls, TlsMaterial, TlsMode, Token, TokenError, Tokens, tls_error};
pub use observer::Observer;
pub use peers::{Member, NodeId, Peer, PeerSet};
pub use status::{GroupState, GroupStatus, LedgerEntry, LogStatus, MemberKind, MemberStatus};
pub use store::StoreError;
pub use timing::Timing;
