//! Pure: results of checks and of polls of readiness -> what is known of Prometheus, and when to check next.
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
//!
//! Readiness, once seen, stays until Prometheus is gone, or says itself that it is not ready: then it ends, or has started again
//! unseen. One that flushes to a remote that is away goes on to be healthy, and answers no query for up to a minute.

use std::time::Duration;

use super::readiness::NotReady;

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
    /// The same, but it ends, or has started again: it answers no query, and loads nothing that it is told to.
    Ending,
    /// Nothing listens at its address.
    No,
}

/// What is known of the local Prometheus.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PrometheusState {
    pub(crate) running: Running,
    /// It was ready once since it was last seen gone or ending.
    pub(crate) ready: bool,
    pub(crate) healthy: bool,
    /// Why it is not ready, as far as it was asked; empty when it is.
    pub(crate) not_ready: String,
    /// Why it does not run or is not healthy; empty when it is.
    pub(crate) not_healthy: String,
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
    /// Readiness is polled; else it is taken for granted.
    polls: bool,
    phase: Phase,
    /// Checks in a row that speak against `phase`.
    streak: u32,
    /// The last check was the first refused one in a row.
    suspected: bool,
    known: PrometheusState,
}

impl Health {
    pub(crate) fn new(settings: &super::HealthSettings, polls: bool) -> Self {
        let not_healthy = "it has not been checked yet".to_owned();
        Self {
            success_threshold: settings.success_threshold,
            failure_threshold: settings.failure_threshold,
            period: settings.period,
            polls,
            phase: Phase::Starting,
            streak: 0,
            suspected: false,
            known: PrometheusState { ready: !polls, not_healthy, ..PrometheusState::default() },
        }
    }

    /// Takes one result in.
    pub(crate) fn observe(&mut self, check: Check) {
        let suspected = std::mem::replace(&mut self.suspected, matches!(check, Check::Refused(_)));
        match check {
            Check::Refused(why) => {
                if suspected {
                    if self.known.running != Running::No {
                        self.known.ready = !self.polls;
                        self.known.not_ready.clear();
                    }
                    self.known.running = Running::No;
                    self.known.not_healthy = why;
                    self.streak = 0;
                    // Before the first success it has merely not come up yet.
                    if self.phase != Phase::Starting {
                        self.phase = Phase::Down;
                    }
                }
            }
            Check::Failed(why) => {
                self.answered();
                self.failed(why);
            }
            Check::Passed => {
                self.answered();
                self.passed();
            }
        }
        self.known.healthy = self.phase == Phase::Healthy;
    }

    /// Takes one poll of readiness in.
    pub(crate) fn observe_readiness(&mut self, polled: Result<(), NotReady>) {
        let known = &mut self.known;
        match polled {
            Ok(()) => {
                known.ready = true;
                known.not_ready.clear();
                if known.running == Running::Ending {
                    known.running = Running::Yes;
                }
            }
            Err(not_ready) if known.ready && not_ready.is_own_word => {
                known.running = Running::Ending;
                known.ready = false;
                known.not_ready = format!("it ends, or has started again: {}", not_ready.why);
            }
            Err(_) if known.ready || known.running == Running::Ending => {}
            Err(not_ready) => known.not_ready = not_ready.why,
        }
    }

    fn answered(&mut self) {
        if self.known.running != Running::Ending {
            self.known.running = Running::Yes;
        }
    }

    fn passed(&mut self) {
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
            self.known.not_healthy.clear();
        } else {
            self.known.not_healthy = format!("{} of {needed} good checks in a row since it was unhealthy", self.streak);
        }
    }

    fn failed(&mut self, why: String) {
        match self.phase {
            Phase::Healthy => {
                self.streak += 1;
                if self.streak >= self.failure_threshold {
                    self.phase = Phase::Unhealthy;
                    self.streak = 0;
                    self.known.not_healthy = why;
                }
            }
            Phase::Starting => self.known.not_healthy = why,
            Phase::Unhealthy | Phase::Down => {
                self.phase = Phase::Unhealthy;
                self.streak = 0;
                self.known.not_healthy = why;
            }
        }
    }

    /// Pause before the next check.
    pub(crate) fn pause(&self) -> Duration {
        if self.suspected && self.known.running != Running::No {
            RECHECK_DELAY
        } else if self.known.running == Running::No || self.phase == Phase::Starting {
            self.period.min(RETURN_POLL)
        } else {
            self.period
        }
    }

    /// What is known by now.
    pub(crate) fn known(&self) -> &PrometheusState {
        &self.known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(5);

    fn health() -> Health {
        let settings = crate::prometheus::HealthSettings {
            url: None,
            period: PERIOD,
            timeout: Duration::from_secs(2),
            success_threshold: 3,
            failure_threshold: 3,
        };
        Health::new(&settings, true)
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
            let word = if health.known().healthy { "healthy" } else { "unhealthy" };
            seen.push(format!("{word}/{:?}/{:?}", health.known().running, health.pause()));
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
        assert_eq!(health.known().not_healthy, "503");
    }

    #[test]
    fn recovery_needs_successes_in_a_row() {
        let mut health = health();
        run(&mut health, "pfff");
        assert_eq!(run(&mut health, "ppfpp"), ["unhealthy/Yes/5s"; 5].join(" "));
        assert_eq!(health.known().not_healthy, "2 of 3 good checks in a row since it was unhealthy");
        assert_eq!(run(&mut health, "p"), "healthy/Yes/5s");
        assert_eq!(health.known().not_healthy, "");
    }

    #[test]
    fn a_refused_connection_is_checked_again_after_a_moment_and_then_counts_at_once() {
        let mut health = health();
        run(&mut health, "p");
        assert_eq!(run(&mut health, "rr"), "healthy/Yes/200ms unhealthy/No/1s");
        assert_eq!(health.known().not_healthy, "refused");
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

    fn not_ready(is_own_word: bool) -> Result<(), NotReady> {
        Err(NotReady { why: "503".into(), is_own_word })
    }

    /// What is known of readiness after a poll.
    fn polled(health: &mut Health, polled: Result<(), NotReady>) -> String {
        health.observe_readiness(polled);
        let known = health.known();
        let word = if known.ready { "ready" } else { "not ready" };
        format!("{:?}, {word}: {}", known.running, known.not_ready)
    }

    #[test]
    fn readiness_once_seen_is_taken_away_only_by_the_own_word_or_the_end_of_prometheus() {
        let mut health = health();
        assert_eq!(polled(&mut health, not_ready(true)), "Unknown, not ready: 503");
        run(&mut health, "p");
        assert_eq!(polled(&mut health, Ok(())), "Yes, ready: ");
        assert_eq!(polled(&mut health, not_ready(false)), "Yes, ready: ");
        assert_eq!(polled(&mut health, not_ready(true)), "Ending, not ready: it ends, or has started again: 503");
        run(&mut health, "pf");
        assert_eq!(polled(&mut health, not_ready(false)), "Ending, not ready: it ends, or has started again: 503");
        assert_eq!(polled(&mut health, Ok(())), "Yes, ready: ");
        polled(&mut health, not_ready(true));
        run(&mut health, "rr");
        assert_eq!(
            *health.known(),
            PrometheusState { running: Running::No, not_healthy: "refused".into(), ..PrometheusState::default() }
        );
    }

    #[test]
    fn readiness_that_is_not_polled_is_taken_for_granted() {
        let mut health = Health { polls: false, ..health() };
        run(&mut health, "prr");
        assert!(health.known().ready, "{health:?}");
    }
}
