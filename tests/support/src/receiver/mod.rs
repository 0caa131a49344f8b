//! A remote-write receiver that notes who sent what, from the first moment of each request.
//!
//! - Its own thread and runtime: what the rest of a test does delays neither its clock nor its answers.
//! - [`decode`]: reads 1.0 and 2.0, independent of the sidecar's code
//! - [`behaviour`]: how it answers, to be changed at any time
//! - [`store`]: what it keeps, by the rules of real receivers
//! - [`record`]: what it notes; [`analysis`]: what follows from that

pub mod analysis;
pub mod behaviour;
pub mod decode;
pub mod record;
mod serve;
pub mod store;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use tokio::sync::{oneshot, watch};

use self::behaviour::Behaviour;
use self::record::Request;
use self::store::Store;
use crate::http;

/// Header with the term.
pub const TERM_HEADER: &str = "x-prometheus-elector-term";

/// What serving and the test share.
#[derive(Debug)]
struct Shared {
    behaviour: watch::Sender<Behaviour>,
    log: Mutex<Log>,
    forwarder: reqwest::Client,
}

#[derive(Debug, Default)]
struct Log {
    requests: Vec<Request>,
    store: Store,
}

/// A running receiver; ends when it is dropped.
#[derive(Debug)]
pub struct Receiver {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    // Dropping it ends the thread.
    _stop: oneshot::Sender<()>,
}

impl Receiver {
    /// Starts one that accepts everything.
    pub fn start(address: SocketAddr) -> Result<Self> {
        let listener = std::net::TcpListener::bind(address).with_context(|| format!("listen at {address}"))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let behaviour = watch::Sender::new(Behaviour::Accept);
        // Its connections live on the receiver's own runtime, where alone it is used.
        let forwarder = http::client(http::TIMEOUT)?;
        let shared = Arc::new(Shared { behaviour, log: Mutex::default(), forwarder });
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let serving = Arc::clone(&shared);
        std::thread::Builder::new().name("receiver".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve::serve(listener, serving) => {}
                    // An error says that the receiver was dropped.
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { address, shared, _stop: stop })
    }

    /// Changes how it answers. Requests that hang are broken off.
    pub fn set(&self, behaviour: Behaviour) {
        self.shared.behaviour.send_replace(behaviour);
    }

    /// How it answers now.
    pub fn behaviour(&self) -> Behaviour {
        self.shared.behaviour.borrow().clone()
    }

    /// All requests so far, in the order in which they began.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.log).requests.clone()
    }

    /// Number of requests so far.
    pub fn count(&self) -> usize {
        lock(&self.shared.log).requests.len()
    }

    /// Looks at the notes and the store without copying them; requests wait meanwhile.
    pub fn read<T>(&self, look: impl FnOnce(&[Request], &Store) -> T) -> T {
        let log = lock(&self.shared.log);
        look(&log.requests, &log.store)
    }

    /// What it has stored.
    pub fn store(&self) -> Store {
        lock(&self.shared.log).store.clone()
    }
}

fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}
