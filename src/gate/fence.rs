//! The fence: a tenure of authority, and connections that carry nothing outside it.
//!
//! ```text
//! watch<Leadership> -> tenures -> Tenure { term } -> admit(socket) -> FencedStream -> (TLS) -> hyper
//!                                    | ends: authority passed, was taken, or the group is gone
//!                                    v
//!                          every socket reset, at once and together
//! ```
//!
//! Where the check stands. Authority is read right before EVERY write to the socket, below TLS and HTTP: also before the
//! one with the first bytes of a request, and before the one with its last bytes, which stay with us until then. A check
//! in the body stream would come too early: hyper takes a body as fast as it fits into its own buffer, long before a slow
//! socket takes it. A receiver cannot use a request whose last bytes are missing (its length stands in its head; HTTP/2
//! marks its end).
//!
//! What the kernel holds already is taken back by a reset: every socket has `SO_LINGER` 0 from the start, so that closing
//! it in any way (a time-out, a client that leaves, a killed process) drops what has not left; and the end of a tenure
//! disconnects all sockets (`connect` to `AF_UNSPEC`), which resets and empties them at once, whatever their tasks do. After
//! a plain close the kernel goes on delivering for minutes, and does so once a partition heals.
//!
//! Invariants: no write begins without authority; a tenure that has ended never holds again (the next one of the same term
//! is another one, with other connections). Not covered: a pause between the check and its system call; bytes that a
//! stopped process has left to the kernel.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};

use elector_raft::{Leadership, Now};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// One span of unbroken authority of this member.
#[derive(Debug)]
pub struct Tenure {
    leadership: watch::Receiver<Leadership>,
    term: u64,
    over: CancellationToken,
    sockets: Mutex<Vec<Weak<TcpStream>>>,
}

impl Tenure {
    fn new(leadership: watch::Receiver<Leadership>, term: u64) -> Arc<Self> {
        Arc::new(Self { leadership, term, over: CancellationToken::new(), sockets: Mutex::default() })
    }

    /// The term, which goes with every request as its fencing token.
    pub fn term(&self) -> u64 {
        self.term
    }

    /// Whether a write may begin now. Ends the tenure if not.
    pub fn holds(&self) -> bool {
        if self.over.is_cancelled() {
            return false;
        }
        let group_lives = self.leadership.has_changed().is_ok();
        let holds = group_lives && {
            let leadership = self.leadership.borrow();
            leadership.term == self.term && leadership.holds_authority(Now::read())
        };
        if !holds {
            self.end();
        }
        holds
    }

    /// Ends it for good: every connection is reset.
    pub fn end(&self) {
        let sockets = std::mem::take(&mut *{
            let sockets = self.lock();
            self.over.cancel();
            sockets
        });
        for socket in sockets.iter().filter_map(Weak::upgrade) {
            reset(&socket);
        }
    }

    /// Completes when it has ended.
    pub async fn ended(&self) {
        self.over.cancelled().await;
    }

    /// Takes a connected socket under the fence.
    pub fn admit(self: &Arc<Self>, socket: TcpStream) -> io::Result<FencedStream> {
        socket.set_zero_linger()?;
        let socket = Arc::new(socket);
        let mut sockets = self.lock();
        if self.over.is_cancelled() {
            return Err(authority_ended());
        }
        sockets.retain(|socket| socket.strong_count() > 0);
        sockets.push(Arc::downgrade(&socket));
        drop(sockets);
        Ok(FencedStream { socket, tenure: self.clone() })
    }

    /// Number of connections that are open.
    pub fn connections(&self) -> usize {
        self.lock().iter().filter(|socket| socket.strong_count() > 0).count()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<TcpStream>>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Resets a connection that somebody else may be using: nothing that the kernel holds is delivered any more.
fn reset(socket: &TcpStream) {
    if let Err(error) = rustix::net::connect_unspec(socket) {
        // The peer was faster, or closing it will reset it.
        tracing::debug!(%error, "a connection of the gate could not be reset at once");
    }
}

fn authority_ended() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "authority has ended: the connection was reset")
}

/// A connection of one tenure.
#[derive(Debug)]
pub struct FencedStream {
    socket: Arc<TcpStream>,
    tenure: Arc<Tenure>,
}

impl FencedStream {
    fn poll_fenced(
        &self,
        context: &mut Context<'_>,
        mut write: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.socket.poll_write_ready(context))?;
            if !self.tenure.holds() {
                return Poll::Ready(Err(authority_ended()));
            }
            match write(&self.socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return Poll::Ready(outcome),
            }
        }
    }
}

impl AsyncRead for FencedStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.socket.poll_read_ready(context))?;
            if self.tenure.over.is_cancelled() {
                return Poll::Ready(Err(authority_ended()));
            }
            match self.socket.try_read(buffer.initialize_unfilled()) {
                Ok(length) => {
                    buffer.advance(length);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for FencedStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_fenced(context, |socket| socket.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_fenced(context, |socket| socket.try_write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Nothing: the reset when it is dropped ends the connection.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Follows leadership and publishes the tenure of this member, until the group is gone. Ends tenures in time: it should
/// have a thread of its own.
pub async fn tenures(mut leadership: watch::Receiver<Leadership>, current: watch::Sender<Option<Arc<Tenure>>>) {
    loop {
        let (term, holds, deadline) = {
            let seen = leadership.borrow_and_update();
            (seen.term, seen.holds_authority(Now::read()), seen.authority_deadline())
        };
        let tenure = current.borrow().clone();
        let tenure = match tenure {
            Some(tenure) if tenure.holds() => Some(tenure),
            Some(tenure) => {
                tracing::info!(
                    term = tenure.term(),
                    "the gate's authority has ended: connections to remotes were reset"
                );
                current.send_replace(None);
                continue;
            }
            None if holds => {
                let tenure = Tenure::new(leadership.clone(), term);
                current.send_replace(Some(tenure.clone()));
                Some(tenure)
            }
            None => None,
        };
        let has_ended = async {
            let Some(tenure) = tenure else { return std::future::pending().await };
            let until_deadline = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! { () = tenure.ended() => {} () = until_deadline => {} }
        };
        tokio::select! {
            changed = leadership.changed() => if changed.is_err() { break },
            () = has_ended => {}
        }
    }
    if let Some(tenure) = current.send_replace(None) {
        tenure.end();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::time::{Duration, Instant};

    use elector_raft::Authority;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    fn until(term: u64, deadline: Instant) -> Leadership {
        let authority = Authority::Until { deadline, suspended: Now::read().suspended };
        Leadership { term, leader: None, authority }
    }

    fn sole(term: u64) -> Leadership {
        Leadership { term, leader: None, authority: Authority::SoleVoter }
    }

    async fn connected() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    /// Writes until nothing more is taken: the rest waits in the kernels.
    async fn fill(stream: &mut (impl AsyncWrite + Unpin)) -> usize {
        let mut total = 0;
        let chunk = vec![7; 64 * 1024];
        while let Ok(written) = tokio::time::timeout(Duration::from_millis(200), stream.write(&chunk)).await {
            total += written.unwrap();
        }
        total
    }

    async fn read_all(mut remote: TcpStream) -> (usize, io::Result<usize>) {
        let mut bytes = Vec::new();
        let end = tokio::time::timeout(Duration::from_secs(10), remote.read_to_end(&mut bytes)).await.unwrap();
        (bytes.len(), end)
    }

    /// A remote that is cut off and healed: what waited in our kernel must not reach it.
    #[tokio::test]
    async fn what_the_kernel_holds_is_gone_when_the_tenure_ends_and_is_delivered_after_a_plain_close() {
        let (mut client, remote) = connected().await;
        let written = fill(&mut client).await;
        drop(client);
        assert_eq!(read_all(remote).await.0, written, "a plain close delivers all of it");

        let (_leadership, watch) = watch::channel(sole(3));
        let tenure = Tenure::new(watch, 3);
        let (client, remote) = connected().await;
        let mut stream = tenure.admit(client).unwrap();
        let written = fill(&mut stream).await;
        tenure.end();
        let (received, end) = read_all(remote).await;
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert!(received < written / 2 + 1_000_000 && received < written, "{received} of {written}");
        assert!(stream.write(b"x").await.is_err());
        assert!(stream.read(&mut [0]).await.is_err(), "nobody waits for an answer any more");
    }

    #[tokio::test]
    async fn dropping_a_connection_resets_it_too() {
        let (_leadership, watch) = watch::channel(sole(3));
        let tenure = Tenure::new(watch, 3);
        let (client, remote) = connected().await;
        let mut stream = tenure.admit(client).unwrap();
        let written = fill(&mut stream).await;
        assert_eq!(tenure.connections(), 1);
        drop(stream);
        assert_eq!(tenure.connections(), 0);
        let (received, end) = read_all(remote).await;
        assert!(end.is_err() && received < written, "{received} of {written}");
    }

    #[tokio::test]
    async fn no_write_begins_after_the_deadline_even_if_nobody_has_noticed() {
        let deadline = Instant::now() + Duration::from_millis(100);
        let (_leadership, watch) = watch::channel(until(3, deadline));
        let tenure = Tenure::new(watch, 3);
        let (client, mut remote) = connected().await;
        let (other, mut other_remote) = connected().await;
        let (mut stream, _other) = (tenure.admit(client).unwrap(), tenure.admit(other).unwrap());
        stream.write_all(b"first").await.unwrap();
        remote.read_exact(&mut [0; 5]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(110)).await;
        assert_eq!(stream.write(b"last").await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert!(remote.read(&mut [0]).await.is_err());
        assert!(other_remote.read(&mut [0]).await.is_err(), "all connections end together");
        let (late, _late_remote) = connected().await;
        assert!(tenure.admit(late).is_err());
    }

    #[tokio::test]
    async fn another_term_ends_the_tenure_and_the_same_term_gets_a_new_one() {
        let (leadership, watch) = watch::channel(Leadership::default());
        let (tx, mut current) = watch::channel(None);
        let follower = tokio::spawn(tenures(watch, tx));
        leadership.send_replace(until(3, Instant::now() + Duration::from_millis(50)));
        let first = current.wait_for(Option::is_some).await.unwrap().clone().unwrap();
        assert!(first.holds());
        tokio::time::timeout(Duration::from_secs(5), first.ended()).await.unwrap();
        current.wait_for(Option::is_none).await.unwrap();
        leadership.send_replace(sole(3));
        let second = current.wait_for(Option::is_some).await.unwrap().clone().unwrap();
        assert!(second.holds() && !first.holds() && second.term() == 3);
        leadership.send_replace(sole(4));
        let is_third = |tenure: &Option<Arc<Tenure>>| tenure.as_ref().is_some_and(|tenure| tenure.term() == 4);
        let third = current.wait_for(is_third).await.unwrap().clone().unwrap();
        assert!(!second.holds() && third.holds());
        drop(leadership);
        third.ended().await;
        follower.await.unwrap();
    }
}
