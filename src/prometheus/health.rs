//! Pure: results of checks -> is Prometheus running, is it healthy, and when to check next.
//!
//! ```text
//!             passed                    failed x failure_threshold
//!  Starting ---------> Healthy ------------------------------------> Unhealthy <--+
//!                       ^  |                                          |  ^ |       | failed
//!                       |  | refused, and again a moment later        |  | |       |
//!                       |  +----------------> Down <------------------+  | +-------+
//!                       |                      |  passed or failed       |
//!                       |                      +-------------------------+
//!                       +------- passed x success_threshold
//! ```
//!
//! A refused connection means that nothing listens: the process is gone. Waiting for `failure_threshold` periods would
//! leave the group without a writer for no reason, so it is checked once more after [`RECHECK_DELAY`] and then counts
//! at once. A time-out or a 5xx may be load: these follow the thresholds. The first success after the start counts at
//! once: there is no history that a threshold could smooth.

use std::time::Duration;

/// Pause before a refused connection is checked again: long enough for a listener that is being replaced.
pub(crate) const RECHECK_DELAY: Duration = Duration::from_millis(200);

/// Longest pause between checks while Prometheus does not run or has not been seen yet: its return is noticed soon.
pub(crate) const RETURN_POLL: Duration = Duration::from_secs(1);

/// Result of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// It answered as it should.
    Passed,
    /// It answered otherwise, or too late.
    Failed(String),
    /// Nothing listens at its address.
    Refused(String),
}

/// Whether the process is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Running {
    /// Not seen yet.
    #[default]
    Unknown,
    /// Its address takes connections.
    Yes,
    /// The same, and it says that it ends, or has started again: it answers no query, and loads nothing that it is told to.
    Ending,
    /// Nothing listens at its address.
    No,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Healthy,
    Unhealthy,
    Down,
}

/// Counts checks against the thresholds.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    success_threshold: u32,
    failure_threshold: u32,
    period: Duration,
    phase: Phase,
    /// Checks in a row that speak against `phase`.
    streak: u32,
    /// The last check was the first refused one in a row.
    suspected: bool,
    running: Running,
    detail: String,
}

impl Health {
    pub(crate) fn new(settings: &super::HealthSettings) -> Self {
        Self {
            success_threshold: settings.success_threshold,
            failure_threshold: settings.failure_threshold,
            period: settings.period,
            phase: Phase::Starting,
            streak: 0,
            suspected: false,
            running: Running::Unknown,
            detail: "it has not been checked yet".to_owned(),
        }
    }

    /// Takes one result in.
    pub(crate) fn observe(&mut self, check: Check) {
        let suspected = std::mem::replace(&mut self.suspected, matches!(check, Check::Refused(_)));
        match check {
            Check::Refused(why) => {
                if suspected {
                    self.detail = why;
                    self.running = Running::No;
                    self.streak = 0;
                    // Before the first success it has merely not come up yet.
                    if self.phase != Phase::Starting {
                        self.phase = Phase::Down;
                    }
                }
            }
            Check::Failed(why) => self.failed(why),
            Check::Passed => self.passed(),
        }
    }

    fn passed(&mut self) {
        self.running = Running::Yes;
        let needed = match self.phase {
            Phase::Healthy => {
                self.streak = 0;
                return;
            }
            Phase::Starting => 1,
            Phase::Unhealthy => self.success_threshold,
            Phase::Down => {
                self.phase = Phase::Unhealthy;
                self.success_threshold
            }
        };
        self.streak += 1;
        if self.streak >= needed {
            self.phase = Phase::Healthy;
            self.streak = 0;
            self.detail.clear();
        } else {
            self.detail = format!("{} of {needed} good checks in a row since it was unhealthy", self.streak);
        }
    }

    fn failed(&mut self, why: String) {
        self.running = Running::Yes;
        match self.phase {
            Phase::Healthy => {
                self.streak += 1;
                if self.streak >= self.failure_threshold {
                    self.phase = Phase::Unhealthy;
                    self.streak = 0;
                    self.detail = why;
                }
            }
            Phase::Starting => self.detail = why,
            Phase::Unhealthy | Phase::Down => {
                self.phase = Phase::Unhealthy;
                self.streak = 0;
                self.detail = why;
            }
        }
    }

    /// Pause before the next check.
    pub(crate) fn pause(&self) -> Duration {
        if self.suspected && self.running != Running::No {
            RECHECK_DELAY
        } else if self.running == Running::No || self.phase == Phase::Starting {
            self.period.min(RETURN_POLL)
        } else {
            self.period
        }
    }

    pub(crate) fn healthy(&self) -> bool {
        self.phase == Phase::Healthy
    }

    pub(crate) fn running(&self) -> Running {
        self.running
    }

    /// Why it is not healthy; empty while it is.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(5);

    fn health() -> Health {
        Health::new(&crate::prometheus::HealthSettings {
            url: None,
            period: PERIOD,
            timeout: Duration::from_secs(2),
            success_threshold: 3,
            failure_threshold: 3,
        })
    }

    /// Feeds `checks` (`p`assed, `f`ailed, `r`efused) and shows what follows each of them.
    fn run(health: &mut Health, checks: &str) -> String {
        let mut seen = Vec::new();
        for check in checks.chars() {
            health.observe(match check {
                'p' => Check::Passed,
                'f' => Check::Failed("503".into()),
                _ => Check::Refused("refused".into()),
            });
            let word = if health.healthy() { "healthy" } else { "unhealthy" };
            seen.push(format!("{word}/{:?}/{:?}", health.running(), health.pause()));
        }
        seen.join(" ")
    }

    #[test]
    fn the_first_success_counts_at_once() {
        assert_eq!(run(&mut health(), "p"), "healthy/Yes/5s");
    }

    #[test]
    fn before_the_first_success_it_is_polled_often_and_not_called_healthy() {
        let expected = "unhealthy/Unknown/200ms unhealthy/No/1s unhealthy/No/1s unhealthy/Yes/1s healthy/Yes/5s";
        assert_eq!(run(&mut health(), "rrrfp"), expected);
    }

    #[test]
    fn failures_count_only_in_a_row_and_only_at_the_threshold() {
        let mut health = health();
        run(&mut health, "p");
        assert_eq!(run(&mut health, "ffpff"), ["healthy/Yes/5s"; 5].join(" "));
        assert_eq!(run(&mut health, "f"), "unhealthy/Yes/5s");
        assert_eq!(health.detail(), "503");
    }

    #[test]
    fn recovery_needs_successes_in_a_row() {
        let mut health = health();
        run(&mut health, "pfff");
        assert_eq!(run(&mut health, "ppfpp"), ["unhealthy/Yes/5s"; 5].join(" "));
        assert_eq!(health.detail(), "2 of 3 good checks in a row since it was unhealthy");
        assert_eq!(run(&mut health, "p"), "healthy/Yes/5s");
        assert_eq!(health.detail(), "");
    }

    #[test]
    fn a_refused_connection_is_checked_again_after_a_moment_and_then_counts_at_once() {
        let mut health = health();
        run(&mut health, "p");
        assert_eq!(run(&mut health, "rr"), "healthy/Yes/200ms unhealthy/No/1s");
        assert_eq!(health.detail(), "refused");
    }

    #[test]
    fn one_refused_connection_alone_changes_nothing() {
        let mut health = health();
        run(&mut health, "p");
        assert_eq!(run(&mut health, "rprp"), "healthy/Yes/200ms healthy/Yes/5s healthy/Yes/200ms healthy/Yes/5s");
    }

    #[test]
    fn after_a_crash_the_success_threshold_holds() {
        let mut health = health();
        run(&mut health, "prr");
        assert_eq!(run(&mut health, "ppp"), "unhealthy/Yes/5s unhealthy/Yes/5s healthy/Yes/5s");
    }

    #[test]
    fn a_crash_while_unhealthy_is_still_seen() {
        let mut health = health();
        run(&mut health, "pfff");
        assert_eq!(run(&mut health, "rr"), "unhealthy/Yes/200ms unhealthy/No/1s");
    }
}
