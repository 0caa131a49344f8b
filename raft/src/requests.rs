//! What the rest of the process asks of the group.

use openraft::async_runtime::WatchReceiver;
use tokio::sync::oneshot;

use crate::instance::{Exit, Instance, Work};
use crate::network::Transport;
use crate::rt::now;
use crate::state::Command;
use crate::tasks::{self, Done};
use crate::view::RaftView;
use crate::{CommandError, NodeId, Request, membership};

impl<T: Transport> Instance<T> {
    /// Answers a request, or starts the work that answers it.
    pub(crate) fn request(&mut self, request: Request) {
        let metrics = self.parts.raft.metrics().borrow_watched().clone();
        let view = RaftView::new(&metrics);
        match request {
            Request::Recover { reply } => {
                let why = "asked for by an operator (recover)".into();
                self.exit = Some(Exit::Reset { why, removed: false, reply: Some(reply) });
            }
            Request::HandOver { reply, .. } if !view.is_leader() => {
                let _ = reply.send(Err(self.not_leader()));
            }
            Request::HandOver { reason, reply } => {
                // A handover may be under way already: of a member that is not eligible any more. Its outcome counts.
                self.handover_replies.push(reply);
                if !self.under_way.contains(&Work::HandOver) {
                    self.hand_over(view.term, reason);
                }
            }
            Request::Remove { reply, .. } if !view.is_leader() => {
                let _ = reply.send(Err(self.not_leader()));
            }
            Request::Remove { reply, .. } if self.under_way.contains(&Work::Change) => {
                let _ = reply.send(Err(CommandError::Refused("the membership is changing now; try again".into())));
            }
            Request::Remove { name, reply } => self.remove(&view, name, reply),
            Request::Publish { reply, .. } if !view.is_leader() => {
                let _ = reply.send(Err(self.not_leader()));
            }
            Request::Publish { key, value, reply } => {
                if !self.data().accepts(&key, &value) {
                    let _ = reply.send(Err(CommandError::Refused(format!("value {key:?} is beyond the bounds"))));
                    return;
                }
                let raft = self.parts.raft.clone();
                self.tasks.spawn(async move {
                    let _ = reply.send(tasks::write(&raft, Command::Publish { key, value }).await);
                    Done::Answered
                });
            }
        }
    }

    fn remove(&mut self, view: &RaftView, name: String, reply: oneshot::Sender<Result<NodeId, CommandError>>) {
        if name == self.parts.shared.member().name {
            let refused = "a leader never removes itself: run step-down here, then member remove on the new leader";
            let _ = reply.send(Err(CommandError::Refused(refused.into())));
            return;
        }
        let Some(id) = view.ids_named(&name).next() else {
            let known: Vec<&str> = view.nodes.values().map(|member| member.name.as_str()).collect();
            let _ = reply.send(Err(CommandError::Refused(format!(
                "there is no member {name:?}; members: {}",
                known.join(", ")
            ))));
            return;
        };
        if let Err(silent) = membership::silent_without(view, id, self.parts.shared.timing(), now()) {
            let silent: Vec<&str> = silent.iter().filter_map(|id| view.name_of(*id)).collect();
            let _ = reply.send(Err(CommandError::Refused(format!(
                "without {name} the members that are left would have no majority that answers, and the group would stop for good: remove first who is gone ({})",
                silent.join(", ")
            ))));
            return;
        }
        let raft = self.parts.raft.clone();
        let incarnation = self.parts.shared.contacts().by_name(&name).map(|contact| contact.hello.incarnation);
        self.start(Work::Change, async move {
            let _ = reply.send(tasks::remove(&raft, id, name, incarnation).await);
            Done::Finished(Work::Change)
        });
    }

    fn not_leader(&self) -> CommandError {
        CommandError::NotLeader { leader: self.parts.leadership.borrow().leader_name().to_owned() }
    }
}
