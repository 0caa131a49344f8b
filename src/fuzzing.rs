//! For `make fuzz` only: what the process reads from outside, given anything. cargo-fuzz sets `--cfg fuzzing`.

use std::net::{Ipv4Addr, SocketAddr};

use crate::gate::wire::{Pieces, Summary, Version, join, transcode};
use crate::render::render_for;

/// A source file: it is rendered, always in the same way, or refused in words.
pub fn source(input: &[u8]) {
    let gate: SocketAddr = (Ipv4Addr::LOCALHOST, 9097).into();
    for gate in [None, Some(gate)] {
        match render_for(input, gate) {
            Ok(rendered) => assert_eq!(render_for(input, gate).ok(), Some(rendered)),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

/// The body of a remote write: the first byte says of which version it is, and whether it is compressed already. What can be
/// read at all stays the same in every form that the gate gives it.
pub fn remote_write(input: &[u8]) {
    let Some((form, rest)) = input.split_first() else { return };
    let version = if form & 1 == 0 { Version::V1 } else { Version::V2 };
    let compressed = snap::raw::Encoder::new().compress_vec(rest);
    let body = if form & 2 == 0 { compressed.unwrap_or_default() } else { rest.to_vec() };
    let Ok(whole) = Summary::read(version, &body, i64::MAX) else { return };
    if let Ok(twice) = join(version, [body.as_slice(), &body]) {
        let twice = Summary::read(version, &twice, i64::MAX).ok();
        assert_eq!(twice.map(|twice| (twice.samples, twice.range)), Some((2 * whole.samples, whole.range)));
    }
    if version == Version::V1 {
        pieces_hold_the_whole(&body, whole);
        if let Ok(transcoded) = transcode(&body) {
            let read = Summary::read(Version::V2, &transcoded.body, i64::MAX).ok();
            let counts = read.map(|read| (read.samples, read.histograms, read.range));
            assert_eq!(counts, Some((whole.samples, whole.histograms, whole.range)));
        }
    }
}

fn pieces_hold_the_whole(body: &[u8], whole: Summary) {
    let Ok(pieces) = Pieces::read(body) else { return };
    let all: Vec<usize> = (0..pieces.samples().len()).collect();
    assert_eq!(all.len() as u64, whole.samples + whole.histograms);
    let (first, second) = all.split_at(all.len() / 2);
    let read = |places| pieces.body(places).ok().and_then(|body| Summary::read(Version::V1, &body, i64::MAX).ok());
    let halves = read(first).zip(read(second));
    assert_eq!(halves.map(|(one, other)| one.samples + other.samples), Some(whole.samples));
}
