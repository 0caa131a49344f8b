//! One poll of the readiness endpoint. Only 200 means ready; Prometheus answers 503 while it replays its log.

use reqwest::{Method, StatusCode};

use super::ReadinessSettings;
use super::client::{LocalClient, cause, shown};

/// `Ok` when ready, else why not.
pub(crate) async fn poll(client: &LocalClient, settings: &ReadinessSettings) -> Result<(), String> {
    match client.request(Method::GET, &settings.url).timeout(settings.timeout).send().await {
        Ok(response) if response.status() == StatusCode::OK => Ok(()),
        Ok(response) => {
            let status = response.status();
            Err(format!("{} answered {status}{}", shown(&settings.url), client.hint(&settings.url, status)))
        }
        Err(error) => Err(format!("{}: {}", shown(&settings.url), cause(&error))),
    }
}
