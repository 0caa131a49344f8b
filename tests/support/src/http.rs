//! Small HTTP requests to processes on this machine.

use std::sync::Once;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::{Client, ClientBuilder, Method};
use serde_json::Value;

/// Longest wait for an answer where the caller does not say otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// A client with its own connections. Each runtime needs one of its own: connections die with the runtime that made
/// them.
pub fn client(timeout: Duration) -> Result<Client> {
    builder(timeout).build().context("build an HTTP client")
}

/// The same, to be completed.
pub fn builder(timeout: Duration) -> ClientBuilder {
    static PROVIDER: Once = Once::new();
    // reqwest wants a TLS provider even for plain HTTP. An error says that one is installed already.
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
    // Nor does it want a machine that trusts nobody, as small containers are.
    Client::builder().timeout(timeout).tls_certs_only([])
}

/// The body of a successful GET.
pub async fn get(client: &Client, url: &str) -> Result<String> {
    let answer = client.get(url).send().await.with_context(|| format!("GET {url}"))?;
    let status = answer.status();
    let body = answer.text().await.with_context(|| format!("GET {url}: body"))?;
    ensure!(status.is_success(), "GET {url}: {status}: {}", body.trim());
    Ok(body)
}

/// The JSON body of a successful GET.
pub async fn get_json(client: &Client, url: &str) -> Result<Value> {
    let body = get(client, url).await?;
    serde_json::from_str(&body).with_context(|| format!("GET {url}: not JSON: {body}"))
}

/// Status code of a request without a body.
pub async fn status(client: &Client, method: Method, url: &str) -> Result<u16> {
    let answer = client.request(method.clone(), url).send().await.with_context(|| format!("{method} {url}"))?;
    Ok(answer.status().as_u16())
}
