//! How much more than the writer has not finished a standby keeps: the margin between watermark and retention.
//!
//! ```text
//! margin = largest scrape or evaluation interval + batch_send_deadline + watermark-period
//! ```
//!
//! Every replica scrapes a target at a phase of its own, so the newest sample of a series that the writer has finished may
//! be one interval older than the watermark; a sample waits up to the deadline in the queue of either side. Less loses
//! samples (`watermark/simulation.rs`), more only sends some twice.
//!
//! The intervals of the configuration are in `Gated::longest_interval`. What it does not show (intervals of rule groups in
//! rule files, scrape configurations in other files, intervals set by relabelling) must come from the Prometheus API or a
//! flag: `extra_interval`.

use std::time::Duration;

/// The margin for one remote.
pub fn margin(
    longest_interval: Duration,
    extra_interval: Option<Duration>,
    batch_send_deadline: Duration,
    watermark_period: Duration,
) -> Duration {
    let interval = longest_interval.max(extra_interval.unwrap_or_default());
    interval.saturating_add(batch_send_deadline).saturating_add(watermark_period)
}

/// Units of Prometheus with their milliseconds, from the largest to the smallest, as they must follow each other.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 24 * 60 * 60 * 1000),
    ("w", 7 * 24 * 60 * 60 * 1000),
    ("d", 24 * 60 * 60 * 1000),
    ("h", 60 * 60 * 1000),
    ("m", 60 * 1000),
    ("s", 1000),
    ("ms", 1),
];

/// The longest that Prometheus takes, 292 years, in milliseconds.
const MILLISECONDS_MAX: u64 = (i64::MAX / 1_000_000).unsigned_abs();

/// Reads a duration in the syntax of Prometheus (`1h30m`, `15s`, `0`), which is not that of Go; `None` where Prometheus
/// refuses it. Source: `ParseDuration` of `prometheus/common`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut units, mut total) = (text, &UNITS[..], 0_u64);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (digits, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let (name, after) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
        let index = units.iter().position(|(unit, _)| *unit == name)?;
        total = total.checked_add(digits.parse::<u64>().ok()?.checked_mul(units[index].1)?)?;
        (units, rest) = (&units[index + 1..], after);
    }
    (total <= MILLISECONDS_MAX).then(|| Duration::from_millis(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_prometheus_reads_them() {
        for (text, milliseconds) in [
            ("0", 0),
            ("0s", 0),
            ("15s", 15_000),
            ("1m", 60_000),
            ("1h30m", 5_400_000),
            ("1d", 86_400_000),
            ("1w2d", 777_600_000),
            ("1y", 31_536_000_000),
            ("4d1h30m5s7ms", 351_005_007),
            ("292y", 9_208_512_000_000),
        ] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in [
            "",
            "1",
            "s",
            "1.5h",
            "-1s",
            "1s1m",
            "1m1m",
            "1 s",
            "1h30",
            "1ns",
            "1M",
            "293y",
            "1µs",
            "99999999999999999999s",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn the_margin_is_the_longest_interval_with_what_a_sample_waits() {
        let seconds = Duration::from_secs;
        assert_eq!(margin(seconds(15), None, seconds(5), seconds(2)), seconds(22));
        assert_eq!(margin(seconds(15), Some(seconds(300)), seconds(5), seconds(2)), seconds(307));
        assert_eq!(margin(Duration::MAX, None, seconds(5), seconds(2)), Duration::MAX);
    }
}
