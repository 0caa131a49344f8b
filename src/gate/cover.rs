//! Cover: whether this member could become the writer of a remote without a gap. Pure.
//!
//! A Prometheus that has just started, or whose queue has, knows nothing of before. What it has kept reaches back to that
//! moment; what is needed reaches back to the bound of retention (watermark - margin): a standby that has run for longer has
//! dropped what is older itself.
//!
//! ```text
//!   finished by the writer      | margin |         needed           now
//!  -----------------------------+--------+---------------------------|
//!        covered: ran since before here ^      ^ not covered: only since here
//! ```
//!
//! Two cases need no waiting: nothing has ever been written to this URL (no watermark), so there is nothing to continue; and
//! whoever has run for as long as spools reach back has all that anybody has.

use std::time::Duration;

use super::spool::AGE_MAX;

/// What cover is judged by. Unix milliseconds.
#[expect(clippy::struct_field_names, reason = "the unit of each")]
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach {
    /// Since when the own Prometheus keeps what it has not sent; `None`: not known.
    pub(super) since_ms: Option<i64>,
    /// The group's watermark.
    pub(super) watermark_ms: Option<i64>,
    /// What standbys keep below it, in milliseconds.
    pub(super) margin_ms: i64,
    /// The clock.
    pub(super) now_ms: i64,
}

/// Covered, or one sentence why not.
pub(super) fn cover(reach: Reach) -> Result<(), String> {
    let Reach { since_ms, watermark_ms, margin_ms, now_ms } = reach;
    let since_ms = since_ms.ok_or("its Prometheus has not been seen with this entry yet")?;
    let Some(watermark_ms) = watermark_ms else { return Ok(()) };
    let age_max_ms = i64::try_from(AGE_MAX.as_millis()).unwrap_or(i64::MAX);
    let missing_ms = since_ms.saturating_sub(watermark_ms.saturating_sub(margin_ms));
    if missing_ms <= 0 || now_ms.saturating_sub(since_ms) >= age_max_ms {
        return Ok(());
    }
    let seconds = |ms: i64| Duration::from_millis(ms.unsigned_abs()).as_secs_f64().ceil();
    Err(format!(
        "its Prometheus, or its queue, started {} s ago, and the writer must get {} s further until that is enough",
        seconds(now_ms.saturating_sub(since_ms)),
        seconds(missing_ms)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_covered_once_the_bound_of_retention_has_passed_its_start() {
        let now_ms = 10_000_000;
        let at = |since_ms, watermark_ms| Reach { since_ms, watermark_ms, margin_ms: 20_000, now_ms };
        let is_covered = |since_ms, watermark_ms| cover(at(since_ms, watermark_ms)).is_ok();
        let start_ms = 9_900_000;
        assert!(is_covered(Some(start_ms), Some(start_ms + 20_000)));
        assert!(!is_covered(Some(start_ms), Some(start_ms + 19_999)));
        assert!(!is_covered(None, Some(start_ms + 20_000)), "a Prometheus that nothing is known of");
        assert!(is_covered(Some(start_ms), None), "nothing was ever written there");
        let two_hours_ago = now_ms - 7_200_000;
        assert!(is_covered(Some(two_hours_ago), Some(two_hours_ago - 1)), "nobody keeps more");
        assert!(!is_covered(Some(two_hours_ago + 1), Some(two_hours_ago)));
        let words = "its Prometheus, or its queue, started 100 s ago, and the writer must get 21 s further until that is enough";
        assert_eq!(cover(at(Some(start_ms), Some(start_ms - 500))), Err(words.into()));
    }
}
