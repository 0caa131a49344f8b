//! Formation: who may form the group, when, and with whom. Pure; happens once (DESIGN.md, group rule 9).
//!
//! The candidate is the lowest data replica by (ordinal, name) of all names known. It needs a majority of
//! `max(raft-bootstrap-expect, most names ever seen)`, every one of it reached, blank and past its quarantine: a voter that
//! has just lost its disk may have granted a lease. One reachable member that is not blank vetoes. Everybody else waits to
//! be added.
//!
//! Two candidates with different views cannot both succeed: their majorities share a member, and the group may act
//! only after EVERY founding member has joined it durably (`Command::Formed`), which that member can do in one group only.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::contacts::{Contact, Contacts};
use crate::rules::{Rule, holds};

/// A group with a leader has added a member by now, also on a slow machine.
const LONG_WAIT: Duration = Duration::from_secs(30);

/// What a blank member knows.
pub(crate) struct Situation<'a> {
    pub(crate) own_name: &'a str,
    pub(crate) witness: bool,
    /// False: this member was removed from a group.
    pub(crate) founds: bool,
    pub(crate) own_uptime: Duration,
    /// Names that discovery lists now, and of the members that answered at its unnamed addresses.
    pub(crate) names: &'a BTreeSet<String>,
    pub(crate) contacts: &'a Contacts,
    /// Which listed addresses do not answer, and why.
    pub(crate) failures: &'a str,
    pub(crate) bootstrap_expect: usize,
    pub(crate) peers_seen_max: usize,
    pub(crate) quarantine: Duration,
    /// Older words do not count as reached.
    pub(crate) freshness: Duration,
    pub(crate) now: Instant,
}

/// What a blank member does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Wait; the sentence says for what.
    Wait(String),
    /// Form the group with these others and itself.
    Form {
        /// Names of the other founding members.
        others: Vec<String>,
    },
}

/// Decides.
pub(crate) fn next(s: &Situation<'_>) -> Step {
    let fresh: Vec<&Contact> = s
        .contacts
        .iter()
        .filter(|contact| contact.age(s.now) < s.freshness && contact.hello.member.name != s.own_name)
        .collect();
    if let Some(joined) = fresh.iter().find(|contact| !contact.hello.standing.is_blank())
        && holds(Rule::FormationVeto)
    {
        let name = &joined.hello.member.name;
        let way_out = if s.own_uptime < LONG_WAIT {
            String::new()
        } else {
            format!(
                "; if most members of that group are lost for good, run `prometheus-elector recover --yes` on {name}"
            )
        };
        return Step::Wait(format!(
            "waiting to be added: {name} is already in a group, whose leader adds this member{way_out}"
        ));
    }
    if s.witness {
        return Step::Wait("waiting to be added: a witness never forms a group".into());
    }
    if !s.founds {
        return Step::Wait(
            "waiting to be added: this member was removed from a group, so it founds none; if that group is gone for good, run `prometheus-elector recover --yes` here".into(),
        );
    }
    let founds = |contact: &&Contact| contact.hello.founds && contact.hello.standing.is_blank();
    let founders: Vec<&Contact> = fresh.iter().copied().filter(founds).collect();
    let mut names = s.names.clone();
    names.extend(fresh.iter().map(|contact| contact.hello.member.name.clone()));
    names.insert(s.own_name.to_owned());
    if let Some(lower) = names.iter().filter(|name| may_be_candidate(name, s)).min_by_key(|name| rank(name))
        && lower != s.own_name
    {
        return Step::Wait(format!("waiting to be added: {lower} is lower in order, so it forms the group"));
    }
    let expect = s.bootstrap_expect.max(s.peers_seen_max);
    let needed = if holds(Rule::FormationMajority) { expect / 2 + 1 } else { 1 };
    let reached = founders.len() + 1;
    if reached < needed {
        let silent = if s.failures.is_empty() { String::new() } else { format!("; no answer from {}", s.failures) };
        return Step::Wait(format!(
            "waiting for members: {reached} of at least {needed} reached (a majority of {expect}: raft-bootstrap-expect is {}, most names seen at once {}){silent}; raft-bootstrap-expect should be the number of members that you run",
            s.bootstrap_expect, s.peers_seen_max
        ));
    }
    let youngest = founders.iter().map(|contact| contact.uptime(s.now)).chain([s.own_uptime]).min().unwrap_or_default();
    if youngest < s.quarantine {
        return Step::Wait(format!("forming the group: every founding member must be up for {:?} first", s.quarantine));
    }
    Step::Form { others: founders.iter().map(|contact| contact.hello.member.name.clone()).collect() }
}

/// A member that has not answered may be one.
fn may_be_candidate(name: &str, s: &Situation<'_>) -> bool {
    s.contacts.by_name(name).is_none_or(|contact| !contact.hello.member.witness && contact.hello.founds)
}

/// Order of candidates: the number at the end of the name, then the name.
fn rank(name: &str) -> (u64, &str) {
    let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let ordinal = name[name.len() - digits..].parse().unwrap_or(u64::MAX);
    (ordinal, name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unchecked_time_subtraction)]
    use super::*;
    use crate::store::{ClusterId, Standing};
    use crate::testing::{contacts, hello};

    struct Setup {
        own: &'static str,
        witness: bool,
        founds: bool,
        names: &'static [&'static str],
        expect: usize,
        seen: usize,
        own_uptime: Duration,
    }

    const SETUP: Setup = Setup {
        own: "prom-0",
        witness: false,
        founds: true,
        names: &["prom-0", "prom-1", "prom-2"],
        expect: 3,
        seen: 3,
        own_uptime: Duration::from_secs(60),
    };

    fn step(setup: &Setup, contacts: &Contacts, now: Instant) -> Step {
        next(&Situation {
            own_name: setup.own,
            witness: setup.witness,
            founds: setup.founds,
            own_uptime: setup.own_uptime,
            names: &setup.names.iter().map(ToString::to_string).collect(),
            contacts,
            failures: "prom-9:9096: connection refused",
            bootstrap_expect: setup.expect,
            peers_seen_max: setup.seen,
            quarantine: Duration::from_millis(1230),
            freshness: Duration::from_secs(2),
            now,
        })
    }

    fn waits_for(step: &Step, words: &str) {
        assert!(matches!(step, Step::Wait(why) if why.contains(words)), "{step:?} should mention {words:?}");
    }

    #[test]
    fn the_lowest_forms_with_everybody_it_reached() {
        let now = Instant::now();
        let all = contacts([hello(1, Standing::Blank), hello(2, Standing::Blank)], now);
        let others = vec!["prom-1".into(), "prom-2".into()];
        assert_eq!(step(&SETUP, &all, now), Step::Form { others });
        let one = contacts([hello(2, Standing::Blank)], now);
        assert_eq!(step(&SETUP, &one, now), Step::Form { others: vec!["prom-2".into()] });
    }

    #[test]
    fn a_higher_one_waits_even_if_the_lowest_is_unreachable() {
        let now = Instant::now();
        let others = contacts([hello(2, Standing::Blank)], now);
        waits_for(&step(&Setup { own: "prom-1", ..SETUP }, &others, now), "prom-0");
    }

    #[test]
    fn order_is_by_number_not_by_text() {
        assert!(rank("prom-9") < rank("prom-10"));
        assert!(rank("prom-0") < rank("prom-witness-0"));
        assert!(rank("prom-1") < rank("nodigits"));
    }

    #[test]
    fn a_majority_counts_the_most_names_ever_seen() {
        let now = Instant::now();
        let one = contacts([hello(1, Standing::Blank)], now);
        waits_for(&step(&Setup { seen: 5, ..SETUP }, &one, now), "2 of at least 3");
        assert!(matches!(step(&SETUP, &one, now), Step::Form { .. }));
    }

    #[test]
    fn one_member_alone_forms_only_if_it_is_told_to() {
        let now = Instant::now();
        let alone = Setup { names: &["prom-0"], seen: 1, ..SETUP };
        waits_for(&step(&alone, &Contacts::default(), now), "raft-bootstrap-expect");
        waits_for(&step(&alone, &Contacts::default(), now), "prom-9:9096: connection refused");
        let told = Setup { expect: 1, ..alone };
        assert_eq!(step(&told, &Contacts::default(), now), Step::Form { others: vec![] });
    }

    #[test]
    fn a_member_in_a_group_vetoes() {
        let now = Instant::now();
        let joined = contacts([hello(1, Standing::Blank), hello(2, Standing::Joined(ClusterId(7)))], now);
        waits_for(&step(&SETUP, &joined, now), "prom-2 is already in a group");
        waits_for(&step(&SETUP, &joined, now), "recover --yes` on prom-2");
        let started_now = Setup { own_uptime: Duration::from_secs(2), ..SETUP };
        let Step::Wait(why) = step(&started_now, &joined, now) else { panic!("it must not form") };
        assert!(!why.contains("recover"), "no alarm on an ordinary join: {why}");
    }

    #[test]
    fn a_promised_member_is_still_blank() {
        let now = Instant::now();
        let promised = contacts([hello(1, Standing::Promised(ClusterId(7)))], now);
        assert!(matches!(step(&SETUP, &promised, now), Step::Form { .. }));
    }

    #[test]
    fn everyone_must_have_outlived_the_leases_it_may_have_forgotten() {
        let now = Instant::now();
        let mut young = hello(1, Standing::Blank);
        young.uptime_ms = 1229;
        waits_for(&step(&SETUP, &contacts([young, hello(2, Standing::Blank)], now), now), "1.23s");
        let own = Setup { own_uptime: Duration::from_millis(1229), ..SETUP };
        waits_for(&step(&own, &contacts([hello(1, Standing::Blank)], now), now), "1.23s");
    }

    #[test]
    fn an_old_word_is_no_reach() {
        let now = Instant::now() + Duration::from_secs(10);
        let old = contacts([hello(1, Standing::Blank)], now - Duration::from_secs(2));
        waits_for(&step(&SETUP, &old, now), "1 of at least 2");
    }

    #[test]
    fn whoever_was_removed_from_a_group_founds_none_and_counts_for_nobody() {
        let now = Instant::now();
        waits_for(
            &step(
                &Setup { own: "prom-0", founds: false, ..SETUP },
                &contacts([hello(1, Standing::Blank), hello(2, Standing::Blank)], now),
                now,
            ),
            "was removed",
        );
        let mut removed = hello(0, Standing::Blank);
        removed.founds = false;
        let own = Setup { own: "prom-1", ..SETUP };
        waits_for(&step(&own, &contacts([removed.clone()], now), now), "1 of at least 2");
        let all = contacts([removed, hello(2, Standing::Blank)], now);
        assert_eq!(step(&own, &all, now), Step::Form { others: vec!["prom-2".into()] });
    }

    #[test]
    fn a_witness_neither_forms_nor_stands_in_the_way() {
        let now = Instant::now();
        waits_for(&step(&Setup { own: "w-0", witness: true, ..SETUP }, &Contacts::default(), now), "witness");
        let mut witness = hello(0, Standing::Blank);
        witness.member.name = "a-0".into();
        witness.member.witness = true;
        let all = contacts([witness, hello(1, Standing::Blank)], now);
        assert!(matches!(step(&SETUP, &all, now), Step::Form { .. }));
    }
}
