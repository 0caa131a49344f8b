//! What a standby has received from its Prometheus: a log on disk, in order of arrival, per remote.
//!
//! ```text
//! append -> [ segment | segment | segment ] -> front, pop_front   (taking over: the oldest first)
//!                                           -> drop_until         (the writer has finished it)
//! ```
//!
//! Inputs: batches with their arrival and time range; bounds. Outputs: batches, oldest first; what was dropped.
//!
//! Invariants:
//! - order of arrival, always; a batch is dropped only with all before it
//! - memory does not grow with what is stored: one batch, a few numbers per segment, and one for 64 batches
//! - bounded on disk: what would pass the bound is refused ([`SpoolError::Full`]) and the sender keeps it
//! - after a failed append the spool holds what it held before
//!
//! Retention: a batch goes when the highest timestamp RECEIVED UP TO IT (the running maximum) is at or before the bound.
//! So a batch that holds only old timestamps stays as long as what was received before it. A batch without timestamps
//! counts with its arrival.
//!
//! Failure: nothing is synced, since it must survive the process and not the machine. At [`Spool::open`] every record is
//! checked; what is damaged is cut off at the end of its segment and told in [`Recovered`]. Damage found later, while
//! reading, costs the rest of that segment and is counted in [`Spool::damaged_bytes`]. One process uses a directory
//! (the lock of `raft-data-dir` sees to that). Blocking calls: async callers run them on a blocking thread.

mod error;
mod floors;
mod record;
mod segment;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use self::error::SpoolError;
use self::floors::Floors;
pub use self::record::{Batch, Format};
use self::segment::{HEADER_BYTES, Segment};

/// Largest segment. What has been sent or dropped of the oldest one stays on disk, so it is a small part of the bound.
const SEGMENT_BYTES_MAX: u64 = 8 << 20;
/// Receivers refuse what is older than their head block, about two hours.
pub const AGE_MAX: Duration = Duration::from_secs(2 * 60 * 60);
/// A small spool has smaller segments: at least this many.
const SEGMENTS_MIN: u64 = 16;

/// What was found at [`Spool::open`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Batches that are kept.
    pub batches: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Bytes that could not be read and are gone: a warning if not 0.
    pub damaged_bytes: u64,
}

/// Batches that were dropped or taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Their number.
    pub batches: u64,
}

/// A log of batches on disk.
#[derive(Debug)]
pub struct Spool {
    dir: PathBuf,
    bytes_max: u64,
    /// Oldest first; the newest takes appends while `open` holds its file.
    segments: VecDeque<Segment>,
    open: Option<File>,
    next_id: u64,
    /// Running maximum over everything that was ever received.
    running_max: i64,
    head: Head,
    floors: Floors,
    damaged_bytes: u64,
}

/// Where the oldest batch stands, in the oldest segment.
#[derive(Debug)]
struct Head {
    file: Option<File>,
    offset: u64,
    /// Batches before it in its segment.
    passed: u64,
    /// Running maximum in front of it.
    running_max: i64,
    /// The batch itself and its length on disk, once read.
    front: Option<(Batch, u64)>,
}

impl Head {
    fn at_start(running_max: i64) -> Self {
        Self { file: None, offset: HEADER_BYTES, passed: 0, running_max, front: None }
    }
}

impl Spool {
    /// Opens or makes the spool of a directory, which may hold at most `bytes_max` bytes of it.
    pub fn open(dir: &Path, bytes_max: u64) -> Result<(Self, Recovered), SpoolError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(SpoolError::io("create the directory", dir))?;
        let mut segments = VecDeque::new();
        let (mut next_id, mut running_max, mut damaged_bytes) = (0, i64::MIN, 0);
        let mut floors = Floors::default();
        for id in segment::list(dir)? {
            next_id = id.saturating_add(1);
            let scanned = segment::scan(dir, id, running_max, &mut floors)?;
            damaged_bytes += scanned.damaged_bytes;
            let path = segment::path(dir, id);
            let Some(found) = scanned.segment else {
                std::fs::remove_file(&path).map_err(SpoolError::io("remove", &path))?;
                continue;
            };
            if scanned.damaged_bytes > 0 {
                let cut = File::options().write(true).open(&path).and_then(|file| file.set_len(found.bytes));
                cut.map_err(SpoolError::io("cut the damaged end off", &path))?;
            }
            running_max = found.running_max;
            segments.push_back(found);
        }
        let head = Head::at_start(segments.front().map_or(running_max, |segment: &Segment| segment.start_max));
        let dir = dir.to_owned();
        let spool = Self { dir, bytes_max, segments, open: None, next_id, running_max, head, floors, damaged_bytes };
        let recovered = Recovered { batches: spool.len(), bytes: spool.bytes(), damaged_bytes };
        Ok((spool, recovered))
    }

    /// Appends a batch. On any error the spool holds what it held before.
    pub fn append(&mut self, batch: &Batch) -> Result<(), SpoolError> {
        let record = batch.encode()?;
        let length = record.len() as u64;
        if length + HEADER_BYTES > self.bytes_max {
            return Err(SpoolError::TooLarge { bytes: length, bytes_max: self.bytes_max });
        }
        let segment_max = SEGMENT_BYTES_MAX.min(self.bytes_max / SEGMENTS_MIN);
        let fits = |segment: &Segment| segment.batches == 0 || segment.bytes + length <= segment_max;
        let is_new = self.open.is_none() || !self.segments.back().is_some_and(fits);
        let needed = length + if is_new { HEADER_BYTES } else { 0 };
        if self.bytes() + needed > self.bytes_max {
            return Err(SpoolError::Full { bytes: self.bytes(), bytes_max: self.bytes_max });
        }
        if is_new {
            self.start_segment()?;
        }
        let (Some(segment), Some(file)) = (self.segments.back_mut(), &self.open) else { return Ok(()) };
        if let Err(error) = file.write_all_at(&record, segment.bytes) {
            return Err(self.undo_append(error));
        }
        segment.add(batch, length);
        self.floors.push(batch);
        self.running_max = segment.running_max;
        Ok(())
    }

    /// The oldest batch.
    pub fn front(&mut self) -> Result<Option<&Batch>, SpoolError> {
        self.load_front()?;
        Ok(self.head.front.as_ref().map(|(batch, _)| batch))
    }

    /// The oldest batch, and those behind it in its segment for as long as `wanted` (the oldest, the next).
    pub fn fronts(&mut self, mut wanted: impl FnMut(&Batch, &Batch) -> bool) -> Result<Vec<Batch>, SpoolError> {
        self.load_front()?;
        let (Some((front, length)), Some(segment)) = (&self.head.front, self.segments.front()) else {
            return Ok(Vec::new());
        };
        let mut batches = vec![front.clone()];
        let mut offset = self.head.offset + length;
        while let (true, Some(file)) = (offset < segment.bytes, &self.head.file) {
            let read = segment::read(file, offset, segment.bytes);
            // What is damaged is found once it is the oldest.
            let Ok(Some((batch, length))) = read else { break };
            if !wanted(&batches[0], &batch) {
                break;
            }
            offset += length;
            batches.push(batch);
        }
        Ok(batches)
    }

    /// Removes the oldest batch.
    pub fn pop_front(&mut self) -> Result<Dropped, SpoolError> {
        self.load_front()?;
        let Some((batch, length)) = self.head.front.take() else { return Ok(Dropped::default()) };
        self.head.running_max = self.head.running_max.max(batch.time());
        self.head.offset += length;
        self.head.passed += 1;
        self.floors.pop(1);
        if self.segments.front().is_some_and(|segment| self.head.offset >= segment.bytes) {
            self.remove_oldest()?;
        }
        Ok(Dropped { batches: 1 })
    }

    /// Drops what the writer has finished: batches up to which nothing later than `bound_ms` (Unix milliseconds: the
    /// watermark minus the margin) had been received.
    pub fn drop_until(&mut self, bound_ms: i64) -> Result<Dropped, SpoolError> {
        let mut dropped = Dropped::default();
        loop {
            let Some(segment) = self.segments.front() else { return Ok(dropped) };
            if segment.running_max <= bound_ms {
                dropped.batches += segment.batches - self.head.passed;
                self.remove_oldest()?;
                continue;
            }
            let Some(time) = self.front()?.map(Batch::time) else { return Ok(dropped) };
            if self.head.running_max.max(time) > bound_ms {
                return Ok(dropped);
            }
            dropped.batches += self.pop_front()?.batches;
        }
    }

    /// Drops batches that arrived before `limit_ms` (Unix milliseconds): receivers refuse what is too old.
    pub fn drop_received_before(&mut self, limit_ms: i64) -> Result<Dropped, SpoolError> {
        let mut dropped = Dropped::default();
        loop {
            let Some(segment) = self.segments.front() else { return Ok(dropped) };
            if segment.received_max < limit_ms {
                dropped.batches += segment.batches - self.head.passed;
                self.remove_oldest()?;
                continue;
            }
            match self.front()? {
                Some(batch) if batch.received_at_ms < limit_ms => dropped.batches += self.pop_front()?.batches,
                _ => return Ok(dropped),
            }
        }
    }

    /// Number of batches.
    pub fn len(&self) -> u64 {
        self.segments.iter().map(|segment| segment.batches).sum::<u64>() - self.head.passed
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Nothing in it is older, in Unix milliseconds: a lower bound of all timestamps. `None` without any.
    pub fn lowest_ms(&self) -> Option<i64> {
        self.floors.lowest_ms()
    }

    /// Bytes on disk, with what has been taken of the oldest segment.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Arrival of the oldest batch; of the oldest one in its segment as long as that batch has not been read.
    pub fn oldest_ms(&self) -> Option<i64> {
        let front = self.head.front.as_ref().map(|(batch, _)| batch.received_at_ms);
        front.or_else(|| self.segments.front().map(|segment| segment.received_first))
    }

    /// Bytes that could not be read since [`Spool::open`], inclusive.
    pub fn damaged_bytes(&self) -> u64 {
        self.damaged_bytes
    }

    fn start_segment(&mut self) -> Result<(), SpoolError> {
        self.open = None;
        let segment = Segment::new(self.next_id, self.running_max);
        // A number is used once: a file that could not be removed stands in nobody's way.
        self.next_id += 1;
        self.open = Some(segment::create(&self.dir, &segment)?);
        if self.segments.is_empty() {
            self.head = Head::at_start(segment.start_max);
        }
        self.segments.push_back(segment);
        Ok(())
    }

    /// Takes back what a failed write has left of a record.
    fn undo_append(&mut self, error: io::Error) -> SpoolError {
        let Some(&segment) = self.segments.back() else { return SpoolError::io("write", &self.dir)(error) };
        let path = segment::path(&self.dir, segment.id);
        if segment.batches == 0 {
            self.open = None;
            self.segments.pop_back();
            // Should this fail, recovery finds a segment without a record and removes it.
            let _ = std::fs::remove_file(&path);
        } else if self.open.as_ref().is_some_and(|file| file.set_len(segment.bytes).is_err()) {
            // What is left is behind the end of the segment for this process, and damage for the next one.
            self.open = None;
        }
        SpoolError::io("write", &path)(error)
    }

    /// Reads the oldest batch, if it has not been read yet; what is damaged is skipped.
    fn load_front(&mut self) -> Result<(), SpoolError> {
        while self.head.front.is_none() {
            let Some(&segment) = self.segments.front() else { return Ok(()) };
            let path = segment::path(&self.dir, segment.id);
            let file = match self.head.file.take() {
                Some(file) => file,
                None => File::open(&path).map_err(SpoolError::io("open", &path))?,
            };
            let read = segment::read(&file, self.head.offset, segment.bytes);
            self.head.file = Some(file);
            match read {
                Ok(Some(front)) => self.head.front = Some(front),
                Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
                    return Err(SpoolError::io("read", &path)(error));
                }
                Ok(None) | Err(_) => {
                    self.damaged_bytes += segment.bytes - self.head.offset;
                    self.remove_oldest()?;
                }
            }
        }
        Ok(())
    }

    fn remove_oldest(&mut self) -> Result<(), SpoolError> {
        let Some(&segment) = self.segments.front() else { return Ok(()) };
        let path = segment::path(&self.dir, segment.id);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(SpoolError::io("remove", &path)(error));
            }
            Ok(()) | Err(_) => {}
        }
        self.floors.pop(segment.batches - self.head.passed);
        self.segments.pop_front();
        if self.segments.is_empty() {
            self.open = None;
        }
        self.head = Head::at_start(segment.running_max);
        Ok(())
    }
}
