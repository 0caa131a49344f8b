//! The table of symbols that stands in front of a 2.0 request, as it is written.

use std::collections::HashMap;

use super::numbers::v2;
use super::proto::put_bytes;

/// The table, encoded as it grows: each symbol once, and the empty one first, as 2.0 wants.
pub(super) struct Symbols<'a> {
    known: HashMap<&'a [u8], u64>,
    table: Vec<u8>,
}

impl<'a> Symbols<'a> {
    /// A table of the empty symbol.
    pub(super) fn new() -> Self {
        let mut symbols = Self { known: HashMap::new(), table: Vec::new() };
        symbols.reference(b"");
        symbols
    }

    /// The reference to a symbol, which is added if it is new.
    pub(super) fn reference(&mut self, text: &'a [u8]) -> u64 {
        let next = self.known.len() as u64;
        *self.known.entry(text).or_insert_with(|| {
            put_bytes(&mut self.table, v2::SYMBOLS, text);
            next
        })
    }

    /// Bytes of the table.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// The beginning of a request.
    pub(super) fn into_table(self) -> Vec<u8> {
        self.table
    }
}
