//! What `make test` runs of the simulation: a fixed set of seeds, the replay of one, and the proof that a broken rule is
//! noticed.

#![allow(clippy::unwrap_used, missing_docs)]

use std::process::Command;

use elector_raft_sim::sim::mutants::Mutant;
use elector_raft_sim::sim::{self, Story};

/// Ten of each story.
const SEEDS: std::ops::Range<u64> = 1..161;

#[test]
fn a_fixed_set_of_seeds_breaks_no_promise() {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    let failed: Vec<String> = std::thread::scope(|scope| {
        let work = |core| SEEDS.filter(move |seed| seed % cores == core).filter_map(failure).collect::<Vec<_>>();
        let threads: Vec<_> = (0..cores).map(|core| scope.spawn(move || work(core))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn failure(seed: u64) -> Option<String> {
    let violation = sim::run(seed, None).violation?;
    Some(format!(
        "seed {seed}, {:?}: {}: {}; again: cargo run --profile sim -p elector-raft-sim -- run {seed} --log info",
        Story::of(seed),
        violation.rule,
        violation.what
    ))
}

#[test]
fn a_seed_replays_bit_for_bit_in_this_process_and_in_another() {
    // A storm, and a story with clocks at both ends.
    for seed in [10, 6] {
        let (one, two) = (sim::run(seed, None), sim::run(seed, None));
        assert_eq!((one.trace, one.polls, one.simulated), (two.trace, two.polls, two.simulated), "seed {seed}");
        let other = Command::new(env!("CARGO_BIN_EXE_simulate")).args(["run", &seed.to_string()]).output().unwrap();
        let text = String::from_utf8(other.stdout).unwrap();
        assert!(text.contains(&format!("trace {:016x}", one.trace)), "seed {seed}: {text}");
    }
}

#[test]
fn another_seed_is_another_run() {
    assert_ne!(sim::run(10, None).trace, sim::run(11, None).trace);
}

#[test]
fn a_failing_run_fails_again_in_the_same_way() {
    let mutant = Mutant::named("quarantine").unwrap();
    let find = || (1..64).map(|seed| sim::run(seed, Some(mutant))).find(|outcome| outcome.violation.is_some()).unwrap();
    let (one, two) = (find(), find());
    assert_eq!((one.seed, one.trace, one.violation), (two.seed, two.trace, two.violation));
}
