//! Which pods exist now, for clients and pollers.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A pod as others see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    /// Its address.
    pub address: Ipv4Addr,
    /// Process id of its sidecar.
    pub sidecar: Option<u32>,
    /// It runs no Prometheus.
    pub witness: bool,
}

/// All pods by name. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Roster(Arc<Mutex<BTreeMap<String, Seat>>>);

impl Roster {
    /// Puts a pod there, or changes what is told of it.
    pub(super) fn set(&self, name: &str, seat: Seat) {
        self.lock().insert(name.into(), seat);
    }

    /// Takes a pod away.
    pub(super) fn remove(&self, name: &str) {
        self.lock().remove(name);
    }

    /// The pod of this name.
    pub(super) fn seat(&self, name: &str) -> Option<Seat> {
        self.lock().get(name).copied()
    }

    /// All of them.
    pub(super) fn seats(&self) -> BTreeMap<String, Seat> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Seat>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
