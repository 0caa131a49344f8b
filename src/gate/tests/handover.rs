//! Giving way before a handover, and cover.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch;

use crate::gate::testing::{Kind, Member, PERIOD, Receiver, eventually, follows, leads, owned, settings};
use crate::gate::watermark::key;
use crate::gate::{lock, wall_ms};
use crate::prometheus::running::{Observed, Seen};

/// The newest value that was published for the remote, without the identity of its URL.
fn published(member: &Member) -> Option<i64> {
    let published = lock(&member.published);
    let newest = published.iter().rev().find(|(name, _)| *name == key("r"))?;
    newest.1.split(' ').nth(1)?.parse().ok()
}

#[tokio::test]
async fn what_is_on_its_way_ends_what_comes_is_spooled_and_the_last_watermark_claims_none_of_it() {
    let receiver = Receiver::start(Kind::Lenient).await;
    let member = Arc::new(Member::start(settings(&receiver.url())).await);
    member.leadership.send_replace(leads(3));
    member.is("writer").await;
    let now = wall_ms();
    assert_eq!(member.push(&[("a", now - 9_000)]).await, 204);
    receiver.set_delay(Duration::from_millis(400));
    let slow = {
        let member = member.clone();
        tokio::spawn(async move { member.push(&[("a", now - 1_000)]).await })
    };
    eventually("it is on its way", || receiver.arrived() == 2).await;
    let gate = member.gate.clone();
    let gives_way = tokio::spawn(async move { gate.give_way().await });
    member.is("handing_over").await;
    assert_eq!(member.push(&[("b", now - 5_000)]).await, 204, "it is kept, not sent");
    assert_eq!(slow.await.unwrap(), 204);
    tokio::time::timeout(Duration::from_secs(1), gives_way).await.unwrap().unwrap();
    assert_eq!(receiver.stored().len(), 2);
    // Its own floor holds, or that of the slow one lingers: nothing above what is in the spool.
    assert!(published(&member).is_some_and(|value| value < now - 5_000), "{:?}", published(&member));
    assert_eq!(member.status().spool_batches, 1);

    // The handover does not happen.
    receiver.set_delay(Duration::ZERO);
    member.gate.resume();
    member.is("writer").await;
    assert_eq!(receiver.stored().last(), Some(&("b".to_owned(), now - 5_000)));
}

#[tokio::test]
async fn a_remote_that_hangs_delays_a_handover_for_the_stated_time_only() {
    let receiver = Receiver::start(Kind::Lenient).await;
    let member = Arc::new(Member::start(settings(&receiver.url())).await);
    member.leadership.send_replace(leads(3));
    member.is("writer").await;
    receiver.set_delay(Duration::from_secs(30));
    let hung = {
        let member = member.clone();
        tokio::spawn(async move { member.push(&[("a", 1)]).await })
    };
    eventually("it is on its way", || receiver.arrived() == 1).await;
    let begin = Instant::now();
    member.gate.give_way().await;
    assert!((Duration::from_secs(1)..Duration::from_secs(2)).contains(&begin.elapsed()), "{:?}", begin.elapsed());
    member.leadership.send_replace(follows(4));
    assert_eq!(hung.await.unwrap(), 204, "cut, and spooled");
    member.gate.resume();
    member.is("standby").await;
}

#[tokio::test]
async fn a_leader_of_a_later_term_writes_although_nobody_has_told_of_the_end_of_the_handover() {
    let receiver = Receiver::start(Kind::Lenient).await;
    let member = Member::start(settings(&receiver.url())).await;
    member.leadership.send_replace(leads(3));
    member.is("writer").await;
    member.gate.give_way().await;
    member.leadership.send_replace(follows(4));
    member.is("standby").await;
    assert_eq!(member.push(&[("a", 1)]).await, 204);
    member.gate.resume();
    member.leadership.send_replace(leads(5));
    member.is("writer").await;
    assert_eq!(receiver.stored(), owned(&[("a", 1)]));
}

fn runs(started_ms: i64, loaded_ms: i64, entry: &str) -> Observed {
    let config = format!(
        "global: {{scrape_interval: 1s, external_labels: {{a: b}}}}\nremote_write:\n- url: http://127.0.0.1:9097/write/r{entry}\n"
    );
    Observed::Seen(Seen { started_ms, loaded_ms, config: Bytes::from(config) })
}

fn follow(member: &Member) -> watch::Sender<Observed> {
    let (running, seen) = watch::channel(Observed::NotSeen);
    let gate = member.gate.clone();
    tokio::spawn(async move { gate.follow_prometheus(seen, "127.0.0.1:9097".parse().unwrap()).await });
    running
}

/// The group's watermark of the remote.
fn set_watermark(member: &Member, value_ms: i64) {
    let url_id = settings(&member.status().url).url.id();
    member.values.send_modify(|values| {
        Arc::make_mut(values).insert(key("r"), format!("{url_id} {value_ms}"));
    });
}

#[tokio::test]
async fn a_standby_is_covered_once_the_writer_has_finished_what_was_before_its_prometheus() {
    let member = Member::start(settings("http://127.0.0.1:1/write")).await;
    let running = follow(&member);
    let covered = || member.gate.covered();
    assert!(covered().unwrap_err().contains("has not been seen"), "{:?}", covered());
    let start = wall_ms() / 1_000 * 1_000 - 60_000;
    running.send_replace(runs(start, start - 1_000, ""));
    eventually("seen", || covered().is_ok()).await;
    assert_eq!(member.status().covered_since_ms, Some(start));
    // Margin: an interval of 1 s and the period.
    let margin = 1_000 + i64::try_from(PERIOD.as_millis()).unwrap();
    set_watermark(&member, start + margin - 1);
    assert!(covered().is_err() && !member.status().covered);
    set_watermark(&member, start + margin);
    assert_eq!(covered(), Ok(()));
    let cover = member.gate.cover();
    eventually("told", || *cover.borrow() == crate::gate::GateCover { matters: true, verdict: Ok(()), unfit: None })
        .await;

    // A reload that leaves the queue alone, one that changes it, one that takes it away.
    running.send_replace(runs(start, start + 20_000, ""));
    running.send_replace(runs(start, start + 30_000, "\n  remote_timeout: 7s"));
    eventually("another queue", || member.status().covered_since_ms == Some(start + 31_000)).await;
    assert!(covered().is_err());
    let Observed::Seen(seen) = runs(start, start + 40_000, "") else { panic!("it runs") };
    running.send_replace(Observed::Seen(Seen { config: Bytes::from_static(b"global: {}"), ..seen }));
    eventually("gone", || member.status().covered_since_ms.is_none()).await;

    // A Prometheus that cannot be asked.
    running.send_replace(Observed::Unknown);
    eventually("counted from now", || member.status().covered_since_ms.is_some_and(|at| at > start + 50_000)).await;
}

#[tokio::test]
async fn cover_outlives_a_restart_of_the_sidecar_and_not_one_of_its_prometheus() {
    let first = Member::start(settings("http://127.0.0.1:1/write")).await;
    let start = wall_ms() / 1_000 * 1_000 - 60_000;
    let running = follow(&first);
    running.send_replace(runs(start, start - 1_000, ""));
    eventually("seen", || first.status().covered_since_ms == Some(start)).await;
    let path = first.dir.path().join("gate/r/cover");
    eventually("kept", || path.exists()).await;
    let file = std::fs::read(path).unwrap();
    for (restarted_at, expected) in [(start, start), (start + 10_000, start + 31_000)] {
        let second = Member::start_over(settings("http://127.0.0.1:1/write"), &[("cover", &file)]).await;
        // The sidecar has asserted its configuration by a reload.
        follow(&second).send_replace(runs(restarted_at, start + 30_000, ""));
        eventually("known", || second.status().covered_since_ms == Some(expected)).await;
    }
}

#[tokio::test]
async fn external_labels_that_differ_from_the_leaders_are_a_warning() {
    let member = Member::start(settings("http://127.0.0.1:1/write")).await;
    follow(&member).send_replace(runs(1_000, 1_000, ""));
    member.leadership.send_replace(leads(3));
    let own = || lock(&member.published).iter().find(|(key, _)| key == "external-labels").map(|(_, hash)| hash.clone());
    eventually("published", || own().is_some()).await;
    let hash = own().unwrap();
    member.leadership.send_replace(follows(4));
    member.is("standby").await;
    let set = |hash: &str| {
        member.values.send_modify(|values| drop(Arc::make_mut(values).insert("external-labels".into(), hash.into())));
    };
    set(&hash);
    assert_eq!(member.gate.status().warnings, [""; 0]);
    set("another");
    let warnings = member.gate.status().warnings;
    assert!(warnings[0].contains("external_labels of this member's Prometheus differ"), "{warnings:?}");
}

#[tokio::test]
async fn the_leader_forgets_the_watermark_of_an_entry_that_is_gone() {
    let receiver = Receiver::start(Kind::Lenient).await;
    let member = Member::start(settings(&receiver.url())).await;
    let old = format!("u {}", wall_ms() - 8_000_000);
    let values = [("r", old.clone()), ("gone", old)].map(|(name, value)| (key(name), value));
    member.values.send_replace(Arc::new(values.into()));
    let forgotten = || {
        let published = lock(&member.published);
        published.iter().filter(|(_, value)| value.is_empty()).map(|(key, _)| key.clone()).collect::<Vec<_>>()
    };
    member.is("standby").await;
    tokio::time::sleep(PERIOD * 4).await;
    assert_eq!(forgotten(), [""; 0], "only the leader's word counts");
    member.leadership.send_replace(leads(3));
    eventually("it is forgotten", || forgotten().first().is_some_and(|first| *first == key("gone"))).await;
    assert!(forgotten().iter().all(|name| *name != key("r")));
}
