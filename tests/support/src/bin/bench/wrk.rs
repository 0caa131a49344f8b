//! wrk: as many requests as one thread of it can send over so many connections.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// Prints what is read below: counts, microseconds of the run, microseconds of latency.
const REPORT: &str = r#"done = function(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format("RESULT %d %d %d %d %d\n", summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), failed))
end
"#;

/// What is asked of one address.
pub(crate) struct Load<'a> {
    pub(crate) url: &'a str,
    pub(crate) connections: u32,
}

/// What became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) requests: u64,
    pub(crate) duration: Duration,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    /// Without an answer, or with another status than 2xx and 3xx.
    pub(crate) failed: u64,
}

impl Outcome {
    #[expect(clippy::cast_precision_loss, reason = "numbers of requests are small")]
    pub(crate) fn per_second(&self) -> f64 {
        self.requests as f64 / self.duration.as_secs_f64()
    }
}

impl Load<'_> {
    /// Asks for so long.
    pub(crate) async fn run(&self, duration: Duration) -> Result<Outcome> {
        let dir = tempfile::tempdir()?;
        let script = dir.path().join("report.lua");
        std::fs::write(&script, REPORT)?;
        let output = tokio::process::Command::new("wrk")
            .args(["--threads", "1", "--timeout", "10s"])
            .args(["--connections", &self.connections.to_string()])
            .args(["--duration", &format!("{}s", duration.as_secs())])
            .arg("--script")
            .arg(&script)
            .arg(self.url)
            .kill_on_drop(true)
            .output()
            .await
            .context("run wrk")?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "wrk: {text}{}", String::from_utf8_lossy(&output.stderr));
        parse(&text).with_context(|| format!("wrk says:\n{text}"))
    }
}

fn parse(text: &str) -> Option<Outcome> {
    let line = text.lines().find_map(|line| line.strip_prefix("RESULT "))?;
    let mut numbers = line.split(' ').map(str::parse::<u64>);
    let mut next = || numbers.next()?.ok();
    let (requests, duration) = (next()?, next()?);
    let (p50, p99, failed) = (next()?, next()?, next()?);
    let time = Duration::from_micros;
    Some(Outcome { requests, duration: time(duration), p50: time(p50), p99: time(p99), failed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_report_is_read() {
        let time = Duration::from_micros;
        let outcome = Outcome { requests: 300, duration: time(2_000_000), p50: time(150), p99: time(900), failed: 2 };
        assert_eq!(parse("Running 2s test\nRESULT 300 2000000 150 900 2\n"), Some(outcome));
        assert!((outcome.per_second() - 150.0).abs() < 1e-9);
        assert_eq!(parse("RESULT 300 2000000"), None);
    }
}
