//! Authorizations on a simulated machine: people authorize, codes come and are presented
//! by the core's machine, network and server do their worst, and the process ends between
//! any two happenings. The server says whether a code came to it twice.

mod driver;
mod store;
mod world;

use std::collections::BTreeMap;
use world::World;

/// How many worlds there are in CI; others by `REFRESHD_SIMULATION_CODES`.
const SEEDS: u64 = 20_000;

/// A fault on purpose, made on the way between the machine and its world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// A code that may have been used waits to be presented again.
    DoubtWaits,
    /// An exchange that a crash has left is forgotten at the start.
    IntentForgotten,
    /// What was kept as it came is not looked at at the start.
    KeptForgotten,
    /// What came after the limit is thrown away.
    LateDropped,
    /// An intent that could not be committed counts as recorded.
    FailedBeginIgnored,
    /// An intent stays when its exchange is over.
    IntentLeft,
    /// In a store that was put back, codes are presented that may have been presented since.
    FenceIgnored,
    /// What its grant does not take is not kept.
    HeldDropped,
    /// A commit that has failed counts as made.
    FailedCommitIgnored,
}

const MUTATIONS: [Mutation; 9] = [
    Mutation::DoubtWaits,
    Mutation::IntentForgotten,
    Mutation::KeptForgotten,
    Mutation::LateDropped,
    Mutation::FailedBeginIgnored,
    Mutation::IntentLeft,
    Mutation::FenceIgnored,
    Mutation::HeldDropped,
    Mutation::FailedCommitIgnored,
];

#[test]
fn no_code_is_presented_twice_and_no_answer_is_lost() {
    if let Some(seed) = crate::number("REFRESHD_SIMULATION_CODE") {
        let (result, history) = World::new(seed, None, true).run();
        println!("{}\nseed {seed}: {result:?}", history.join("\n"));
        return;
    }
    let seeds = crate::number("REFRESHD_SIMULATION_CODES").unwrap_or(SEEDS);
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let mut broken = Vec::new();
    for seed in 0..seeds {
        match World::new(seed, None, false).run().0 {
            Ok(report) => {
                for (what, count) in report {
                    *counts.entry(what).or_default() += count;
                }
            }
            Err(violation) => broken.push((seed, violation)),
        }
    }
    println!("{counts:?}");
    println!("figure simulation_code_worlds {seeds}");
    println!(
        "figure simulation_codes_sent {}",
        counts.get("sent").copied().unwrap_or(0)
    );
    let first = broken.first();
    assert!(
        broken.is_empty(),
        "{} worlds, the first is (REFRESHD_SIMULATION_CODE prints its history) {first:?}: {:?}",
        broken.len(),
        broken.iter().map(|(seed, _)| seed).collect::<Vec<_>>()
    );
    for what in world::HAPPENS {
        assert!(counts.contains_key(*what), "{what} never happened");
    }
}

/// Each fault on purpose is found by some world that is green without it.
#[test]
fn each_mutation_of_a_code_s_exchange_is_found() {
    for mutation in MUTATIONS {
        let found = (0..SEEDS).find_map(|seed| {
            let found = World::new(seed, Some(mutation), false).run().0.err()?;
            let sound = World::new(seed, None, false).run().0.is_ok();
            sound.then_some((seed, found))
        });
        let (seed, violation) =
            found.unwrap_or_else(|| panic!("{mutation:?} is not found in {SEEDS} worlds"));
        println!("| {mutation:?} | {} | {seed} |", violation.invariant);
    }
}
