#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::api::serve::{Limits, serve};
use crate::api::tests::{inputs, shared};
use crate::api::{Fallback, listen, public};
use crate::proxy::CredentialsTaken;
use crate::tls::testing::Ca;
use crate::tls::{certificates, private_key, roots};

/// A directory with a web configuration and what it names.
struct Files {
    dir: TempDir,
    ca: Ca,
}

impl Files {
    fn new(config: &str) -> Self {
        let (dir, ca) = (tempfile::tempdir().unwrap(), Ca::new());
        let files = Self { dir, ca };
        let (cert, key) = files.ca.issue(&["localhost"]);
        files.write("cert.pem", &cert);
        files.write("key.pem", &key);
        files.write("ca.pem", &files.ca.pem);
        files.write("web.yml", config);
        files
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir.path().join(name), text).unwrap();
    }

    fn read(&self) -> Result<WebFiles, FileError> {
        WebFiles::read(&self.dir.path().join("web.yml"))
    }

    fn mistake(&self) -> String {
        self.read().unwrap_err().to_string()
    }
}

const TLS: &str = "tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n";

/// A listener with this web configuration that answers "hello", and `ready` to probes.
struct Server {
    address: SocketAddr,
    files: WebFiles,
    _task: AbortOnDropHandle<()>,
}

impl Server {
    fn start(files: &Files) -> Self {
        let files = files.read().unwrap();
        let (listener, address) = listen::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let limits = Limits { purpose: "test", connections_max: 8, grace: Duration::from_secs(1) };
        let fallback: Fallback = Arc::new(|_, request| {
            let is_taken = request.extensions().get::<CredentialsTaken>().is_some();
            Box::pin(async move { if is_taken { "hello, taken" } else { "hello" }.into_response() })
        });
        let (mut inputs, _) = inputs(false);
        inputs.fallback = Some(fallback);
        let answers = public::answers(shared(inputs), Some(files.webs()));
        let task = tokio::spawn(serve(listener, answers, limits, Some(files.webs()), CancellationToken::new()));
        Self { address, files, _task: AbortOnDropHandle::new(task) }
    }

    async fn plain(&self, head: &str) -> String {
        ask(TcpStream::connect(self.address).await.unwrap(), head).await
    }

    async fn tls(&self, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, head: &str) -> String {
    let request = format!("GET {head} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    let mut answer = String::new();
    let exchange = async {
        stream.write_all(request.as_bytes()).await?;
        stream.read_to_string(&mut answer).await
    };
    match tokio::time::timeout(Duration::from_secs(20), exchange).await.unwrap() {
        Ok(_) => answer,
        Err(error) => format!("{answer}[{error}]"),
    }
}

fn client(ca: &Ca, own: Option<(String, String)>) -> ClientConfig {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let trusted: RootCertStore = roots(ca.pem.as_bytes()).unwrap();
    let builder = ClientConfig::builder().with_root_certificates(trusted);
    match own {
        Some((cert, key)) => builder
            .with_client_auth_cert(certificates(cert.as_bytes()).unwrap(), private_key(key.as_bytes()).unwrap())
            .unwrap(),
        None => builder.with_no_client_auth(),
    }
}

fn basic(user: &str, password: &str) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_STANDARD.encode(format!("{user}:{password}"))
}

#[tokio::test]
async fn a_password_is_asked_for_everywhere_but_by_probes_and_answers_are_dressed() {
    let config = format!(
        "basic_auth_users: {{ann: {}}}\nhttp_server_config: {{headers: {{X-Frame-Options: deny}}}}\n",
        auth::hash("secret")
    );
    let server = Server::start(&Files::new(&config));
    let refused = server.plain("/api/v1/query").await;
    assert!(refused.starts_with("HTTP/1.1 401 ") && refused.contains("www-authenticate: Basic\r\n"), "{refused}");
    assert!(refused.contains("x-frame-options: deny\r\n"), "{refused}");
    for path in ["/_elector/status", "/_elector/metrics", "/_elector/healthz/", "/_elector/../_elector/livez"] {
        assert!(server.plain(path).await.starts_with("HTTP/1.1 401 "), "{path}");
    }
    for path in OPEN {
        assert!(!server.plain(path).await.starts_with("HTTP/1.1 401 "), "{path}");
    }
    let head = |password| format!("/api/v1/query HTTP/1.1\r\nauthorization: Basic {}\r\nx:", basic("ann", password));
    let answered = server.plain(&head("secret")).await;
    assert!(answered.starts_with("HTTP/1.1 200 ") && answered.ends_with("hello, taken"), "{answered}");
    assert!(server.plain(&head("secrets")).await.starts_with("HTTP/1.1 401 "));
}

#[tokio::test]
async fn with_a_certificate_only_tls_is_spoken_and_a_plain_client_is_told() {
    let files = Files::new(TLS);
    let server = Server::start(&files);
    let plain = server.plain("/").await;
    assert!(plain.starts_with("HTTP/1.1 400 ") && plain.contains("ask it by https"), "{plain}");
    let answered = ask(server.tls(client(&files.ca, None)).await.unwrap(), "/").await;
    assert!(answered.starts_with("HTTP/1.1 200 ") && answered.ends_with("hello"), "{answered}");

    let mut http2 = client(&files.ca, None);
    http2.alpn_protocols = vec![b"h2".to_vec()];
    let stream = server.tls(http2).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
}

#[tokio::test]
async fn without_http2_no_client_is_offered_it() {
    let files = Files::new(&format!("{TLS}http_server_config: {{http2: false}}"));
    let server = Server::start(&files);
    let mut both = client(&files.ca, None);
    both.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    assert_eq!(server.tls(both).await.unwrap().get_ref().1.alpn_protocol(), Some(b"http/1.1".as_slice()));
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_is_never_finished_ends() {
    let server = Server::start(&Files::new(TLS));
    for begun in [&b""[..], b"\x16\x03\x01\x02\x00"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(begun).await.unwrap();
        let start = tokio::time::Instant::now();
        let end = stream.read(&mut [0; 8]).await;
        assert!(end.is_err() || end.is_ok_and(|length| length == 0), "the connection is closed");
        assert_eq!(start.elapsed().as_secs(), 75, "as long as the head of a request may take");
    }
}

#[tokio::test]
async fn a_client_certificate_is_verified() {
    let config = "tls_server_config: {cert_file: cert.pem, key_file: key.pem, client_ca_file: ca.pem, \
                  client_auth_type: RequireAndVerifyClientCert}";
    let files = Files::new(config);
    let server = Server::start(&files);
    let others = Ca::new().issue(&["me"]);
    for own in [None, Some(others)] {
        // With TLS 1.3 the refusal comes after the client's own end of the handshake.
        let refused = match server.tls(client(&files.ca, own)).await {
            Ok(stream) => ask(stream, "/").await,
            Err(error) => format!("[{error}]"),
        };
        assert!(refused.starts_with('['), "{refused}");
    }
    let own = Some(files.ca.issue(&["me"]));
    assert!(ask(server.tls(client(&files.ca, own)).await.unwrap(), "/").await.ends_with("hello"));
}

#[tokio::test]
async fn changed_files_are_in_force_for_the_next_connection_and_bad_ones_are_not() {
    let files = Files::new("");
    let mut server = Server::start(&files);
    assert!(server.plain("/").await.ends_with("hello"), "an empty file asks for nothing");

    files.write("web.yml", TLS);
    server.files.look();
    let before = client(&files.ca, None);
    assert!(ask(server.tls(before.clone()).await.unwrap(), "/").await.ends_with("hello"));

    let other = Ca::new();
    let (cert, key) = other.issue(&["localhost"]);
    files.write("cert.pem", &cert);
    server.files.look();
    let complaint = server.files.0.complaint();
    assert!(complaint.borrow().as_ref().unwrap().contains("no key for its cert_file"), "half of a renewal");
    assert!(server.tls(before.clone()).await.is_ok(), "the old pair stays");

    files.write("key.pem", &key);
    server.files.look();
    assert_eq!(*complaint.borrow(), None);
    assert!(server.tls(before).await.is_err(), "the new certificate is of another CA");
    assert!(server.tls(client(&other, None)).await.is_ok());
}

#[test]
fn what_cannot_be_done_is_an_error_that_names_it_and_shows_no_secret() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let tls = |rest: &str| format!("tls_server_config: {{cert_file: cert.pem, key_file: key.pem, {rest}}}");
    let cases = [
        ("nonsense: 1".to_owned(), "unknown field"),
        ("basic_auth_users: topsecret".to_owned(), "a value that does not fit"),
        ("basic_auth_users: {ann: topsecret}".to_owned(), "has no bcrypt hash as the password of ann"),
        ("basic_auth_users: {'a:b': x}".to_owned(), "has no colon"),
        (
            "basic_auth_users: {ann: $2y$15$gSVgi3kcnNz.uih4xd74rOmi8rUYHQyYmPg8222uxRzktL8N9Jh8.}".to_owned(),
            "cost 15 for ann: at most 14",
        ),
        ("tls_server_config: {cert_file: cert.pem}".to_owned(), "without cert_file or key_file"),
        ("tls_server_config: {cert_file: none.pem, key_file: key.pem}".to_owned(), "none.pem: cannot be read"),
        (tls("min_version: TLS10"), "below TLS12"),
        (tls("min_version: TLS13, max_version: TLS12"), "max_version below its min_version"),
        (tls("cipher_suites: []"), "has cipher_suites, which this sidecar does not support"),
        (tls("client_allowed_sans: [me]"), "has client_allowed_sans, which"),
        (tls("client_ca_file: ca.pem"), "no client_auth_type that uses it"),
        (tls("client_auth_type: RequireAndVerifyClientCert"), "needs a client_ca_file"),
        (tls("client_auth_type: RequireAnyClientCert"), "proves nothing"),
        ("http_server_config: {headers: {Server: x}}".to_owned(), "sets the header Server; possible are"),
    ];
    for (config, expected) in cases {
        let mistake = Files::new(&config).mistake();
        assert!(mistake.contains(expected), "{config}: {mistake}");
        assert!(mistake.starts_with("api-web-config-file /"), "{mistake}");
        assert!(!mistake.contains("topsecret"), "{mistake}");
    }
}
