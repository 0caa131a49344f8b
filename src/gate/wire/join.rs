//! Requests of one version put together, in their order.
//!
//! A protobuf message behind another one is the message of both: that does for 1.0. In 2.0 the references of the second
//! would lead into the table of the first. So all of them share one table, and an entry is copied with its references
//! renumbered; all else of it is copied as the bytes it is. One series may stand in several entries (a sender of 2.0 may do
//! that, and Prometheus does).
//!
//! Refused ([`WireError`]) is what cannot be renumbered with certainty, although a receiver might read it: a reference
//! without a symbol, a table that does not begin with the empty symbol (a reference that is left out means the first),
//! references that are not packed. Prometheus sends none of these.

use super::compression::{MESSAGE_BYTES_MAX, compress, decompress};
use super::numbers::v2;
use super::proto::{Field, Fields, put_bytes, put_varint, put_varint_field, take_varint};
use super::symbols::Symbols;
use super::{Version, WireError};

/// Puts bodies of requests together. Their messages have at most [`MESSAGE_BYTES_MAX`] bytes together, and so has the
/// result.
pub fn join<'a>(version: Version, bodies: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>, WireError> {
    let (mut messages, mut bytes) = (Vec::new(), 0);
    for body in bodies {
        let message = decompress(body)?;
        bytes += message.len();
        is_bounded(bytes)?;
        messages.push(message);
    }
    match version {
        Version::V1 => compress(&messages.concat()),
        Version::V2 => compress(&with_one_table(&messages)?),
    }
}

fn is_bounded(bytes: usize) -> Result<(), WireError> {
    if bytes > MESSAGE_BYTES_MAX { Err(WireError::TooLarge { bytes }) } else { Ok(()) }
}

/// Symbols stand in front: some receivers read a request in one pass.
fn with_one_table(messages: &[Vec<u8>]) -> Result<Vec<u8>, WireError> {
    let mut symbols = Symbols::new();
    let (mut rest, mut series) = (Vec::new(), Vec::new());
    for message in messages {
        let renumbering = Renumbering::read(&mut symbols, message)?;
        for field in Fields::of(message) {
            let field = field?;
            match field.number {
                v2::SYMBOLS => {}
                v2::TIMESERIES => {
                    series.clear();
                    renumbering.put_series(&mut series, field.bytes("Request")?)?;
                    put_bytes(&mut rest, v2::TIMESERIES, &series);
                }
                _ => rest.extend_from_slice(field.raw),
            }
            // A reference may take more bytes than before.
            is_bounded(symbols.len() + rest.len())?;
        }
    }
    let mut joined = symbols.into_table();
    joined.extend_from_slice(&rest);
    Ok(joined)
}

/// Where the symbols of one request stand in the common table.
struct Renumbering(Vec<u64>);

impl Renumbering {
    /// Adds the symbols of a request to the common table.
    fn read<'a>(symbols: &mut Symbols<'a>, message: &'a [u8]) -> Result<Self, WireError> {
        let mut references = Vec::new();
        for field in Fields::of(message) {
            let field = field?;
            if field.number == v2::SYMBOLS {
                references.push(symbols.reference(field.bytes("Request")?));
            }
        }
        if references.first() == Some(&0) { Ok(Self(references)) } else { Err(WireError::FirstSymbol) }
    }

    fn of(&self, reference: u64) -> Result<u64, WireError> {
        let place = usize::try_from(reference).ok().and_then(|place| self.0.get(place));
        place.copied().ok_or(WireError::Reference { reference, symbols: self.0.len() })
    }

    fn put_series(&self, out: &mut Vec<u8>, series: &[u8]) -> Result<(), WireError> {
        for field in Fields::of(series) {
            let field = field?;
            match field.number {
                v2::LABELS_REFS => self.put_refs(out, &field, "TimeSeries")?,
                v2::EXEMPLARS => {
                    let mut exemplar = Vec::with_capacity(field.raw.len());
                    self.put_exemplar(&mut exemplar, field.bytes("TimeSeries")?)?;
                    put_bytes(out, v2::EXEMPLARS, &exemplar);
                }
                v2::METADATA => {
                    let mut metadata = Vec::with_capacity(field.raw.len());
                    self.put_metadata(&mut metadata, field.bytes("TimeSeries")?)?;
                    put_bytes(out, v2::METADATA, &metadata);
                }
                _ => out.extend_from_slice(field.raw),
            }
        }
        Ok(())
    }

    fn put_exemplar(&self, out: &mut Vec<u8>, exemplar: &[u8]) -> Result<(), WireError> {
        for field in Fields::of(exemplar) {
            let field = field?;
            match field.number {
                v2::EXEMPLAR_LABELS_REFS => self.put_refs(out, &field, "Exemplar")?,
                _ => out.extend_from_slice(field.raw),
            }
        }
        Ok(())
    }

    fn put_metadata(&self, out: &mut Vec<u8>, metadata: &[u8]) -> Result<(), WireError> {
        for field in Fields::of(metadata) {
            let field = field?;
            match field.number {
                v2::METADATA_HELP_REF | v2::METADATA_UNIT_REF => {
                    put_varint_field(out, field.number, self.of(field.varint("Metadata")?)?);
                }
                _ => out.extend_from_slice(field.raw),
            }
        }
        Ok(())
    }

    /// Appends a field of packed references.
    fn put_refs(&self, out: &mut Vec<u8>, field: &Field<'_>, message: &'static str) -> Result<(), WireError> {
        let mut old = field.bytes(message)?;
        let mut new = Vec::with_capacity(2 * old.len());
        while !old.is_empty() {
            put_varint(&mut new, self.of(take_varint(&mut old)?)?);
        }
        put_bytes(out, field.number, &new);
        Ok(())
    }
}

#[cfg(test)]
#[path = "join_tests.rs"]
mod tests;
