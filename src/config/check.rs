//! Collects mistakes while values are read, so that all of them can be reported together.
//!
//! Invariant of the readers here and in the modules that use them: `None` for a value that was needed means that at
//! least one error was collected.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use super::error::{ConfigError, Origin, Setting};
use super::{defaults, duration, value};

/// Where each flag's value comes from, and what was wrong so far.
#[derive(Debug)]
pub(super) struct Check<'a> {
    origins: &'a BTreeMap<String, Origin>,
    errors: Vec<ConfigError>,
}

impl<'a> Check<'a> {
    pub(super) fn new(origins: &'a BTreeMap<String, Origin>) -> Self {
        Self { origins, errors: Vec::new() }
    }

    pub(super) fn push(&mut self, error: ConfigError) {
        self.errors.push(error);
    }

    /// The value if nothing was wrong.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T, Vec<ConfigError>> {
        value.filter(|_| self.errors.is_empty()).ok_or(self.errors)
    }

    /// Whether the flag was given, by argument or environment.
    pub(super) fn given(&self, flag: &str) -> bool {
        self.origins.contains_key(flag)
    }

    /// A flag as messages name it.
    pub(super) fn setting(&self, flag: &'static str, value: impl Display) -> Setting {
        let origin = self.origins.get(flag).copied().unwrap_or(Origin::Default);
        Setting { flag, value: value.to_string(), origin }
    }

    /// Reads a value; a broken rule is collected.
    pub(super) fn read<T>(
        &mut self,
        flag: &'static str,
        text: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        parse(text).map_err(|rule| self.value(flag, text, rule)).ok()
    }

    /// Reads a value that may be absent: `Some(None)` if it is, `None` if it is wrong.
    #[expect(clippy::option_option, reason = "absent and wrong are different answers")]
    pub(super) fn read_optional<T>(
        &mut self,
        flag: &'static str,
        text: Option<&str>,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<Option<T>> {
        match present(text) {
            None => Some(None),
            Some(text) => self.read(flag, text, parse).map(Some),
        }
    }

    /// Collects a broken rule of one value.
    pub(super) fn value(&mut self, flag: &'static str, text: impl Display, rule: impl Into<String>) {
        let setting = self.setting(flag, text);
        self.push(ConfigError::Value { setting, rule: rule.into() });
    }

    /// A value that must be given.
    pub(super) fn required<'t>(&mut self, flag: &'static str, text: Option<&'t str>, reason: &str) -> Option<&'t str> {
        let text = present(text);
        if text.is_none() {
            self.push(ConfigError::Missing { flag, reason: reason.to_owned() });
        }
        text
    }

    pub(super) fn boolean(&mut self, flag: &'static str, text: &str) -> Option<bool> {
        self.read(flag, text, value::boolean)
    }

    /// A duration that may be zero.
    pub(super) fn delay(&mut self, flag: &'static str, text: &str) -> Option<Duration> {
        self.read(flag, text, |text| duration::parse(text).map_err(|error| error.to_string()))
    }

    /// A period or a time-out: zero would spin or fail at once.
    pub(super) fn period(&mut self, flag: &'static str, text: &str) -> Option<Duration> {
        self.period_of(flag, text, defaults::PERIOD_MIN)
    }

    /// A period of at least `min`.
    pub(super) fn period_of(&mut self, flag: &'static str, text: &str, min: Duration) -> Option<Duration> {
        let period = self.delay(flag, text)?;
        if period < min {
            self.value(flag, text, format!("is too short; it must be at least {}", duration::format(min)));
            return None;
        }
        Some(period)
    }
}

/// An empty text counts as not given: manifests write `-flag=""` for that.
pub(super) fn present(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}
