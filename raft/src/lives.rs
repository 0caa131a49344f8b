//! A member's lives, one Raft instance after the other, on any runtime and any transport.
//!
//! ```text
//! Starting -> Running <-> Resetting (dismissed by the leader, or `recover`: new node id, empty log)
//!                |
//!             Stopped | Failed (storage)
//! ```

use std::sync::Arc;
use std::time::Duration;

use openraft::{Config, SnapshotPolicy, StepDownPolicy};
use tokio::sync::{mpsc, watch};

use crate::instance::{Exit, Instance, Parts};
use crate::network::{Dismissal, Endpoint, Network, Transport};
use crate::rules::{Rule, holds};
use crate::shared::Shared;
use crate::store::{Loaded, LogStore, Standing, StateMachine, Write, Writer};
use crate::timing::Timing;
use crate::types::Raft;
use crate::{GroupEnds, Member, PeerSet};

/// Snapshot after this many entries; keep this many entries before it; lag at which a snapshot is sent instead
/// (DESIGN.md, group rule 13).
const SNAPSHOT_EVERY: u64 = 64;
const LOG_KEPT: u64 = 16;
const LAG_FOR_SNAPSHOT: u64 = 128;

/// Entries in one message: with values of the greatest length it is still below the longest that is taken.
const PAYLOAD_ENTRIES_MAX: u64 = 64;

/// Places in openraft's queues: a handful is used; the default of 65,536 costs 25 MiB.
const CHANNEL_PLACES: u64 = 1024;

/// Who a member is.
pub(crate) struct Settings {
    pub(crate) group_name: String,
    pub(crate) member: Member,
    pub(crate) timing: Timing,
    pub(crate) bootstrap_expect: usize,
}

/// A member from its start to its stop.
pub(crate) struct Lives<T> {
    pub(crate) shared: Shared,
    loaded: Loaded,
    writer: Writer,
    transport: T,
    bootstrap_expect: usize,
    ends: GroupEnds,
    dismissals: mpsc::Receiver<Dismissal>,
}

impl<T: Transport> Lives<T> {
    /// Takes up what the disk held; the endpoint answers the others from now on.
    pub(crate) async fn new(
        settings: Settings,
        mut loaded: Loaded,
        writer: Writer,
        transport: T,
        ends: GroupEnds,
    ) -> Result<(Self, Endpoint), String> {
        settle_interrupted_join(&mut loaded, &writer).await?;
        let Settings { group_name, member, timing, bootstrap_expect } = settings;
        let shared = Shared::new(group_name, member, timing, loaded.identity.clone(), writer.clone(), &ends);
        let (dismissals_tx, dismissals) = mpsc::channel(1);
        let endpoint = Endpoint::new(shared.clone(), dismissals_tx);
        Ok((Self { shared, loaded, writer, transport, bootstrap_expect, ends, dismissals }, endpoint))
    }

    /// Runs until `stopped`, or until the group fails: the cause.
    pub(crate) async fn run(
        mut self,
        mut peers: watch::Receiver<PeerSet>,
        stopped: watch::Receiver<bool>,
    ) -> Result<(), String> {
        loop {
            match self.live(&mut peers, stopped.clone()).await? {
                Exit::Stopped => return Ok(()),
                Exit::Failed(cause) => return Err(cause),
                Exit::Reset { why, removed, reply } => {
                    let old_id = self.shared.node_id();
                    tracing::warn!(%old_id, reason = %why, "this member starts anew, with an empty log and a new node id");
                    let reset = self.shared.reset(removed).await;
                    if let Some(reply) = reply {
                        let _ = reply.send(Ok(self.shared.node_id()));
                    }
                    reset.map_err(|error| error.to_string())?;
                    self.loaded = Loaded::blank(self.shared.identity().as_ref().clone());
                }
            }
        }
    }

    /// One life, under one node id.
    async fn live(
        &mut self,
        peers: &mut watch::Receiver<PeerSet>,
        stopped: watch::Receiver<bool>,
    ) -> Result<Exit, String> {
        let shared = &self.shared;
        let (machine, data) = StateMachine::new(self.loaded.snapshot.take(), self.writer.clone());
        let log = LogStore::new(&mut self.loaded, self.writer.clone());
        let log_view = log.clone();
        let network = Network { transport: self.transport.clone(), shared: shared.clone() };
        let raft = Raft::new(shared.node_id(), Arc::new(raft_config(shared.timing())), network, log, machine)
            .await
            .map_err(|error| error.to_string())?;
        shared.set_raft(Some(raft.clone()));
        let instance = Instance::new(Parts {
            shared: shared.clone(),
            raft: raft.clone(),
            transport: self.transport.clone(),
            log: log_view,
            data,
            bootstrap_expect: self.bootstrap_expect,
            leadership: self.ends.leadership.clone(),
            status: self.ends.status.clone(),
            values: self.ends.values.clone(),
        });
        let exit = instance.run(&mut self.ends, peers, &mut self.dismissals, stopped).await;
        self.shared.set_raft(None);
        let _ = raft.shutdown().await;
        Ok(exit)
    }
}

/// A crash may fall between joining a group and storing anything in it: the promise stands, the joining does not.
async fn settle_interrupted_join(loaded: &mut Loaded, writer: &Writer) -> Result<(), String> {
    if let Standing::Joined(cluster) = loaded.identity.standing
        && loaded.holds_nothing()
    {
        loaded.identity.standing = Standing::Promised(cluster);
        writer.write(Write::Identity(loaded.identity.clone())).await.map_err(|error| error.to_string())?;
    }
    Ok(())
}

pub(crate) fn raft_config(timing: &Timing) -> Config {
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let lease = ms(timing.lease_duration);
    let snapshot_every = if holds(Rule::LogBound) { SNAPSHOT_EVERY } else { u64::MAX };
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
        enable_leader_restore: Some(!holds(Rule::NoLeaderRestore)),
        removed_leader_step_down: StepDownPolicy::Never,
        quorum_loss_probe_interval: holds(Rule::QuorumLossProbe).then_some(2 * lease),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(snapshot_every),
        max_in_snapshot_log_to_keep: LOG_KEPT,
        replication_lag_threshold: LAG_FOR_SNAPSHOT,
        max_payload_entries: PAYLOAD_ENTRIES_MAX,
        // A follower whose directory was put back to an older state gets the entries again: otherwise a release build never
        // replicates to it any more. In a simulation that is a fault of ours, and ends the run.
        allow_log_reversion: Some(cfg!(not(feature = "simulation"))),
        api_channel_size: Some(CHANNEL_PLACES),
        notification_channel_size: Some(CHANNEL_PLACES),
        ..Config::default()
    }
}
