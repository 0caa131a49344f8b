//! The wire format and the stored one: what was written once is read for ever, and fields of newer members are ignored.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::message::{Head, Message, Refusal, SPOKEN, UNDERSTOOD, read_reply, write_reply};
use super::samples;
use crate::state::GroupData;
use crate::store::Identity;
use crate::types::{Entry, LogId, SnapshotMeta, Vote};

/// Something that is written and read.
struct Sample {
    name: String,
    written: Vec<u8>,
    /// Reads it and writes it again.
    again: fn(&[u8]) -> serde_json::Result<Vec<u8>>,
}

fn again<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&serde_json::from_slice::<T>(bytes)?)
}

fn sample<T: Serialize + DeserializeOwned>(name: impl Into<String>, value: &T) -> Sample {
    Sample { name: name.into(), written: serde_json::to_vec(value).unwrap(), again: again::<T> }
}

fn all() -> Vec<Sample> {
    let calls = samples::messages().into_iter().map(|(name, message)| sample(format!("call-{name}"), &message));
    let replies = samples::replies().into_iter().map(|(name, reply)| Sample {
        name,
        written: write_reply(&reply).unwrap(),
        again: |bytes| write_reply(&read_reply(bytes)?),
    });
    let entries = samples::entries();
    let entries = entries.iter().map(|entry| sample::<Entry>(format!("stored-entry-{}", entry.log_id.index), entry));
    let stored = [
        sample::<Identity>("stored-identity", &samples::identity()),
        sample::<Vote>("stored-vote", &Vote::new(3, samples::CALLER)),
        sample::<LogId>("stored-purged", &samples::log_id(2, 16)),
        sample::<(SnapshotMeta, GroupData)>("stored-snapshot", &(samples::snapshot_meta(64), samples::group_data())),
    ];
    calls.chain(replies).chain(entries).chain(stored).collect()
}

fn golden(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "wire", &format!("{name}.json")].iter().collect()
}

/// `UPDATE_GOLDEN=1 cargo test -p elector-raft wire_format` writes the files anew: never for a version that is released.
#[test]
fn the_wire_format_and_the_stored_one_have_not_changed() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    for sample in all() {
        let file = golden(&sample.name);
        if update {
            std::fs::write(&file, [&sample.written[..], b"\n"].concat()).unwrap();
        }
        let kept = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let kept = kept.strip_suffix(b"\n").unwrap_or(&kept);
        let text = String::from_utf8_lossy;
        assert_eq!(text(&sample.written), text(kept), "{} is written in another form", sample.name);
        let again = (sample.again)(kept).unwrap_or_else(|error| panic!("{} cannot be read: {error}", sample.name));
        assert_eq!(text(&again), text(kept), "{} is read as something else", sample.name);
    }
    let files = std::fs::read_dir(golden("x").parent().unwrap()).unwrap().count();
    assert_eq!(files, all().len(), "a file without a sample");
}

/// Every object in a document, as the JSON pointer to it.
fn objects(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.push(at.to_owned());
            fields.iter().for_each(|(name, field)| objects(field, &format!("{at}/{}", name.replace('/', "~1")), found));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| objects(item, &format!("{at}/{index}"), found));
        }
        _ => {}
    }
}

/// What is no struct and takes no further field: a map, or an object whose one key names a variant.
fn is_struct(place: &str, object: &Value) -> bool {
    let map = ["/nodes", "/values", "/barred", "/seen"].iter().any(|map| place.ends_with(map));
    let variant = object.as_object().is_some_and(|fields| fields.keys().all(|key| key.starts_with(char::is_uppercase)));
    !map && !variant
}

#[test]
fn unknown_fields_are_ignored_at_every_level() {
    let mut structs = 0;
    for sample in all() {
        let document: Value = serde_json::from_slice(&sample.written).unwrap();
        let mut places = Vec::new();
        objects(&document, "", &mut places);
        for place in places.iter().filter(|place| is_struct(place, document.pointer(place).unwrap())) {
            let mut newer = document.clone();
            let fields = newer.pointer_mut(place).unwrap().as_object_mut().unwrap();
            fields.insert("of_a_newer_member".into(), json!({"deeper": [1, null, "x"]}));
            let again = (sample.again)(&serde_json::to_vec(&newer).unwrap())
                .unwrap_or_else(|error| panic!("{}{place}: {error}", sample.name));
            let again: Value = serde_json::from_slice(&again).unwrap();
            assert_eq!(again, document, "{}{place}", sample.name);
            structs += 1;
        }
    }
    assert!(structs > 100, "only {structs} places were looked at");
}

#[test]
fn the_head_of_a_message_of_any_version_can_be_read() {
    let newer =
        r#"{"of_a_newer_member":1,"version":9,"group":"test","from":"0000000000000002","call":{"Sing":["la",{}]}}"#;
    let head: Head = serde_json::from_str(newer).unwrap();
    assert_eq!(head, Head { version: 9, group: "test".into(), from: samples::CALLER });
    assert!(serde_json::from_str::<Message>(newer).is_err());
}

#[test]
fn a_refusal_that_is_not_known_here_shows_its_text() {
    let newer = br#"{"Err":{"text":"it is too tired","reason":{"Tired":{"since":3}},"hint":"sleep"}}"#;
    let refusal = read_reply(newer).unwrap().unwrap_err();
    assert_eq!(refusal, Refusal::Other("it is too tired".into()));
    assert_eq!(refusal.to_string(), "it is too tired");
    let bare = read_reply(br#"{"Err":{"text":"no"}}"#).unwrap().unwrap_err();
    assert_eq!(bare.to_string(), "no");
    assert!(read_reply(br#"{"Ok":{"Song":[]}}"#).is_err(), "an answer to what nobody here asks");
}

#[test]
fn a_version_refusal_says_which_side_to_update() {
    assert!(UNDERSTOOD.contains(&SPOKEN));
    let newer = Refusal::version(UNDERSTOOD.end() + 1).to_string();
    assert!(newer.contains("the called member is the older one, update it"), "{newer}");
    let older = Refusal::version(UNDERSTOOD.start() - 1).to_string();
    assert!(older.contains("the caller is the older one, update it"), "{older}");
}
