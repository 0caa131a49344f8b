//! Faults of the network: which links are cut is pure, probes show what is in force.

use anyhow::{Result, ensure};
use async_trait::async_trait;
use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;

use super::{Aim, Begun, Nemesis};
use crate::deployment::Deployment;
use crate::deployment::links::{End, Links};
use crate::recorder::now_ns;

/// Loss of a healthy link that is not taken for a fault.
const NOISE_PERCENT: u8 = 15;

/// What a topology is made of: links, members that it hits, words.
type Drawn = (Links, Vec<String>, String);

/// Draws a topology for the members, the victim first.
type Draw = fn(&[String], &mut StdRng) -> Drawn;

/// A topology that lasts.
struct Topology {
    draw: Draw,
    /// Drawn anew at each tick.
    changes: bool,
    members: Vec<String>,
}

impl Topology {
    fn make(draw: Draw) -> Box<dyn Nemesis> {
        Box::new(Self { draw, changes: false, members: Vec::new() })
    }
}

pub(super) fn split() -> Box<dyn Nemesis> {
    Topology::make(|members, _| minority(members, members))
}

pub(super) fn split_off_others() -> Box<dyn Nemesis> {
    Topology::make(|members, _| minority(members, &members[1..]))
}

pub(super) fn isolate() -> Box<dyn Nemesis> {
    Topology::make(|members, _| halves(members, &members[..1], "alone"))
}

pub(super) fn cut_off() -> Box<dyn Nemesis> {
    Topology::make(|members, _| {
        let (mut links, targets, _) = halves(members, &members[..1], "");
        links.cut(&End::pod(&members[0]), &End::Hub);
        (links, targets, "from everybody".into())
    })
}

pub(super) fn bridge() -> Box<dyn Nemesis> {
    Topology::make(draw_bridge)
}

pub(super) fn one_way() -> Box<dyn Nemesis> {
    Topology::make(draw_one_way)
}

pub(super) fn ring() -> Box<dyn Nemesis> {
    Topology::make(draw_ring)
}

pub(super) fn flapping() -> Box<dyn Nemesis> {
    Box::new(Topology { draw: draw_flapping, changes: true, members: Vec::new() })
}

pub(super) fn loss() -> Box<dyn Nemesis> {
    Topology::make(draw_loss)
}

#[async_trait(?Send)]
impl Nemesis for Topology {
    async fn install(&mut self, deployment: &mut Deployment, aim: &Aim, rng: &mut StdRng) -> Result<Begun> {
        let Some(victim) = aim.pick(&deployment.replicas(), rng) else { return Ok(Begun::skipped("there is no pod")) };
        let mut members = deployment.member_names();
        members.shuffle(rng);
        members.sort_by_key(|name| *name != victim);
        let (links, targets, detail) = (self.draw)(&members, rng);
        self.members = members;
        let at_ns = now_ns();
        deployment.set_links(links.clone())?;
        Ok(in_force(Begun::installed(at_ns, targets, detail), deployment, &links).await)
    }

    async fn tick(&mut self, deployment: &mut Deployment, rng: &mut StdRng) -> Result<()> {
        if self.changes {
            let (links, ..) = (self.draw)(&self.members, rng);
            deployment.set_links(links)?;
        }
        Ok(())
    }

    async fn heal(&mut self, deployment: &mut Deployment) -> Result<()> {
        mend(deployment).await
    }
}

/// What was begun, if probes see these links.
pub(super) async fn in_force(begun: Begun, deployment: &Deployment, links: &Links) -> Begun {
    let lost = deployment.probe_links().await;
    if is_in_force(links, &lost) {
        return begun;
    }
    Begun { detail: format!("{}; probes saw otherwise: {lost:?}", begun.detail), ..begun }.seen(false)
}

/// Mends all links.
pub(super) async fn mend(deployment: &mut Deployment) -> Result<()> {
    deployment.set_links(Links::default())?;
    let lost = deployment.probe_links().await;
    ensure!(is_in_force(&Links::default(), &lost), "some links are still cut: {lost:?}");
    Ok(())
}

/// Whether probes saw these links: what is cut loses everything, what loses some loses some in all, and the rest loses no more
/// than a busy machine does.
fn is_in_force(links: &Links, lost: &std::collections::BTreeMap<(End, End), u8>) -> bool {
    let wanted = |link: &(End, End)| {
        links.all().find(|(from, to, _)| (*from, *to) == (&link.0, &link.1)).map_or(0, |(.., percent)| percent)
    };
    let exact = lost.iter().all(|(link, seen)| match wanted(link) {
        100 => *seen == 100,
        0 => *seen <= NOISE_PERCENT,
        _ => *seen < 100,
    });
    let lossy: Vec<u8> =
        lost.iter().filter(|(link, _)| (1..100).contains(&wanted(link))).map(|(_, seen)| *seen).collect();
    exact && (lossy.is_empty() || lossy.iter().any(|seen| *seen > 0))
}

/// Cuts `some` off from the others, both ways. It hits the smaller half; both, if neither is (a pod is away just now).
fn halves(members: &[String], some: &[String], words: &str) -> Drawn {
    let mut links = Links::default();
    for one in some {
        for other in members.iter().filter(|other| !some.contains(other)) {
            links.cut(&End::pod(one), &End::pod(other));
        }
    }
    let hit = if some.len() * 2 < members.len() { some } else { members };
    (links, hit.to_vec(), words.into())
}

/// Cuts off the largest minority, which begins with the first of `from`.
fn minority(members: &[String], from: &[String]) -> Drawn {
    let minority = &from[..((members.len() - 1) / 2).max(1)];
    halves(members, minority, &format!("{} of {}", minority.len(), members.len()))
}

/// The first member sees all; the others are in two halves.
fn draw_bridge(members: &[String], rng: &mut StdRng) -> Drawn {
    // The victim is the bridge, or the first of one half.
    let mut order = members.to_vec();
    if rng.random_bool(0.5) {
        order.rotate_left(1);
    }
    let (bridge, rest) = (order[0].clone(), &order[1..]);
    let half = &rest[..rest.len() / 2];
    let (links, ..) = halves(rest, half, "");
    (links, members.to_vec(), format!("{bridge} sees everybody, {} only their half", rest.join(", ")))
}

fn draw_one_way(members: &[String], rng: &mut StdRng) -> Drawn {
    let mut links = Links::default();
    let (victim, is_deaf) = (End::pod(&members[0]), rng.random_bool(0.5));
    for other in members[1..].iter().map(|name| End::pod(name)) {
        if is_deaf { links.cut_one_way(&other, &victim) } else { links.cut_one_way(&victim, &other) }
    }
    (links, vec![members[0].clone()], if is_deaf { "hears nobody" } else { "is not heard" }.into())
}

fn draw_ring(members: &[String], _: &mut StdRng) -> Drawn {
    let mut links = Links::default();
    let count = members.len();
    for (one, name) in members.iter().enumerate() {
        for (other, far) in members.iter().enumerate() {
            let apart = (one + count - other) % count;
            if apart > 1 && apart < count - 1 {
                links.cut_one_way(&End::pod(name), &End::pod(far));
            }
        }
    }
    (links, members.to_vec(), members.join(" - "))
}

fn draw_flapping(members: &[String], rng: &mut StdRng) -> Drawn {
    let mut links = Links::default();
    for from in members {
        for to in members.iter().filter(|to| *to != from) {
            if rng.random_bool(0.4) {
                links.cut_one_way(&End::pod(from), &End::pod(to));
            }
        }
    }
    (links, members.to_vec(), "each link is cut for two seconds of five".into())
}

fn draw_loss(members: &[String], rng: &mut StdRng) -> Drawn {
    let mut links = Links::default();
    let percent = rng.random_range(10..=40);
    for from in members {
        for to in members.iter().filter(|to| *to != from) {
            links.lose(&End::pod(from), &End::pod(to), percent);
        }
    }
    (links, members.to_vec(), format!("{percent} percent"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::SeedableRng as _;

    use super::*;

    fn members(count: usize) -> Vec<String> {
        ["a", "b", "c", "d", "e"][..count].iter().map(|name| (*name).to_owned()).collect()
    }

    fn cuts(drawn: &Drawn) -> Vec<String> {
        let name = |end: &End| if let End::Pod(name) = end { name.clone() } else { "hub".into() };
        drawn.0.all().map(|(from, to, _)| format!("{}>{}", name(from), name(to))).collect()
    }

    #[test]
    fn splits_leave_a_majority_connected() {
        assert_eq!(cuts(&minority(&members(3), &members(3))), ["a>b", "a>c", "b>a", "c>a"]);
        let five = minority(&members(5), &members(5)[1..]);
        assert_eq!(five.1, ["b", "c"]);
        assert_eq!(cuts(&five).len(), 12);
        assert_eq!(minority(&members(4), &members(4)).1, ["a"]);
    }

    #[test]
    fn of_two_halves_neither_is_the_majority() {
        let (_, hit, words) = minority(&members(2), &members(2));
        assert_eq!((hit, words.as_str()), (members(2), "1 of 2"));
        assert_eq!(minority(&members(3), &members(3)).1, members(1));
    }

    #[test]
    fn a_bridge_connects_two_halves() {
        let mut rng = StdRng::seed_from_u64(1);
        let all: Vec<_> = (0..20).map(|_| cuts(&draw_bridge(&members(3), &mut rng))).collect();
        assert!(all.iter().all(|cuts| cuts == &["b>c", "c>b"] || cuts == &["a>c", "c>a"]), "{all:?}");
        assert!(all.iter().any(|cuts| cuts != &all[0]), "sometimes the victim is the bridge, sometimes not");
    }

    #[test]
    fn a_ring_leaves_two_neighbours() {
        let mut rng = StdRng::seed_from_u64(1);
        assert_eq!(cuts(&draw_ring(&members(4), &mut rng)), ["a>c", "b>d", "c>a", "d>b"]);
        assert_eq!(cuts(&draw_ring(&members(5), &mut rng)).len(), 10);
    }

    #[test]
    fn one_way_cuts_are_one_way() {
        let mut rng = StdRng::seed_from_u64(1);
        for _ in 0..10 {
            let cuts = cuts(&draw_one_way(&members(3), &mut rng));
            assert!(cuts == ["a>b", "a>c"] || cuts == ["b>a", "c>a"], "{cuts:?}");
        }
    }

    #[test]
    fn probes_must_show_exactly_what_was_wanted() {
        let (a, b) = (End::pod("a"), End::pod("b"));
        let seen = |ab, ba| BTreeMap::from([((a.clone(), b.clone()), ab), ((b.clone(), a.clone()), ba)]);
        let mut links = Links::default();
        links.cut_one_way(&a, &b);
        assert!(is_in_force(&links, &seen(100, 5)));
        assert!(!is_in_force(&links, &seen(95, 0)), "it is not cut");
        assert!(!is_in_force(&links, &seen(100, 100)), "the way back is cut too");
        assert!(!is_in_force(&Links::default(), &seen(100, 0)), "it is not healed");
        let mut lossy = Links::default();
        lossy.lose(&a, &b, 20);
        assert!(is_in_force(&lossy, &seen(10, 0)) && !is_in_force(&lossy, &seen(0, 0)));
    }
}
