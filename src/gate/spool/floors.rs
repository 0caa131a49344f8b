//! The lowest timestamp in the spool, whose order is that of arrival. One number for every few batches is kept in memory.

use std::collections::VecDeque;

use super::record::Batch;

/// Batches that share a number: 16 bytes of memory for some tens of kilobytes on disk.
const BATCHES: u64 = 64;

/// Lowest timestamps, oldest batches first.
#[derive(Clone, Debug, Default)]
pub(super) struct Floors(VecDeque<Floor>);

#[derive(Clone, Copy, Debug)]
struct Floor {
    /// Batches that are still there; the number is that of all there ever were.
    left: u64,
    added: u64,
    lowest_ms: i64,
}

impl Floors {
    /// A batch is behind the others.
    pub(super) fn push(&mut self, batch: &Batch) {
        // Without timestamps it takes no part in the watermark.
        let lowest_ms = batch.range.map_or(i64::MAX, |range| range.min_ms);
        match self.0.back_mut() {
            Some(floor) if floor.added < BATCHES => {
                floor.left += 1;
                floor.added += 1;
                floor.lowest_ms = floor.lowest_ms.min(lowest_ms);
            }
            _ => self.0.push_back(Floor { left: 1, added: 1, lowest_ms }),
        }
    }

    /// The oldest batches are gone.
    pub(super) fn pop(&mut self, mut batches: u64) {
        while let Some(floor) = self.0.front_mut().filter(|_| batches > 0) {
            let gone = floor.left.min(batches);
            batches -= gone;
            floor.left -= gone;
            if floor.left > 0 {
                return;
            }
            self.0.pop_front();
        }
    }

    /// Nothing in the spool is older, in Unix milliseconds; `None` where nothing has a timestamp.
    pub(super) fn lowest_ms(&self) -> Option<i64> {
        self.0.iter().map(|floor| floor.lowest_ms).min().filter(|&lowest_ms| lowest_ms < i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::Format;
    use super::*;
    use crate::gate::TimeRange;

    #[test]
    fn the_lowest_timestamp_of_what_is_left_counts_wherever_it_stands() {
        let batch = |min_ms: Option<i64>| Batch {
            received_at_ms: 1,
            range: min_ms.map(|min_ms| TimeRange { min_ms, max_ms: i64::MAX }),
            format: Format::default(),
            body: Vec::new(),
        };
        let mut floors = Floors::default();
        floors.push(&batch(None));
        assert_eq!(floors.lowest_ms(), None);
        (0..199).for_each(|at| floors.push(&batch(Some(1_000 + at))));
        floors.push(&batch(Some(500)));
        assert_eq!(floors.lowest_ms(), Some(500), "a shard that was stuck comes last");
        let mut floors = Floors::default();
        (0..200).for_each(|at| floors.push(&batch(Some(1_000 + at))));
        for (popped, lowest_ms) in
            [(63, Some(1_000)), (1, Some(1_064)), (64, Some(1_128)), (71, Some(1_192)), (1, None)]
        {
            floors.pop(popped);
            assert_eq!(floors.lowest_ms(), lowest_ms, "{popped}");
        }
        floors.pop(9);
        floors.push(&batch(Some(7)));
        assert_eq!(floors.lowest_ms(), Some(7));
    }
}
