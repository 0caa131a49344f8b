//! Real members, real Prometheus and real DNS for tests, demo and benchmark.
//!
//! - [`cluster`]: a whole group on one machine, and what tests ask it
//! - [`prometheus`], [`sidecar`]: the processes; [`process`]: how they are started and surely ended
//! - [`dns`], [`target`], [`source`]: what surrounds them
//! - [`sampler`], [`config_watch`], [`load`]: observers that run all the time beside a test
//! - [`receiver`]: a remote that notes who sends what; [`gated`]: a group with the gate on, and the verdict over it
//! - [`secured`], [`raft_tls`]: certificates and passwords, for Prometheus and for the members
//! - [`reads`]: reads while the leader goes away
//! - [`browser`]: a page as a person sees it
//! - [`links`]: relays between members, to cut one off
//! - [`net`], [`workdir`], [`wait`], [`http`], [`procfs`], [`status`], [`exposition`]: small tools

pub mod browser;
pub mod ca;
pub mod cluster;
pub mod config_watch;
pub mod dns;
pub mod eventually;
pub mod exposition;
pub mod gated;
pub mod http;
pub mod links;
pub mod load;
pub mod net;
pub mod process;
pub mod procfs;
pub mod prometheus;
pub mod proto;
pub mod raft_tls;
pub mod reads;
pub mod receiver;
pub mod sampler;
pub mod secured;
pub mod sidecar;
pub mod source;
pub mod status;
pub mod target;
pub mod wait;
pub mod workdir;
