//! `prometheus-elector`: a sidecar that makes a group of Prometheus replicas act as one.
//!
//! ```text
//! headless DNS -> discovery -> raft group -> leadership -> role controller -> render -> Prometheus file + reload
//!                                               |---------> proxy, API, metrics
//! ```
//!
//! `app` is the only place that wires the pieces; each piece has settings, is built once, and talks with the others
//! through watch channels.

pub mod api;
pub mod app;
mod cause;
pub mod cli;
pub mod config;
pub mod discovery;
pub mod event_log;
mod files;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
pub mod gate;
mod hop_by_hop;
#[cfg(feature = "kubernetes")]
mod kubernetes;
pub mod metrics;
pub mod prometheus;
pub mod proxy;
mod raft_files;
pub mod render;
pub mod role;
mod tls;
