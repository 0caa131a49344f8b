//! A Prometheus that speaks TLS, and files for the access to it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use super::{AccessFiles, AccessSettings, Accesses, CredentialsFile};
use crate::tls::testing::Ca;

/// What the files of `settings` say, for ever.
pub(crate) fn accesses(settings: AccessSettings) -> Accesses {
    AccessFiles::read(settings).unwrap().accesses()
}

/// Answers every request with what it was authorized by (200), or asks for that (401); connections stay open.
pub(crate) struct TlsPrometheus {
    pub(crate) address: SocketAddr,
    /// Takes new connections.
    pub(crate) acceptor: Arc<Mutex<TlsAcceptor>>,
    /// Open now, after their handshake.
    pub(crate) open: Arc<AtomicUsize>,
    _server: AbortOnDropHandle<()>,
}

impl TlsPrometheus {
    pub(crate) async fn start(acceptor: TlsAcceptor) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (acceptor, open) = (Arc::new(Mutex::new(acceptor)), Arc::new(AtomicUsize::new(0)));
        let (current, count) = (acceptor.clone(), open.clone());
        let server = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let acceptor = current.lock().unwrap().clone();
                let count = count.clone();
                connections.spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    count.fetch_add(1, Ordering::SeqCst);
                    let mut read = Vec::new();
                    while stream.read_buf(&mut read).await.is_ok_and(|length| length > 0) {
                        if read.ends_with(b"\r\n\r\n") {
                            let head = String::from_utf8(std::mem::take(&mut read)).unwrap();
                            stream.write_all(answer(&head).as_bytes()).await.unwrap();
                        }
                    }
                    count.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, acceptor, open, _server: AbortOnDropHandle::new(server) }
    }
}

fn answer(head: &str) -> String {
    match head.split("\r\n").find_map(|line| line.strip_prefix("authorization: ")) {
        Some(value) => format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{value}", value.len()),
        None => "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n".to_owned(),
    }
}

/// Files of a directory of its own.
pub(crate) struct Files {
    pub(crate) dir: TempDir,
}

impl Files {
    /// With the CA, a client certificate of it, and `user:password`.
    pub(crate) fn new(ca: &Ca, password: &str) -> Self {
        let files = Self { dir: tempfile::tempdir().unwrap() };
        files.write(ca, password);
        files
    }

    pub(crate) fn write(&self, ca: &Ca, password: &str) {
        let (certificate, key) = ca.issue(&["elector"]);
        for (name, text) in [("ca", &ca.pem), ("cert", &certificate), ("key", &key)] {
            std::fs::write(self.path(name), text).unwrap();
        }
        std::fs::write(self.path("basic"), format!("elector:{password}\n")).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn settings(&self) -> AccessSettings {
        AccessSettings {
            ca_file: Some(self.path("ca")),
            client_cert_files: Some((self.path("cert"), self.path("key"))),
            credentials: Some(CredentialsFile::Basic(self.path("basic"))),
            ..AccessSettings::default()
        }
    }

    /// The value of `Authorization`.
    pub(crate) fn authorization(password: &str) -> String {
        use base64::Engine as _;
        format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(format!("elector:{password}")))
    }
}
