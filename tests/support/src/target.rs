//! A small scrape target: a few series whose values tell the time, and who scraped when.
//!
//! Its own thread and runtime, as the receiver: a test that is busy with its notes makes no scrape fail.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::{ConnectInfo, Query};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse as _;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::receiver::analysis::{PARTS_MAX, SCRAPERS_MAX, Scrapes};

/// Name of its metric.
pub const METRIC: &str = "demo_clock_milliseconds";
/// Its metric for a scrape of a replica (`?replica=2&part=7`, or by its address): the value is the scrape's own ([`Scrapes`]).
pub const SCRAPE_METRIC: &str = "demo_scrape";

/// A running target; ends when it is dropped.
#[derive(Debug)]
pub struct Target {
    /// Where it answers `/metrics`.
    pub address: SocketAddr,
    scrapes: Arc<Mutex<Scrapes>>,
    replicas: Arc<Mutex<HashMap<IpAddr, u64>>>,
    // Dropping it ends the thread.
    _stop: oneshot::Sender<()>,
}

impl Target {
    /// Serves `series` series of [`METRIC`] at `address`.
    pub fn start(address: SocketAddr, series: usize) -> Result<Self> {
        let listener = std::net::TcpListener::bind(address).with_context(|| format!("listen at {address}"))?;
        listener.set_nonblocking(true)?;
        let scrapes = Arc::new(Mutex::new(Scrapes::default()));
        let replicas = Arc::new(Mutex::new(HashMap::new()));
        let (notes, known) = (Arc::clone(&scrapes), Arc::clone(&replicas));
        let page = async move |ConnectInfo(from): ConnectInfo<SocketAddr>,
                               Query(query): Query<HashMap<String, String>>| {
            let number = |name: &str| query.get(name).and_then(|text| text.parse::<u64>().ok());
            let replica = number("replica").or_else(|| lock(&known).get(&from.ip()).copied());
            let id = match (replica, number("part")) {
                (Some(replica), part) => Some(replica.saturating_mul(PARTS_MAX).saturating_add(part.unwrap_or(0))),
                // Its series would be another one's for a moment.
                (None, Some(_)) => {
                    return (StatusCode::SERVICE_UNAVAILABLE, "this replica is not known yet\n").into_response();
                }
                (None, None) => None,
            };
            ([(CONTENT_TYPE, "text/plain; version=0.0.4")], page(series, &notes, id)).into_response()
        };
        let app = Router::new().route("/metrics", get(page));
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("target".into()).spawn(move || {
            runtime.block_on(async {
                let Ok(listener) = TcpListener::from_std(listener) else { return };
                tokio::select! {
                    // axum retries failed accepts by itself.
                    _ = axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).into_future() => {}
                    // An error says that the target was dropped.
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { address, scrapes, replicas, _stop: stop })
    }

    /// Scrapes from this address are those of this replica, if they do not name one themselves.
    pub fn recognise(&self, address: IpAddr, replica: u64) {
        lock(&self.replicas).insert(address, replica);
    }

    /// Who has scraped when.
    pub fn scrapes(&self) -> Scrapes {
        lock(&self.scrapes).clone()
    }
}

fn page(series: usize, notes: &Mutex<Scrapes>, scraper: Option<u64>) -> String {
    let mut notes = lock(notes);
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let (metric, value) = match scraper.filter(|scraper| *scraper < SCRAPERS_MAX) {
        Some(scraper) => {
            let value = u64::try_from(now_ms).unwrap_or(0) * SCRAPERS_MAX + scraper;
            notes.0.entry(scraper).or_default().push(value);
            (SCRAPE_METRIC, u128::from(value))
        }
        None => (METRIC, now_ms),
    };
    drop(notes);
    let mut page = format!("# HELP {metric} Unix time of the scrape.\n# TYPE {metric} counter\n");
    for index in 0..series {
        // Writing to a string cannot fail.
        let _ = writeln!(page, "{metric}{{series=\"{index}\"}} {value}");
    }
    page
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
