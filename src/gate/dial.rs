//! Connections to one remote, under the fence: directly or through a proxy, plain or TLS.
//!
//! ```text
//! TCP -> fence -> [TLS to an https proxy] -> [CONNECT] -> [TLS to the remote, ALPN h2 or http/1.1]
//! ```
//!
//! A plain remote behind a proxy is asked in absolute form, an https one through a tunnel. As in Prometheus, `proxy_url`
//! alone takes every host through the proxy; with `no_proxy` or `proxy_from_environment` loopback hosts are never proxied.

use std::error::Error as StdError;
use std::future::Future;
use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tower_service::Service;
use url::Url;

use super::fence::Tenure;
use super::headers;
use super::remote::RemoteSettings;
use super::tls::{self, Material, TlsError};

/// Time for the TCP handshake, over all addresses of the host.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long sent bytes may stay unacknowledged.
const UNACKNOWLEDGED_TIMEOUT: Duration = Duration::from_secs(15);
/// Idle time before the kernel asks whether the remote is still there.
const KEEPALIVE: Duration = Duration::from_secs(15);

pub(super) type DialError = Box<dyn StdError + Send + Sync>;

/// A stream of any layers.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}
type Boxed = TokioIo<Box<dyn Stream>>;

/// How to reach one remote.
pub(super) struct Dialer {
    settings: Arc<RemoteSettings>,
    base: PathBuf,
    proxy: Option<Url>,
    tls: Mutex<Option<(Material, Arc<ClientConfig>)>>,
}

impl Dialer {
    /// `base`: the directory that relative files of `tls_config` start from.
    pub(super) fn new(settings: Arc<RemoteSettings>, base: PathBuf) -> Self {
        let proxy = proxy(&settings, &|name| std::env::var(name).ok());
        Self { settings, base, proxy, tls: Mutex::new(None) }
    }

    /// What a plain request must carry for its proxy.
    pub(super) fn proxy_authorization(&self) -> Option<HeaderValue> {
        let proxy = self.proxy.as_ref().filter(|_| self.settings.url.reveal().scheme() == "http")?;
        has_credentials(proxy).then(|| headers::basic(proxy)).flatten()
    }

    /// Whether the files of `tls_config` have changed since they were used.
    pub(super) async fn has_new_files(self: &Arc<Self>) -> bool {
        let dialer = self.clone();
        let read = move || {
            let used = dialer.lock().as_ref().map(|(material, _)| material.clone());
            used.is_some_and(|used| {
                Material::read(&dialer.settings.client.tls, &dialer.base).is_ok_and(|now| now != used)
            })
        };
        tokio::task::spawn_blocking(read).await.unwrap_or(false)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(Material, Arc<ClientConfig>)>> {
        self.tls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tls_config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let settings = &self.settings.client;
        let material = Material::read(&settings.tls, &self.base)?;
        let mut cached = self.lock();
        if let Some((_, config)) = cached.as_ref().filter(|(used, _)| *used == material) {
            return Ok(config.clone());
        }
        let mut config = material.config(&settings.tls)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        if settings.enable_http2 {
            config.alpn_protocols.insert(0, b"h2".to_vec());
        }
        let config = Arc::new(config);
        *cached = Some((material, config.clone()));
        Ok(config)
    }

    async fn dial(self: Arc<Self>, target: Uri, tenure: Arc<Tenure>) -> Result<RemoteConnection, DialError> {
        let is_https = target.scheme_str() == Some("https");
        let proxy = self.proxy.as_ref();
        let hop = match proxy {
            Some(proxy) => Uri::try_from(without_credentials(proxy).as_str())?,
            None => target.clone(),
        };
        let stream = tenure.admit(connect(&hop).await?)?;
        let mut stream: Box<dyn Stream> = Box::new(stream);
        if let Some(proxy) = proxy {
            if hop.scheme_str() == Some("https") {
                stream = self.clone().wrap(stream, hop.host().unwrap_or_default(), false).await?.0;
            }
            if is_https {
                let mut tunnel =
                    Tunnel::new(hop, Ready(Some(TokioIo::new(stream)))).with_headers(self.connect_headers());
                if let Some(auth) = has_credentials(proxy).then(|| headers::basic(proxy)).flatten() {
                    tunnel = tunnel.with_auth(auth);
                }
                stream = tunnel.call(target.clone()).await?.into_inner();
            }
        }
        let is_proxied = proxy.is_some() && !is_https;
        let mut is_h2 = false;
        if is_https {
            (stream, is_h2) = self.wrap(stream, target.host().unwrap_or_default(), true).await?;
        }
        Ok(RemoteConnection { io: TokioIo::new(stream), is_h2, is_proxied })
    }

    /// TLS over a stream; whether HTTP/2 was agreed on.
    async fn wrap(
        self: Arc<Self>,
        stream: Box<dyn Stream>,
        host: &str,
        to_remote: bool,
    ) -> Result<(Box<dyn Stream>, bool), DialError> {
        let name = tls::server_name(&self.settings.client.tls, host)?;
        let mut config = tokio::task::spawn_blocking(move || self.tls_config()).await??;
        if !to_remote {
            Arc::make_mut(&mut config).alpn_protocols = vec![b"http/1.1".to_vec()];
        }
        let stream = TlsConnector::from(config).connect(name, stream).await?;
        let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok((Box::new(stream), is_h2))
    }

    fn connect_headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, values) in &self.settings.client.proxy_connect_header {
            let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { continue };
            for value in values.iter().filter_map(|value| HeaderValue::from_str(value.reveal()).ok()) {
                headers.append(name.clone(), value);
            }
        }
        headers
    }
}

async fn connect(hop: &Uri) -> Result<tokio::net::TcpStream, DialError> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.set_keepalive_interval(Some(KEEPALIVE));
    #[cfg(target_os = "linux")]
    tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED_TIMEOUT));
    std::future::poll_fn(|context| tcp.poll_ready(context)).await?;
    Ok(tcp.call(hop.clone()).await?.into_inner())
}

/// The proxy of a remote, if it goes through one.
fn proxy(settings: &RemoteSettings, environment: &dyn Fn(&str) -> Option<String>) -> Option<Url> {
    let client = &settings.client;
    let url = settings.url.reveal();
    let either = |upper: &str| environment(upper).or_else(|| environment(&upper.to_lowercase()));
    let (proxy, no_proxy) = if client.proxy_from_environment {
        let name = if url.scheme() == "https" { "HTTPS_PROXY" } else { "HTTP_PROXY" };
        let text = either(name).filter(|text| !text.is_empty())?;
        let proxy =
            Url::parse(&text).ok().filter(Url::has_host).or_else(|| Url::parse(&format!("http://{text}")).ok())?;
        (proxy, either("NO_PROXY").unwrap_or_default())
    } else {
        let proxy = client.proxy_url.as_ref()?.reveal().clone();
        let Some(no_proxy) = client.no_proxy.clone() else { return Some(proxy) };
        (proxy, no_proxy)
    };
    let is_loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let target = Uri::try_from(without_credentials(url).as_str()).ok()?;
    let no_proxy = for_port(&no_proxy, url.port_or_known_default());
    let rules = Matcher::builder().all("http://proxy").no(no_proxy).build();
    (!is_loopback && rules.intercept(&target).is_some()).then_some(proxy)
}

/// The entries of a `no_proxy` list that hold for a port, without it: Go takes `host:port` too, the library does not.
fn for_port(no_proxy: &str, port: Option<u16>) -> String {
    let entry = |entry: &str| {
        let entry = entry.trim();
        let Some((host, wanted)) = entry.rsplit_once(':') else { return Some(entry.to_owned()) };
        // The colons of an IPv6 address are no port, unless it stands in brackets.
        let is_port = !host.contains(':') || host.starts_with('[') && host.ends_with(']');
        let Some(wanted) = wanted.parse::<u16>().ok().filter(|_| is_port) else { return Some(entry.to_owned()) };
        (Some(wanted) == port).then(|| host.trim_matches(['[', ']']).to_owned())
    };
    no_proxy.split(',').filter_map(entry).collect::<Vec<_>>().join(",")
}

fn has_credentials(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// A URL as it may stand in a request.
pub(super) fn without_credentials(url: &Url) -> Url {
    let mut url = url.clone();
    // These fail for URLs without a host only.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_fragment(None);
    url
}

/// A stream that is there already, for the tunnel.
struct Ready(Option<Boxed>);

impl Service<Uri> for Ready {
    type Response = Boxed;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<Boxed>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        std::future::ready(self.0.take().ok_or_else(|| io::Error::other("a tunnel is made once")))
    }
}

/// Connects for hyper's client, within one tenure.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) dialer: Arc<Dialer>,
    pub(super) tenure: Arc<Tenure>,
}

impl Service<Uri> for Connector {
    type Response = RemoteConnection;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<RemoteConnection, DialError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        Box::pin(self.dialer.clone().dial(target, self.tenure.clone()))
    }
}

/// A connection to the remote or its proxy.
pub(super) struct RemoteConnection {
    io: Boxed,
    is_h2: bool,
    is_proxied: bool,
}

impl Connection for RemoteConnection {
    fn connected(&self) -> Connected {
        let connected = Connected::new().proxy(self.is_proxied);
        if self.is_h2 { connected.negotiated_h2() } else { connected }
    }
}

impl Read for RemoteConnection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl Write for RemoteConnection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::gate::remote::RemoteUrl;
    use crate::gate::testing::settings;

    #[test]
    fn a_remote_goes_through_the_proxy_that_prometheus_would_take() {
        let environment = |name: &str| match name {
            "HTTP_PROXY" => Some("plain:3128".to_owned()),
            "https_proxy" => Some("http://bob:pw@secure:3128".to_owned()),
            "NO_PROXY" => Some("internal,10.0.0.0/8".to_owned()),
            _ => None,
        };
        let through = |remote: &str, proxy_url: Option<&str>, no_proxy: Option<&str>, from_environment: bool| {
            let mut settings = settings(remote);
            settings.client.proxy_url = proxy_url.and_then(RemoteUrl::parse);
            settings.client.no_proxy = no_proxy.map(str::to_owned);
            settings.client.proxy_from_environment = from_environment;
            proxy(&settings, &environment).map(|proxy| proxy.to_string())
        };
        let p = Some("http://p:1");
        assert_eq!(through("http://h/w", None, None, false), None);
        assert_eq!(through("http://localhost/w", p, None, false).as_deref(), Some("http://p:1/"));
        assert_eq!(through("http://localhost/w", p, Some("x"), false), None);
        assert_eq!(through("http://a.x/w", p, Some("x"), false), None);
        assert_eq!(through("http://h/w", p, Some("x"), false).as_deref(), Some("http://p:1/"));
        assert_eq!(through("http://h/w", None, None, true).as_deref(), Some("http://plain:3128/"));
        assert_eq!(through("https://h/w", None, None, true).as_deref(), Some("http://bob:pw@secure:3128/"));
        assert_eq!(through("https://internal/w", None, None, true), None);
        assert_eq!(through("http://10.1.2.3/w", None, None, true), None);
        assert_eq!(through("http://h:81/w", p, Some("a, h:81"), false), None);
        assert_eq!(through("http://h:82/w", p, Some("a, h:81"), false).as_deref(), Some("http://p:1/"));
        assert_eq!(through("https://h/w", p, Some("h:443"), false), None, "the port of the scheme");
    }

    #[test]
    fn an_entry_of_no_proxy_with_a_port_holds_for_that_port_only() {
        let all = "a:1,b, [::1]:2 ,::1,fe80::/10,10.0.0.0/8,*.c:1,10.1.1.1:2";
        assert_eq!(for_port(all, Some(1)), "a,b,::1,fe80::/10,10.0.0.0/8,*.c");
        assert_eq!(for_port(all, Some(2)), "b,::1,::1,fe80::/10,10.0.0.0/8,10.1.1.1");
    }
}
