//! Timestamps as yaml.v2 recognizes them: Go's `time.Parse` with its four layouts (`parseTimestamp` in `resolve.go`).
//!
//! They are strings for every reader of a configuration; only the tag `!!timestamp` and the identity of keys need to know.

/// Whether a text is a timestamp for yaml.v2.
pub(super) fn is_timestamp(text: &str) -> bool {
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
        let length = self.0.iter().take(2).take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at(length);
        self.0 = rest;
        (length > 0).then(|| digits.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0')))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_go_s_layouts_and_real_days() {
        for source in [
            "2001-01-01",
            "2001-1-2",
            "2004-02-29",
            "2000-02-29",
            "0000-02-29",
            "2001-12-14t21:59:43.10-05:00",
            "2001-12-14T1:2:3Z",
            "2001-12-14 21:59:43",
            "2001-12-14   21:59:43,5",
        ] {
            assert!(is_timestamp(source), "{source}");
        }
        for source in [
            "2001-02-29",
            "1900-02-29",
            "2001-13-01",
            "2001-00-01",
            "2001-01-00",
            "20010101",
            "2001-01",
            "01-01-2001",
            "2001-12-14T21:59:43",
            "2001-12-14T24:00:00Z",
            "2001-12-14T21:59:43z",
            "2001-12-14x",
            "2001-12-14 21:59:43Z",
            "2001-12-14T21:59:43+5:00",
            "2001-12-14T21:59:43.Z",
        ] {
            assert!(!is_timestamp(source), "{source}");
        }
    }
}
