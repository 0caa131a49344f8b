//! One poll of the readiness endpoint. Only 200 means ready; Prometheus answers 503 while it replays its log.

use reqwest::{Client, StatusCode};

use super::ReadinessSettings;
use super::client::{cause, shown};

/// `Ok` when ready, else why not.
pub(crate) async fn poll(client: &Client, settings: &ReadinessSettings) -> Result<(), String> {
    match client.get(settings.url.clone()).timeout(settings.timeout).send().await {
        Ok(response) if response.status() == StatusCode::OK => Ok(()),
        Ok(response) => Err(format!("{} answered {}", shown(&settings.url), response.status())),
        Err(error) => Err(format!("{}: {}", shown(&settings.url), cause(&error))),
    }
}
