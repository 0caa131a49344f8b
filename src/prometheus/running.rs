//! What the own Prometheus runs with, from its API: since when, and with which configuration.
//!
//! - Input: the base URL of its API, which is the reload URL without `/-/reload`.
//! - Output: [`Observed`] in a watch channel, looked at every `PERIOD`, and at once when it has accepted a reload. The
//!   configuration is fetched only after a start or a reload.
//! - What does not answer as a Prometheus does (a reload URL that leads elsewhere, credentials that are missing) is told
//!   once as a warning and goes on as [`Observed::Unknown`]; what does not answer at all leaves the last word as it is.

use std::time::{Duration, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::client::{LocalClient, address, cause, shown};
use crate::render::OUTPUT_BYTES_MAX;

/// Time between two looks.
const PERIOD: Duration = Duration::from_secs(5);
/// The same while nothing is known.
const FIRST_PERIOD: Duration = Duration::from_millis(500);
/// Time for one answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer: JSON may double a configuration.
const ANSWER_BYTES_MAX: usize = 2 * OUTPUT_BYTES_MAX;
/// Time between two looks at the port of a Prometheus that is to stop, and for one of them.
const STOP_POLL: Duration = Duration::from_millis(100);
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// What is known of the own Prometheus.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Observed {
    /// It has not answered yet.
    #[default]
    NotSeen,
    /// It cannot be asked.
    Unknown,
    /// It runs.
    Seen(Seen),
}

/// A running Prometheus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Unix milliseconds of its start.
    pub started_ms: i64,
    /// Unix milliseconds of its last successful reload, in whole seconds.
    pub loaded_ms: i64,
    /// The configuration that it runs with, secrets hidden.
    pub config: Bytes,
}

/// Base URL of the API that goes with a reload URL.
pub fn api_of(reload: &Url) -> Option<Url> {
    let mut url = reload.clone();
    let path = reload.path().strip_suffix("/-/reload")?.to_owned();
    url.set_path(&format!("{path}/"));
    url.set_query(None);
    Some(url)
}

/// Looks on until nobody listens any more. `reloads`: when it has accepted the newest reload of this sidecar.
pub async fn follow(
    client: LocalClient,
    api: Option<Url>,
    running: watch::Sender<Observed>,
    mut reloads: watch::Receiver<Option<u64>>,
) {
    let Some(api) = api else {
        tracing::warn!(
            "the reload URL does not end in /-/reload, so it is not known where Prometheus's API is: cover is counted from the \
             start of this sidecar"
        );
        running.send_replace(Observed::Unknown);
        return running.closed().await;
    };
    let mut warned = false;
    while !running.is_closed() {
        let before = running.borrow().clone();
        match look(&client, &api, &before).await {
            Ok(Some(seen)) => {
                warned = false;
                running.send_if_modified(|running| {
                    let seen = Observed::Seen(seen);
                    let changed = *running != seen;
                    *running = seen;
                    changed
                });
            }
            Ok(None) => {}
            Err(why) => {
                if !warned {
                    tracing::warn!(
                        api = %shown(&api), why,
                        "what answers is not the API of a Prometheus: cover is counted from the start of this sidecar"
                    );
                }
                warned = true;
                running.send_if_modified(|running| {
                    let changed = *running != Observed::Unknown;
                    *running = Observed::Unknown;
                    changed
                });
            }
        }
        let period = if *running.borrow() == Observed::NotSeen { FIRST_PERIOD } else { PERIOD };
        tokio::select! { () = sleep(period) => {} Ok(()) = reloads.changed() => {} () = running.closed() => {} }
    }
}

/// Completes when nothing listens at a URL's address: a Prometheus that shuts down listens until it has flushed its queues.
pub async fn stopped(url: &Url) {
    let (host, port) = address(url);
    let mut refused = 0;
    while refused < 2 {
        match timeout(STOP_TIMEOUT, TcpStream::connect((host.as_str(), port))).await {
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => refused += 1,
            _ => refused = 0,
        }
        sleep(STOP_POLL).await;
    }
}

#[derive(Deserialize)]
struct Answer<T> {
    data: T,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RuntimeInfo {
    start_time: String,
    last_config_time: String,
}

#[derive(Deserialize)]
struct Config {
    yaml: String,
}

/// One look; `None`: it does not answer. An error says why what answers is no Prometheus.
async fn look(client: &LocalClient, api: &Url, before: &Observed) -> Result<Option<Seen>, String> {
    let Some(info) = get::<RuntimeInfo>(client, api, "api/v1/status/runtimeinfo").await? else { return Ok(None) };
    let time = |text: &str| unix_ms(text).ok_or_else(|| format!("`{text}` is no time"));
    let (started_ms, loaded_ms) = (time(&info.start_time)?, time(&info.last_config_time)?);
    if let Observed::Seen(seen) = before
        && (seen.started_ms, seen.loaded_ms) == (started_ms, loaded_ms)
    {
        return Ok(Some(seen.clone()));
    }
    let config = get::<Config>(client, api, "api/v1/status/config").await?;
    Ok(config.map(|config| Seen { started_ms, loaded_ms, config: config.yaml.into() }))
}

async fn get<T: for<'d> Deserialize<'d>>(client: &LocalClient, api: &Url, path: &str) -> Result<Option<T>, String> {
    let url = api.join(path).map_err(|error| error.to_string())?;
    let mut response = match client.request(Method::GET, &url).timeout(TIMEOUT).send().await {
        Ok(response) if response.status().is_success() => response,
        Ok(response) if response.status().is_server_error() || response.status() == StatusCode::TOO_MANY_REQUESTS => {
            return Ok(None);
        }
        Ok(response) => {
            let status = response.status();
            return Err(format!("/{path} answers {status}{}", client.hint(&url, status)));
        }
        Err(error) => {
            tracing::debug!(error = cause(&error), "Prometheus's API does not answer");
            return Ok(None);
        }
    };
    let mut body = BytesMut::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= ANSWER_BYTES_MAX => body.extend_from_slice(&chunk),
            Ok(Some(_)) => return Err(format!("/{path} answers with more than {ANSWER_BYTES_MAX} bytes")),
            Ok(None) => break,
            Err(_) => return Ok(None),
        }
    }
    let answer = serde_json::from_slice::<Answer<T>>(&body);
    answer.map(|answer| Some(answer.data)).map_err(|error| format!("/{path} answers in other words: {error}"))
}

/// Unix milliseconds of a time in RFC 3339, of any offset: Go writes that of its host.
fn unix_ms(text: &str) -> Option<i64> {
    let (local, offset_s) = if let Some(local) = text.strip_suffix('Z') {
        (local, 0)
    } else {
        let (local, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
        let (sign, offset) = offset.split_at_checked(1)?;
        let (hours, minutes) = offset.split_once(':')?;
        let seconds = hours.parse::<i64>().ok()? * 3600 + minutes.parse::<i64>().ok()? * 60;
        let seconds = match sign {
            "+" => seconds,
            "-" => -seconds,
            _ => return None,
        };
        (local, seconds)
    };
    let utc = humantime::parse_rfc3339(&format!("{local}Z")).ok()?;
    let ms = i64::try_from(utc.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()?;
    ms.checked_sub(offset_s * 1000)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::extract::State;
    use http::Uri;

    use super::*;
    use crate::prometheus::client;

    #[test]
    fn times_of_any_offset_are_read() {
        for (text, ms) in [
            ("1970-01-01T00:00:01Z", Some(1_000)),
            ("1970-01-01T01:00:01.25+01:00", Some(1_250)),
            ("1969-12-31T23:30:01.250999999-00:30", None),
            ("1970-01-01T00:00:01.5-00:30", Some(1_801_500)),
            ("2026-11-24T13:19:16.053359321Z", Some(1_795_526_356_053)),
            ("", None),
            ("yesterday", None),
            ("1970-01-01T00:00:01*01:00", None),
        ] {
            assert_eq!(unix_ms(text), ms, "{text}");
        }
    }

    #[test]
    fn the_api_is_beside_the_reload_endpoint() {
        let api = |url: &str| api_of(&url.parse().unwrap()).map(String::from);
        assert_eq!(api("http://h:1/-/reload").as_deref(), Some("http://h:1/"));
        assert_eq!(api("http://u:p@h:1/prom/-/reload?x=y").as_deref(), Some("http://u:p@h:1/prom/"));
        assert_eq!(api("http://h:1/hook"), None);
    }

    /// What the API answers, and what it was asked.
    type World = Arc<Mutex<(String, Vec<String>)>>;

    async fn answer(State(world): State<World>, uri: Uri) -> (StatusCode, String) {
        let mut world = world.lock().unwrap();
        world.1.push(uri.path().to_owned());
        match (world.0.as_str(), uri.path()) {
            ("busy", _) => (StatusCode::SERVICE_UNAVAILABLE, String::new()),
            ("closed", _) => (StatusCode::UNAUTHORIZED, String::new()),
            ("other", _) => (StatusCode::OK, "{}".to_owned()),
            (second, "/p/api/v1/status/runtimeinfo") => {
                let text = format!(
                    r#"{{"data": {{"startTime": "1970-01-01T00:00:01Z", "lastConfigTime": "1970-01-01T00:00:{second}Z"}}}}"#
                );
                (StatusCode::OK, text)
            }
            _ => (StatusCode::OK, r#"{"status": "success", "data": {"yaml": "global: {}\n"}}"#.to_owned()),
        }
    }

    /// A server whose answers the test chooses, and its API.
    async fn world(mode: &str) -> (World, Url) {
        let world: World = Arc::new(Mutex::new((mode.to_owned(), Vec::new())));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api: Url = format!("http://{}/p/", listener.local_addr().unwrap()).parse().unwrap();
        let router = Router::new().fallback(answer).with_state(world.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (world, api)
    }

    #[tokio::test]
    async fn a_reload_is_looked_at_without_waiting_for_the_period() {
        let (world, api) = world("02").await;
        let (running, mut seen) = watch::channel(Observed::NotSeen);
        let (reloads, reloaded) = watch::channel(None);
        let client = client::open([&api], Duration::from_secs(1));
        tokio::spawn(follow(client, Some(api), running, reloaded));
        let is_of = |ms: i64| move |now: &Observed| matches!(now, Observed::Seen(seen) if seen.loaded_ms == ms);
        seen.wait_for(is_of(2_000)).await.unwrap();
        "03".clone_into(&mut world.lock().unwrap().0);
        reloads.send_replace(Some(3_000));
        timeout(PERIOD / 2, seen.wait_for(is_of(3_000))).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_configuration_is_fetched_once_for_each_reload_and_strangers_are_told_apart() {
        let (world, api) = world("busy").await;
        let client = client::open([&api], Duration::from_secs(1));
        let set = |mode: &str| mode.clone_into(&mut world.lock().unwrap().0);
        assert_eq!(look(&client, &api, &Observed::NotSeen).await, Ok(None));
        set("02");
        let seen = Seen { started_ms: 1_000, loaded_ms: 2_000, config: "global: {}\n".into() };
        assert_eq!(look(&client, &api, &Observed::NotSeen).await, Ok(Some(seen.clone())));
        let known = Observed::Seen(seen.clone());
        assert_eq!(look(&client, &api, &known).await, Ok(Some(seen.clone())));
        set("03");
        assert_eq!(look(&client, &api, &known).await, Ok(Some(Seen { loaded_ms: 3_000, ..seen })));
        let asked = world.lock().unwrap().1.iter().filter(|path| path.ends_with("/config")).count();
        assert_eq!(asked, 2);
        for stranger in ["closed", "other"] {
            set(stranger);
            assert!(look(&client, &api, &known).await.is_err(), "{stranger}");
        }
    }

    #[tokio::test]
    async fn a_prometheus_has_stopped_when_nothing_listens() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url: Url = format!("http://{}/-/reload", listener.local_addr().unwrap()).parse().unwrap();
        assert!(timeout(Duration::from_millis(300), stopped(&url)).await.is_err());
        drop(listener);
        timeout(Duration::from_secs(5), stopped(&url)).await.unwrap();
    }
}
