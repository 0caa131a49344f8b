//! How fast a new writer catches up, in how many requests, and what it tells meanwhile.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::gate::testing::{Kind, Member, Point, Receiver, batch_v2, eventually, leads, owned, settings};
use crate::gate::wire::Version;
use crate::gate::wire::testing::{body, message, v1, v2};

const TARGETS: i64 = 10;
const SCRAPES: i64 = 30;
/// Scrapes that the old writer has written.
const WRITTEN: i64 = 10;
const SERIES: i64 = 5;

fn at(target: i64, scrape: i64) -> i64 {
    15_000 * scrape + 1_370 * target
}

fn series(target: i64, series: i64) -> String {
    format!("t{target}s{series}")
}

/// A request whose series, in 1.0, name their target: by that it is taken apart.
fn scraped_as(version: Version, target: i64, points: &[Point]) -> Bytes {
    match version {
        Version::V1 => scraped(target, points),
        Version::V2 => batch_v2(&points.iter().map(|(name, at)| (name.as_str(), *at)).collect::<Vec<_>>()),
    }
}

fn scraped(target: i64, points: &[Point]) -> Bytes {
    let label = |name: &str, value: String| v1::Label { name: name.into(), value };
    let series = |(name, timestamp): &Point| v1::TimeSeries {
        labels: vec![label("__name__", name.clone()), label("instance", target.to_string())],
        samples: vec![v1::Sample { value: 1.0, timestamp: *timestamp }],
        ..Default::default()
    };
    body(&v1::WriteRequest { timeseries: points.iter().map(series).collect(), metadata: Vec::new() }).into()
}

/// A member whose spool holds a batch for each scrape of each target, and a receiver that has the first ones.
async fn backlog(version: Version, kind: Kind) -> (Receiver, Member) {
    let receiver = Receiver::start(kind).await;
    let member = Member::start(settings(&receiver.url())).await;
    for scrape in 1..=SCRAPES {
        for target in 0..TARGETS {
            let points: Vec<Point> = (0..SERIES).map(|index| (series(target, index), at(target, scrape))).collect();
            assert_eq!(member.push_as(version, scraped_as(version, target, &points)).await.0, 204);
        }
    }
    for target in 0..TARGETS {
        (0..SERIES).for_each(|index| receiver.has(&series(target, index), at(target, WRITTEN)));
    }
    (receiver, member)
}

#[tokio::test]
async fn a_catch_up_over_a_slow_line_is_a_matter_of_seconds() {
    for (version, kind, requests_max) in [
        (Version::V1, Kind::Lenient, 12),
        (Version::V1, Kind::Mimir, 12),
        (Version::V1, Kind::Prometheus3, 16),
        (Version::V1, Kind::Prometheus2, 700),
        (Version::V2, Kind::Lenient, 12),
        (Version::V2, Kind::Prometheus3, 12),
    ] {
        let (receiver, member) = backlog(version, kind).await;
        receiver.set_delay(Duration::from_millis(50));
        let begin = Instant::now();
        member.leadership.send_replace(leads(3));
        member.is("writer").await;
        let (elapsed, requests) = (begin.elapsed(), member.status().counts.catch_up_requests);
        println!("{version:?} {kind:?}: {} batches in {elapsed:.1?}, {requests} requests", TARGETS * SCRAPES);
        let mut stored = receiver.stored();
        let times = (WRITTEN + 1)..=SCRAPES;
        let mut missing: Vec<Point> = times
            .flat_map(|scrape| (0..TARGETS).map(move |target| (target, scrape)))
            .flat_map(|(target, scrape)| (0..SERIES).map(move |index| (series(target, index), at(target, scrape))))
            .collect();
        if kind == Kind::Prometheus2 {
            // In pieces: in order within each series only.
            stored.sort();
            missing.sort();
        }
        assert_eq!(stored, missing, "{version:?} {kind:?}");
        assert!(requests <= requests_max, "{version:?} {kind:?}: {requests}");
    }
}

#[tokio::test]
async fn a_batch_that_cannot_go_with_others_goes_by_itself_as_it_is() {
    let receiver = Receiver::start(Kind::Lenient).await;
    let member = Member::start(settings(&receiver.url())).await;
    let mut odd: v2::Request = message(&batch_v2(&[("a", 2)]));
    odd.timeseries[0].exemplars.push(v2::Exemplar { labels_refs: vec![99, 99], value: 1.0, timestamp: 2 });
    for batch in [batch_v2(&[("a", 1)]), body(&odd).into(), batch_v2(&[("a", 3)])] {
        assert_eq!(member.push_as(Version::V2, batch).await.0, 204);
    }
    member.leadership.send_replace(leads(3));
    member.is("writer").await;
    assert_eq!(receiver.stored(), owned(&[("a", 1), ("a", 2), ("a", 3)]));
    assert_eq!(member.status().counts.catch_up_requests, 3);
}

/// Which of them it is about the answer does not say.
#[tokio::test]
async fn batches_whose_joint_request_is_refused_as_a_whole_go_out_in_smaller_ones() {
    for status in [400, 413, 422] {
        let receiver = Receiver::start(Kind::Lenient).await;
        let member = Member::start(settings(&receiver.url())).await;
        for at in 1..=10 {
            assert_eq!(member.push_as(Version::V2, batch_v2(&[("a", at)])).await.0, 204);
        }
        receiver.answers(&[(status, &[])]);
        member.leadership.send_replace(leads(3));
        member.is("writer").await;
        let stored: Vec<i64> = receiver.stored().into_iter().map(|(_, at)| at).collect();
        assert_eq!(stored, (1..=10).collect::<Vec<_>>(), "{status}");
        let counts = member.status().counts;
        assert_eq!((counts.catch_up_requests, counts.catch_up_lost), (3, 0), "{status}");
    }
}

#[tokio::test]
async fn a_remote_that_takes_little_at_once_gets_what_it_takes() {
    let receiver = Receiver::start(Kind::Limited(12)).await;
    let member = Member::start(settings(&receiver.url())).await;
    for at in 1..=200 {
        assert_eq!(member.push(&[("a", at)]).await, 204);
    }
    member.leadership.send_replace(leads(3));
    member.is("writer").await;
    let stored: Vec<i64> = receiver.stored().into_iter().map(|(_, at)| at).collect();
    assert_eq!(stored, (1..=200).collect::<Vec<_>>());
    let counts = member.status().counts;
    // At best 17; one in three is too large.
    assert!(counts.catch_up_requests <= 40, "{counts:?}");
}

/// Two replicas number their series differently: what a stuck shard of the old writer has not sent lies across the batches
/// and the scrapes of the new one.
#[tokio::test]
async fn a_scrape_of_which_the_remote_has_a_part_loses_nothing() {
    for kind in [Kind::Prometheus3, Kind::Prometheus2] {
        let receiver = Receiver::start(kind).await;
        let member = Member::start(settings(&receiver.url())).await;
        let names: Vec<String> = (0..100).map(|index| format!("s{index}")).collect();
        for scrape in 1..=10 {
            let points: Vec<Point> = names.iter().map(|name| (name.clone(), 1_000 * scrape)).collect();
            for batch in points.chunks(10) {
                assert_eq!(member.push_as(Version::V1, scraped(0, batch)).await.0, 204);
            }
        }
        // One in seven was stuck after the second scrape, the others until the sixth, or the seventh.
        let has = |index: usize| if index % 7 == 3 { 2_000 } else { 6_000 + 1_000 * i64::from(index > 60) };
        names.iter().enumerate().for_each(|(index, name)| receiver.has(name, has(index)));
        member.leadership.send_replace(leads(3));
        member.is("writer").await;
        let all = names.iter().enumerate();
        let missing: BTreeSet<Point> = all
            .flat_map(|(index, name)| (1..=10).map(move |scrape| (index, name.clone(), 1_000 * scrape)))
            .filter(|(index, _, at)| *at > has(*index))
            .map(|(_, name, at)| (name, at))
            .collect();
        let stored: BTreeSet<Point> = receiver.stored().into_iter().collect();
        let lost: Vec<&Point> = missing.difference(&stored).collect();
        println!("{kind:?}: {} requests", member.status().counts.catch_up_requests);
        assert!(lost.is_empty(), "{kind:?}: {} {lost:?}", lost.len());
    }
}

/// `stuck`: the last batch of the spool holds the oldest sample.
async fn published_while_catching_up(stuck: bool) -> Vec<i64> {
    let (receiver, member) = backlog(Version::V1, Kind::Lenient).await;
    let all: Vec<Point> = (WRITTEN + 1..=SCRAPES)
        .flat_map(|scrape| (0..TARGETS).map(move |target| (target, scrape)))
        .flat_map(|(target, scrape)| (0..SERIES).map(move |index| (series(target, index), at(target, scrape))))
        .collect();
    if stuck {
        assert_eq!(member.push(&[("late", at(0, WRITTEN + 2))]).await, 204);
    }
    receiver.set_delay(Duration::from_millis(300));
    member.leadership.send_replace(leads(3));
    let mut values = Vec::new();
    eventually("the end of the catch-up", || {
        let value = crate::gate::lock(&member.published).last().map(|(_, value)| value.clone());
        let value = value.map(|value| value.split_once(' ').unwrap().1.parse::<i64>().unwrap());
        let is_new = value.is_some() && value.as_ref() != values.last();
        let stored: BTreeSet<Point> = if is_new { receiver.stored().into_iter().collect() } else { BTreeSet::new() };
        let ends = member.status().phase.name() == "writer";
        if let Some(value) = value.filter(|_| is_new && !ends) {
            let unwritten = all.iter().find(|point| point.1 <= value && !stored.contains(*point));
            assert_eq!(unwritten, None, "{value} claims what has not gone out");
            values.push(value);
        }
        ends
    })
    .await;
    values
}

#[tokio::test]
async fn the_watermark_rises_with_what_has_gone_out_and_stays_below_all_that_is_left() {
    let values = published_while_catching_up(false).await;
    assert!(values.len() >= 3 && values.last() > Some(&at(0, 20)), "{values:?}");
    let values = published_while_catching_up(true).await;
    assert!(values.iter().all(|value| *value < at(0, WRITTEN + 2)) && !values.is_empty(), "{values:?}");
}
