//! How another member is reached: by TLS with the certificates of this moment, or in plain text.
//!
//! With `optional` TLS is tried first. Where nobody speaks it the call goes plain, and so do the next ones for a moment, so
//! that not every heartbeat pays for two attempts. A member that does speak TLS is never called plain, whatever is wrong with
//! its certificate. Changed certificates mean a new client with connections of its own; those of before end with their calls.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::header;
use reqwest::dns::Resolve;
use reqwest::tls::TlsInfo;
use rustls::pki_types::CertificateDer;
use tokio::time::Instant;

use super::tls::{Tls, TlsMaterial};
use super::tls_error::{speaks_no_tls, tls_error};

/// Idle connections to one member; a call is never queued behind another.
const IDLE_MAX: usize = 4;
/// For how long: less than the listener waits for the next call, so that none is sent into a connection that ends.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3);
/// For how long a member that speaks no TLS is called plain before TLS is tried again.
const PLAIN_FOR: Duration = Duration::from_secs(5);
/// Addresses that are remembered as plain at once; discovery is bounded below that.
const PLAIN_MAX: usize = 256;
/// A TLS connection takes one round trip more than a plain one, and three retry periods are enough for both on links that
/// are slow but allowed.
const TLS_CONNECT_SHARE: u32 = 3;

/// Makes connections.
#[derive(Clone)]
pub(crate) struct Dialer {
    resolver: Option<Arc<dyn Resolve>>,
    connect_timeout: Duration,
    tls: Option<Tls>,
    state: Arc<Mutex<State>>,
}

struct State {
    client: reqwest::Client,
    /// What the client was made with.
    material: Option<Arc<TlsMaterial>>,
    /// Addresses where nobody speaks TLS, and until when that is believed.
    plain: BTreeMap<String, Instant>,
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Dialer")
    }
}

impl Dialer {
    /// `resolver` finds the addresses of host names; `None`: the system's.
    pub(crate) fn new(
        tls: Option<Tls>,
        resolver: Option<Arc<dyn Resolve>>,
        connect_timeout: Duration,
    ) -> Result<Self, reqwest::Error> {
        let connect_timeout = if tls.is_some() { connect_timeout * TLS_CONNECT_SHARE } else { connect_timeout };
        let material = tls.as_ref().map(|tls| tls.material.borrow().clone());
        let client = build(material.as_deref(), resolver.clone(), connect_timeout)?;
        let state = Arc::new(Mutex::new(State { client, material, plain: BTreeMap::new() }));
        Ok(Self { resolver, connect_timeout, tls, state })
    }

    /// Posts a body. The request is made by `prepare`, which sees it before it goes.
    pub(super) async fn post(
        &self,
        address: &str,
        path: &str,
        body: Bytes,
        prepare: impl Fn(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
    ) -> Result<reqwest::Response, reqwest::Error> {
        let client = self.client()?;
        let send = |scheme: &str, body: Bytes| {
            let request = client.post(format!("{scheme}://{address}{path}"));
            prepare(request.header(header::CONTENT_TYPE, "application/json").body(body)).send()
        };
        let Some(tls) = &self.tls else { return send("http", body).await };
        if !self.is_plain(address) {
            match send("https", body.clone()).await {
                Err(error) if !tls.is_required() && tls_error(&error).is_some_and(speaks_no_tls) => {
                    self.remember_plain(address);
                }
                done => return done,
            }
        }
        let answered = send("http", body).await;
        // It may have started anew, with TLS.
        if answered.as_ref().map_or(true, |response| !response.status().is_success()) {
            self.state().plain.remove(address);
        }
        answered
    }

    /// The client for the certificates of this moment.
    fn client(&self) -> Result<reqwest::Client, reqwest::Error> {
        let mut state = self.state();
        if let Some(tls) = &self.tls {
            let now = tls.material.borrow().clone();
            if !state.material.as_ref().is_some_and(|made_with| Arc::ptr_eq(made_with, &now)) {
                state.client = build(Some(&now), self.resolver.clone(), self.connect_timeout)?;
                state.material = Some(now);
            }
        }
        Ok(state.client.clone())
    }

    fn is_plain(&self, address: &str) -> bool {
        self.state().plain.get(address).is_some_and(|until| Instant::now() < *until)
    }

    fn remember_plain(&self, address: &str) {
        let (plain, now) = (&mut self.state().plain, Instant::now());
        plain.retain(|_, until| now < *until);
        if plain.len() < PLAIN_MAX {
            plain.insert(address.to_owned(), now + PLAIN_FOR);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn build(
    material: Option<&TlsMaterial>,
    resolver: Option<Arc<dyn Resolve>>,
    connect_timeout: Duration,
) -> Result<reqwest::Client, reqwest::Error> {
    let mut builder = reqwest::Client::builder()
        .no_proxy()
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .tcp_nodelay(true)
        .connect_timeout(connect_timeout)
        .pool_max_idle_per_host(IDLE_MAX)
        .pool_idle_timeout(IDLE_TIMEOUT);
    if let Some(material) = material {
        builder = builder.tls_backend_preconfigured(material.client.clone()).tls_info(true);
    }
    if let Some(resolver) = resolver {
        builder = builder.dns_resolver(resolver);
    }
    builder.build()
}

/// The certificate of whoever answered; `None`: it answered in plain text.
pub(super) fn certificate(response: &reqwest::Response) -> Option<CertificateDer<'static>> {
    let info = response.extensions().get::<TlsInfo>()?;
    info.peer_certificate().map(|der| CertificateDer::from(der.to_vec()))
}
