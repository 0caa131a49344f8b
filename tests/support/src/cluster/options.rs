//! What a cluster is made of.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::prometheus::Kind;
use crate::sidecar::Flags;

/// The headless service of every cluster that finds its members by DNS.
pub const SERVICE: &str = "prom.mon.svc.cluster.local.";

/// How members find each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// `--peers` with all names.
    Static,
    /// SRV and A records.
    Srv,
    /// A records alone.
    Addresses,
    /// SRV and A records that lead every member to every other one by a relay of its own ([`crate::links`]).
    Relayed,
}

/// Group that a member belongs to in a [`crate::sampler::Sampler`]: its lease name.
pub const GROUP: &str = "prometheus-elector";

/// Changes the flags of the member with this index.
pub type Customize = Box<dyn Fn(usize, &mut Flags)>;

/// The gated entry of every member.
#[derive(Clone, Copy, Debug)]
pub struct GateOptions {
    /// Parts of the target ([`crate::source::GatedSource`]).
    pub parts: u32,
    /// Samples in one request at the most.
    pub batch_samples_max: u32,
    /// `batch_send_deadline`, in milliseconds: above the scrape interval a batch holds several scrapes.
    pub batch_deadline_ms: u32,
    /// Shards at the start and at the most.
    pub shards: u32,
    /// Remote write 2.0, which Prometheus speaks from version 3 on.
    pub is_v2: bool,
}

impl GateOptions {
    /// One target in one queue, by remote write 1.0; a request each half second.
    pub const STEADY: Self = Self { parts: 1, batch_samples_max: 500, batch_deadline_ms: 500, shards: 1, is_v2: false };
}

/// Options of a [`super::Cluster`].
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Options {
    /// Names the temporary directory.
    pub label: &'static str,
    /// The sidecar.
    pub binary: PathBuf,
    /// Member names; all are known to a static group.
    pub names: Vec<String>,
    /// So many of them start at once; the others when a test starts them.
    pub start: usize,
    /// How members find each other.
    pub discovery: Discovery,
    /// What runs beside each sidecar.
    pub kind: Kind,
    /// Mounts the source file as a `ConfigMap`.
    pub config_map: bool,
    /// Time between two scrapes.
    pub scrape_interval: Duration,
    /// The agents scrape the storage server's own page instead of a target inside this process, so that everything
    /// goes on when this process ends.
    pub self_contained: bool,
    /// Time between two samples of each member's leadership.
    pub sample_period: Duration,
    /// Turns the gate on, with this queue of its entry.
    pub gate: Option<GateOptions>,
    /// Where the leader ships to, if not to the storage.
    pub remote: Option<SocketAddr>,
    /// Every member's Prometheus speaks TLS and asks for a client certificate and a password, and the sidecars have them
    /// ([`super::Cluster::secured`]).
    pub secured: bool,
    /// Prints the end of every log when the cluster is dropped before its `finish`.
    pub print_logs: bool,
    /// Changes members' flags before their first start.
    pub customize: Customize,
}

impl Options {
    /// Three members with agents that find each other by SRV records.
    pub fn new(label: &'static str, binary: impl Into<PathBuf>) -> Self {
        Self {
            label,
            binary: binary.into(),
            names: (0..3).map(|ordinal| format!("prom-{ordinal}")).collect(),
            start: 3,
            discovery: Discovery::Srv,
            kind: Kind::Agent,
            config_map: false,
            scrape_interval: Duration::from_secs(1),
            self_contained: false,
            sample_period: Duration::from_millis(20),
            gate: None,
            remote: None,
            secured: false,
            print_logs: true,
            customize: Box::new(|_, _| {}),
        }
    }

    /// `total` members are known, `start` of them run at first.
    #[must_use]
    pub fn members(mut self, total: usize, start: usize) -> Self {
        self.names = (0..total).map(|ordinal| format!("prom-{ordinal}")).collect();
        self.start = start;
        self
    }

    /// Finds members in another way.
    #[must_use]
    pub fn discovery(mut self, discovery: Discovery) -> Self {
        self.discovery = discovery;
        self
    }

    /// Changes flags.
    #[must_use]
    pub fn customize(mut self, customize: impl Fn(usize, &mut Flags) + 'static) -> Self {
        self.customize = Box::new(customize);
        self
    }
}
