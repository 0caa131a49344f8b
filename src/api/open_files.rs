//! How many files, connections among them, the process may have open at once.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// More than is ever used; kinder than the millions that a container runtime may allow.
const WANTED: u64 = 16_384;

/// Raises the soft limit as far as it is wanted and the hard one allows, as Go programs do by themselves. Returns the limit
/// in force.
pub(super) fn raise() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    // `None` is no limit.
    let current = limit.current.unwrap_or(u64::MAX);
    let wanted = limit.maximum.map_or(WANTED, |maximum| maximum.min(WANTED));
    if current >= wanted {
        return current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum }) {
        Ok(()) => wanted,
        Err(error) => {
            tracing::warn!(%error, current, wanted, "cannot raise the limit of open files");
            current
        }
    }
}
