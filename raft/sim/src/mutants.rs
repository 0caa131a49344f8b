//! The harness is proven too: with a rule switched off, a checker must notice.

use super::rules::Rule;

/// A rule, or several that cover for each other, switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mutant {
    /// Its name on the command line and in the table.
    pub name: &'static str,
    /// What is switched off, for people.
    pub what: &'static str,
    pub(crate) rules: &'static [Rule],
}

/// The name of the mutant that is none of the code under test, but of the machine room: a machine that has lost its disk
/// comes back under its old node id.
pub(crate) const SAME_NODE_ID: &str = "same-node-id";

/// Every mutant.
pub const ALL: &[Mutant] = &[
    Mutant { name: "quarantine", what: "1: no quarantine after a start", rules: &[Rule::Quarantine] },
    Mutant { name: "deadline", what: "authority without a deadline", rules: &[Rule::Deadline] },
    Mutant { name: "clock-margin", what: "R just below L, waits not stretched", rules: &[Rule::ClockMargin] },
    Mutant { name: "leader-restore", what: "2: a restarted leader leads on", rules: &[Rule::NoLeaderRestore] },
    Mutant {
        name: "committed-term",
        what: "authority without a committed entry of the term, nor a read barrier",
        rules: &[Rule::CommittedTerm, Rule::Confirm],
    },
    Mutant { name: "latch", what: "3: a transfer without giving authority up first", rules: &[Rule::Latch] },
    Mutant {
        name: "quorum-loss-probe",
        what: "5: a leader without a majority is not found out",
        rules: &[Rule::QuorumLossProbe],
    },
    Mutant { name: SAME_NODE_ID, what: "7: a lost disk comes back with its old node id", rules: &[] },
    Mutant {
        name: "swap-caught-up",
        what: "7: a vote for a new disk that has not caught up",
        rules: &[Rule::SwapCaughtUp],
    },
    Mutant { name: "finish-joint", what: "8: a joint membership is left as it is", rules: &[Rule::FinishJoint] },
    Mutant {
        name: "change-barrier",
        what: "8: a change of the membership without a read barrier before it",
        rules: &[Rule::ChangeBarrier],
    },
    Mutant {
        name: "formation-majority",
        what: "9: whoever is reached forms the group",
        rules: &[Rule::FormationMajority],
    },
    Mutant {
        name: "formation-veto",
        what: "9: a member of a group does not veto a formation",
        rules: &[Rule::FormationVeto],
    },
    Mutant {
        name: "join-is-final",
        what: "9: a member of a group promises itself to another",
        rules: &[Rule::JoinIsFinal],
    },
    Mutant { name: "formed-gate", what: "9: a group acts before every founder has joined", rules: &[Rule::FormedGate] },
    Mutant {
        name: "confirm-together",
        what: "9: founding members are confirmed that were never there at the same time",
        rules: &[Rule::ConfirmTogether],
    },
    Mutant {
        name: "silent-leaving",
        what: "9: a member answers while it asks whether it may leave its unconfirmed group",
        rules: &[Rule::SilentBeforeLeaving],
    },
    Mutant {
        name: "leave-on-answers",
        what: "9: an old word lets a member leave its unconfirmed group",
        rules: &[Rule::LeaveOnAnswers],
    },
    Mutant {
        name: "removed-founds",
        what: "9: whoever was removed founds another group",
        rules: &[Rule::RemovedNeverFounds],
    },
    Mutant { name: "cluster-check", what: "9: calls of another group are answered", rules: &[Rule::ClusterCheck] },
    Mutant { name: "target-check", what: "9: calls for another node id are answered", rules: &[Rule::TargetCheck] },
    Mutant {
        name: "removal",
        what: "10: a member that is only absent from DNS is removed",
        rules: &[Rule::RemovalNeedsBoth],
    },
    Mutant {
        name: "found-first",
        what: "10: a member is dialled where DNS says, though it was found elsewhere",
        rules: &[Rule::FoundFirst],
    },
    Mutant {
        name: "tell-addresses",
        what: "10: members do not tell each other where they have found the others",
        rules: &[Rule::TellAddresses],
    },
    Mutant { name: "witness-acts", what: "11: a witness holds authority", rules: &[Rule::WitnessNeverActs] },
    Mutant { name: "witness-keeps", what: "11: a witness does not hand over", rules: &[Rule::WitnessHandsOver] },
    Mutant {
        name: "ineligible-keeps",
        what: "12: a leader that is not eligible stays",
        rules: &[Rule::IneligibleHandsOver],
    },
    Mutant {
        name: "append-durable",
        what: "13: an append is acknowledged before it is on the disk",
        rules: &[Rule::AppendDurable],
    },
    Mutant { name: "vote-durable", what: "13: a vote is given before it is on the disk", rules: &[Rule::VoteDurable] },
    Mutant { name: "log-bound", what: "13: no snapshots", rules: &[Rule::LogBound] },
    Mutant { name: "suspension", what: "14: a machine that slept believes its old lease", rules: &[Rule::Suspension] },
];

impl Mutant {
    /// The mutant of a name.
    pub fn named(name: &str) -> Option<Self> {
        ALL.iter().copied().find(|mutant| mutant.name == name)
    }
}
