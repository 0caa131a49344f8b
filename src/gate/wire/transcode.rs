//! A 1.0 request as a 2.0 request, whose receivers store the valid part of a batch and say how much that was.
//!
//! Labels become references into a table of symbols; samples and histograms are copied as they are, because the fields
//! that 1.0 has carry the same numbers in 2.0. What 2.0 asks for beyond that:
//! - an entry holds samples or histograms, not both: such a series becomes two entries;
//! - an entry without either is refused, but Prometheus (1.0) puts each exemplar into an entry of its own: those are
//!   moved to an entry of the same labels, and without any they are left out and counted;
//! - symbols stand in front, as some receivers read the message in one pass.
//!
//! Metadata (`MetricMetadata`, by metric family) is left out: 2.0 knows metadata by series only, and Prometheus sends it
//! in requests of its own, which no receiver refuses for an order.

use std::collections::HashMap;

use super::WireError;
use super::compression::{compress, decompress};
use super::numbers::{v1, v2};
use super::proto::{Fields, put_bytes, put_varint};
use super::symbols::Symbols;

/// A 2.0 request made of a 1.0 request, and what it holds: the answer's Written headers are compared with that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcoded {
    /// The body, in snappy's block format.
    pub body: Vec<u8>,
    /// Samples in it.
    pub samples: u64,
    /// Histograms in it.
    pub histograms: u64,
    /// Exemplars in it.
    pub exemplars: u64,
    /// Exemplars that have no sample of their series beside them, which 2.0 has no place for.
    pub exemplars_left_out: u64,
}

/// Transcodes the body of a 1.0 request.
pub fn transcode(body: &[u8]) -> Result<Transcoded, WireError> {
    let message = decompress(body)?;
    let mut symbols = Symbols::new();
    let mut entries = Entries::default();
    for field in Fields::of(&message) {
        let field = field?;
        if field.number == v1::TIMESERIES {
            entries.add(read_series(&mut symbols, field.bytes("WriteRequest")?)?);
        }
    }
    let exemplars_left_out = entries.attach_exemplars();
    let total = |count: fn(&Entry<'_>) -> usize| entries.all.iter().map(count).sum::<usize>() as u64;
    let transcoded = entries.encode(symbols.into_table());
    Ok(Transcoded {
        body: compress(&transcoded)?,
        samples: total(|entry| entry.samples.len()),
        histograms: total(|entry| entry.histograms.len()),
        exemplars: total(|entry| entry.exemplars.len()),
        exemplars_left_out,
    })
}

/// Appends the references of a `Label`, packed.
fn put_label<'a>(symbols: &mut Symbols<'a>, refs: &mut Vec<u8>, label: &'a [u8]) -> Result<(), WireError> {
    let (mut name, mut value) = (&b""[..], &b""[..]);
    for field in Fields::of(label) {
        let field = field?;
        match field.number {
            v1::LABEL_NAME => name = field.bytes("Label")?,
            v1::LABEL_VALUE => value = field.bytes("Label")?,
            _ => {}
        }
    }
    for text in [name, value] {
        put_varint(refs, symbols.reference(text));
    }
    Ok(())
}

/// A series: packed references of its labels, and its content as it stands in the request or is to stand in the new one.
#[derive(Default)]
struct Entry<'a> {
    refs: Vec<u8>,
    samples: Vec<&'a [u8]>,
    histograms: Vec<&'a [u8]>,
    exemplars: Vec<Vec<u8>>,
}

fn read_series<'a>(symbols: &mut Symbols<'a>, series: &'a [u8]) -> Result<Entry<'a>, WireError> {
    let mut entry = Entry::default();
    for field in Fields::of(series) {
        let field = field?;
        match field.number {
            v1::LABELS => put_label(symbols, &mut entry.refs, field.bytes("TimeSeries")?)?,
            v1::SAMPLES => entry.samples.push(field.bytes("TimeSeries")?),
            v1::HISTOGRAMS => entry.histograms.push(field.bytes("TimeSeries")?),
            v1::EXEMPLARS => entry.exemplars.push(read_exemplar(symbols, field.bytes("TimeSeries")?)?),
            _ => {}
        }
    }
    Ok(entry)
}

/// An exemplar of 2.0: references in place of labels; value and timestamp have the same numbers in both versions.
fn read_exemplar<'a>(symbols: &mut Symbols<'a>, exemplar: &'a [u8]) -> Result<Vec<u8>, WireError> {
    let (mut refs, mut rest) = (Vec::new(), Vec::new());
    for field in Fields::of(exemplar) {
        let field = field?;
        if field.number == v1::EXEMPLAR_LABELS {
            put_label(symbols, &mut refs, field.bytes("Exemplar")?)?;
        } else {
            rest.extend_from_slice(field.raw);
        }
    }
    let mut out = Vec::with_capacity(refs.len() + rest.len() + 4);
    put_refs(&mut out, v2::EXEMPLAR_LABELS_REFS, &refs);
    out.extend_from_slice(&rest);
    Ok(out)
}

fn put_refs(out: &mut Vec<u8>, number: u32, refs: &[u8]) {
    if !refs.is_empty() {
        put_bytes(out, number, refs);
    }
}

/// Entries of the new request, and exemplars that still look for theirs.
#[derive(Default)]
struct Entries<'a> {
    all: Vec<Entry<'a>>,
    /// Index of the newest entry of a series.
    newest: HashMap<Vec<u8>, usize>,
    homeless: Vec<(Vec<u8>, Vec<Vec<u8>>)>,
}

impl<'a> Entries<'a> {
    fn add(&mut self, mut entry: Entry<'a>) {
        if entry.samples.is_empty() && entry.histograms.is_empty() {
            if !entry.exemplars.is_empty() {
                self.homeless.push((entry.refs, entry.exemplars));
            }
            return;
        }
        if !entry.samples.is_empty() && !entry.histograms.is_empty() {
            let histograms = std::mem::take(&mut entry.histograms);
            self.all.push(Entry { refs: entry.refs.clone(), histograms, ..Entry::default() });
        }
        self.newest.insert(entry.refs.clone(), self.all.len());
        self.all.push(entry);
    }

    /// Moves exemplars to an entry of their series; returns how many have none.
    fn attach_exemplars(&mut self) -> u64 {
        let mut left_out = 0;
        for (refs, exemplars) in std::mem::take(&mut self.homeless) {
            match self.newest.get(&refs).and_then(|&index| self.all.get_mut(index)) {
                Some(entry) => entry.exemplars.extend(exemplars),
                None => left_out += exemplars.len() as u64,
            }
        }
        left_out
    }

    fn encode(&self, symbols: Vec<u8>) -> Vec<u8> {
        let mut out = symbols;
        let mut series = Vec::new();
        for entry in &self.all {
            series.clear();
            put_refs(&mut series, v2::LABELS_REFS, &entry.refs);
            entry.samples.iter().for_each(|sample| put_bytes(&mut series, v2::SAMPLES, sample));
            entry.histograms.iter().for_each(|histogram| put_bytes(&mut series, v2::HISTOGRAMS, histogram));
            entry.exemplars.iter().for_each(|exemplar| put_bytes(&mut series, v2::EXEMPLARS, exemplar));
            put_bytes(&mut out, v2::TIMESERIES, &series);
        }
        out
    }
}

#[cfg(test)]
#[path = "transcode_tests.rs"]
mod tests;
