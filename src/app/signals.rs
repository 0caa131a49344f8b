//! SIGTERM and SIGINT.

use tokio::signal::unix::{Signal, SignalKind, signal};

pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// The one that ends a process which is on its way out. After a preStop hook has asked for that (`is_asked`) the kubelet's
    /// SIGTERM is still to come, and says nothing new.
    pub(super) async fn second(&mut self, is_asked: bool) -> &'static str {
        if is_asked {
            self.next().await;
        }
        self.next().await
    }
}
