//! The relations between the lease's times, in one place. Pure.
//!
//! - `lease-retry-period * 3 <= lease-renew-deadline`: two heartbeats in a row may get lost.
//! - `lease-renew-deadline * 1.23 < lease-duration`: the leader has given up before anybody may take over, also when
//!   its clock runs 10 % slow and the others' 10 % fast (1.1 / 0.9 = 1.2222…).
//! - `member-removal-delay >= lease-duration`: nobody is removed for a silence that a takeover may cause.
//!
//! Calculated in whole nanoseconds. Source: DESIGN.md, "The group".

use std::time::Duration;

use super::check::Check;
use super::error::ConfigError;
use super::raw::RawGroup;
use super::{defaults, duration};

/// Heartbeats that must fit into the renew deadline.
const HEARTBEATS: u32 = 3;
/// What clocks may be off, in hundredths.
const DRIFT_PERCENT: u128 = 123;

/// The times of a lease, checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    pub lease: Duration,
    pub renew: Duration,
    pub retry: Duration,
    pub removal: Duration,
}

pub(super) fn resolve(raw: &RawGroup, check: &mut Check) -> Option<Timing> {
    let lease = check.period("lease-duration", &raw.lease_duration);
    let renew = check.period("lease-renew-deadline", &raw.lease_renew_deadline);
    let retry = check.period_of("lease-retry-period", &raw.lease_retry_period, defaults::LEASE_RETRY_PERIOD_MIN);
    let removal = check.period("member-removal-delay", &raw.member_removal_delay);
    if let (Some(retry), Some(renew)) = (retry, renew) {
        heartbeats_fit(retry, renew, check);
    }
    if let (Some(renew), Some(lease)) = (renew, lease) {
        ends_before_lease(renew, lease, check);
    }
    if let (Some(removal), Some(lease)) = (removal, lease)
        && removal < lease
    {
        let rule = format!(
            "a member must be silent for at least one lease before it is removed; use at least {}",
            duration::format(lease)
        );
        relation(check, ("member-removal-delay", removal), ("lease-duration", lease), rule);
    }
    Some(Timing { lease: lease?, renew: renew?, retry: retry?, removal: removal? })
}

fn heartbeats_fit(retry: Duration, renew: Duration, check: &mut Check) {
    let need = retry.saturating_mul(HEARTBEATS);
    if need <= renew {
        return;
    }
    let rule = format!(
        "{HEARTBEATS} retry periods ({}) must fit into the renew deadline ({}); use a retry period of at most {}, \
         or a renew deadline of at least {}",
        duration::format(need),
        duration::format(renew),
        duration::format(rounded_down((renew / HEARTBEATS).as_nanos())),
        duration::format(need),
    );
    relation(check, ("lease-retry-period", retry), ("lease-renew-deadline", renew), rule);
}

fn ends_before_lease(renew: Duration, lease: Duration, check: &mut Check) {
    let (renew_scaled, lease_scaled) = (renew.as_nanos() * DRIFT_PERCENT, lease.as_nanos() * 100);
    if renew_scaled < lease_scaled {
        return;
    }
    let rule = format!(
        "with clocks that are 10 % off in opposite directions it takes up to {} (1.23 * {}), which must be less than \
         the lease ({}); use a renew deadline of at most {}, or a lease of at least {}",
        duration::format(nanoseconds(renew_scaled.div_ceil(100))),
        duration::format(renew),
        duration::format(lease),
        duration::format(rounded_down((lease_scaled - 1) / DRIFT_PERCENT)),
        duration::format(rounded_up(renew_scaled / 100 + 1)),
    );
    relation(check, ("lease-renew-deadline", renew), ("lease-duration", lease), rule);
}

fn relation(check: &mut Check, first: (&'static str, Duration), second: (&'static str, Duration), rule: String) {
    let first = check.setting(first.0, duration::format(first.1));
    let second = check.setting(second.0, duration::format(second.1));
    check.push(ConfigError::Relation { first, second, rule });
}

const MILLISECOND: u128 = 1_000_000;

/// At most this, in whole milliseconds where there are any.
fn rounded_down(amount: u128) -> Duration {
    nanoseconds(if amount < MILLISECOND { amount } else { amount / MILLISECOND * MILLISECOND })
}

/// At least this, in whole milliseconds.
fn rounded_up(amount: u128) -> Duration {
    nanoseconds(amount.div_ceil(MILLISECOND) * MILLISECOND)
}

fn nanoseconds(amount: u128) -> Duration {
    Duration::from_nanos(u64::try_from(amount).unwrap_or(u64::MAX))
}
