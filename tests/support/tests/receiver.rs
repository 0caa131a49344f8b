//! The receiver over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::ensure;
use reqwest::Client;
use test_support::http;
use test_support::receiver::behaviour::Behaviour;
use test_support::receiver::decode::encode;
use test_support::receiver::record::End;
use test_support::receiver::{Receiver, TERM_HEADER};
use test_support::wait::eventually;

const SOON: Duration = Duration::from_secs(10);

struct Sender {
    client: Client,
    receiver: Receiver,
}

impl Sender {
    fn new(timeout: Duration) -> Self {
        let receiver = Receiver::start((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        Self { client: http::client(timeout).unwrap(), receiver }
    }

    /// Sends samples as (series, timestamp); `None`: there was no answer.
    async fn send(&self, points: &[(&str, i64)]) -> Option<u16> {
        let series = |(name, at): &(&str, i64)| (vec![("__name__".to_owned(), (*name).to_owned())], *at);
        let body = encode(points.iter().map(series), 1.0);
        let request = self.client.post(format!("http://{}/api/v1/write", self.receiver.address)).body(body);
        let request = request.header("content-type", "application/x-protobuf").header("content-encoding", "snappy");
        let answer = request.header(TERM_HEADER, 7).basic_auth("prom-1", Some("x")).send().await;
        answer.ok().map(|answer| answer.status().as_u16())
    }
}

#[tokio::test]
async fn a_request_is_noted_with_term_sender_samples_and_end() {
    let sender = Sender::new(SOON);
    assert_eq!(sender.send(&[("a", 1), ("b", 2)]).await, Some(204));
    sender.receiver.set(Behaviour::Status(503));
    assert_eq!(sender.send(&[("a", 2)]).await, Some(503));
    let requests = sender.receiver.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!((requests[0].term, requests[0].sender.as_deref()), (Some(7), Some("prom-1")));
    assert_eq!(requests[0].from, Some(Ipv4Addr::LOCALHOST.into()));
    assert_eq!((requests[0].points.len(), requests[0].stored, requests[1].stored), (2, 2, 0));
    assert_eq!(requests[1].status(), Some(503));
    assert!(requests[0].at <= requests[0].whole.unwrap() && requests[0].end.unwrap().0 <= requests[1].at);
    assert_eq!(sender.receiver.store().len(), 2);
}

#[tokio::test]
async fn prometheus_refuses_a_whole_batch_for_one_old_sample_and_mimir_stores_the_rest() {
    let sender = Sender::new(SOON);
    sender.receiver.set(Behaviour::Prometheus);
    assert_eq!(sender.send(&[("a", 10)]).await, Some(204));
    assert_eq!(sender.send(&[("a", 9), ("b", 9)]).await, Some(400));
    assert_eq!(sender.receiver.store().len(), 1);
    sender.receiver.set(Behaviour::Mimir);
    assert_eq!(sender.send(&[("a", 9), ("b", 9)]).await, Some(400));
    assert_eq!(sender.receiver.store().len(), 2);
}

#[tokio::test]
async fn a_stuck_series_hangs_its_requests_until_the_behaviour_changes() {
    let sender = Sender::new(SOON);
    sender.receiver.set(Behaviour::Stuck("\"a\"".into(), Box::new(Behaviour::Accept)));
    assert_eq!(sender.send(&[("b", 1)]).await, Some(204));
    let (answer, ()) = tokio::join!(sender.send(&[("a", 1)]), async {
        eventually(SOON, "the request to hang", async || {
            ensure!(sender.receiver.requests().get(1).is_some_and(|request| request.whole.is_some()), "not yet");
            Ok(())
        })
        .await
        .unwrap();
        sender.receiver.set(Behaviour::Accept);
    });
    assert_eq!(answer, None);
    assert_eq!(sender.receiver.requests()[1].end.unwrap().1, End::Broken);
    assert_eq!(sender.receiver.store().len(), 1);
}
