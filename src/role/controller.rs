//! Builds role control and runs it with its watchers.
//!
//! Building writes the follower configuration before anything else can happen: a sidecar that comes back after a crash
//! may find the leader configuration that it once wrote. It keeps a copy of the newest good follower configuration
//! beside the output (`.<output>.follower`), so that this works too when the source file has become invalid meanwhile.
//!
//! A source file that is invalid at the start
//! - fails the start when there is no output file either: it is a first deployment, Prometheus cannot start, and
//!   whoever deploys must see it at once;
//! - else does not: the process is a voter, and its proxy serves. It puts the kept follower configuration in force (or,
//!   without one, leaves Prometheus alone and says so), is not eligible, and goes on when the file is repaired.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use elector_raft::GroupHandle;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::runner::{Output, Parts, Runner};
use super::state::{Event, Policy, State};
use super::variants::{Config, Renderer};
use super::{Companion, OutputSettings, Role, RoleHandle, RoleSettings};
use crate::metrics::NotifierMetrics;
use crate::prometheus::client::LocalClient;
use crate::prometheus::file::{self, FileError};
use crate::prometheus::probe::Prober;
use crate::prometheus::reload::HttpReload;
use crate::prometheus::watch::{SourceError, SourceWatch, read};

/// Commands that may wait at once; more callers wait for a place.
const COMMANDS_MAX: usize = 16;

/// Events that may wait at once; their senders wait for a place.
const EVENTS_MAX: usize = 16;

/// Suffix of the kept follower configuration.
const KEPT_SUFFIX: &str = "follower";

/// Why role control cannot start.
#[derive(Debug, thiserror::Error)]
pub enum RoleError {
    /// No valid source file, and nothing from before to go on with.
    #[error("{cause}; there is no {} from before either, so Prometheus has no configuration", output.display())]
    Source {
        /// What is wrong with it.
        #[source]
        cause: InvalidSource,
        /// The output file.
        output: PathBuf,
    },
    /// The output file cannot be written.
    #[error(transparent)]
    Output(#[from] FileError),
}

/// What is wrong with a source file, in one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSource(String);

/// Role control, ready to run.
pub struct RoleController {
    runner: Runner<HttpReload>,
    prober: Prober,
    source: SourceWatch,
    renderer: Renderer,
    output: Option<Output>,
}

impl Output {
    /// Names the files, and removes what a crash has left beside them.
    fn new(settings: &OutputSettings) -> Result<Self, FileError> {
        file::remove_leftovers(&settings.path)?;
        let kept = file::beside(&settings.path, KEPT_SUFFIX)?;
        Ok(Self { path: settings.path.clone(), kept, mode: settings.mode })
    }
}

impl RoleController {
    /// Reads and renders the source file, writes the follower configuration and removes what a crash left behind.
    /// `client` reaches Prometheus.
    /// Blocks on the disk. Call it before the group starts, and inside a tokio runtime.
    pub fn build(
        settings: &RoleSettings,
        group: GroupHandle,
        client: LocalClient,
        renderer: Renderer,
        metrics: NotifierMetrics,
        companion: Option<Companion>,
    ) -> Result<(RoleHandle, Self), RoleError> {
        let output = settings.output.as_ref().map(Output::new).transpose()?;
        let source = read(&settings.source);
        let (config, source_error) = first_config(&source, &renderer, output.as_ref())?;
        if let (Some(config), Some(output)) = (&config, &output) {
            file::replace(&output.path, &config.bytes(Role::Follower), output.mode)?;
        }

        let notify = &settings.notify;
        let policy = Policy {
            max_attempts: notify.max_attempts,
            retry_delay: notify.retry_delay,
            demote_timeout: settings.demote_timeout,
            cover_timeout: settings.cover_timeout,
            renders: output.is_some(),
        };
        let (commands_tx, commands) = mpsc::channel(COMMANDS_MAX);
        let (status, status_rx) = watch::channel(Arc::default());
        let runner = Runner::new(Parts {
            state: State::new(policy, config, source_error),
            group,
            reload: HttpReload::new(client.clone(), notify, metrics),
            slow_after: notify.timeout,
            output: output.clone(),
            commands,
            status,
            events: mpsc::channel(EVENTS_MAX),
            companion,
        });
        let prober = Prober::new(client, &notify.url, &settings.health, settings.readiness.clone());
        let source = SourceWatch::new(settings.source.clone(), &source);
        let handle = RoleHandle { status: status_rx, commands: commands_tx };
        Ok((handle, Self { runner, prober, source, renderer, output }))
    }

    /// Runs until `shutdown` is cancelled and the planned handover is done: the follower configuration in force (or
    /// `demote_timeout` over), leadership handed over if this member led and another one can take it. The group must
    /// run on until this returns, and be answered within a bound of the caller's.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { mut runner, prober, mut source, renderer, output } = self;
        let mut prober = prober.hurry_at(shutdown.clone());
        let events = runner.events();
        runner.spawn(async move { while events.send(Event::Prometheus(prober.next().await)).await.is_ok() {} });
        let events = runner.events();
        runner.spawn(async move {
            loop {
                let read = source.changed().await;
                let (renderer, output) = (renderer.clone(), output.clone());
                let outcome = tokio::task::spawn_blocking(move || render(&read, &renderer, output.as_ref())).await;
                let config = outcome.unwrap_or_else(|error| Err(format!("rendering failed: {error}")));
                if events.send(Event::Source(config.map(Arc::new))).await.is_err() {
                    return;
                }
            }
        });
        runner.run(shutdown).await;
    }
}

type FirstConfig = (Option<Arc<Config>>, Option<String>);

fn first_config(
    source: &Result<Bytes, SourceError>,
    renderer: &Renderer,
    output: Option<&Output>,
) -> Result<FirstConfig, RoleError> {
    let error = match render(source, renderer, output) {
        Ok(config) => return Ok((Some(Arc::new(config)), None)),
        Err(error) => error,
    };
    // A sidecar that only gates has nothing to put in force: it votes, and waits for the file.
    let Some(output) = output else { return Ok((None, Some(error))) };
    if let Ok(kept) = read(&output.kept) {
        return Ok((Some(Arc::new(Config::follower_only(kept))), Some(error)));
    }
    if output.path.exists() {
        return Ok((None, Some(error)));
    }
    Err(RoleError::Source { cause: InvalidSource(error), output: output.path.clone() })
}

/// Renders, and keeps the follower configuration for a start with an invalid source file.
fn render(source: &Result<Bytes, SourceError>, renderer: &Renderer, output: Option<&Output>) -> Result<Config, String> {
    let bytes = source.as_ref().map_err(ToString::to_string)?;
    let config = Config::new(renderer(bytes)?);
    let Some(output) = output else { return Ok(config) };
    if let Err(error) = file::replace(&output.kept, &config.bytes(Role::Follower), output.mode) {
        warn!(%error, "cannot keep a copy of the follower configuration for a restart with an invalid source file");
    }
    Ok(config)
}
