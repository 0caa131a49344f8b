//! The thin runner of the pod's label: one loop that turns what happens into inputs and carries the actions out. It decides
//! nothing, and waits for no request: they report back.

use elector_raft::{Leadership, Now};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::client::Client;
use super::state::{Action, Input, State};
use super::step::{step, wake_at};
use crate::metrics::PodLabelStatus;

/// Keeps the label.
pub(super) struct Runner {
    state: State,
    client: Client,
    leadership: watch::Receiver<Leadership>,
    status: watch::Sender<PodLabelStatus>,
    /// At most one of each kind. They end with the runner.
    requests: FuturesUnordered<BoxFuture<'static, Input>>,
    finished: bool,
}

impl Runner {
    pub(super) fn new(
        state: State,
        client: Client,
        leadership: watch::Receiver<Leadership>,
    ) -> (Self, watch::Receiver<PodLabelStatus>) {
        let (status, status_rx) = watch::channel(state.status);
        (Self { state, client, leadership, status, requests: FuturesUnordered::new(), finished: false }, status_rx)
    }

    pub(super) async fn run(mut self, given_up: CancellationToken) {
        let (mut group_runs, mut running) = (true, true);
        let first = self.leadership.borrow_and_update().clone();
        self.take(Input::Leadership(first));
        while !self.finished {
            let wake_at = wake_at(&self.state);
            let wake = async {
                match wake_at {
                    Some(at) => sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            let input = tokio::select! {
                biased;
                changed = self.leadership.changed(), if group_runs => {
                    group_runs = changed.is_ok();
                    // A group that has ended renews nothing: what it said last must not count as authority.
                    let now = if group_runs { self.leadership.borrow_and_update().clone() } else { Leadership::default() };
                    Input::Leadership(now)
                }
                () = given_up.cancelled(), if running => {
                    running = false;
                    Input::Shutdown
                }
                Some(answer) = self.requests.next() => answer,
                () = wake => Input::Tick,
            };
            self.take(input);
        }
    }

    fn take(&mut self, input: Input) {
        let (state, actions) = step(self.state.clone(), input, Now::read());
        self.state = state;
        self.status.send_if_modified(|status| std::mem::replace(status, self.state.status) != self.state.status);
        for action in actions {
            self.carry_out(action);
        }
    }

    fn carry_out(&mut self, action: Action) {
        let client = self.client.clone();
        match action {
            Action::Label(label) => {
                self.requests.push(Box::pin(async move { Input::Labelled(client.label(label).await) }));
            }
            Action::Record(elected, uid) => {
                self.requests.push(Box::pin(async move { Input::Recorded(client.record(&elected, uid).await) }));
            }
            Action::Warn(text) => warn!("{text}"),
            Action::Info(text) => info!("{text}"),
            Action::Debug(text) => debug!("{text}"),
            Action::Finish => self.finished = true,
        }
    }
}
