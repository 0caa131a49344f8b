//! The only place that wires the pieces: build (bind sockets, write the follower configuration) -> spawn -> drain.
//!
//! ```text
//! start:    bind API, admin and Raft sockets -> role control writes the follower configuration -> group -> everything else
//! shutdown: not ready -> (a covered member is waited for) -> follower configuration in force, the gate gives way, leadership
//!           handed over -> open requests finish, the pod's label says follower -> Prometheus has stopped -> the gate's
//!           listener ends -> group stops
//! ```
//!
//! Two runtimes: the group has a thread of its own; everything else shares this one (DESIGN.md, "The pieces").

mod gate;
mod pod_label;
mod signals;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use elector_raft::{Eligibility, Group, GroupConfig, GroupHandle, Member, Observer, PeerSet, Timing};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::signals::Signals;
use crate::api::{Api, ApiInputs, Drain, Fallback, listen};
use crate::config::{GroupSettings, InitSettings, Settings};
use crate::discovery::{DialResolver, Discovery};
use crate::event_log::{EventLog, ShutdownState};
use crate::gate::Gate;
use crate::metrics::{GroupMetrics, Metrics, NotifierMetrics};
use crate::prometheus::access::{AccessFiles, Accesses};
use crate::prometheus::client::LocalClient;
use crate::prometheus::file;
use crate::proxy::{self, Proxy, ProxySettings};
use crate::raft_files::{RaftFiles, RaftFilesStatus};
use crate::render::render_for;
use crate::role::{RoleController, RoleHandle, RoleSettings};

/// Part of the grace delay that is kept for open requests when the handover takes all the time it may.
const DRAIN_SHARE: u32 = 3;
/// Part of it that is kept for the gate's last requests.
const LISTENER_SHARE: u32 = 20;

/// Runs the sidecar until SIGTERM or SIGINT; the error is what made it stop otherwise.
pub fn run(settings: Settings) -> anyhow::Result<()> {
    // An error means that it is known already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = Signals::new()?;
        for warning in &settings.warnings {
            tracing::warn!(%warning, "settings");
        }
        let app = App::build(settings)?;
        app.run(&mut signals).await
    })
}

/// Writes the follower configuration once (`--init`).
pub fn init(settings: &InitSettings) -> anyhow::Result<()> {
    let source = &settings.source;
    let bytes = std::fs::read(source).with_context(|| format!("config {}", source.display()))?;
    let rendered = render_for(&bytes, settings.gate).with_context(|| format!("config {}", source.display()))?;
    for warning in &rendered.warnings {
        tracing::warn!(%warning, "configuration");
    }
    file::replace(&settings.output, &rendered.follower, settings.output_mode)?;
    tracing::info!(output = %settings.output.display(), "wrote the follower configuration");
    Ok(())
}

/// The built sidecar.
struct App {
    group: Group,
    handle: GroupHandle,
    role: Option<Stoppable>,
    pod_label: Option<Stoppable>,
    api: JoinHandle<()>,
    shutting_down: CancellationToken,
    drain: Drain,
    gate: Option<Gate>,
    /// Where the gate's Prometheus is told to reload.
    prometheus: Option<reqwest::Url>,
    grace: Duration,
    background: Vec<JoinHandle<()>>,
    event_log: Option<EventLog>,
}

/// A task that ends some time after it was asked to.
struct Stoppable {
    task: JoinHandle<()>,
    shutdown: CancellationToken,
}

impl Stoppable {
    fn start<T: Future<Output = ()> + Send + 'static>(run: impl FnOnce(CancellationToken) -> T) -> Self {
        let shutdown = CancellationToken::new();
        Self { task: tokio::spawn(run(shutdown.clone())), shutdown }
    }
}

impl App {
    fn build(settings: Settings) -> anyhow::Result<Self> {
        let api = Api::bind(&settings.api)?;
        let (raft_listener, raft_addr) = listen::bind(settings.group.listen).with_context(|| {
            format!("raft-listen-address {}: cannot listen; is another process using it?", settings.group.listen)
        })?;
        let member = advertised(settings.group.member.clone(), &api, raft_addr);
        let (handle, mut ends) = GroupHandle::new();
        let (group_metrics, notifier) = (GroupMetrics::default(), NotifierMetrics::default());
        let event_log = settings.event_log.map(|path| EventLog::open(&path, &member.name)).transpose()?;
        ends.observer = observer(&group_metrics, event_log.as_ref());
        let pod_label = pod_label::build(settings.pod.as_ref(), &handle)?;
        let access = AccessFiles::read(settings.access)?;
        let client = settings.role.as_ref().map(|role| local_client(role, access.accesses())).transpose()?;
        let gate = settings.gate.map(|gate| Gate::start(gate, handle.clone())).transpose()?;
        let prometheus = settings.role.as_ref().zip(client.clone());
        let role = build_role(prometheus, &handle, gate.as_ref(), api.admin_addr, &notifier)?;
        let dns_server = settings.discovery.dns_server;
        let discovery = Discovery::build(settings.discovery)?;
        let raft_files = RaftFiles::read(settings.group.token_file.as_deref(), settings.group.tls.as_ref(), &member)?;
        let (listener, peers) = (raft_listener.into_std()?, discovery.peers());
        let group =
            Group::start(group_config(settings.group, &member, &raft_files, listener, dns_server, peers), ends)?;
        log_start(&member, &api, raft_addr);
        let (role_handle, role) = role.unzip();
        let mut metrics = Metrics::new(&member.name, &handle, role_handle.as_ref().map(|role| (role, &notifier)));
        metrics.register_group(&group_metrics);
        metrics.register_discovery(discovery.status());
        let raft_files_status = raft_files.status();
        register_parts(&mut metrics, gate.as_ref(), &raft_files_status, settings.runtime_metrics);
        let fallback =
            settings.proxy.map(|proxy| build_proxy(&proxy, &handle, dns_server, access.accesses(), &mut metrics));
        let pod_label = pod_label.map(|label| pod_label::start(label, &mut metrics));
        let metrics = Arc::new(metrics);
        let mut background = vec![
            tokio::spawn(discovery.run(CancellationToken::new())),
            tokio::spawn(metrics.track_transitions(&handle)),
            tokio::spawn(access.follow()),
            tokio::spawn(raft_files.follow()),
        ];
        let recorded = event_log.clone().zip(role_handle.as_ref());
        background.extend(recorded.map(|(log, role)| tokio::spawn(log.follow_role(role.status.clone()))));
        let prometheus = settings.role.map(|role| role.notify.url);
        if let (Some(gate), Some(url), Some(client), Some(role)) = (&gate, &prometheus, client, &role_handle) {
            let role = role.status.clone();
            background.extend(gate::follow_prometheus(gate.clone(), client, url, api.admin_addr, role));
        }
        let (shutting_down, drain) = (CancellationToken::new(), Drain::default());
        let inputs = ApiInputs {
            member: member.name,
            group: handle.clone(),
            role: role_handle,
            metrics,
            warnings: warnings(settings.warnings, raft_files_status),
            shutting_down: shutting_down.clone(),
            fallback,
            gate: gate.clone(),
        };
        Ok(Self {
            group,
            handle,
            role: role.map(|controller| Stoppable::start(|shutdown| controller.run(shutdown))),
            pod_label,
            api: tokio::spawn(api.serve(inputs, drain.clone(), settings.shutdown_grace)),
            shutting_down,
            drain,
            gate,
            prometheus,
            grace: settings.shutdown_grace,
            background,
            event_log,
        })
    }

    async fn run(mut self, signals: &mut Signals) -> anyhow::Result<()> {
        let event_log = self.event_log.clone();
        let mut is_asked = false;
        let cause = tokio::select! {
            name = signals.next() => {
                tracing::info!(signal = name, grace = ?self.grace, "shutting down");
                None
            }
            () = self.shutting_down.cancelled() => {
                tracing::info!(grace = ?self.grace, "shutting down, as an admin request asked");
                is_asked = true;
                None
            }
            () = self.group.ended() => Some("the election group has ended"),
            _ = &mut self.api => Some("the API has ended"),
            () = ended(self.role.as_mut()) => Some("role control has ended"),
        };
        if let Some(cause) = cause {
            tracing::error!(cause, "shutting down");
        }
        let note = |state| event_log.iter().for_each(|log| log.shutdown(state));
        note(ShutdownState::Begun);
        let stopped = tokio::select! {
            stopped = self.shut_down() => stopped,
            name = signals.second(is_asked) => anyhow::bail!("a second {name}: stopped without waiting"),
        };
        stopped?;
        if let Some(cause) = cause {
            anyhow::bail!("{cause}");
        }
        note(ShutdownState::Ended);
        tracing::info!("stopped");
        Ok(())
    }

    /// Gives everything up in order, within the grace delay.
    async fn shut_down(self) -> anyhow::Result<()> {
        let deadline = Instant::now() + self.grace;
        self.shutting_down.cancel();
        let handover_until = deadline - self.grace / DRAIN_SHARE;
        let handover = give_up_leadership(self.role, &self.handle);
        if tokio::time::timeout_at(handover_until, handover).await.is_err() {
            tracing::warn!("the handover was not done in time; another member takes over when the lease ends");
        }
        if let Some(label) = &self.pod_label {
            label.shutdown.cancel();
        }
        self.drain.public.cancel();
        if let (Some(gate), Some(url)) = (&self.gate, &self.prometheus) {
            gate::outlive_prometheus(gate, url, deadline - self.grace / LISTENER_SHARE).await;
        }
        self.drain.admin.cancel();
        if tokio::time::timeout_at(deadline, self.api).await.is_err() {
            tracing::warn!("open requests were cut at the end of the grace delay");
        }
        if let Some(label) = self.pod_label {
            // It has had its second beside the rest.
            let _ = label.task.await;
        }
        for task in self.background {
            task.abort();
        }
        let group = self.group;
        tokio::task::spawn_blocking(move || group.stop()).await??;
        Ok(())
    }
}

fn log_start(member: &Member, api: &Api, raft: SocketAddr) {
    tracing::info!(
        member = %member.name, version = env!("CARGO_PKG_VERSION"), api = %api.public_addr, admin = %api.admin_addr,
        %raft, advertised = %member.raft_address, "started"
    );
}

async fn ended(role: Option<&mut Stoppable>) {
    match role {
        Some(role) => {
            let _ = (&mut role.task).await;
        }
        None => std::future::pending().await,
    }
}

fn observer(metrics: &GroupMetrics, log: Option<&EventLog>) -> Arc<dyn Observer> {
    match log {
        Some(log) => Arc::new((metrics.clone(), log.clone())),
        None => Arc::new(metrics.clone()),
    }
}

/// Families of the parts that not every sidecar has.
fn register_parts(metrics: &mut Metrics, gate: Option<&Gate>, files: &RaftFilesStatus, process: bool) {
    metrics.register_certificates(files.clone());
    if let Some(gate) = gate.cloned() {
        metrics.register_gate(Box::new(move || gate.status()));
    }
    if process {
        metrics.register_process();
    }
}

/// What the status warns of.
fn warnings(settings: Vec<String>, files: RaftFilesStatus) -> Arc<dyn Fn() -> Vec<String> + Send + Sync> {
    Arc::new(move || [&settings[..], &files.warnings(SystemTime::now())].concat())
}

/// The client for the own Prometheus.
fn local_client(settings: &RoleSettings, accesses: Accesses) -> anyhow::Result<LocalClient> {
    let (readiness, notify) = (settings.readiness.as_ref().map(|readiness| &readiness.url), &settings.notify);
    let urls = [Some(&notify.url), settings.health.url.as_ref(), readiness];
    Ok(LocalClient::build(urls.into_iter().flatten(), notify.timeout, accesses)?)
}

/// Role control; a witness has none.
fn build_role(
    prometheus: Option<(&RoleSettings, LocalClient)>,
    group: &GroupHandle,
    gate: Option<&Gate>,
    gate_address: SocketAddr,
    notifier: &NotifierMetrics,
) -> anyhow::Result<Option<(RoleHandle, RoleController)>> {
    let Some((settings, client)) = prometheus else {
        group.set_eligibility(Eligibility { reason: "a witness never acts".into(), ..Eligibility::default() });
        return Ok(None);
    };
    let renderer = gate::renderer(gate.cloned(), gate_address, settings.output.is_some());
    let companion = gate.map(gate::companion);
    Ok(Some(RoleController::build(settings, group.clone(), client, renderer, notifier.clone(), companion)?))
}

/// Role control puts the follower configuration in force, then hands over; a witness only hands over.
async fn give_up_leadership(role: Option<Stoppable>, group: &GroupHandle) {
    match role {
        Some(role) if !role.task.is_finished() => {
            role.shutdown.cancel();
            let _ = role.task.await;
        }
        Some(_) => {}
        None => {
            if let Err(error) = group.hand_over("shutting down").await {
                tracing::debug!(%error, "nothing to hand over");
            }
        }
    }
}

/// A port that the system chose, and whether the API speaks TLS, are known only now.
fn advertised(mut member: Member, api: &Api, raft: SocketAddr) -> Member {
    if let Some(host) = member.api_url.strip_suffix(":0") {
        member.api_url = format!("{host}:{}", api.public_addr.port());
    }
    if let (true, Some(rest)) = (api.speaks_tls(), member.api_url.strip_prefix("http://")) {
        member.api_url = format!("https://{rest}");
    }
    if let Some(host) = member.raft_address.strip_suffix(":0") {
        member.raft_address = format!("{host}:{}", raft.port());
    }
    member
}

fn group_config(
    settings: GroupSettings,
    member: &Member,
    files: &RaftFiles,
    listener: std::net::TcpListener,
    dns_server: Option<SocketAddr>,
    peers: watch::Receiver<PeerSet>,
) -> GroupConfig {
    GroupConfig {
        member: member.clone(),
        timing: timing(&settings),
        tokens: files.tokens(),
        tls: files.tls(),
        group_name: settings.group_name,
        data_dir: settings.data_dir,
        bootstrap_expect: settings.bootstrap_expect,
        listener,
        // One of its own: a connection to DNS lives on the runtime that first used it.
        resolver: Some(Arc::new(DialResolver::new(dns_server))),
        peers,
    }
}

fn timing(settings: &GroupSettings) -> Timing {
    Timing {
        lease_duration: settings.lease_duration,
        renew_deadline: settings.renew_deadline,
        retry_period: settings.retry_period,
        member_removal_delay: settings.member_removal_delay,
    }
}

fn build_proxy(
    settings: &ProxySettings,
    group: &GroupHandle,
    dns_server: Option<SocketAddr>,
    accesses: Accesses,
    metrics: &mut Metrics,
) -> Fallback {
    let connector = proxy::connector(DialResolver::new(dns_server));
    let proxy = Proxy::new(settings, group.leadership.clone(), connector, accesses);
    proxy.metrics().register(metrics.registry_mut());
    Arc::new(move |client, request| {
        let proxy = proxy.clone();
        Box::pin(async move { proxy.handle(client, request).await })
    })
}
