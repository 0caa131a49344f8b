//! Pure: the records of one DNS response -> what they mean for the question.

use hickory_resolver::proto::rr::rdata::CNAME;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

/// Aliases that are followed in one response.
const ALIASES_MAX: usize = 8;

/// What a response means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Records of the type asked for.
    Records(Vec<Record>),
    /// The name is an alias, and the response does not hold what it stands for: ask for this name.
    Alias(Name),
    /// The name exists, without records of this type.
    NoData,
    /// There is no such name.
    NoName,
}

/// Reads the answer section, following aliases (CNAME) inside it. Records of other names and types are ignored.
pub(super) fn read(name: &Name, record_type: RecordType, records: &[Record]) -> Answer {
    let mut name = name.clone();
    let mut aliased = false;
    for _ in 0..=ALIASES_MAX {
        let of_name = || records.iter().filter(|record| record.name == name);
        let found: Vec<Record> = of_name().filter(|record| record.record_type() == record_type).cloned().collect();
        if !found.is_empty() {
            return Answer::Records(found);
        }
        let target = of_name().find_map(|record| match &record.data {
            RData::CNAME(CNAME(target)) => Some(target.clone()),
            _ => None,
        });
        let Some(target) = target else {
            return if aliased { Answer::Alias(name) } else { Answer::NoData };
        };
        name = target;
        aliased = true;
    }
    Answer::NoData
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::net::Ipv4Addr;

    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn a(owner: &str, last: u8) -> Record {
        Record::from_rdata(name(owner), 5, RData::A(Ipv4Addr::new(10, 0, 0, last).into()))
    }

    fn cname(owner: &str, target: &str) -> Record {
        Record::from_rdata(name(owner), 5, RData::CNAME(CNAME(name(target))))
    }

    #[test]
    fn records_of_the_name_and_type_count_and_others_do_not() {
        let records = [a("P.svc.", 1), a("other.svc.", 2), a("p.svc.", 3)];
        let expected = vec![records[0].clone(), records[2].clone()];
        assert_eq!(read(&name("p.svc."), RecordType::A, &records), Answer::Records(expected));
        assert_eq!(read(&name("p.svc."), RecordType::AAAA, &records), Answer::NoData);
    }

    #[test]
    fn aliases_are_followed_in_any_order_and_named_when_they_lead_out() {
        let records = [a("c.", 1), cname("b.", "c."), cname("a.", "b.")];
        assert_eq!(read(&name("a."), RecordType::A, &records), Answer::Records(vec![records[0].clone()]));
        assert_eq!(read(&name("a."), RecordType::A, &records[1..]), Answer::Alias(name("c.")));
    }

    #[test]
    fn a_loop_of_aliases_ends() {
        let records = [cname("a.", "b."), cname("b.", "a.")];
        assert_eq!(read(&name("a."), RecordType::A, &records), Answer::NoData);
    }
}
