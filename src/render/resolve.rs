//! Which value Prometheus's YAML reader (gopkg.in/yaml.v2 v2.4.0, YAML 1.1) sees in a scalar.
//!
//! Used for three questions only: are two keys the same, is a value null, does a value fit its tag. Nothing is ever
//! written back in another form. Sources: yaml.v2's `resolve.go` and Go's `strconv.ParseInt` (base 0).

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::timestamp::is_timestamp;
use super::tree::{Form, Scalar, ScalarTag};

/// Go's `base64.StdEncoding`: padded, stray bits in the last character accepted.
const GO_BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// A value as Go sees it; equal values are the same key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Value<'a> {
    /// `null`, `~`, nothing.
    Null,
    /// `yes`, `off`, …
    Bool(bool),
    /// Up to 64 bits, signed or unsigned.
    Int(i128),
    /// Bits of a float; zero has one sign.
    Float(u64),
    /// A date; Go hands it on as a string.
    Timestamp,
    /// Text, or the bytes of a `!!binary`.
    Text(Cow<'a, [u8]>),
}

impl<'a> Value<'a> {
    /// Value of a scalar of the tree, whose tag has been checked.
    pub(super) fn of(scalar: &'a Scalar<'_>) -> Self {
        let text = scalar.text.as_ref();
        let as_text = || Value::Text(Cow::Borrowed(text.as_bytes()));
        let value = match scalar.form {
            Form::Plain => plain(text),
            Form::Quoted => return as_text(),
            Form::Tagged(tag) => tagged(tag, text).unwrap_or_else(as_text),
        };
        if value == Value::Timestamp { as_text() } else { value }
    }

    fn float(value: f64) -> Self {
        Value::Float(if value == 0.0 { 0 } else { value.to_bits() })
    }
}

/// Whether a scalar is null.
pub(super) fn is_null(scalar: &Scalar<'_>) -> bool {
    match scalar.form {
        Form::Plain => matches!(scalar.text.as_ref(), "" | "~" | "null" | "Null" | "NULL"),
        Form::Quoted => false,
        Form::Tagged(tag) => tag == ScalarTag::Null,
    }
}

/// Whether a bare scalar is a string.
pub(super) fn is_plain_string(text: &str) -> bool {
    matches!(plain(text), Value::Text(_))
}

/// Value of a scalar with a tag; `None` where it does not fit.
pub(super) fn tagged(tag: ScalarTag, text: &str) -> Option<Value<'_>> {
    if tag == ScalarTag::Binary {
        // Go skips line ends in base64.
        let packed: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
        return GO_BASE64.decode(packed).ok().map(|bytes| Value::Text(Cow::Owned(bytes)));
    }
    let value = if tag == ScalarTag::Timestamp { plain(text) } else { plain_undated(text) };
    match (tag, value) {
        (ScalarTag::Float, Value::Int(int)) => {
            // Go converts signed integers only.
            #[allow(clippy::cast_precision_loss)] // as Go's float64(v)
            i64::try_from(int).ok().map(|int| Value::float(int as f64))
        }
        (ScalarTag::Bool, value @ Value::Bool(_))
        | (ScalarTag::Float, value @ Value::Float(_))
        | (ScalarTag::Int, value @ Value::Int(_))
        | (ScalarTag::Null, value @ Value::Null)
        | (ScalarTag::Timestamp, value @ Value::Timestamp) => Some(value),
        _ => None,
    }
}

/// Value of a bare scalar.
fn plain(text: &str) -> Value<'_> {
    if text.starts_with(|first: char| first.is_ascii_digit()) && is_timestamp(text) {
        return Value::Timestamp;
    }
    plain_undated(text)
}

fn plain_undated(text: &str) -> Value<'_> {
    let as_text = Value::Text(Cow::Borrowed(text.as_bytes()));
    match text.as_bytes().first() {
        None => Value::Null,
        Some(b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' | b'~') => {
            word(text).unwrap_or(as_text)
        }
        Some(b'.') if underscores_separate_digits(text) => {
            special_float(text).or_else(|| decimal_float(&without_underscores(text))).unwrap_or(as_text)
        }
        Some(b'0'..=b'9' | b'+' | b'-') => {
            let digits = without_underscores(text);
            special_float(text)
                .or_else(|| go_int(&digits).map(Value::Int))
                .or_else(|| decimal_float(&digits))
                .or_else(|| late_binary(&digits).map(Value::Int))
                .unwrap_or(as_text)
        }
        Some(_) => as_text,
    }
}

fn without_underscores(text: &str) -> Cow<'_, str> {
    if text.contains('_') { Cow::Owned(text.replace('_', "")) } else { Cow::Borrowed(text) }
}

/// Go's own rule for numbers; where yaml.v2 strips underscores first it does not apply.
fn underscores_separate_digits(text: &str) -> bool {
    let digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
    let bytes = text.as_bytes();
    (0..bytes.len()).all(|at| bytes[at] != b'_' || (digit(bytes[..at].last()) && digit(bytes.get(at + 1))))
}

fn word(text: &str) -> Option<Value<'static>> {
    Some(match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Value::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Value::Bool(false),
        "~" | "null" | "Null" | "NULL" => Value::Null,
        _ => return None,
    })
}

fn special_float(text: &str) -> Option<Value<'static>> {
    Some(Value::float(match text {
        ".nan" | ".NaN" | ".NAN" => f64::NAN,
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => f64::INFINITY,
        "-.inf" | "-.Inf" | "-.INF" => f64::NEG_INFINITY,
        _ => return None,
    }))
}

/// Go's `ParseInt(text, 0, 64)`, then `ParseUint`.
fn go_int(text: &str) -> Option<i128> {
    let (signed, negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, true, &text[1..]),
        b'+' => (true, false, &text[1..]),
        _ => (false, false, text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    let magnitude = magnitude(digits, radix)?;
    let value = if negative { -magnitude } else { magnitude };
    let max = if signed { i128::from(i64::MAX) } else { i128::from(u64::MAX) };
    (i128::from(i64::MIN)..=max).contains(&value).then_some(value)
}

/// yaml.v2's last attempt: `0b` and `-0b`, where the sign may also follow the prefix.
fn late_binary(text: &str) -> Option<i128> {
    let digits = text.strip_prefix("0b")?;
    let (negative, digits) = match digits.as_bytes().first()? {
        b'-' => (true, &digits[1..]),
        b'+' => (false, &digits[1..]),
        _ => return None, // without a sign `go_int` has decided
    };
    let magnitude = magnitude(digits, 2)?;
    let value = if negative { -magnitude } else { magnitude };
    i64::try_from(value).ok().map(i128::from)
}

/// Digits only, at most a little over 64 bits.
fn magnitude(digits: &str, radix: u32) -> Option<i128> {
    if digits.is_empty() || !digits.bytes().all(|byte| char::from(byte).is_digit(radix)) {
        return None;
    }
    i128::from_str_radix(digits, radix).ok()
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?` within the range of a float64.
fn decimal_float(text: &str) -> Option<Value<'static>> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let all_digits = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    let exponent_fits = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !digits.is_empty() && all_digits(digits)
    });
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mantissa_fits =
        all_digits(whole) && all_digits(fraction) && if whole.is_empty() { !fraction.is_empty() } else { true };
    if !exponent_fits || !mantissa_fits || mantissa.is_empty() {
        return None;
    }
    text.parse::<f64>().ok().filter(|value| value.is_finite()).map(Value::float)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn text(text: &str) -> Value<'_> {
        Value::Text(Cow::Borrowed(text.as_bytes()))
    }

    #[test]
    fn words_of_yaml_1_1_are_bools_in_three_spellings_only() {
        for word in "y Y yes Yes YES true True TRUE on On ON".split(' ') {
            assert_eq!(plain(word), Value::Bool(true), "{word}");
        }
        for word in "n N no No NO false False FALSE off Off OFF".split(' ') {
            assert_eq!(plain(word), Value::Bool(false), "{word}");
        }
        for word in "yEs tRUE oFF nULL nil none ye yess".split(' ') {
            assert_eq!(plain(word), text(word), "{word}");
        }
        for word in ["", "~", "null", "Null", "NULL"] {
            assert_eq!(plain(word), Value::Null, "{word}");
        }
    }

    #[test]
    fn integers_are_those_of_go_with_their_bases_and_limits() {
        for (source, value) in [
            ("0", 0),
            ("-0", 0),
            ("+1", 1),
            ("0777", 511),
            ("0o17", 15),
            ("0O17", 15),
            ("0b101", 5),
            ("-0b11", -3),
            ("0x1F", 31),
            ("-0X1f", -31),
            ("1_000", 1000),
            ("0_7", 7),
            ("1__", 1),
            ("0b-1", -1),
            ("0b+1", 1),
            ("18446744073709551615", u64::MAX.into()),
            ("-9223372036854775808", i64::MIN.into()),
            ("0xFFFFFFFFFFFFFFFF", u64::MAX.into()),
        ] {
            assert_eq!(plain(source), Value::Int(value), "{source}");
        }
        for source in ["0x", "0b", "0o", "0xg", "0b12", "-", "+", "1a", "--1", "-0b-1", "_1", "0o8"] {
            assert_eq!(plain(source), text(source), "{source}");
        }
    }

    #[test]
    fn floats_are_decimal_in_range_and_never_base_sixty() {
        for (source, value) in [
            ("1.5", 1.5),
            ("1.", 1.0),
            (".5", 0.5),
            ("-.5", -0.5),
            ("1e3", 1e3),
            ("1.e-3", 1e-3),
            ("08", 8.0),
            ("18446744073709551616", 18_446_744_073_709_551_616.0),
            ("+9223372036854775808", 9_223_372_036_854_775_808.0),
            ("1e-400", 0.0),
            ("-0.0", 0.0),
            ("1_0.5_0", 10.5),
            (".5_1", 0.51),
            (".inf", f64::INFINITY),
            ("-.INF", f64::NEG_INFINITY),
            (".nan", f64::NAN),
        ] {
            assert_eq!(plain(source), Value::float(value), "{source}");
        }
        for source in
            ["1:30", "12:30:45.5", "1e400", "1e", "e3", ".", "..", "._5", ".5_", "1,5", ".iNF", "-.nan", "1.2.3", "."]
        {
            assert_eq!(plain(source), text(source), "{source}");
        }
    }

    #[test]
    fn tags_accept_what_fits_and_nothing_else() {
        let fits = |tag, text| tagged(tag, text).is_some();
        assert!(fits(ScalarTag::Int, "0777") && !fits(ScalarTag::Int, "1.5") && !fits(ScalarTag::Int, "2001-01-01"));
        assert!(fits(ScalarTag::Float, "1") && fits(ScalarTag::Float, ".inf") && !fits(ScalarTag::Float, "x"));
        assert!(!fits(ScalarTag::Float, "18446744073709551615"), "Go converts signed integers only");
        assert!(fits(ScalarTag::Bool, "off") && !fits(ScalarTag::Bool, "0"));
        assert!(fits(ScalarTag::Null, "") && !fits(ScalarTag::Null, "nil"));
        assert!(fits(ScalarTag::Timestamp, "2001-01-01") && !fits(ScalarTag::Timestamp, "now"));
        assert_eq!(tagged(ScalarTag::Binary, "aG\nk="), Some(text("hi")));
        assert!(!fits(ScalarTag::Binary, "aGk") && !fits(ScalarTag::Binary, "a b="));
    }
}
