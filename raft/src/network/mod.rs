//! What members say to each other, how it is carried, and what is checked before it counts.
//!
//! ```text
//! openraft -> client::Network -> Transport: http, dialer ~~TLS~~> listener, http -> identity -> Endpoint -> openraft
//! ```
//!
//! Every Raft call carries the group's cluster id and the node id that it is meant for; a mismatch is refused (DESIGN.md,
//! group rule 9). [`Endpoint`] knows nothing of HTTP, so that a simulation can put its own network between.

mod client;
#[cfg(not(feature = "simulation"))]
mod dialer;
mod endpoint;
#[cfg(test)]
mod endpoint_tests;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
#[cfg(test)]
mod fuzzing_tests;
#[cfg(not(feature = "simulation"))]
mod http;
#[cfg(test)]
mod http_tests;
#[cfg(not(feature = "simulation"))]
mod identity;
#[cfg(not(feature = "simulation"))]
mod listener;
mod message;
mod refusals;
#[cfg(test)]
mod reload_tests;
#[cfg(test)]
mod samples;
#[cfg(any(test, fuzzing))]
mod script;
#[cfg(not(feature = "simulation"))]
mod tls;
#[cfg(not(feature = "simulation"))]
mod tls_error;
#[cfg(test)]
mod tls_testing;
#[cfg(test)]
mod tls_tests;
#[cfg(not(feature = "simulation"))]
mod token;

pub(crate) mod validate;
#[cfg(test)]
mod validate_tests;
#[cfg(test)]
mod wire_tests;

pub(crate) use client::{Network, call_member};
#[cfg(not(feature = "simulation"))]
pub(crate) use dialer::Dialer;
pub(crate) use endpoint::{Dismissal, Endpoint};
#[cfg(not(feature = "simulation"))]
pub(crate) use http::{HttpTransport, Receiver};
#[cfg(not(feature = "simulation"))]
pub(crate) use listener::serve;
#[cfg(feature = "simulation")]
pub(crate) use message::RaftCall;
pub(crate) use message::{Answer, Call, Hello, Message, Refusal, Reply};

pub(crate) use refusals::{Party, Refusals, sentence};
#[cfg(not(feature = "simulation"))]
pub use tls::{Tls, TlsMaterial, TlsMode};
#[cfg(not(feature = "simulation"))]
pub use tls_error::tls_error;
#[cfg(not(feature = "simulation"))]
pub use token::{Token, TokenError, Tokens};

use std::future::Future;
use std::time::Duration;

/// Carries a message to an address and brings the reply back.
pub(crate) trait Transport: Clone + Send + Sync + 'static {
    /// Fails after `timeout` at the latest.
    fn call(
        &self,
        address: &str,
        message: &Message,
        timeout: Duration,
    ) -> impl Future<Output = Result<Answer, CallError>> + Send;
}

/// Why a call brought no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    /// No reply in time; it may have been carried out.
    #[error("no reply within {0:?}")]
    TimedOut(Duration),
    /// Not delivered, as far as is known.
    #[error("{0}")]
    Unreachable(String),
    /// The member answered that it will not.
    #[error("refused: {0}")]
    Refused(Refusal),
}

impl CallError {
    /// Whether the member that was meant may be at another address.
    pub(crate) fn is_elsewhere(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::TimedOut(_) | Self::Refused(Refusal::OtherTarget(_)))
    }
}
