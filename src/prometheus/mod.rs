//! The local Prometheus: reload, readiness, health; atomic replacement of its file; watch of the source file.

pub mod access;
pub mod client;
pub mod file;
pub(crate) mod health;
pub(crate) mod probe;
#[cfg(test)]
mod probe_tests;
pub(crate) mod readiness;
pub(crate) mod reload;
pub mod running;
pub(crate) mod watch;

use std::time::Duration;

/// How Prometheus is told to reload.
#[derive(Clone, Debug)]
pub struct NotifySettings {
    /// Reload endpoint.
    pub url: reqwest::Url,
    /// Request method.
    pub method: reqwest::Method,
    /// Attempts before the controller falls back to its slow, endless retry.
    pub max_attempts: u32,
    /// Pause between those attempts.
    pub retry_delay: Duration,
    /// After this long a reload is reported as slow; it is waited for, never repeated while it runs.
    pub timeout: Duration,
}

/// Wait for readiness before candidacy.
#[derive(Clone, Debug)]
pub struct ReadinessSettings {
    /// Answers 200 when ready.
    pub url: reqwest::Url,
    /// Time between polls.
    pub poll_period: Duration,
    /// Time for one poll.
    pub timeout: Duration,
}

/// Health while the process runs.
#[derive(Clone, Debug)]
pub struct HealthSettings {
    /// 2xx is a success; `None`: only a refused connection to the notify address counts.
    pub url: Option<reqwest::Url>,
    /// Time between checks.
    pub period: Duration,
    /// Time for one check.
    pub timeout: Duration,
    /// Successes in a row to become eligible again.
    pub success_threshold: u32,
    /// Failures in a row to become ineligible.
    pub failure_threshold: u32,
}
