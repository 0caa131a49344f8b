//! Whatever comes in, a member answers, stays within its bounds and goes on. `make fuzz` looks deeper.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestError, TestRng, TestRunner};
use serde_json::Value;
use tempfile::TempDir;

use super::fuzzing::Target;
use super::samples;

/// One member for all cases of a test: each case starts it anew. The same cases each time: `make fuzz` looks for others.
fn fire<S: Strategy>(cases: u32, strategy: &S, case: impl Fn(&Target, S::Value)) {
    let dir: TempDir = tempfile::tempdir().unwrap();
    let target = Target::new(dir.path());
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let result = TestRunner::new_with_rng(config, rng).run(strategy, |value| {
        case(&target, value);
        Ok(())
    });
    if let Err(TestError::Fail(why, value)) = result {
        panic!("{why}\nsmallest input: {value:?}");
    }
}

/// The valid messages, for this target.
fn valid(target: &Target) -> Vec<Vec<u8>> {
    let own = target.id().to_string();
    let text = |message| serde_json::to_string(&message).unwrap().replace(&samples::TARGET.to_string(), &own);
    samples::messages().into_iter().map(|(_, message)| text(message).into_bytes()).collect()
}

/// Else the tests below prove little.
#[test]
fn a_member_under_fire_does_what_valid_messages_ask() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::new(dir.path());
    let replies = target.feed(valid(&target));
    let refused: Vec<_> = replies.iter().filter_map(|reply| reply.as_ref().err()).collect();
    assert!(refused.is_empty(), "{refused:?}");
    assert_eq!(replies.len(), samples::messages().len());
}

#[test]
fn any_bytes_are_answered() {
    fire(64, &prop::collection::vec(any::<Vec<u8>>(), 1..8), |target, bodies| {
        assert!(target.feed(bodies).is_empty(), "chance made a message");
    });
}

#[test]
fn flipped_bits_and_cut_messages_are_answered() {
    let damage = prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..9_u8), 1..24);
    fire(192, &damage, |target, damages| {
        let valid = valid(target);
        target.feed(damages.into_iter().map(|(message, place, how)| {
            let mut body = valid[message.index(valid.len())].clone();
            let place = place.index(body.len());
            match how {
                8 => body.truncate(place),
                bit => body[place] ^= 1 << bit,
            }
            body
        }));
    });
}

/// Pointers to all values in a document.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                places(field, &format!("{at}/{}", name.replace('/', "~1")), found);
            }
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| places(item, &format!("{at}/{index}"), found));
        }
        _ => {}
    }
}

#[test]
fn missing_fields_and_values_beyond_measure_are_answered() {
    let deep = (0..200).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
    let long = Value::String("x".repeat(100_000));
    let ends = [0.into(), u64::MAX.into(), (u64::MAX - 1).into(), (-1).into()];
    let with = [&[Value::Null, Value::Array(Vec::new()), deep, long], &ends[..]].concat();
    let damage = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..=with.len());
    fire(192, &prop::collection::vec(damage, 1..24), |target, damages| {
        let valid = valid(target);
        target.feed(damages.into_iter().map(|(message, place, how)| {
            let mut document: Value = serde_json::from_slice(&valid[message.index(valid.len())]).unwrap();
            let mut all = Vec::new();
            places(&document, "", &mut all);
            let place: &String = place.get(&all);
            match with.get(how) {
                Some(with) => *document.pointer_mut(place).unwrap() = with.clone(),
                None => remove(&mut document, place),
            }
            serde_json::to_vec(&document).unwrap()
        }));
    });
}

fn remove(document: &mut Value, place: &str) {
    let Some((parent, name)) = place.rsplit_once('/') else { return };
    if let Some(Value::Object(fields)) = document.pointer_mut(parent) {
        fields.remove(name);
    }
}

#[test]
fn depth_alone_is_refused_before_it_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::new(dir.path());
    let deep = [&br#"{"version":1,"group":"test","from":"2","call":"#[..], &b"[".repeat(1 << 20)].concat();
    assert!(target.feed([deep]).is_empty(), "no message");
}

#[test]
fn scripts_of_possible_and_impossible_messages_are_answered() {
    fire(512, &prop::collection::vec(any::<u8>(), 1..400), |target, bytes| {
        target.attack(&[&[0], &bytes[..]].concat());
    });
}
