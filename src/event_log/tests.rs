#![allow(clippy::unwrap_used)]

use std::sync::mpsc::channel;

use elector_raft::{Leader, Member, NodeId};
use serde_json::{Value, json};

use super::*;

fn clock() -> Clock {
    Clock { instant: Instant::now(), ns: 1_000 }
}

fn leadership(term: u64, leader: &str, authority: Authority) -> Leadership {
    let member = Member { name: leader.to_owned(), ..Member::default() };
    let leader =
        (!leader.is_empty()).then(|| Arc::new(Leader { id: NodeId(1), is_self: false, member, found_at: None }));
    Leadership { term, leader, authority }
}

fn until(clock: Clock, ns: u64) -> Authority {
    let deadline = clock.instant + Duration::from_nanos(ns.checked_sub(clock.ns).unwrap());
    Authority::Until { deadline, suspended: Duration::ZERO }
}

fn lines(events: Vec<Event>) -> Vec<Value> {
    events.into_iter().map(|event| serde_json::to_value(event).unwrap()).collect()
}

#[test]
fn authority_is_gained_extended_and_ended_in_its_own_term() {
    let clock = clock();
    let nobody = leadership(3, "", Authority::None);
    let first = leadership(4, "a", until(clock, 1_700));
    let later = leadership(4, "a", until(clock, 1_800));
    let next = leadership(5, "a", until(clock, 2_900));
    let other = leadership(6, "b", Authority::None);
    let sole = leadership(6, "b", Authority::SoleVoter);
    for (before, now, wanted) in [
        (
            &nobody,
            &first,
            vec![
                json!({"event": "leader", "term": 4, "leader": "a"}),
                json!({"event": "authority", "state": "gained", "term": 4, "until_ns": 1_700}),
            ],
        ),
        (&first, &first, vec![json!({"event": "authority", "state": "extended", "term": 4, "until_ns": 1_700})]),
        (&first, &later, vec![json!({"event": "authority", "state": "extended", "term": 4, "until_ns": 1_800})]),
        (
            &later,
            &next,
            vec![
                json!({"event": "authority", "state": "ended", "term": 4, "until_ns": 1_800}),
                json!({"event": "leader", "term": 5, "leader": "a"}),
                json!({"event": "authority", "state": "gained", "term": 5, "until_ns": 2_900}),
            ],
        ),
        (
            &next,
            &other,
            vec![
                json!({"event": "authority", "state": "ended", "term": 5, "until_ns": 2_900}),
                json!({"event": "leader", "term": 6, "leader": "b"}),
            ],
        ),
        (&other, &sole, vec![json!({"event": "authority", "state": "gained", "term": 6, "until_ns": null})]),
        (&other, &other, vec![]),
    ] {
        assert_eq!(lines(leadership_events(before, now, &clock)), wanted, "{before:?} -> {now:?}");
    }
}

#[test]
fn a_role_and_a_configuration_are_told_once() {
    let mut status = RoleStatus::default();
    assert_eq!(lines(role_events(None, &status)), [json!({"event": "role", "role": "follower"})]);
    assert_eq!(lines(role_events(Some(&status), &status)), Vec::<Value>::new());

    let before = status.clone();
    status.role = Role::Leader;
    status.config.last_error = Some("no".to_owned());
    let told = [
        json!({"event": "role", "role": "leader"}),
        json!({"event": "config", "state": "failed", "role": null, "hash": null, "error": "no"}),
    ];
    assert_eq!(lines(role_events(Some(&before), &status)), told);

    let before = status.clone();
    status.config.last_error = None;
    status.config.applied_hash = Some("ab".to_owned());
    status.config.applied_role = Some(Role::Leader);
    let told = json!({"event": "config", "state": "in_force", "role": "leader", "hash": "ab", "error": null});
    assert_eq!(lines(role_events(Some(&before), &status)), [told]);
    assert_eq!(lines(role_events(Some(&status), &status)), Vec::<Value>::new());
}

#[test]
fn lines_stand_in_the_file_with_member_and_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl");
    let before = Clock::read().ns;
    let log = EventLog::open(&path, "prom-0").unwrap();
    log.leadership(&leadership(4, "prom-0", Authority::SoleVoter));
    log.shutdown(ShutdownState::Ended);
    drop(log);
    let read = || std::fs::read_to_string(&path).unwrap();
    while read().lines().count() < 4 {
        std::thread::yield_now();
    }
    let after = Clock::read().ns;
    let lines: Vec<Value> = read().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<_> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["start", "leader", "authority", "shutdown"]);
    assert_eq!(lines[0]["pid"], std::process::id());
    for line in &lines {
        assert_eq!(line["member"], "prom-0");
        assert!((before..=after).contains(&line["at_ns"].as_u64().unwrap()), "{line}");
    }
    let error = EventLog::open(dir.path(), "prom-0").unwrap_err();
    assert!(error.to_string().contains("event-log") && error.to_string().contains("cannot be opened"), "{error:#}");
}

#[test]
fn what_does_not_fit_the_queue_is_counted() {
    let (queue, lines) = sync_channel(2);
    let inner = Inner { queue, lost: AtomicU64::new(0), leadership: Mutex::default(), clock: clock() };
    let log = EventLog(Arc::new(inner));
    for _ in 0..5 {
        log.shutdown(ShutdownState::Begun);
    }
    let taken: Vec<_> = (0..2).map(|_| lines.recv().unwrap().1).collect();
    assert_eq!(
        taken,
        [Event::Shutdown { state: ShutdownState::Begun }, Event::Shutdown { state: ShutdownState::Begun }]
    );
    log.shutdown(ShutdownState::Ended);
    assert_eq!(lines.recv().unwrap().1, Event::Lost { lines: 3 });
    assert_eq!(lines.recv().unwrap().1, Event::Shutdown { state: ShutdownState::Ended });
}

/// A disk that is full for so many writes, and then swallows half of one.
struct Full {
    refused: usize,
    written: Vec<u8>,
}

impl Write for &mut Full {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.refused == 0 {
            self.written.extend(bytes);
            return Ok(bytes.len());
        }
        self.refused -= 1;
        self.written.extend(&bytes[..5]);
        Err(std::io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_a_full_disk_swallows_is_counted_and_half_a_line_is_ended() {
    let (queue, lines) = channel();
    for lost in 1..=3 {
        queue.send((lost, Event::Role { role: Role::Leader })).unwrap();
    }
    drop(queue);
    let mut disk = Full { refused: 2, written: Vec::new() };
    write(&mut disk, "m", &lines);
    let text = String::from_utf8(disk.written).unwrap();
    let whole: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let lost = json!({"at_ns": 3, "member": "m", "event": "lost", "lines": 2});
    assert_eq!(whole, [lost, json!({"at_ns": 3, "member": "m", "event": "role", "role": "leader"})]);
}
