//! What the receiver has stored, and the rules by which real receivers store. Pure.

use std::collections::{BTreeMap, HashSet};

use super::decode::{Point, Series};

/// Which samples a receiver takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// All, in any order.
    #[default]
    Any,
    /// As Prometheus without `out_of_order_time_window`: none that is older than the newest of its series, nor another value
    /// for the same time. The same sample again is taken without a word.
    Rising,
}

/// What became of the samples of one request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sorted {
    /// Those that were, or can be, stored.
    pub taken: Vec<Point>,
    /// Those that the order forbids.
    pub refused: Vec<Point>,
}

/// Samples by series, each in the order of their arrival.
#[derive(Clone, Debug, Default)]
pub struct Store {
    samples: BTreeMap<Series, Vec<(i64, f64)>>,
    newest: BTreeMap<Series, (i64, f64)>,
    seen: HashSet<(Series, i64, u64)>,
}

impl Store {
    /// Tells what an order takes of these samples, and stores nothing.
    pub fn sort(&self, order: Order, points: Vec<Point>) -> Sorted {
        let mut newest: BTreeMap<Series, (i64, f64)> = BTreeMap::new();
        let mut sorted = Sorted::default();
        for point in points {
            let last = newest.get(&point.series).or_else(|| self.newest.get(&point.series)).copied();
            let fits = last.is_none_or(|(at, value)| {
                point.timestamp_ms > at || point.timestamp_ms == at && point.value.to_bits() == value.to_bits()
            });
            if order == Order::Any || fits {
                newest.insert(point.series.clone(), (point.timestamp_ms, point.value));
                sorted.taken.push(point);
            } else {
                sorted.refused.push(point);
            }
        }
        sorted
    }

    /// Stores samples; the same one twice is one.
    pub fn add(&mut self, points: &[Point]) {
        for Point { series, timestamp_ms, value } in points {
            let newest = self.newest.entry(series.clone()).or_insert((*timestamp_ms, *value));
            if *timestamp_ms > newest.0 {
                *newest = (*timestamp_ms, *value);
            }
            if self.seen.insert((series.clone(), *timestamp_ms, value.to_bits())) {
                self.samples.entry(series.clone()).or_default().push((*timestamp_ms, *value));
            }
        }
    }

    /// All samples by series, in order of time.
    pub fn by_time(&self) -> BTreeMap<Series, Vec<(i64, f64)>> {
        let mut all = self.samples.clone();
        for samples in all.values_mut() {
            samples.sort_by_key(|(at, _)| *at);
        }
        all
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether nothing was stored.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(name: &str, timestamp_ms: i64, value: f64) -> Point {
        Point { series: name.into(), timestamp_ms, value }
    }

    #[test]
    fn a_rising_order_takes_what_is_newer_in_its_series_and_the_same_again() {
        let mut store = Store::default();
        store.add(&[point("a", 10, 1.0), point("b", 20, 1.0)]);
        let offered = [
            point("a", 9, 1.0),
            point("a", 10, 1.0),
            point("a", 10, 2.0),
            point("a", 11, 2.0),
            point("b", 15, 1.0),
            point("c", 1, 1.0),
            point("c", 0, 1.0),
        ];
        let sorted = store.sort(Order::Rising, offered.to_vec());
        assert_eq!(sorted.taken, [offered[1].clone(), offered[3].clone(), offered[5].clone()]);
        assert_eq!(sorted.refused.len(), 4);
        assert_eq!(store.sort(Order::Any, offered.to_vec()).taken, offered);
        assert_eq!(store.len(), 2, "sorting stores nothing");
    }

    #[test]
    fn what_comes_twice_is_there_once_and_in_order() {
        let mut store = Store::default();
        store.add(&[point("a", 10, 1.0), point("a", 5, 2.0), point("a", 10, 1.0)]);
        assert_eq!(store.by_time()[&Series::from("a")], [(5, 2.0), (10, 1.0)]);
    }
}
