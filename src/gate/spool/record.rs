//! One batch as bytes on disk.
//!
//! ```text
//! crc32 of the rest | length of the rest | received_at | min, max | flags | headers: length, text (three times) | body
//!       u32 LE      |       u32 LE       |   i64 LE    |  i64 LE  |  u8   |       u8
//! ```
//!
//! Only the headers that say how to read the body are kept. Credentials are not: they would lie on the disk, and be
//! expired when the batch is sent; the gate sends it with those of its newest request.

use super::SpoolError;
use crate::gate::TimeRange;

/// Bytes in front of what the checksum covers: checksum and length.
pub(super) const PREFIX_BYTES: usize = 8;
/// Fixed bytes after the prefix.
const FIXED_BYTES: usize = 25;
/// Longest header value: the known ones have 60 bytes at the most.
const HEADER_BYTES_MAX: usize = u8::MAX as usize;
/// The batch has timestamps.
const HAS_RANGE: u8 = 1;

/// How a body is to be read: headers of the request, empty where it had none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Format {
    /// `Content-Type`, which tells the version.
    pub content_type: String,
    /// `Content-Encoding`.
    pub content_encoding: String,
    /// `X-Prometheus-Remote-Write-Version`.
    pub version: String,
}

/// A batch as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// When it arrived, in Unix milliseconds.
    pub received_at_ms: i64,
    /// Its timestamps; `None` for metadata alone and for what cannot be read.
    pub range: Option<TimeRange>,
    /// How to read the body.
    pub format: Format,
    /// The body as it was received.
    pub body: Vec<u8>,
}

impl Batch {
    /// The time by which it is retained: of a batch without timestamps that of its arrival.
    pub(super) fn time(&self) -> i64 {
        self.range.map_or(self.received_at_ms, |range| range.max_ms)
    }

    /// As bytes.
    pub(super) fn encode(&self) -> Result<Vec<u8>, SpoolError> {
        let Format { content_type, content_encoding, version } = &self.format;
        let headers = [("content-type", content_type), ("content-encoding", content_encoding), ("version", version)];
        let mut out = vec![0; PREFIX_BYTES];
        out.reserve(FIXED_BYTES + content_type.len() + content_encoding.len() + version.len() + 3 + self.body.len());
        out.extend_from_slice(&self.received_at_ms.to_le_bytes());
        let (min_ms, max_ms) = self.range.map_or((0, 0), |range| (range.min_ms, range.max_ms));
        out.extend_from_slice(&min_ms.to_le_bytes());
        out.extend_from_slice(&max_ms.to_le_bytes());
        out.push(if self.range.is_some() { HAS_RANGE } else { 0 });
        for (name, value) in headers {
            let length = u8::try_from(value.len());
            out.push(length.map_err(|_| SpoolError::Header { name, length: value.len(), max: HEADER_BYTES_MAX })?);
            out.extend_from_slice(value.as_bytes());
        }
        out.extend_from_slice(&self.body);
        let length = u32::try_from(out.len() - PREFIX_BYTES)
            .map_err(|_| SpoolError::TooLarge { bytes: out.len() as u64, bytes_max: u64::from(u32::MAX) })?;
        out[4..PREFIX_BYTES].copy_from_slice(&length.to_le_bytes());
        let checksum = crc32fast::hash(&out[4..]);
        out[..4].copy_from_slice(&checksum.to_le_bytes());
        Ok(out)
    }

    /// A record without its prefix; `None` where it is damaged.
    pub(super) fn decode(prefix: [u8; PREFIX_BYTES], rest: &[u8]) -> Option<Self> {
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&prefix[4..]);
        checksum.update(rest);
        if checksum.finalize().to_le_bytes() != prefix[..4] {
            return None;
        }
        let mut rest = Cursor(rest);
        let received_at_ms = i64::from_le_bytes(rest.array()?);
        let range = TimeRange { min_ms: i64::from_le_bytes(rest.array()?), max_ms: i64::from_le_bytes(rest.array()?) };
        let [flags] = rest.array()?;
        let format = Format { content_type: rest.text()?, content_encoding: rest.text()?, version: rest.text()? };
        let range = (flags & HAS_RANGE != 0).then_some(range);
        Some(Self { received_at_ms, range, format, body: rest.0.to_vec() })
    }
}

/// Length of a record after its prefix.
pub(super) fn length(prefix: [u8; PREFIX_BYTES]) -> u32 {
    let [_, _, _, _, a, b, c, d] = prefix;
    u32::from_le_bytes([a, b, c, d])
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn text(&mut self) -> Option<String> {
        let [length] = self.array()?;
        let (text, rest) = self.0.split_at_checked(usize::from(length))?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).ok()
    }
}
