//! The stories: half of the runs are random storms, the others walk into one known trap again and again.
//!
//! A seed chooses its story: `seed % 16`.

use super::chance::Chance;
use super::nemesis::Nemesis;
use super::world::SECOND;
use super::{quiet, stories};

/// What happens in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Story {
    /// Faults of every kind at random.
    Storm,
    /// A connected majority in a partition that is not clean.
    PartialPartition,
    /// Two members are reborn blank within the lease of an isolated third.
    RebornBlank,
    /// Candidates with different views of DNS.
    TwoCandidates,
    /// 1 -> 3 -> 5 -> 3, and 2 -> 1 by hand.
    Scaling,
    /// Every pod is replaced in turn, with its disk.
    RollingReplacement,
    /// A majority of the disks is gone for good; an operator recovers what is left.
    MajorityLost,
    /// Voters restart within the lease that they granted.
    ForgottenLease,
    /// DNS forgets a member that is well.
    ForgottenName,
    /// Leaders that may not act: a witness, a member that is not eligible.
    UnfitLeader,
    /// Handovers that are cut off in the middle, clocks at both ends of the allowed error, machines that sleep.
    CutHandover,
}

impl Story {
    /// The story of a seed.
    pub fn of(seed: u64) -> Self {
        match seed % 16 {
            0 => Self::PartialPartition,
            1 => Self::RebornBlank,
            2 => Self::TwoCandidates,
            3 => Self::Scaling,
            4 => Self::RollingReplacement,
            5 => Self::MajorityLost,
            6 => Self::ForgottenLease,
            7 => Self::CutHandover,
            8 => Self::ForgottenName,
            9 => Self::UnfitLeader,
            _ => Self::Storm,
        }
    }

    /// Draws the group of this story.
    pub(super) fn group(self, seed: u64) -> Nemesis {
        let mut chance = Chance::new(seed, 5);
        let mut of = |sizes: &[usize]| *chance.pick(sizes).unwrap_or(&3);
        let (replicas, spread) = match self {
            Self::Storm => return Nemesis::new(seed),
            Self::PartialPartition => (of(&[3, 4, 4, 5]), 1_000),
            Self::TwoCandidates => (of(&[3, 5, 5]), 1_000),
            Self::Scaling => (of(&[1, 2]), 1_000),
            Self::RollingReplacement | Self::MajorityLost => (of(&[3, 3, 5]), 1_000),
            Self::ForgottenName => (of(&[3, 4, 5]), 1_000),
            Self::UnfitLeader => (of(&[2, 2, 3]), 1_000),
            Self::RebornBlank | Self::ForgottenLease => (3, 100_000),
            Self::CutHandover => (of(&[2, 3]), 100_000),
        };
        let witness = match self {
            Self::CutHandover | Self::UnfitLeader => replicas == 2,
            Self::RollingReplacement => replicas == 3 && chance.percent(30),
            _ => false,
        };
        let replicas = if witness && self == Self::RollingReplacement { 2 } else { replicas };
        let expect = replicas + usize::from(witness);
        Nemesis::with(seed, Chance::new(seed, 4), replicas, witness, expect, spread)
    }

    /// Plays it, up to the end of the faults.
    pub(super) async fn play(self, nemesis: &mut Nemesis) -> Result<(), String> {
        match self {
            Self::Storm => {
                nemesis.start_all().await;
                let time = nemesis.chance.within(40..180) * SECOND;
                nemesis.rage(time).await;
                Ok(())
            }
            Self::TwoCandidates => {
                stories::two_candidates(nemesis).await;
                Ok(())
            }
            _ => {
                nemesis.start_all().await;
                settled(nemesis).await?;
                match self {
                    Self::PartialPartition => stories::partial_partition(nemesis).await,
                    Self::RebornBlank => stories::reborn_blank(nemesis).await,
                    Self::Scaling => stories::scaling(nemesis).await,
                    Self::RollingReplacement => stories::rolling_replacement(nemesis).await,
                    Self::MajorityLost => stories::majority_lost(nemesis).await,
                    Self::ForgottenLease => stories::forgotten_lease(nemesis).await,
                    Self::ForgottenName => stories::forgotten_name(nemesis).await,
                    Self::UnfitLeader => stories::unfit_leader(nemesis).await,
                    _ => stories::cut_handover(nemesis).await,
                }
            }
        }
    }
}

/// Waits until the group is whole.
pub(super) async fn settled(nemesis: &Nemesis) -> Result<(), String> {
    quiet::settle(nemesis).await.map(drop).map_err(|missing| format!("before the faults: {missing}"))
}
