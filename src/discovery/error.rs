//! What can go wrong in discovery, in words for the operator.

/// Why discovery cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryError {
    /// An empty static list.
    #[error("the list of peers is empty; name every member in --peers, this one included")]
    NoPeers,
    /// A static list that is too long.
    #[error("{count} peers are listed, at most {max} can be used; shorten --peers")]
    TooManyPeers {
        /// How many were given.
        count: usize,
        /// [`super::PEERS_MAX`].
        max: usize,
    },
    /// Not a DNS name.
    #[error("{name:?} is not a DNS name; give --peer-service-name the name of the headless service")]
    BadServiceName {
        /// What was given.
        name: String,
    },
}

/// Why a lookup gave no addresses or peers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// There is nobody to ask.
    #[error("no name server to ask for {name}: {problem}; name one with --dns-server, or use IP addresses")]
    NoServer {
        /// The name that was wanted.
        name: String,
        /// Why there is none.
        problem: String,
    },
    /// Servers answered, and there is no such thing.
    #[error("DNS knows no {asked}; does the service exist, and does it have members?")]
    NotFound {
        /// Every name and type that was asked for.
        asked: String,
    },
    /// No server gave an answer that says anything.
    #[error("no answer from DNS for {asked}: {cause}")]
    Failed {
        /// The name and type that was asked for.
        asked: String,
        /// What each server did.
        cause: String,
    },
    /// Not a DNS name.
    #[error("{name:?} is not a DNS name")]
    BadName {
        /// What was given.
        name: String,
    },
}
