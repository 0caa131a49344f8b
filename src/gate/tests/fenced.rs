//! What a remote gets of a writer that loses its authority.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

use crate::gate::testing::{Kind, Member, Receiver, batch, eventually, follows, leads, leads_for, settings};
use crate::gate::wire::Version;

/// A way to the remote that can be cut off: while it is, bytes wait in the kernels of both sides, as in a partition.
struct Relay {
    address: SocketAddr,
    open: watch::Sender<bool>,
}

impl Relay {
    fn start(remote: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(16).unwrap();
        let address = listener.local_addr().unwrap();
        let open = watch::Sender::new(true);
        let watch = open.subscribe();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let remote = TcpStream::connect(remote).await.unwrap();
                let (client_read, client_write) = client.into_split();
                let (remote_read, remote_write) = remote.into_split();
                tokio::spawn(pump(client_read, remote_write, watch.clone()));
                tokio::spawn(pump(remote_read, client_write, watch.clone()));
            }
        });
        Self { address, open }
    }

    fn url(&self) -> String {
        format!("http://{}/api/v1/push", self.address)
    }
}

async fn pump(
    from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut open: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut buffer = [0; 4_096];
    loop {
        let _ = open.wait_for(|open| *open).await;
        from.readable().await?;
        if !*open.borrow() {
            continue;
        }
        match from.try_read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => to.write_all(&buffer[..length]).await?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// A batch of several megabytes that does not compress.
fn large_batch(at: i64) -> bytes::Bytes {
    let mut state = 1_u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'0' + u8::try_from(state >> 26).unwrap())
    };
    let name: String = (0..8 << 20).map(next).collect();
    batch(&[(name.as_str(), at)])
}

#[tokio::test]
async fn a_request_that_was_cut_is_in_the_spool_and_never_whole_at_the_remote() {
    let receiver = Receiver::start(Kind::Lenient).await;
    let relay = Relay::start(receiver.address);
    let member = Arc::new(Member::start(settings(&relay.url())).await);
    member.leadership.send_replace(leads(3));
    member.is("writer").await;
    assert_eq!(member.push(&[("a", 1)]).await, 204);
    relay.open.send_replace(false);
    let body = large_batch(2);
    let pushing = {
        let (member, body) = (member.clone(), body.clone());
        tokio::spawn(async move { member.push_as(Version::V1, body).await.0 })
    };
    eventually("it is on its way", || member.status().in_flight == 1).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!pushing.is_finished());
    member.leadership.send_replace(follows(4));
    assert_eq!(pushing.await.unwrap(), 204, "acknowledged as a standby does");
    assert_eq!(
        (member.status().counts.cut, member.status().spool_batches, member.status().phase.name()),
        (1, 1, "standby")
    );
    relay.open.send_replace(true);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(receiver.seen().len(), 1, "healed, and nothing of it arrives");
    // The next tenure sends it.
    member.leadership.send_replace(leads(5));
    member.is("writer").await;
    assert_eq!((receiver.seen().len(), receiver.seen()[1].term()), (2, 5));
}

/// The raw bytes that a remote gets: none after the cut, beyond what had arrived before.
#[tokio::test]
async fn no_byte_leaves_after_the_deadline_also_when_nobody_says_that_it_has_passed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let member = Arc::new(Member::start(settings(&format!("http://{}/", listener.local_addr().unwrap()))).await);
    let body = large_batch(1);
    member.leadership.send_replace(leads(3));
    member.is("writer").await;
    let pushing = {
        let member = member.clone();
        tokio::spawn(async move { member.push_as(Version::V1, body).await.0 })
    };
    let (mut remote, _) = tokio::time::timeout(Duration::from_secs(30), listener.accept()).await.unwrap().unwrap();
    member.leadership.send_replace(leads_for(3, Duration::from_millis(300)));
    assert_eq!(pushing.await.unwrap(), 204);
    let (mut received, mut buffer) = (0, vec![0; 64 * 1024]);
    let end = loop {
        match remote.read(&mut buffer).await {
            Ok(0) => panic!("an orderly end: a receiver could take what it has"),
            Ok(length) => received += length,
            Err(error) => break error,
        }
    };
    assert_eq!(end.kind(), io::ErrorKind::ConnectionReset);
    assert!(received < 7 << 20, "{received}");
    member.is("standby").await;
    assert!(tokio::time::timeout(Duration::from_millis(300), listener.accept()).await.is_err(), "nor a connection");
}

#[tokio::test]
async fn a_request_that_waits_for_its_answer_is_cut_too() {
    let receiver = Receiver::start(Kind::Lenient).await;
    let member = Arc::new(Member::start(settings(&receiver.url())).await);
    member.leadership.send_replace(leads(3));
    member.is("writer").await;
    receiver.set_delay(Duration::from_secs(3_600));
    let pushing: Vec<_> = (0..5)
        .map(|at| {
            let member = member.clone();
            tokio::spawn(async move { member.push(&[("a", at)]).await })
        })
        .collect();
    eventually("they wait for their answers", || receiver.arrived() == 5).await;
    member.leadership.send_replace(follows(3));
    for pushing in pushing {
        assert_eq!(pushing.await.unwrap(), 204);
    }
    assert_eq!(member.status().counts.cut, 5);
    eventually("all in the spool", || member.status().spool_batches == 5).await;
}
