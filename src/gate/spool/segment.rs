//! One file of the spool: a header, then records.
//!
//! ```text
//! "PESPOOL1" | running maximum in front of the first record | crc32 of both | record | record | …
//!  8 bytes   |                   i64 LE                      |    u32 LE
//! ```
//!
//! The running maximum stands in the header because the records that made it may be gone.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::SpoolError;
use super::floors::Floors;
use super::record::{self, Batch, PREFIX_BYTES};

const MAGIC: [u8; 8] = *b"PESPOOL1";
/// Bytes in front of the first record.
pub(super) const HEADER_BYTES: u64 = 20;

/// What is kept in memory of a segment; the same however much it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Its place in the order.
    pub(super) id: u64,
    /// Bytes that are records and header.
    pub(super) bytes: u64,
    /// Records in it.
    pub(super) batches: u64,
    /// Running maximum in front of its first record.
    pub(super) start_max: i64,
    /// Running maximum behind its last record.
    pub(super) running_max: i64,
    /// Latest arrival in it.
    pub(super) received_max: i64,
    /// Arrival of its first record.
    pub(super) received_first: i64,
}

impl Segment {
    /// An empty one.
    pub(super) fn new(id: u64, start_max: i64) -> Self {
        Self {
            id,
            bytes: HEADER_BYTES,
            batches: 0,
            start_max,
            running_max: start_max,
            received_max: i64::MIN,
            received_first: 0,
        }
    }

    /// Counts a record that has been written or read behind the others.
    pub(super) fn add(&mut self, batch: &Batch, bytes: u64) {
        if self.batches == 0 {
            self.received_first = batch.received_at_ms;
        }
        self.bytes += bytes;
        self.batches += 1;
        self.running_max = self.running_max.max(batch.time());
        self.received_max = self.received_max.max(batch.received_at_ms);
    }
}

/// Path of a segment.
pub(super) fn path(dir: &Path, id: u64) -> PathBuf {
    dir.join(format!("{id:020}.seg"))
}

/// Ids of the segments in a directory, oldest first. Other files are left alone.
pub(super) fn list(dir: &Path) -> Result<Vec<u64>, SpoolError> {
    let failed = || SpoolError::io("list", dir);
    let mut ids = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed())? {
        let name = entry.map_err(failed())?.file_name();
        let id = name.to_str().and_then(|name| name.strip_suffix(".seg"));
        ids.extend(id.filter(|id| id.len() == 20).and_then(|id| id.parse::<u64>().ok()));
    }
    ids.sort_unstable();
    Ok(ids)
}

/// Makes the file of an empty segment; on failure there is none.
pub(super) fn create(dir: &Path, segment: &Segment) -> Result<File, SpoolError> {
    let path = path(dir, segment.id);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    let file = file.map_err(SpoolError::io("create", &path))?;
    let mut header = Vec::with_capacity(20);
    header.extend_from_slice(&MAGIC);
    header.extend_from_slice(&segment.start_max.to_le_bytes());
    header.extend_from_slice(&crc32fast::hash(&header).to_le_bytes());
    if let Err(error) = file.write_all_at(&header, 0) {
        // Should this fail as well, recovery finds a file without a header and removes it.
        let _ = std::fs::remove_file(&path);
        return Err(SpoolError::io("write", &path)(error));
    }
    Ok(file)
}

/// Reads the record at an offset; `None` where it is damaged or goes beyond `end`.
pub(super) fn read(file: &File, offset: u64, end: u64) -> io::Result<Option<(Batch, u64)>> {
    let mut prefix = [0; PREFIX_BYTES];
    let body_at = offset + PREFIX_BYTES as u64;
    if body_at > end {
        return Ok(None);
    }
    file.read_exact_at(&mut prefix, offset)?;
    let length = u64::from(record::length(prefix));
    if length > end - body_at {
        return Ok(None);
    }
    let mut rest = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut rest, body_at)?;
    Ok(Batch::decode(prefix, &rest).map(|batch| (batch, PREFIX_BYTES as u64 + length)))
}

/// A segment as it is found on disk.
pub(super) struct Scanned {
    /// What can be read; `None` where the header is damaged or no record can be read.
    pub(super) segment: Option<Segment>,
    /// Bytes behind that, which cannot be read.
    pub(super) damaged_bytes: u64,
}

/// Reads a segment to its end or to the first damage. `running_max`: that of the segments before it.
pub(super) fn scan(dir: &Path, id: u64, running_max: i64, floors: &mut Floors) -> Result<Scanned, SpoolError> {
    let path = path(dir, id);
    let failed = || SpoolError::io("read", &path);
    let file = File::open(&path).map_err(failed())?;
    let length = file.metadata().map_err(failed())?.len();
    let mut reader = BufReader::with_capacity(1 << 16, file.take(length));
    let Some(start) = read_header(&mut reader).map_err(failed())? else {
        return Ok(Scanned { segment: None, damaged_bytes: length });
    };
    let mut segment = Segment::new(id, start.max(running_max));
    while let Some(record) = read_next(&mut reader, length - segment.bytes).map_err(failed())? {
        segment.add(&record.0, record.1);
        floors.push(&record.0);
    }
    let damaged_bytes = length - segment.bytes;
    Ok(Scanned { segment: Some(segment).filter(|segment| segment.batches > 0), damaged_bytes })
}

fn read_header(reader: &mut impl Read) -> io::Result<Option<i64>> {
    let mut header = [0; 20];
    if !fill(reader, &mut header)? || header[..8] != MAGIC {
        return Ok(None);
    }
    let (covered, checksum) = header.split_at(16);
    let running_max = covered[8..].try_into().map(i64::from_le_bytes).ok();
    Ok(running_max.filter(|_| crc32fast::hash(covered).to_le_bytes() == checksum))
}

fn read_next(reader: &mut impl Read, left: u64) -> io::Result<Option<(Batch, u64)>> {
    let mut prefix = [0; PREFIX_BYTES];
    if left < PREFIX_BYTES as u64 || !fill(reader, &mut prefix)? {
        return Ok(None);
    }
    let length = u64::from(record::length(prefix));
    if length > left - PREFIX_BYTES as u64 {
        return Ok(None);
    }
    let mut rest = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    if !fill(reader, &mut rest)? {
        return Ok(None);
    }
    Ok(Batch::decode(prefix, &rest).map(|batch| (batch, PREFIX_BYTES as u64 + length)))
}

/// Fills a buffer; `false` where the file ends before.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
