//! When the watermark goes into the group's replicated values, and what a standby makes of it.
//!
//! ```text
//! key `gate/<name of the remote>`   value `<identity of the URL> <Unix milliseconds>`
//! ```
//!
//! The value names the URL that it is about: when the entry changes its URL, what the old remote has says nothing of the
//! new one, and the watermark starts anew. For one URL it only rises. The group keeps a bounded number of values: the leader
//! takes away those of entries that are gone.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::super::spool::AGE_MAX;

/// How far ahead of a host's clock a timestamp may lie without being from the future: hosts that synchronize their clocks
/// differ by milliseconds, and Prometheus takes the timestamps of its samples from its own.
pub const FUTURE_TOLERANCE: Duration = Duration::from_secs(5);

/// What every key of a watermark begins with.
const KEY_PREFIX: &str = "gate/";
/// Longest name that stands in a key as it is.
const NAME_BYTES_MAX: usize = 200;

/// Key of a remote's watermark among the group's values, at most 205 bytes; a very long name is replaced by its hash.
pub fn key(name: &str) -> String {
    if name.len() <= NAME_BYTES_MAX {
        return format!("{KEY_PREFIX}{name}");
    }
    let digest = Sha256::digest(name.as_bytes());
    digest.iter().take(16).fold(format!("{KEY_PREFIX}#"), |key, byte| key + &format!("{byte:02x}"))
}

/// Among the group's values the key of a watermark that is of no use: its entry is not among `names`, and no spool reaches
/// back to it.
pub fn outdated<'a>(values: &'a BTreeMap<String, String>, names: &[String], wall_ms: i64) -> Option<&'a str> {
    let age_max_ms = i64::try_from(AGE_MAX.as_millis()).unwrap_or(i64::MAX);
    let is_old = |value: &str| {
        let watermark_ms = value.split_once(' ').and_then(|(id, _)| read(value, id));
        watermark_ms.is_none_or(|watermark_ms| watermark_ms < wall_ms.saturating_sub(age_max_ms))
    };
    let all = values.range(KEY_PREFIX.to_owned()..).take_while(|(key, _)| key.starts_with(KEY_PREFIX));
    let mut outdated = all.filter(|(id, value)| is_old(value) && !names.iter().any(|name| key(name) == **id));
    outdated.next().map(|(key, _)| key.as_str())
}

/// The watermark that a standby may rely on: that of its own URL, and no later than its clock allows. A later one says
/// that one of the two clocks is wrong; then everything is kept, since it cannot be known whose.
pub fn usable(value: &str, url_id: &str, wall_ms: i64) -> Option<i64> {
    let tolerance = i64::try_from(FUTURE_TOLERANCE.as_millis()).unwrap_or(i64::MAX);
    read(value, url_id).filter(|&watermark_ms| watermark_ms <= wall_ms.saturating_add(tolerance))
}

fn read(value: &str, url_id: &str) -> Option<i64> {
    let (id, watermark_ms) = value.split_once(' ')?;
    if id == url_id { watermark_ms.parse().ok() } else { None }
}

/// Decides when the writer proposes a value to the group.
#[derive(Debug)]
pub struct Publisher {
    url_id: String,
    period: Duration,
    published_ms: Option<i64>,
    proposed_at: Option<Instant>,
}

impl Publisher {
    /// For a remote. `url_id` (without blanks) tells its URL from others; `current`: what stands in the group's values,
    /// which a predecessor may have left.
    pub fn new(url_id: &str, period: Duration, current: Option<&str>) -> Self {
        let published_ms = current.and_then(|value| read(value, url_id));
        Self { url_id: url_id.to_owned(), period, published_ms, proposed_at: None }
    }

    /// The value to propose now, if any: at most one per period, and only what is later than what stands there.
    pub fn due(&mut self, watermark_ms: Option<i64>, now: Instant) -> Option<String> {
        let watermark_ms =
            watermark_ms.filter(|&watermark_ms| self.published_ms.is_none_or(|old| watermark_ms > old))?;
        if self.proposed_at.is_some_and(|at| now.saturating_duration_since(at) < self.period) {
            return None;
        }
        self.proposed_at = Some(now);
        Some(format!("{} {watermark_ms}", self.url_id))
    }

    /// The value to propose before leadership is handed over, whenever the last one was.
    pub fn last(&mut self, watermark_ms: Option<i64>) -> Option<String> {
        let watermark_ms = watermark_ms.filter(|&value| self.published_ms.is_none_or(|old| value > old))?;
        Some(format!("{} {watermark_ms}", self.url_id))
    }

    /// The group has taken a value.
    pub fn published(&mut self, value: &str) {
        self.published_ms = self.published_ms.max(read(value, &self.url_id));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    const PERIOD: Duration = Duration::from_secs(2);

    #[test]
    fn a_value_is_due_once_per_period_and_only_when_it_has_risen() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut publisher = Publisher::new("u", PERIOD, None);
        assert_eq!(publisher.due(None, at(0)), None);
        assert_eq!(publisher.due(Some(10), at(0)).as_deref(), Some("u 10"));
        // The group has not taken it: tried again, but not at once.
        assert_eq!(publisher.due(Some(11), at(1)), None);
        assert_eq!(publisher.due(Some(11), at(2)).as_deref(), Some("u 11"));
        publisher.published("u 11");
        for watermark in [None, Some(11), Some(5)] {
            assert_eq!(publisher.due(watermark, at(9)), None, "{watermark:?}");
        }
        assert_eq!(publisher.due(Some(12), at(9)).as_deref(), Some("u 12"));
        assert_eq!(publisher.last(Some(12)).as_deref(), Some("u 12"), "before a handover nothing is waited for");
        assert_eq!(publisher.last(Some(11)), None);
    }

    #[test]
    fn a_writer_goes_on_from_its_predecessor_and_anew_for_another_url() {
        let now = Instant::now();
        for (current, due) in [(Some("u 50"), None), (Some("v 50"), Some("u 40")), (Some("nonsense"), Some("u 40"))] {
            assert_eq!(Publisher::new("u", PERIOD, current).due(Some(40), now).as_deref(), due, "{current:?}");
        }
    }

    #[test]
    fn a_standby_relies_on_the_watermark_of_its_own_url_unless_it_lies_in_the_future() {
        for (value, watermark) in [
            ("u 1000", Some(1_000)),
            ("u -1", Some(-1)),
            ("u 6000", Some(6_000)),
            ("u 6001", None),
            ("v 1000", None),
            ("u", None),
            ("u 1 2", None),
            ("u x", None),
        ] {
            assert_eq!(usable(value, "u", 1_000), watermark, "{value}");
        }
        assert_eq!(usable("u 9223372036854775807", "u", i64::MAX), Some(i64::MAX));
    }

    #[test]
    fn a_watermark_is_outdated_when_its_entry_is_gone_and_no_spool_reaches_back_to_it() {
        let now_ms = 10_000_000;
        let (old, young) = ("u 2799999", "u 2800000");
        let names = ["kept".to_owned()];
        let outdated_of = |key: &str, value: &str| {
            let values =
                BTreeMap::from([("a".into(), old.into()), ("z".into(), old.into()), (key.into(), value.into())]);
            outdated(&values, &names, now_ms).map(str::to_owned)
        };
        for key in ["gate/gone", "gate/"] {
            assert_eq!(outdated_of(key, old).as_deref(), Some(key));
        }
        assert_eq!(outdated_of("gate/gone", "nonsense").as_deref(), Some("gate/gone"));
        for (key, value) in [("gate/gone", young), ("gate/kept", old), ("gatekeeper", old)] {
            assert_eq!(outdated_of(key, value), None, "{key} {value}");
        }
    }

    #[test]
    fn keys_are_short_and_different() {
        let long = "x".repeat(201);
        let keys = [key("a"), key("b/c d"), key(&"x".repeat(200)), key(&long), key(&format!("{long}x"))];
        assert_eq!(keys[1], "gate/b/c d");
        assert!(keys.iter().all(|key| key.len() <= 256));
        assert_eq!(keys.iter().collect::<std::collections::HashSet<_>>().len(), 5);
    }
}
