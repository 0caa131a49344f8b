//! The group's thread: owns openraft, its listener and its timers, and publishes leadership.
//!
//! One thread with a current-thread runtime of its own: nothing that the rest of the process does can delay a heartbeat.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use reqwest::dns::Resolve;
use tokio::sync::{oneshot, watch};

use crate::lives::{Lives, Settings};
use crate::network::{Dialer, HttpTransport, Receiver, Tls, Tokens, serve, validate};
use crate::store::{self, Identity, StoreError, Write, Writer};
use crate::timing::Timing;
use crate::{GroupEnds, Member, NodeId, PeerSet};

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
    /// Shared token; `None`: none is sent or asked for.
    pub tokens: Option<Tokens>,
    /// Certificates; `None`: members talk in plain text.
    pub tls: Option<Tls>,
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
    ends: GroupEnds,
    loaded: store::Loaded,
    writer: Writer,
    stopped: watch::Receiver<bool>,
) -> Result<(), GroupError> {
    let setup = |error: &dyn std::fmt::Display| GroupError::Setup(error.to_string());
    let (timeout, observer) = (config.timing.retry_period, ends.observer.clone());
    let dialer = Dialer::new(config.tls.clone(), config.resolver, timeout).map_err(|error| setup(&error))?;
    let transport = HttpTransport::new(dialer, config.tokens.clone(), observer);
    let listener = tokio::net::TcpListener::from_std(config.listener).map_err(|error| setup(&error))?;
    let settings = Settings {
        group_name: config.group_name,
        member: config.member,
        timing: config.timing,
        bootstrap_expect: config.bootstrap_expect,
    };
    let lives = Lives::new(settings, loaded, writer, transport.clone(), ends).await;
    let (lives, endpoint) = lives.map_err(GroupError::Failed)?;
    transport.introduce(lives.shared.clone());
    let server = tokio::spawn(serve(listener, Receiver::new(endpoint, config.tokens), config.tls));
    lives.run(config.peers, stopped).await.map_err(GroupError::Failed)?;
    server.abort();
    Ok(())
}
