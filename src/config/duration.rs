//! Durations in the syntax of Go's `time.ParseDuration`, read and written.
//!
//! Text -> [`Duration`] and back, pure. What Go reads, this reads with the same result, to the nanosecond; a fraction
//! is cut below a nanosecond exactly (Go calculates it in floating point). Negative durations have no meaning for any
//! flag and are refused. Why not a library: docs/decisions/config-durations.md.
//! Source: the documentation of Go's package `time`, checked against its implementation.

use std::fmt::Write;
use std::time::Duration;

/// Units with their nanoseconds. Both code points of the micro sign are in use, as in Go.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// The longest duration that Go knows: 2^63 - 1 nanoseconds, 292 years.
const NANOSECONDS_MAX: u128 = i64::MAX as u128;

/// Digits of a fraction that can matter: an hour has 3.6e12 nanoseconds.
const FRACTION_DIGITS_MAX: usize = 18;

/// Why a text is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// A number was expected.
    #[error("is not a duration; write it like 300ms, 1.5s, 1m30s or 2h")]
    Syntax,
    /// A number stands without its unit.
    #[error("has no unit; write it like 300ms, 1.5s, 1m30s or 2h")]
    MissingUnit,
    /// The unit is none of Go's.
    #[error("has the unknown unit {0:?}; the units are ns, us, ms, s, m and h")]
    UnknownUnit(String),
    /// Less than zero.
    #[error("is negative")]
    Negative,
    /// Longer than Go can hold.
    #[error("is longer than 292 years")]
    TooLong,
}

/// Reads a duration.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let (negative, unsigned) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if unsigned == "0" {
        return Ok(Duration::ZERO);
    }
    if unsigned.is_empty() {
        return Err(DurationError::Syntax);
    }
    let mut rest = unsigned;
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let (nanoseconds, after) = component(rest)?;
        total += nanoseconds;
        if total > NANOSECONDS_MAX {
            return Err(DurationError::TooLong);
        }
        rest = after;
    }
    if negative && total > 0 {
        return Err(DurationError::Negative);
    }
    u64::try_from(total).map(Duration::from_nanos).map_err(|_| DurationError::TooLong)
}

/// Reads one number with its unit. Returns its nanoseconds and the text after it.
fn component(text: &str) -> Result<(u128, &str), DurationError> {
    let (whole, after_whole) = digits(text);
    let (fraction, after_number) = after_whole.strip_prefix('.').map_or(("", after_whole), digits);
    if whole.is_empty() && fraction.is_empty() {
        return Err(DurationError::Syntax);
    }
    let unit_end = after_number.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after_number.len());
    let (unit, rest) = after_number.split_at(unit_end);
    if unit.is_empty() {
        return Err(DurationError::MissingUnit);
    }
    let known = UNITS.iter().find(|(name, _)| *name == unit);
    let scale = u128::from(known.ok_or_else(|| DurationError::UnknownUnit(unit.to_owned()))?.1);
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| DurationError::TooLong)? };
    let fraction = &fraction[..fraction.len().min(FRACTION_DIGITS_MAX)];
    let (numerator, denominator) =
        fraction.bytes().fold((0, 1), |(sum, power), digit| (sum * 10 + u128::from(digit - b'0'), power * 10));
    let nanoseconds = whole.checked_mul(scale).ok_or(DurationError::TooLong)? + numerator * scale / denominator;
    if nanoseconds > NANOSECONDS_MAX { Err(DurationError::TooLong) } else { Ok((nanoseconds, rest)) }
}

/// Splits the leading decimal digits off.
fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// Writes a duration so that [`parse`] reads the same value, without the zero parts that Go writes (`5m`, not `5m0s`).
pub fn format(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    if nanoseconds == 0 {
        return "0s".to_owned();
    }
    if nanoseconds < 1_000_000_000 {
        let (unit, scale) = match nanoseconds {
            1_000_000.. => ("ms", 1_000_000),
            1_000.. => ("us", 1_000),
            _ => ("ns", 1),
        };
        return format!("{}{unit}", decimal(nanoseconds, scale));
    }
    let seconds = duration.as_secs();
    let mut text = String::new();
    for (amount, unit) in [(seconds / 3600, "h"), (seconds / 60 % 60, "m")] {
        if amount > 0 {
            // Writing to a string cannot fail.
            let _ = write!(text, "{amount}{unit}");
        }
    }
    let rest = nanoseconds % 60_000_000_000;
    if rest > 0 {
        let _ = write!(text, "{}s", decimal(rest, 1_000_000_000));
    }
    text
}

/// `amount / scale` as a decimal without trailing zeros; `scale` is a power of ten.
fn decimal(amount: u128, scale: u128) -> String {
    let (whole, fraction) = (amount / scale, amount % scale);
    if fraction == 0 {
        return whole.to_string();
    }
    let width = scale.to_string().len() - 1;
    let fraction = format!("{fraction:0width$}");
    format!("{whole}.{}", fraction.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use proptest::prelude::*;

    use super::*;

    /// Inputs and results are those of Go 1.2x's `time.ParseDuration`, in nanoseconds.
    #[test]
    fn what_go_reads_is_read_with_the_same_result() {
        for (text, nanoseconds) in [
            ("300ms", 300_000_000),
            ("1.5s", 1_500_000_000),
            ("1m30s", 90_000_000_000),
            ("2h", 7_200_000_000_000),
            ("1us", 1_000),
            ("1µs", 1_000),
            ("1μs", 1_000),
            ("100ns", 100),
            ("0", 0),
            ("+0", 0),
            ("-0", 0),
            ("0s", 0),
            ("-0s", 0),
            (".5s", 500_000_000),
            ("5.s", 5_000_000_000),
            ("+5s", 5_000_000_000),
            ("1s500ms", 1_500_000_000),
            ("1h1h", 7_200_000_000_000),
            ("1.1us", 1_100),
            ("0.9ns", 0),
            ("0.100000000000000000000h", 360_000_000_000),
            ("0.9223372036854775807h", 3_320_413_933_267),
            ("9223372036854775807ns", 9_223_372_036_854_775_807),
            ("2562047h47m16.854775807s", 9_223_372_036_854_775_807),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_nanos(nanoseconds)), "{text}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused_with_the_reason() {
        use DurationError::{MissingUnit, Negative, Syntax, TooLong, UnknownUnit};
        let unknown = |unit: &str| UnknownUnit(unit.into());
        for (text, error) in [
            ("", Syntax),
            ("-", Syntax),
            ("s", Syntax),
            (".s", Syntax),
            (".", Syntax),
            ("--5s", Syntax),
            (" 5s", Syntax),
            ("1", MissingUnit),
            ("1.5", MissingUnit),
            ("1s5", MissingUnit),
            ("3 s", unknown(" s")),
            ("1m 30s", unknown("m ")),
            ("1d", unknown("d")),
            ("1S", unknown("S")),
            ("1e3s", unknown("e")),
            ("1.e1s", unknown("e")),
            ("9223372036854775808ns", TooLong),
            ("3000000h", TooLong),
            ("2562047h47m16.854775808s", TooLong),
            ("999999999999999999999999999999999999999999h", TooLong),
            ("-5s", Negative),
            ("-1ns", Negative),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn durations_are_written_as_people_write_them() {
        for text in ["0s", "1ns", "1.5us", "300ms", "1s", "1.5s", "10s", "1m", "1m30s", "5m", "2h", "1h0.25s", "2h1m"] {
            assert_eq!(format(parse(text).unwrap()), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_the_same_value(nanoseconds in 0..=i64::MAX.unsigned_abs()) {
            let duration = Duration::from_nanos(nanoseconds);
            prop_assert_eq!(parse(&format(duration)), Ok(duration));
        }

        #[test]
        fn no_text_takes_the_process_down(text in "[-+0-9.a-zµ ]{0,40}") {
            let _ = parse(&text);
        }
    }
}
