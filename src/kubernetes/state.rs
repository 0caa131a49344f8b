//! What is known of the label and the Event, what can happen, and what can be done. Plain data; the rules are in `step`.

use std::time::Instant;

use elector_raft::Leadership;

use crate::metrics::PodLabelStatus;

/// Value of the label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Label {
    /// This member may act as the leader.
    Leader,
    /// It may not.
    Follower,
    /// It never will.
    Witness,
}

impl Label {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Witness => "witness",
        }
    }
}

/// Something happened.
#[derive(Clone, Debug)]
pub(super) enum Input {
    /// Nothing but time: [`super::step::wake_at`] has come.
    Tick,
    /// The group's view of leadership changed, or this member's authority was renewed.
    Leadership(Leadership),
    /// The patch in flight ended: the pod's uid, or why it failed.
    Labelled(Result<Option<String>, Failure>),
    /// The request for an Event ended.
    Recorded(Result<(), Failure>),
    /// The process goes away, and leadership has been handed over.
    Shutdown,
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// For want of a right (403).
    pub(super) forbidden: bool,
    /// In words for people.
    pub(super) error: String,
}

/// What an Event tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Elected {
    /// A member may lead once in a term.
    pub(super) term: u64,
    /// One sentence for people.
    pub(super) note: String,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Patch the label.
    Label(Label),
    /// Write an Event about the pod with this uid.
    Record(Elected, Option<String>),
    /// To the log, as a warning.
    Warn(String),
    /// To the log.
    Info(String),
    /// To the log, for those who look closely.
    Debug(String),
    /// All is said; end.
    Finish,
}

/// The label as the API server has accepted it last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Applied {
    pub(super) label: Label,
    pub(super) at: Instant,
    /// The pod's.
    pub(super) uid: Option<String>,
}

/// Requests of one kind: never more than one is in flight.
#[derive(Clone, Debug, Default)]
pub(super) struct Attempts {
    /// In a row, since the last success.
    pub(super) failures: u32,
    /// Not before.
    pub(super) retry_at: Option<Instant>,
    /// A 403 was warned about since the last success.
    pub(super) warned_forbidden: bool,
    /// So was another failure.
    pub(super) warned_error: bool,
}

impl Attempts {
    pub(super) fn due(&self, now: Instant) -> bool {
        self.retry_at.is_none_or(|at| now >= at)
    }
}

/// All that decisions depend on.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) witness: bool,
    pub(super) leadership: Leadership,
    /// Name of the leader that was heard of last, witnesses left out.
    pub(super) last_leader: Option<String>,
    /// What the label should say.
    pub(super) wanted: Label,
    /// The patch in flight.
    pub(super) patching: Option<Label>,
    /// `None`: not known what the label says.
    pub(super) applied: Option<Applied>,
    /// What the log has told of the label.
    pub(super) told: Option<Label>,
    pub(super) patches: Attempts,
    /// Newest term in which this member gained authority.
    pub(super) led_term: Option<u64>,
    /// The Event that is to be written.
    pub(super) elected: Option<Elected>,
    /// The Event on its way.
    pub(super) recording: Option<Elected>,
    pub(super) records: Attempts,
    /// The process goes away: the end, at the latest.
    pub(super) end_by: Option<Instant>,
    pub(super) status: PodLabelStatus,
}

impl State {
    pub(super) fn new(witness: bool) -> Self {
        Self {
            witness,
            leadership: Leadership::default(),
            last_leader: None,
            wanted: if witness { Label::Witness } else { Label::Follower },
            patching: None,
            applied: None,
            told: None,
            patches: Attempts::default(),
            led_term: None,
            elected: None,
            recording: None,
            records: Attempts::default(),
            end_by: None,
            status: PodLabelStatus::default(),
        }
    }
}
