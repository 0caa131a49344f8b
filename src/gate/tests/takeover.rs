//! Standby, taking over, catching up, and what a second takeover leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::gate::testing::{
    Kind, Member, PERIOD, Receiver, Seen, batch, batch_v2, eventually, follows, leads, owned, routes, settings,
};
use crate::gate::wire::Version;
use crate::gate::{lock, wall_ms};

/// No term goes backwards.
fn assert_terms_ascend(seen: &[Seen]) {
    assert!(seen.windows(2).all(|pair| pair[0].term() <= pair[1].term()), "{seen:?}");
}

#[tokio::test]
async fn a_standby_acknowledges_at_once_and_sends_nothing() {
    let receiver = Receiver::start(Kind::Lenient).await;
    let member = Member::start(settings(&receiver.url())).await;
    assert_eq!(member.push(&[("a", 1)]).await, 204);
    let (status, headers, _) = member.push_as(Version::V2, batch_v2(&[("a", 2), ("b", 2)])).await;
    assert_eq!((status, &headers["x-prometheus-remote-write-samples-written"]), (204, &"2".parse().unwrap()));
    assert_eq!(headers["x-prometheus-remote-write-histograms-written"], "0");
    assert_eq!(headers["x-prometheus-remote-write-exemplars-written"], "0");
    let (status, headers, _) = member.push_as(Version::V2, "no snappy".into()).await;
    assert_eq!((status, headers.contains_key("x-prometheus-remote-write-samples-written")), (204, false));
    let status = member.status();
    assert_eq!(
        (status.phase.name(), status.spool_batches, status.counts.spooled, status.counts.unreadable),
        ("standby", 3, 3, 1)
    );
    assert!(receiver.seen().is_empty());
}

#[tokio::test]
async fn a_new_writer_sends_its_spool_in_order_and_then_passes_requests_through() {
    let receiver = Receiver::start(Kind::Lenient).await;
    let member = Member::start(settings(&receiver.url())).await;
    for at in 1..=40 {
        assert_eq!(member.push(&[("a", at)]).await, 204);
    }
    member.leadership.send_replace(leads(7));
    member.is("writer").await;
    let expected: Vec<_> = (1..=40).map(|at| ("a".to_owned(), at)).collect();
    assert_eq!(receiver.stored(), expected);
    assert_eq!(member.push(&[("a", 41)]).await, 204);
    receiver.answers(&[(503, &[("retry-after", "17"), ("location", "http://x/")])]);
    let (status, headers, _) = member.push_as(Version::V1, batch(&[("a", 42)])).await;
    assert_eq!((status, &headers["retry-after"]), (503, &"17".parse().unwrap()));
    assert!(!headers.contains_key("location"));
    let (status, headers, _) = member.push_as(Version::V2, batch_v2(&[("a", 42)])).await;
    assert_eq!((status, &headers["x-prometheus-remote-write-samples-written"]), (204, &"1".parse().unwrap()));
    let seen = receiver.seen();
    assert!(seen.iter().all(|seen| seen.term() == 7 && seen.headers["authorization"] == "Bearer of-the-sender"));
    // 40 batches of the spool go out in one request.
    assert_eq!((seen.len(), member.status().spool_batches), (4, 0));
}

#[tokio::test]
async fn what_comes_in_during_a_catch_up_never_overtakes() {
    let receiver = Receiver::start(Kind::Lenient).await;
    receiver.set_delay(Duration::from_millis(2));
    let member = Member::start(settings(&receiver.url())).await;
    for at in 1..=60 {
        member.push(&[("a", at)]).await;
    }
    member.leadership.send_replace(leads(7));
    let mut at = 60;
    while member.status().phase.name() != "writer" {
        at += 1;
        assert_eq!(member.push(&[("a", at)]).await, 204);
        assert!(at < 20_000, "the spool never ends");
    }
    assert_eq!(member.push(&[("a", at + 1)]).await, 204);
    let expected: Vec<_> = (1..=at + 1).map(|at| ("a".to_owned(), at)).collect();
    assert_eq!(receiver.stored(), expected);
}

#[tokio::test]
async fn a_takeover_in_the_middle_of_another_loses_nothing_and_keeps_the_order() {
    let receiver = Receiver::start(Kind::Lenient).await;
    receiver.set_delay(Duration::from_millis(2));
    let (one, two) = (Member::start(settings(&receiver.url())).await, Member::start(settings(&receiver.url())).await);
    let mut at = 0;
    let mut scrape = async |times: i64| {
        for _ in 0..times {
            at += 1;
            // Both scrape the same target; each has one of its own beside it.
            assert_eq!(one.push(&[("shared", at), ("one", at)]).await, 204);
            assert_eq!(two.push(&[("shared", at), ("two", at)]).await, 204);
        }
    };
    scrape(100).await;
    receiver.set_delay(Duration::from_millis(200));
    one.leadership.send_replace(leads(5));
    eventually("the middle", || one.status().counts.caught_up > 20).await;
    assert_eq!(one.status().phase.name(), "catching_up");
    one.leadership.send_replace(follows(6));
    one.is("standby").await;
    let left = one.status().spool_batches;
    receiver.set_delay(Duration::from_millis(2));
    assert!((20..=80).contains(&left), "{left}: what is not answered stays");
    two.leadership.send_replace(leads(6));
    scrape(50).await;
    two.is("writer").await;
    two.leadership.send_replace(follows(7));
    two.is("standby").await;
    one.leadership.send_replace(leads(7));
    scrape(20).await;
    one.is("writer").await;
    scrape(5).await;
    assert_terms_ascend(&receiver.seen());
    let stored = receiver.stored();
    for (series, count) in [("shared", 175), ("one", 175)] {
        let times: Vec<i64> = stored.iter().filter(|(name, _)| name == series).map(|(_, at)| *at).collect();
        assert_eq!(times, (1..=count).collect::<Vec<_>>(), "{series}");
    }
}

#[tokio::test]
async fn a_spool_survives_a_restart_and_waits_for_the_credentials_of_the_first_request() {
    let receiver = Receiver::start(Kind::Lenient).await;
    let first = Member::start(settings(&receiver.url())).await;
    first.push(&[("a", 1)]).await;
    let spool = first.dir.path().join("gate/r");
    let mut other = settings(&receiver.url());
    other.name = "other".into();
    first.gate.apply(routes(&[other])).await.unwrap();
    let second = Member::start(settings("http://127.0.0.1:1/")).await;
    second.gate.apply(routes(&[])).await.unwrap();
    let target = second.dir.path().join("gate/r");
    for file in std::fs::read_dir(&spool).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), target.join(file.file_name())).unwrap();
    }
    second.gate.apply(routes(&[settings(&receiver.url())])).await.unwrap();
    assert_eq!(second.status().spool_batches, 1);
    second.leadership.send_replace(leads(3));
    second.is("catching_up").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(receiver.seen().is_empty());
    assert_eq!(second.push(&[("a", 2)]).await, 204);
    second.is("writer").await;
    assert_eq!(receiver.stored(), owned(&[("a", 1), ("a", 2)]));
}

#[tokio::test]
async fn a_remote_that_asks_to_wait_is_waited_for_and_one_that_refuses_the_replica_costs_nothing() {
    let receiver = Receiver::start(Kind::Lenient).await;
    let member = Member::start(settings(&receiver.url())).await;
    for at in 1..=5 {
        member.push(&[("a", at)]).await;
    }
    receiver.answers(&[(429, &[("retry-after", "1")]), (503, &[]), (500, &[])]);
    let begin = std::time::Instant::now();
    member.leadership.send_replace(leads(3));
    // While the remote takes nothing, requests are acknowledged.
    eventually("asked to wait", || !receiver.seen().is_empty()).await;
    assert_eq!(member.push(&[("a", 6)]).await, 204);
    assert!(begin.elapsed() < Duration::from_millis(900), "nothing waits for a remote that takes nothing");
    member.is("writer").await;
    assert!(begin.elapsed() >= Duration::from_secs(1));
    assert_eq!(receiver.stored().len(), 6);

    let member = Member::start(settings(&receiver.url())).await;
    member.push(&[("b", 1)]).await;
    receiver.answers(&[(401, &[])]);
    member.leadership.send_replace(leads(4));
    eventually("refused", || member.status().refused_for_ms.is_some()).await;
    assert_eq!((member.status().phase.name(), member.status().spool_batches), ("catching_up", 1));
}

#[tokio::test]
async fn a_remote_that_hangs_does_not_make_the_own_prometheus_wait() {
    let receiver = Receiver::start(Kind::Lenient).await;
    receiver.set_delay(Duration::from_millis(2_500));
    let member = Member::start(settings(&receiver.url())).await;
    member.push(&[("a", 1)]).await;
    member.leadership.send_replace(leads(3));
    member.is("catching_up").await;
    let begin = std::time::Instant::now();
    assert_eq!(member.push(&[("a", 2)]).await, 204);
    assert!(begin.elapsed() < Duration::from_millis(1_500), "{:?}", begin.elapsed());
    assert_eq!(member.status().phase.name(), "catching_up");
}

#[tokio::test]
async fn a_member_that_goes_away_keeps_its_prometheus_waiting_for_nothing() {
    let receiver = Receiver::start(Kind::Lenient).await;
    let member = Member::start_with(settings(&receiver.url()), 1 << 20).await;
    member.leadership.send_replace(leads(3));
    member.is("writer").await;
    member.gate.leave();
    assert_eq!(member.push(&[("a", 1)]).await, 204);
    receiver.answers(&[(503, &[])]);
    assert_eq!(member.push(&[("a", 2)]).await, 503, "it writes, and the remote's word counts");
    member.leadership.send_replace(follows(4));
    member.is("standby").await;
    assert_eq!(member.push(&[("a", 3)]).await, 204);
    assert_eq!((receiver.stored().len(), member.status().spool_batches), (1, 1));
    let large = bytes::Bytes::from(vec![7; 1 << 20]);
    assert_eq!(member.push_as(Version::V1, large).await.0, 400, "what cannot be kept is given up");
}

/// 20 batches over 2 targets, of which the old writer has written the first ones.
async fn catches_up(kind: Kind) -> (Receiver, Member) {
    let receiver = Receiver::start(kind).await;
    let member = Member::start(settings(&receiver.url())).await;
    for at in 0..20 {
        let (first, second) = (10 * at, 10 * at + 5);
        let points = [("a1", first), ("a2", first), ("a3", first), ("b1", second), ("b2", second)];
        assert_eq!(member.push(&points).await, 204);
    }
    for series in ["a1", "a2", "a3"] {
        receiver.has(series, 100);
    }
    for series in ["b1", "b2"] {
        receiver.has(series, 85);
    }
    member.leadership.send_replace(leads(3));
    member.is("writer").await;
    (receiver, member)
}

/// What the old writer had not written, without order.
fn missing() -> BTreeSet<(String, i64)> {
    let a = (11..20).flat_map(|at| ["a1", "a2", "a3"].map(|name| (name.to_owned(), 10 * at)));
    let b = (9..20).flat_map(|at| ["b1", "b2"].map(|name| (name.to_owned(), 10 * at + 5)));
    a.chain(b).collect()
}

#[tokio::test]
async fn every_kind_of_receiver_gets_what_it_has_not_and_in_how_many_requests() {
    for (kind, requests) in
        [(Kind::Lenient, 1..=1), (Kind::Prometheus3, 2..=2), (Kind::Prometheus2, 20..=80), (Kind::Mimir, 1..=1)]
    {
        let (receiver, member) = catches_up(kind).await;
        let stored: BTreeSet<_> = receiver.stored().into_iter().collect();
        assert_eq!(stored, missing(), "{kind:?}");
        assert!(requests.contains(&member.status().counts.catch_up_requests), "{kind:?}: {:?}", member.status());
        assert_eq!(member.status().counts.caught_up, 20);
    }
}

/// What waits in the own Prometheus for a batch to be full is older than what the former writer wrote last.
#[tokio::test]
async fn a_request_that_passes_through_with_samples_of_before_and_after_a_takeover_loses_none() {
    let now = wall_ms();
    let points = [("a", now - 500), ("b", now - 400), ("c", now + 100)];
    let new = owned(&points[1..]);
    for (kind, status) in [(Kind::Lenient, 204), (Kind::Prometheus3, 204), (Kind::Prometheus2, 204), (Kind::Mimir, 400)]
    {
        let receiver = Receiver::start(kind).await;
        let member = Member::start(settings(&receiver.url())).await;
        receiver.has("a", now - 100);
        member.leadership.send_replace(leads(3));
        member.is("writer").await;
        assert_eq!(member.push(&points).await, status, "{kind:?}");
        assert_eq!(receiver.stored(), new, "{kind:?}");
    }
}

#[tokio::test]
async fn a_writers_request_that_is_refused_for_samples_of_its_own_time_is_sent_once() {
    let receiver = Receiver::start(Kind::Prometheus2).await;
    let member = Member::start(settings(&receiver.url())).await;
    member.leadership.send_replace(leads(3));
    member.is("writer").await;
    // Later than the clock of a former writer may have been, and not from the future any more.
    let later = wall_ms() + 5_002;
    eventually("the clock to go on", || wall_ms() + 5_000 > later).await;
    receiver.has("a", later);
    assert_eq!(member.push(&[("a", later - 1), ("b", later)]).await, 400);
    assert_eq!((receiver.stored(), receiver.seen().len()), (Vec::new(), 1));
}

#[tokio::test]
async fn a_writer_publishes_its_watermark_and_a_standby_forgets_what_lies_below() {
    let receiver = Receiver::start(Kind::Lenient).await;
    let writer = Member::start(settings(&receiver.url())).await;
    let standby = Member::start(settings(&receiver.url())).await;
    writer.leadership.send_replace(leads(3));
    writer.is("writer").await;
    let now = wall_ms();
    for second in 0..10 {
        for member in [&writer, &standby] {
            assert_eq!(member.push(&[("a", now - 10_000 + 1_000 * second)]).await, 204);
        }
    }
    assert_eq!(standby.status().spool_batches, 10);
    let watermark = format!("{} {}", settings(&receiver.url()).url.id(), now - 1_000);
    let is_there = || lock(&writer.published).last() == Some(&("gate/r".to_owned(), watermark.clone()));
    eventually("the watermark", is_there).await;
    assert!(lock(&standby.published).is_empty());
    // The margin is one period here, since intervals and deadline are zero.
    let value = format!("{} {}", settings(&receiver.url()).url.id(), now - 6_000);
    standby.values.send_replace(Arc::new(BTreeMap::from([("gate/r".to_owned(), value)])));
    eventually("retention", || standby.status().spool_batches == 6).await;
    tokio::time::sleep(3 * PERIOD).await;
    assert_eq!((standby.status().spool_batches, standby.status().counts.retained_dropped), (6, 4));
    assert_eq!(standby.status().watermark_ms, Some(now - 6_000));
}

#[tokio::test]
async fn a_full_spool_refuses_and_the_sender_keeps_its_batch() {
    let receiver = Receiver::start(Kind::Lenient).await;
    let member = Member::start_with(settings(&receiver.url()), 4_096).await;
    let mut at = 0;
    let (status, text) = loop {
        at += 1;
        let (status, _, text) = member.push_as(Version::V1, batch(&[("a", at)])).await;
        if status != 204 {
            break (status, text);
        }
        assert!(at < 200);
    };
    assert_eq!(status, 503);
    assert!(text.starts_with("prometheus-elector's gate: the spool is full ("), "{text}");
    member.leadership.send_replace(leads(3));
    member.is("writer").await;
    assert_eq!(member.push(&[("a", at)]).await, 204);
    assert_eq!(receiver.stored(), (1..=at).map(|at| ("a".to_owned(), at)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_render_leaves_an_unchanged_remote_alone_and_a_new_url_takes_effect_at_once() {
    let (old, new) = (Receiver::start(Kind::Lenient).await, Receiver::start(Kind::Lenient).await);
    let member = Member::start(settings(&old.url())).await;
    member.leadership.send_replace(leads(3));
    member.is("writer").await;
    assert_eq!(member.push(&[("a", 1)]).await, 204);
    let mut moved = settings(&old.url());
    moved.line = 99;
    let mut added = settings(&new.url());
    added.name = "added".into();
    member.gate.apply(routes(&[moved, added])).await.unwrap();
    let status = member.gate.status();
    assert_eq!(status.remotes.iter().map(|remote| remote.name.as_str()).collect::<Vec<_>>(), ["added", "r"]);
    assert_eq!((status.remotes[1].phase.name(), status.remotes[1].counts.accepted), ("writer", 1));
    member.gate.apply(routes(&[settings(&new.url())])).await.unwrap();
    assert_eq!(member.push(&[("a", 2)]).await, 204);
    assert_eq!((old.stored().len(), new.stored()), (1, owned(&[("a", 2)])));
    assert_eq!(member.gate.status().remotes[0].phase.name(), "writer");
}

/// Resident memory of this process, in bytes.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4_096
}

#[tokio::test]
async fn memory_does_not_grow_with_the_spool() {
    let receiver = Receiver::start(Kind::Lenient).await;
    let member = Member::start_with(settings(&receiver.url()), 256 << 20).await;
    let text = |at: usize| {
        (0..100_000).map(|i| char::from(b'a' + u8::try_from((i * i + at * 7) % 251 % 26).unwrap())).collect::<String>()
    };
    assert_eq!(member.push(&[(text(0).as_str(), 0)]).await, 204);
    let before = resident();
    let mut bodies = 0;
    while member.status().spool_bytes < 192 << 20 {
        bodies += 1;
        // Opaque: the spool keeps it as it is.
        let body = bytes::Bytes::from(vec![u8::try_from(bodies % 251).unwrap(); 1 << 20]);
        assert_eq!(member.push_as(Version::V1, body).await.0, 204);
    }
    let grown = resident().saturating_sub(before);
    // Other tests of this process need some too.
    assert!(grown < 96 << 20, "{grown} bytes for a spool of 192 MiB");
}
