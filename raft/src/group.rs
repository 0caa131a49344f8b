//! The group's thread: owns openraft, its listener and its timers, and publishes leadership.
//!
//! ```text
//! Starting -> Running <-> Resetting (dismissed by the leader, or `recover`: new node id, empty log)
//!                |
//!             Stopped | Failed (storage)
//! ```
//!
//! One thread with a current-thread runtime of its own: nothing that the rest of the process does can delay a heartbeat.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use openraft::{Config, SnapshotPolicy, StepDownPolicy};
use reqwest::dns::Resolve;
use tokio::sync::{mpsc, oneshot, watch};

use crate::instance::{Exit, Instance, Parts};
use crate::network::{Endpoint, HttpTransport, Network, Token, router, validate};
use crate::shared::Shared;
use crate::store::{self, Identity, LogStore, Standing, StateMachine, StoreError, Write, Writer};
use crate::timing::Timing;
use crate::types::Raft;
use crate::{GroupEnds, Member, NodeId, PeerSet};

/// Snapshot after this many entries; keep this many entries before it; lag at which a snapshot is sent instead
/// (DESIGN.md, group rule 13).
const SNAPSHOT_EVERY: u64 = 64;
const LOG_KEPT: u64 = 16;
const LAG_FOR_SNAPSHOT: u64 = 128;

/// Entries in one message: with values of the greatest length it is still below the longest that is taken.
const PAYLOAD_ENTRIES_MAX: u64 = 64;

/// Places in openraft's queues: a handful is used; the default of 65,536 costs 25 MiB.
const CHANNEL_PLACES: u64 = 1024;

/// Everything a member needs to take part.
pub struct GroupConfig {
    /// Name and addresses of this member.
    pub member: Member,
    /// Name of the election.
    pub group_name: String,
    /// Timings, equal on all members.
    pub timing: Timing,
    /// Directory of the durable state.
    pub data_dir: PathBuf,
    /// A group forms with a majority of at least this many.
    pub bootstrap_expect: usize,
    /// Shared token; `None`: members are not authenticated.
    pub token: Option<Token>,
    /// Bound listener for the other members.
    pub listener: TcpListener,
    /// Finds the addresses of host names; `None`: the system's resolver.
    pub resolver: Option<Arc<dyn Resolve>>,
    /// What discovery finds.
    pub peers: watch::Receiver<PeerSet>,
}

/// Why the group cannot run.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// The timings contradict each other.
    #[error("{0}")]
    Timing(String),
    /// The durable state cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The thread, its runtime, listener or client cannot be set up.
    #[error("the election group cannot start: {0}")]
    Setup(String),
    /// openraft stopped, because storage failed.
    #[error("the election group failed: {0}; this member has stopped taking part and must be restarted")]
    Failed(String),
}

/// The running group.
pub struct Group {
    thread: JoinHandle<Result<(), GroupError>>,
    stop: watch::Sender<bool>,
    ended: oneshot::Receiver<()>,
}

impl Group {
    /// Opens the durable state, then starts the thread. Errors of the set-up are returned here.
    pub fn start(config: GroupConfig, ends: GroupEnds) -> Result<Self, GroupError> {
        config.timing.validate().map_err(GroupError::Timing)?;
        validate::member(&config.member).map_err(GroupError::Setup)?;
        config.listener.set_nonblocking(true).map_err(|error| GroupError::Setup(error.to_string()))?;
        let opened = store::open(&config.data_dir)?;
        let (stop, stopped) = watch::channel(false);
        let (ended_tx, ended) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("group".into())
            .spawn(move || {
                let result = run_thread(config, ends, opened, stopped);
                let _ = ended_tx.send(());
                result
            })
            .map_err(|error| GroupError::Setup(error.to_string()))?;
        Ok(Self { thread, stop, ended })
    }

    /// Waits until the group has ended by itself, which is an error. Safe to drop and call again.
    pub async fn ended(&mut self) {
        let _ = (&mut self.ended).await;
    }

    /// Stops the group and waits until its disk is closed. Hand leadership over before.
    pub fn stop(self) -> Result<(), GroupError> {
        self.stop.send_replace(true);
        self.thread.join().unwrap_or_else(|_| Err(GroupError::Failed("its thread panicked".into())))
    }
}

/// Makes the member whose state is in `dir` blank, with a new node id: the way out after a majority is lost for good.
/// For a member that is not running.
pub fn recover(dir: &std::path::Path) -> Result<NodeId, StoreError> {
    let (mut disk, _) = store::open(dir)?;
    let fresh = Identity::new();
    let node_id = fresh.node_id;
    disk.commit([&Write::Reset(fresh)]).map_err(|source| StoreError::Directory { dir: dir.to_path_buf(), source })?;
    Ok(node_id)
}

fn run_thread(
    config: GroupConfig,
    ends: GroupEnds,
    opened: (store::Disk, store::Loaded),
    stopped: watch::Receiver<bool>,
) -> Result<(), GroupError> {
    let setup = |error: std::io::Error| GroupError::Setup(error.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(setup)?;
    let (disk, loaded) = opened;
    let (writer, closed) = Writer::start(disk).map_err(setup)?;
    runtime.block_on(async move {
        let result = run(config, ends, loaded, writer, stopped).await;
        let _ = tokio::time::timeout(std::time::Duration::from_secs(5), closed).await;
        result
    })
}

async fn run(
    config: GroupConfig,
    mut ends: GroupEnds,
    mut loaded: store::Loaded,
    writer: Writer,
    stopped: watch::Receiver<bool>,
) -> Result<(), GroupError> {
    settle_interrupted_join(&mut loaded, &writer).await?;
    let shared = Shared::new(
        config.group_name,
        config.member,
        config.timing,
        loaded.identity.clone(),
        writer.clone(),
        ends.eligibility.clone(),
    );
    let setup = |error: &dyn std::fmt::Display| GroupError::Setup(error.to_string());
    let transport = HttpTransport::new(config.token.clone(), config.resolver, config.timing.retry_period)
        .map_err(|error| setup(&error))?;
    let (dismissals_tx, mut dismissals) = mpsc::channel(1);
    let listener = tokio::net::TcpListener::from_std(config.listener).map_err(|error| setup(&error))?;
    let routes = router(Endpoint::new(shared.clone(), dismissals_tx), config.token);
    let service = routes.into_make_service_with_connect_info::<std::net::SocketAddr>();
    let server = tokio::spawn(async move { axum::serve(listener, service).await });
    let mut peers = config.peers;
    loop {
        let (machine, data) = StateMachine::new(loaded.snapshot.take(), writer.clone());
        let log = LogStore::new(&mut loaded, writer.clone());
        let network = Network { transport: transport.clone(), shared: shared.clone() };
        let raft = Raft::new(shared.node_id(), Arc::new(raft_config(&config.timing)), network, log, machine)
            .await
            .map_err(|error| GroupError::Failed(error.to_string()))?;
        shared.set_raft(Some(raft.clone()));
        let exit = Instance::new(Parts {
            shared: shared.clone(),
            raft: raft.clone(),
            transport: transport.clone(),
            data,
            bootstrap_expect: config.bootstrap_expect,
            leadership: ends.leadership.clone(),
            status: ends.status.clone(),
            values: ends.values.clone(),
        })
        .run(&mut ends, &mut peers, &mut dismissals, stopped.clone())
        .await;
        shared.set_raft(None);
        let _ = raft.shutdown().await;
        match exit {
            Exit::Stopped => break,
            Exit::Failed(cause) => return Err(GroupError::Failed(cause)),
            Exit::Reset { why, reply } => {
                tracing::warn!(old_id = %shared.node_id(), reason = %why, "this member starts anew, with an empty log and a new node id");
                let reset = shared.reset().await;
                if let Some(reply) = reply {
                    let _ = reply.send(Ok(shared.node_id()));
                }
                reset.map_err(|error| GroupError::Failed(error.to_string()))?;
                loaded = store::Loaded::blank(shared.identity());
            }
        }
    }
    server.abort();
    Ok(())
}

/// A crash may fall between joining a group and storing anything in it: the promise stands, the joining does not.
async fn settle_interrupted_join(loaded: &mut store::Loaded, writer: &Writer) -> Result<(), GroupError> {
    if let Standing::Joined(cluster) = loaded.identity.standing
        && loaded.holds_nothing()
    {
        loaded.identity.standing = Standing::Promised(cluster);
        let written = writer.write(Write::Identity(loaded.identity.clone())).await;
        written.map_err(|error| GroupError::Failed(error.to_string()))?;
    }
    Ok(())
}

pub(crate) fn raft_config(timing: &Timing) -> Config {
    let ms = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let lease = ms(timing.lease_duration);
    Config {
        cluster_name: "group".into(),
        // Also the lease that voters keep. Elections start only after the lease has ended, so a short minimum costs no
        // false takeover and saves time in each.
        election_timeout_max: lease,
        election_timeout_min: ms(timing.election_timeout_min()),
        heartbeat_interval: ms(timing.retry_period),
        // Off until the quarantine has passed.
        enable_elect: false,
        enable_pre_vote: Some(true),
        enable_leader_restore: Some(false),
        removed_leader_step_down: StepDownPolicy::Never,
        quorum_loss_probe_interval: Some(2 * lease),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(SNAPSHOT_EVERY),
        max_in_snapshot_log_to_keep: LOG_KEPT,
        replication_lag_threshold: LAG_FOR_SNAPSHOT,
        max_payload_entries: PAYLOAD_ENTRIES_MAX,
        // A follower whose directory was put back to an older state gets the entries again. Otherwise its answer ends a debug
        // build, and a release build never replicates to it again.
        allow_log_reversion: Some(true),
        api_channel_size: Some(CHANNEL_PLACES),
        notification_channel_size: Some(CHANNEL_PLACES),
        ..Config::default()
    }
}
