//! What a member has granted or acknowledged is on its disk.

use super::disks::{Disks, term_of};
use super::{Checker, Event};
use crate::network::{Answer, Call, RaftCall};
use crate::sim::executor::Nanos;

pub(super) struct DurableFirst;

impl Checker for DurableFirst {
    fn rule(&self) -> &'static str {
        "durable before answered"
    }

    fn see(&mut self, _: Nanos, event: &Event<'_>, disks: &Disks) -> Result<(), String> {
        let Event::Answered { machine, asked, reply: Ok(answer), identity } = event else { return Ok(()) };
        let Call::Raft { call, .. } = &asked.call else { return Ok(()) };
        // Its process may have started anew meanwhile.
        let Some(disk) = disks.of(*machine).filter(|disk| disk.node_id() == Some(identity.node_id)) else {
            return Ok(());
        };
        match (call, answer) {
            (RaftCall::Vote(request), Answer::Vote(response))
                if response.vote_granted && disk.vote.is_none_or(|vote| vote.leader_id < request.vote.leader_id) =>
            {
                return Err(format!("{machine:?} granted {} and has {:?} on its disk", request.vote, disk.vote));
            }
            (RaftCall::Append(request), Answer::Append(response)) if response.is_success() => {
                if let Some(last) = request.entries.last()
                    && !disk.holds(last.log_id.index, term_of(last.log_id))
                {
                    return Err(format!("{machine:?} acknowledged {}, which is not on its disk", last.log_id));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
