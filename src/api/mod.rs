//! HTTP on the API address and on the loopback admin address.
//!
//! ```text
//! GroupHandle, RoleHandle, Metrics -> ApiInputs -> public router -> listener 1: /_elector/…, everything else: fallback
//!                                 |           \--> admin router  -> listener 2, loopback only, guarded
//!                                 \-> digest -> GroupHandle: what the other members tell of this one
//! ```
//!
//! Both sockets are bound in [`Api::bind`], before anything runs; [`Api::serve`] answers until `drain` is cancelled,
//! then lets open requests finish within the grace delay.
//!
//! Invariants: the admin listener is never bound to an address that is not loopback, and never speaks TLS; every answer about authority is
//! evaluated against the clock at that moment; the number of connections is bounded.

pub(crate) mod admin;
pub mod digest;
mod guard;
pub(crate) mod listen;
mod meet;
mod open_files;
mod page;
mod public;
mod ready;
mod serve;
pub mod status;
#[cfg(test)]
mod tests;
mod web;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::response::Response;
use elector_raft::{GroupHandle, Now};
use futures_util::future::BoxFuture;
use http::Request;
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::files::{self, FileError};
use crate::gate::{self, Gate};
use crate::metrics::Metrics;
use crate::role::RoleHandle;
use ready::Readiness;
use serve::Limits;
use status::StatusReport;
use web::WebFiles;

pub use guard::ADMIN_HEADER;

/// Connections at once on the API address, half of the open files at the most; more wait in the kernel's queue. The probes
/// of the kubelet and the proxied requests share them.
const PUBLIC_CONNECTIONS_MAX: usize = 4096;
/// Connections at once on the admin address: an operator and a script or two.
const ADMIN_CONNECTIONS_MAX: usize = 16;
/// More of them for the own Prometheus where the gate shares the address: 50 shards by default for each entry. With more
/// than half of the places taken connections are not kept.
const GATE_CONNECTIONS_MAX: usize = 512;

/// Settings of the two listeners.
#[derive(Clone, Debug)]
pub struct ApiSettings {
    /// Where the API and the proxy listen; an unspecified IPv6 address means all addresses of both families.
    pub listen: SocketAddr,
    /// Where admin requests are taken: always a loopback address.
    pub admin_listen: SocketAddr,
    /// How the API is encrypted and who may use it, in the format of Prometheus's `web.config.file`; `None`: plain, for everybody.
    pub web_config_file: Option<PathBuf>,
}

/// Why a listener could not be bound.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The address cannot be had.
    #[error("cannot listen on {address} for {purpose}: {source}; choose another one with --{flag}")]
    Bind {
        /// What was asked for.
        address: SocketAddr,
        /// What the listener is for.
        purpose: &'static str,
        /// Flag that sets it.
        flag: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Admin requests are not authenticated, so they are taken from this host only.
    #[error(
        "the admin address {address} is not a loopback address: it would let anybody who reaches it step the leader \
         down or remove members; use 127.0.0.1 or [::1] in --admin-listen-address"
    )]
    AdminNotLoopback {
        /// What was asked for.
        address: SocketAddr,
    },
    /// The web configuration cannot be used.
    #[error(transparent)]
    WebConfig(#[from] FileError),
}

/// Answers every path outside `/_elector`: the proxy. Gets the client's address (an IPv4 client of a dual-stack
/// listener as IPv4) and the request as it came.
pub type Fallback = Arc<dyn Fn(SocketAddr, Request<Incoming>) -> BoxFuture<'static, Response> + Send + Sync>;

/// What the endpoints tell about and act on.
#[derive(Clone)]
pub struct ApiInputs {
    /// Own member name.
    pub member: String,
    /// The group.
    pub group: GroupHandle,
    /// Role control; `None` for a witness.
    pub role: Option<RoleHandle>,
    /// All metrics.
    pub metrics: Arc<Metrics>,
    /// Warnings about settings and files at this moment, shown with those of group and configuration.
    pub warnings: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
    /// Cancelled at the first sign of shutdown, while requests are still served: from then on not ready. The admin request for a
    /// shutdown is such a sign.
    pub shutting_down: CancellationToken,
    /// The proxy; `None`: off.
    pub fallback: Option<Fallback>,
    /// The remote-write gate, which takes its requests on the admin address; `None`: off.
    pub gate: Option<Gate>,
}

/// When each listener ends. The gate's Prometheus needs the admin listener for longer.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    /// API and proxy.
    pub public: CancellationToken,
    /// Admin requests and the gate.
    pub admin: CancellationToken,
}

impl From<CancellationToken> for Drain {
    /// Both at once.
    fn from(both: CancellationToken) -> Self {
        Self { public: both.clone(), admin: both }
    }
}

/// The two bound listeners.
#[derive(Debug)]
pub struct Api {
    public: TcpListener,
    admin: TcpListener,
    web: Option<WebFiles>,
    /// Address of the API, with the port that the system chose if 0 was asked for.
    pub public_addr: SocketAddr,
    /// Address of the admin listener, likewise.
    pub admin_addr: SocketAddr,
}

impl Api {
    /// Binds both listeners, and reads the web configuration. Call it inside a tokio runtime.
    pub fn bind(settings: &ApiSettings) -> Result<Self, ApiError> {
        let ApiSettings { listen, admin_listen, ref web_config_file } = *settings;
        if !admin_listen.ip().to_canonical().is_loopback() {
            return Err(ApiError::AdminNotLoopback { address: admin_listen });
        }
        let web = web_config_file.as_deref().map(WebFiles::read).transpose()?;
        let bind = |address, purpose, flag| {
            listen::bind(address).map_err(|source| ApiError::Bind { address, purpose, flag, source })
        };
        let (public, public_addr) = bind(listen, "the API", "api-listen-address")?;
        let (admin, admin_addr) = bind(admin_listen, "admin requests", "admin-listen-address")?;
        Ok(Self { public, admin, web, public_addr, admin_addr })
    }

    /// Whether clients of the API must speak TLS at this moment.
    pub fn speaks_tls(&self) -> bool {
        self.web.as_ref().is_some_and(|web| web.webs().borrow().tls().is_some())
    }

    /// Serves until it is drained; then takes no new connection, lets open requests finish for at most `grace`, and cuts
    /// what is left.
    pub async fn serve(self, inputs: ApiInputs, drain: Drain, grace: Duration) {
        let shared = Arc::new(Shared::new(inputs, drain.public.clone()));
        let gate = shared.inputs.gate.clone();
        let latch = {
            let covered = shared.clone();
            shared.ready.clone().latch(shared.inputs.group.status.clone(), move || covered.cover())
        };
        let public_connections_max = public_connections_max(open_files::raise());
        let connections_max = ADMIN_CONNECTIONS_MAX + gate.as_ref().map_or(0, |_| GATE_CONNECTIONS_MAX);
        let admin = admin::router(shared.clone()).merge(gate.map(gate::listener::router).unwrap_or_default());
        let _latch = AbortOnDropHandle::new(tokio::spawn(latch));
        let webs = self.web.as_ref().map(WebFiles::webs);
        let _web = self.web.map(|web| AbortOnDropHandle::new(tokio::spawn(files::follow(web))));
        let _digest = AbortOnDropHandle::new(tokio::spawn(digest::tell(shared.clone())));
        tokio::join!(
            serve::serve(
                self.public,
                public::answers(shared.clone(), webs.clone()),
                Limits { purpose: "API", connections_max: public_connections_max, grace },
                webs,
                drain.public,
            ),
            serve::serve(
                self.admin,
                serve::routed(admin),
                Limits { purpose: "admin", connections_max, grace },
                None,
                drain.admin
            ),
        );
    }
}

/// Half of the open files, for connections to Prometheus and to peers need some too.
fn public_connections_max(open_files: u64) -> usize {
    usize::try_from(open_files / 2).unwrap_or(usize::MAX).min(PUBLIC_CONNECTIONS_MAX)
}

/// What all handlers see.
struct Shared {
    inputs: ApiInputs,
    ready: Readiness,
    /// Places for streams of reports.
    streams: Arc<Semaphore>,
    /// Cancelled when the API ends: streams would not end by themselves.
    drain: CancellationToken,
}

impl Shared {
    fn new(inputs: ApiInputs, drain: CancellationToken) -> Self {
        Self { inputs, ready: Readiness::default(), streams: Arc::new(Semaphore::new(page::STREAMS_MAX)), drain }
    }

    /// Ready, or one sentence why not.
    fn readiness(&self) -> Result<(), String> {
        let group = self.inputs.group.status.borrow().clone();
        self.ready.verdict(self.inputs.shutting_down.is_cancelled(), &group, || self.cover())
    }

    fn cover(&self) -> Result<(), String> {
        self.inputs.gate.as_ref().map_or(Ok(()), Gate::covered)
    }

    fn holds_authority(&self) -> bool {
        self.inputs.group.leadership.borrow().holds_authority(Now::read())
    }

    fn report(&self) -> StatusReport {
        let inputs = &self.inputs;
        // Not borrowed for the time of the report: whoever borrows twice while the group wants to write waits for ever.
        let leadership = inputs.group.leadership.borrow().clone();
        let group = inputs.group.status.borrow().clone();
        let role = inputs.role.as_ref().map(|role| role.status.borrow().clone());
        status::View {
            member: &inputs.member,
            leadership: &leadership,
            group: &group,
            role: role.as_deref(),
            gate: inputs.gate.as_ref().map(Gate::status),
            settings_warnings: &(inputs.warnings)(),
            readiness: self.readiness(),
            shutting_down: inputs.shutting_down.is_cancelled(),
        }
        .report(Now::read(), SystemTime::now())
    }
}
