//! Years of refreshing with faults at every step: one grant a seed against a
//! modelled provider, over simulated time. The world performs a flight's
//! actions as the daemon does; between any two of them time passes, and now and
//! then the process ends there and finds nothing but its disk again.
//!
//! Invariants are asserted by name, and the seed with them. That they can fail
//! is proved at the end: worlds that do wrong on purpose are found out.

#![expect(clippy::print_stdout, reason = "figures")]

mod disk;
mod fate;
mod provider;
mod rng;
mod world;

use fate::{ALL, Fate};
use std::collections::BTreeMap;
use world::{Mischief, Report, Violation, World};

/// How many seeds a mutation may take to be found out.
const SEEDS: u64 = 3000;

/// How many worlds there are; more of them by `REFRESHD_SIMULATION_SEEDS`.
#[expect(
    clippy::disallowed_methods,
    reason = "the core is pure; its tests are told how long to run"
)]
fn seeds() -> u64 {
    let asked = std::env::var("REFRESHD_SIMULATION_SEEDS").ok();
    asked.map_or(SEEDS, |seeds| {
        seeds
            .parse()
            .expect("REFRESHD_SIMULATION_SEEDS is a number")
    })
}

#[test]
fn invariants_hold_through_every_fault() {
    let mut total = Report::default();
    let mut violations: BTreeMap<&str, Vec<(u64, Violation)>> = BTreeMap::new();
    let seeds = seeds();
    for seed in 0..seeds {
        match World::new(seed, Mischief::None).run() {
            Ok(report) => total.add(&report),
            Err(violation) => {
                let found = violations.entry(violation.invariant).or_default();
                found.push((seed, violation));
            }
        }
    }
    let told: Vec<String> = violations
        .values()
        .map(|found| {
            let (seed, violation) = &found[0];
            let (count, history) = (found.len(), World::history(*seed));
            format!("{count} seeds, first seed {seed}: {violation}\n{history}")
        })
        .collect();
    assert!(told.is_empty(), "{}", told.join("\n\n"));
    let mean = total.generations / seeds;
    assert!(mean >= 15, "the worlds got somewhere: {mean} generations");
    // Some are beyond help: a rotation whose answer nobody ever had.
    let refused = total.refused;
    assert!(
        (seeds / 50..seeds * 2 / 3).contains(&refused),
        "{refused} of {seeds} refused"
    );
    assert!(total.gambles > 0, "last chances were taken");
    assert!(total.overlaps > 0, "flights overlapped");
    assert!(total.stale > 0, "commits were stale");
    assert!(total.anew > 0, "clients asked anew");
    assert!(total.replays > 0, "in doubt, it was presented again");
    for fate in ALL {
        let count = total.fates.get(&fate).copied().unwrap_or(0);
        assert!(count > 20, "{fate:?} happened {count} times only");
    }
    println!("figure simulation_seeds {seeds}");
    println!("figure simulation_generations {}", total.generations);
    println!("figure simulation_lost_as_allowed {refused}");
}

/// Each way of doing wrong is found out by one of the invariants meant for it.
#[test]
fn invariants_can_fail() {
    let cases: &[(Mischief, &[&str])] = &[
        (Mischief::ForgetDoubt, &["no-gamble", "gap"]),
        (Mischief::IgnorePlan, &["gap", "no-gamble", "retry-after"]),
        (Mischief::ForgetIntent, &["intent-before-byte"]),
        (Mischief::ForgetAnswer, &["no-loss"]),
        (Mischief::ReadBeforeRecord, &["answer-before-read"]),
        (Mischief::IgnoreRetryAfter, &["retry-after"]),
        (
            Mischief::CommitStale,
            &["generations-rise", "newest-kept", "no-loss"],
        ),
        (Mischief::CountFromReplay, &["expiry-honest"]),
        (Mischief::PresentAllTheSame, &["no-replay-where-anew"]),
    ];
    for (mischief, invariants) in cases {
        let mut fired: BTreeMap<&str, u64> = BTreeMap::new();
        for seed in 0..SEEDS {
            if let Err(violation) = World::new(seed, *mischief).run() {
                *fired.entry(violation.invariant).or_default() += 1;
                if invariants.contains(&violation.invariant) {
                    break;
                }
            }
        }
        assert!(
            fired.keys().any(|fired| invariants.contains(fired)),
            "{mischief:?} should break one of {invariants:?}, and broke {fired:?}"
        );
    }
}

/// The same seed gives the same history, or a printed seed would be of no use.
#[test]
fn a_seed_is_one_history() {
    for seed in 0..20 {
        let run = || World::new(seed, Mischief::None).run();
        assert_eq!(format!("{:?}", run()), format!("{:?}", run()));
    }
}

impl Report {
    fn add(&mut self, other: &Report) {
        self.generations += other.generations;
        self.refused += other.refused;
        self.gambles += other.gambles;
        self.overlaps += other.overlaps;
        self.stale += other.stale;
        self.anew += other.anew;
        self.replays += other.replays;
        for (fate, count) in &other.fates {
            *self.fates.entry(*fate).or_default() += count;
        }
    }

    fn saw(&mut self, fate: Fate) {
        *self.fates.entry(fate).or_default() += 1;
    }
}
