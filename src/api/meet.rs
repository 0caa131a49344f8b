//! The first bytes of a connection: which language the client speaks, and the TLS handshake. The caller bounds the time.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use elector_raft::sockets::close_gently;
use rustls::ServerConfig;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What an HTTP/2 client sends first (RFC 9113, section 3.4).
const HTTP2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Pause until the rest of a begun preface is looked for.
const PREFACE_PAUSE: Duration = Duration::from_millis(10);
/// First byte of TLS: a record of the handshake (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 0x16;
const SPEAKS_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n\
    this address speaks TLS (--api-web-config-file): ask it by https\n";

/// A connection that requests can come over.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Finds out how to go on with a connection, and whether it is HTTP/2.
pub(super) async fn meet(mut stream: TcpStream, tls: Option<Arc<ServerConfig>>) -> io::Result<(Stream, bool)> {
    let Some(tls) = tls else {
        let is_http2 = begins_with_preface(&stream).await?;
        return Ok((Stream::Plain(stream), is_http2));
    };
    let mut first = [0];
    if stream.peek(&mut first).await? == 1 && first != [TLS_HANDSHAKE] {
        // For whoever reads it; the connection ends anyway.
        let _ = stream.write_all(SPEAKS_TLS).await;
        close_gently(stream).await;
        return Err(io::Error::other("the client does not speak TLS"));
    }
    let stream = TlsAcceptor::from(tls).accept(stream).await?;
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    Ok((Stream::Tls(Box::new(stream)), is_http2))
}

/// Whether the client speaks HTTP/2 from its first byte. Takes nothing from the stream; until something is there, a
/// connection costs no buffer.
async fn begins_with_preface(stream: &TcpStream) -> io::Result<bool> {
    let mut seen = [0; HTTP2_PREFACE.len()];
    loop {
        let length = stream.peek(&mut seen).await?;
        if length == 0 || !HTTP2_PREFACE.starts_with(&seen[..length]) {
            return Ok(false);
        }
        if length == HTTP2_PREFACE.len() {
            return Ok(true);
        }
        // What is there already wakes nobody.
        tokio::time::sleep(PREFACE_PAUSE).await;
    }
}
