//! The rules that make the promises true, by name, so that the simulation can switch one off and show that it notices.
//!
//! In every other build [`holds`] is the constant `true`: the feature `simulation` exists only in the package `raft/sim`,
//! which compiles these sources a second time.

/// A rule, or a check of one (DESIGN.md, "The group").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(not(feature = "simulation"), allow(unreachable_pub, reason = "the simulation shows it"))]
pub enum Rule {
    /// 1: after its start a member neither votes nor stands nor founds, for as long as a lease that it may have forgotten.
    Quarantine,
    /// 2: a restarted leader is none any more.
    NoLeaderRestore,
    /// Authority ends R after the last acknowledged heartbeat was sent.
    Deadline,
    /// R stays below L by the clock error.
    ClockMargin,
    /// Authority needs a committed entry of the term.
    CommittedTerm,
    /// Authority needs one read barrier in the term.
    Confirm,
    /// 3: authority is given up for the term before leadership is transferred.
    Latch,
    /// 5: a leader without a majority is found out.
    QuorumLossProbe,
    /// 7: a new disk takes the place of the old one only once it is a caught-up learner.
    SwapCaughtUp,
    /// 8: a joint membership is finished by the next leader.
    FinishJoint,
    /// Membership changes need a read barrier.
    ChangeBarrier,
    /// 9: a majority of max(expect, most ever seen) forms the group.
    FormationMajority,
    /// 9: a reachable member that is in a group vetoes a formation.
    FormationVeto,
    /// 9: whoever has voted or stored something in a group promises itself to no other.
    JoinIsFinal,
    /// A member that was removed from a group founds no other.
    RemovedNeverFounds,
    /// The founding members are confirmed to be in the group all at the same time.
    ConfirmTogether,
    /// A member stops to answer in an unconfirmed group before it asks whether it can leave it.
    SilentBeforeLeaving,
    /// Only what the others answer to a member that is silent already lets it leave: a call may be old.
    LeaveOnAnswers,
    /// A group acts only after every founding member has joined it.
    FormedGate,
    /// 9: calls of another group are refused.
    ClusterCheck,
    /// 9: calls for another node id are refused.
    TargetCheck,
    /// 10: only a member that is absent AND silent is removed.
    RemovalNeedsBoth,
    /// 10: a member is dialled where it was found, whatever DNS says.
    FoundFirst,
    /// 10: members tell each other where they have found the others.
    TellAddresses,
    /// 11: a witness never acts.
    WitnessNeverActs,
    /// 11: a witness that leads hands over.
    WitnessHandsOver,
    /// 12: a leader that is not eligible hands over.
    IneligibleHandsOver,
    /// 13: an append is acknowledged once it is on the disk.
    AppendDurable,
    /// 13: a vote is given once it is on the disk.
    VoteDurable,
    /// 13: the log is bounded by snapshots.
    LogBound,
    /// 14: a suspended machine does not believe its old lease.
    Suspension,
}

/// Whether a rule is in force: always, outside the simulation.
#[cfg(not(any(feature = "simulation", feature = "planted-bugs")))]
#[inline]
pub(crate) const fn holds(_: Rule) -> bool {
    true
}

#[cfg(all(feature = "planted-bugs", not(debug_assertions)))]
compile_error!("planted bugs are for debug builds, with which the chaos harness is proven, and for nothing else");

/// Whether a rule is in force: all but those that `ELECTOR_PLANTED_BUGS` names, with commas between.
#[cfg(feature = "planted-bugs")]
pub(crate) fn holds(rule: Rule) -> bool {
    static OFF: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let off = OFF.get_or_init(|| {
        let off = std::env::var("ELECTOR_PLANTED_BUGS").unwrap_or_default();
        tracing::error!(%off, "this build has planted bugs: rules are switched off");
        off
    });
    off.split(',').all(|name| name != format!("{rule:?}"))
}

#[cfg(feature = "simulation")]
pub(crate) use crate::sim::rules::holds;
