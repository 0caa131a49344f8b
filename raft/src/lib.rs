//! A leased election group over openraft: who may act as leader, and until when.
//!
//! The crate knows nothing of Prometheus, Kubernetes or DNS. It is told who its peers may be ([`PeerSet`]) and whether
//! its own member can do the leader's work ([`Eligibility`]); it tells who leads ([`Leadership`]) and how the group is
//! ([`GroupStatus`]).

pub mod clock;
pub mod handle;
pub mod leadership;
pub mod peers;
pub mod status;

pub use clock::Now;
pub use handle::{CommandError, Eligibility, GroupEnds, GroupHandle, Request};
pub use leadership::{Authority, Leader, Leadership};
pub use peers::{Member, NodeId, Peer, PeerSet};
pub use status::{GroupState, GroupStatus, LedgerEntry, MemberKind, MemberStatus};
