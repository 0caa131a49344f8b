//! What the receiver has noted, as entries of the record.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Instant;

use test_support::receiver::decode::Series;
use test_support::receiver::record::{End, Request};
use test_support::receiver::store::Store;

use crate::history::{Entry, Ns, What};

/// Entries for all requests, and for each stored series. `names` tells pods by address, `ns_of` translates times; what has not
/// ended has ended `now`.
pub(super) fn entries(
    requests: &[Request],
    store: &Store,
    names: &BTreeMap<IpAddr, String>,
    now: Instant,
    ns_of: impl Fn(Instant) -> Ns,
) -> Vec<Entry> {
    let mut entries: Vec<Entry> = requests.iter().map(|request| write(request, names, now, &ns_of)).collect();
    let mut arrived: HashMap<&Series, u64> = HashMap::new();
    // The receiver stores all that it answers so.
    for request in requests.iter().filter(|request| request.status().is_some_and(|status| status < 300)) {
        for point in &request.points {
            *arrived.entry(&point.series).or_default() += 1;
        }
    }
    for (series, samples) in store.by_time() {
        let mut times_ms: Vec<i64> = samples.iter().map(|(at_ms, _)| *at_ms).collect();
        times_ms.dedup();
        let distinct = u64::try_from(times_ms.len()).unwrap_or(u64::MAX);
        let repeated = arrived.get(&series).copied().unwrap_or(0).saturating_sub(distinct);
        let what = What::Series { series: series.to_string(), times_ms, repeated };
        entries.push(Entry { at_ns: ns_of(now), what });
    }
    entries
}

fn write(request: &Request, names: &BTreeMap<IpAddr, String>, now: Instant, ns_of: &impl Fn(Instant) -> Ns) -> Entry {
    let (ended, status) = match request.end {
        Some((at, End::Answered(status))) => (at, Some(status)),
        Some((at, End::Broken)) => (at, None),
        None => (now, None),
    };
    let unknown = || request.from.map_or_else(|| "unknown".to_owned(), |from| from.to_string());
    let sender = request.from.and_then(|from| names.get(&from).cloned()).unwrap_or_else(unknown);
    let times = || request.points.iter().map(|point| point.timestamp_ms);
    let what = What::Write {
        end_ns: ns_of(ended),
        sender,
        term: request.term,
        status,
        samples: u64::try_from(request.points.len()).unwrap_or(u64::MAX),
        first_ms: times().min(),
        last_ms: times().max(),
    };
    Entry { at_ns: ns_of(request.at), what }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use test_support::receiver::decode::Point;

    use super::*;

    #[test]
    fn requests_and_series_become_entries() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let point = |timestamp_ms| Point { series: "s".into(), timestamp_ms, value: 1.0 };
        let request = |began: u64, end: Option<(u64, End)>, points: &[i64]| Request {
            from: Some(IpAddr::from([10, 0, 0, 2])),
            points: points.iter().copied().map(point).collect(),
            end: end.map(|(ms, end)| (at(ms), end)),
            ..Request::begun(at(began), Some(4), None)
        };
        let requests = [
            request(1, Some((2, End::Answered(204))), &[30, 10]),
            request(3, Some((5, End::Broken)), &[]),
            request(4, Some((6, End::Answered(503))), &[40]),
            request(7, Some((8, End::Answered(204))), &[30, 20]),
            request(9, None, &[]),
        ];
        let mut store = Store::default();
        store.add(&requests[0].points);
        store.add(&requests[3].points);
        // The same moment with another value is no other time.
        store.add(&[Point { value: 2.0, ..point(20) }]);
        let names = BTreeMap::from([(IpAddr::from([10, 0, 0, 2]), "prom-0".to_owned())]);
        let ns = |instant: Instant| u64::try_from(instant.duration_since(start).as_millis()).unwrap_or(0);
        let found = entries(&requests, &store, &names, at(20), ns);
        let write = |at_ns, end_ns, status, samples, first_ms, last_ms| {
            let (sender, term) = ("prom-0".to_owned(), Some(4));
            Entry { at_ns, what: What::Write { end_ns, sender, term, status, samples, first_ms, last_ms } }
        };
        let series = What::Series { series: "s".into(), times_ms: vec![10, 20, 30], repeated: 1 };
        let expected = [
            write(1, 2, Some(204), 2, Some(10), Some(30)),
            write(3, 5, None, 0, None, None),
            write(4, 6, Some(503), 1, Some(40), Some(40)),
            write(7, 8, Some(204), 2, Some(20), Some(30)),
            write(9, 20, None, 0, None, None),
            Entry { at_ns: 20, what: series },
        ];
        assert_eq!(found, expected);
    }
}
