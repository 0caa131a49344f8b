//! Which value Prometheus's YAML reader (gopkg.in/yaml.v2 v2.4.0, YAML 1.1) sees in a scalar.
//!
//! Used for three questions only: are two keys the same, is a value null, does a value fit its tag. Nothing is ever
//! written back in another form. Sources: yaml.v2's `resolve.go`, Go's `strconv.ParseInt` (base 0) and `time.Parse`.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

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
pub(super) fn tagged<'a>(tag: ScalarTag, text: &'a str) -> Option<Value<'a>> {
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
        Some(b'.') => special_float(text).or_else(|| decimal_float(text)).unwrap_or(as_text),
        Some(b'0'..=b'9' | b'+' | b'-') => {
            let digits: Cow<'_, str> =
                if text.contains('_') { Cow::Owned(text.replace('_', "")) } else { Cow::Borrowed(text) };
            special_float(text)
                .or_else(|| go_int(&digits).map(Value::Int))
                .or_else(|| decimal_float(&digits))
                .or_else(|| late_binary(&digits).map(Value::Int))
                .unwrap_or(as_text)
        }
        Some(_) => as_text,
    }
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
    let mantissa_fits = all_digits(whole)
        && all_digits(fraction)
        && if whole.is_empty() { !fraction.is_empty() } else { true };
    if !exponent_fits || !mantissa_fits || mantissa.is_empty() {
        return None;
    }
    text.parse::<f64>().ok().filter(|value| value.is_finite()).map(Value::float)
}

/// Go's `time.Parse` with the four layouts of yaml.v2.
fn is_timestamp(text: &str) -> bool {
    let bytes = text.as_bytes();
    if bytes.len() < 6 || !bytes[..4].iter().all(u8::is_ascii_digit) || bytes[4] != b'-' {
        return false;
    }
    let mut rest = Cursor(&bytes[5..]);
    let year = bytes[..4].iter().fold(0, |year, digit| year * 10 + u32::from(digit - b'0'));
    let Some(month) = rest.number() else { return false };
    if !rest.eat(b'-') {
        return false;
    }
    let Some(day) = rest.number() else { return false };
    if day == 0 || day > days_in(year, month) {
        return false;
    }
    match rest.0.first() {
        None => true,
        Some(b'T' | b't') => {
            rest.0 = &rest.0[1..];
            rest.time() && rest.zone() && rest.0.is_empty()
        }
        Some(b' ') => {
            rest.0 = rest.0.trim_ascii_start();
            rest.time() && rest.0.is_empty()
        }
        Some(_) => false,
    }
}

fn days_in(year: u32, month: u32) -> u32 {
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 0,
    }
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    /// One or two digits.
    fn number(&mut self) -> Option<u32> {
        let digit = |byte: Option<&u8>| byte.filter(|byte| byte.is_ascii_digit()).map(|byte| u32::from(byte - b'0'));
        let first = digit(self.0.first())?;
        match digit(self.0.get(1)) {
            Some(second) => {
                self.0 = &self.0[2..];
                Some(first * 10 + second)
            }
            None => {
                self.0 = &self.0[1..];
                Some(first)
            }
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.0.first() == Some(&byte);
        if found {
            self.0 = &self.0[1..];
        }
        found
    }

    /// `15:4:5`, with a fraction or without.
    fn time(&mut self) -> bool {
        let fits = |number: Option<u32>, limit: u32| number.is_some_and(|number| number < limit);
        let clock = fits(self.number(), 24)
            && self.eat(b':')
            && fits(self.number(), 60)
            && self.eat(b':')
            && fits(self.number(), 60);
        if clock && matches!(self.0, [b'.' | b',', b'0'..=b'9', ..]) {
            let digits = self.0[1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            self.0 = &self.0[1 + digits..];
        }
        clock
    }

    /// `Z` or `-07:00`.
    fn zone(&mut self) -> bool {
        if self.eat(b'Z') {
            return true;
        }
        let &[b'+' | b'-', h1, h2, b':', m1, m2] = self.0 else { return false };
        self.0 = &[];
        let two = |a: u8, b: u8| {
            (a.is_ascii_digit() && b.is_ascii_digit()).then(|| u32::from(a - b'0') * 10 + u32::from(b - b'0'))
        };
        two(h1, h2).is_some_and(|hours| hours <= 24) && two(m1, m2).is_some_and(|minutes| minutes <= 60)
    }
}
