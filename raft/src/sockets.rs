//! What an accept loop needs, here and in the rest of the process. Nothing of the group is in it.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What a client may still send after it was told that this is the end, and for how long.
const FAREWELL_BYTES_MAX: u64 = 64 * 1024;
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

/// Ends a connection so that the client can read what it was told: closed with something unread, it would be reset, and the
/// words with it.
pub async fn close_gently(mut stream: TcpStream) {
    let _ = stream.shutdown().await;
    let mut rest = stream.take(FAREWELL_BYTES_MAX);
    let _ = timeout(FAREWELL_TIMEOUT, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
}

/// Whether an error of `accept` is that of one connection, and the next one may be had at once.
pub fn is_the_connections_own(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_client_reads_its_last_words_though_it_has_sent_more_than_was_read() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        client.write_all(&[b'x'; 4096]).await.unwrap();
        stream.readable().await.unwrap();
        stream.write_all(b"no").await.unwrap();
        let closing = tokio::spawn(close_gently(stream));
        let mut words = String::new();
        client.read_to_string(&mut words).await.unwrap();
        assert_eq!(words, "no");
        drop(client);
        closing.await.unwrap();
    }
}
