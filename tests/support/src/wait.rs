//! Waiting for something to become true, with a deadline instead of a sleep.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

/// Pause between two tries.
const TRY_PERIOD: Duration = Duration::from_millis(20);

/// Repeats `attempt` until it succeeds; after `within` fails with `what` and the last attempt's error.
pub async fn eventually<T>(within: Duration, what: &str, mut attempt: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        let error = match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        if start.elapsed() >= within {
            return Err(anyhow!("waited {:.1} s for {what}: {error:#}", start.elapsed().as_secs_f64()));
        }
        tokio::time::sleep(TRY_PERIOD).await;
    }
}

/// Repeats `check` for the whole of `during`; fails at once when it fails.
pub async fn throughout(during: Duration, what: &str, mut check: impl AsyncFnMut() -> Result<()>) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < during {
        check().await.map_err(|error| {
            anyhow!("{what} did not last: broken after {:.1} s: {error:#}", start.elapsed().as_secs_f64())
        })?;
        tokio::time::sleep(TRY_PERIOD).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use anyhow::{bail, ensure};

    use super::*;

    #[tokio::test]
    async fn ends_with_the_first_success() {
        let mut tries = 0;
        let value = eventually(Duration::from_secs(5), "three tries", async || {
            tries += 1;
            ensure!(tries >= 3, "only {tries}");
            Ok(tries)
        });
        assert_eq!(value.await.unwrap(), 3);
    }

    #[tokio::test]
    async fn the_deadline_names_what_was_waited_for_and_why_it_is_not_there() {
        let never = eventually(Duration::ZERO, "rain", async || -> Result<()> { bail!("the sky is blue") });
        let message = never.await.unwrap_err().to_string();
        assert!(message.contains("rain") && message.contains("the sky is blue"), "{message}");
    }

    #[tokio::test]
    async fn throughout_fails_at_the_first_failure() {
        let mut tries = 0;
        let broken = throughout(Duration::from_mins(1), "calm", async || {
            tries += 1;
            ensure!(tries < 2, "storm");
            Ok(())
        });
        let message = broken.await.unwrap_err().to_string();
        assert!(message.contains("calm") && message.contains("storm"), "{message}");
    }
}
