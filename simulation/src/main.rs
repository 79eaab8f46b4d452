//! Years of refreshing with a fault at any step, on a simulated machine: the
//! core's machines, schedule, queue, limits and clock, over simulated time, store,
//! network and authorization servers.
//! A seed draws the servers' rotation facts and what goes wrong; between any two
//! happenings the process may end and finds nothing but its disk again.
//!
//! Invariants are checked always and by name. A failing seed prints itself:
//! `REFRESHD_SIMULATION_SEED=N` replays it and prints its history. That the
//! invariants can fail is proved by faults on purpose (`scripts/mutations`).

#![expect(clippy::print_stdout, reason = "figures, and the history of a seed")]

mod audit;
mod chaos;
mod codes;
mod consumer;
mod engine;
mod fate;
mod flight;
mod restore;
mod rng;
mod server;
mod setup;
mod store;
mod transactions;
mod world;

use audit::Violation;
use std::collections::BTreeMap;
use world::{CI, FULL, MANY, Report, Size, World};

/// Seeds and what broke at them, by invariant.
type Broken = BTreeMap<&'static str, Vec<(u64, Violation)>>;

/// How many worlds there are in CI; others by `REFRESHD_SIMULATION_SEEDS`, from
/// `REFRESHD_SIMULATION_FIRST` on.
const SEEDS: u64 = 10_000;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is a number")),
    )
}

fn size() -> Size {
    match std::env::var("REFRESHD_SIMULATION_SIZE").as_deref() {
        Ok("full") => FULL,
        Ok("many") => MANY,
        _ => CI,
    }
}

/// Lives through worlds from `first` on, by as many threads as asked for.
fn campaign(first: u64, count: u64, size: Size) -> (Report, Broken) {
    let threads = number("REFRESHD_SIMULATION_THREADS").unwrap_or(2).max(1);
    let work = |thread: u64| {
        let mut total = Report::default();
        let mut broken: Broken = BTreeMap::new();
        for seed in
            (first + thread..first + count).step_by(usize::try_from(threads).expect("a few"))
        {
            match World::new(seed, size, false).run().0 {
                Ok(report) => total.add(&report),
                Err(violation) => broken
                    .entry(violation.invariant)
                    .or_default()
                    .push((seed, violation)),
            }
        }
        (total, broken)
    };
    let mut total = Report::default();
    let mut broken: Broken = BTreeMap::new();
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || work(thread)))
            .collect();
        for done in running {
            let (report, violations) = done.join().expect("a world does not panic");
            total.add(&report);
            for (invariant, found) in violations {
                broken.entry(invariant).or_default().extend(found);
            }
        }
    });
    for found in broken.values_mut() {
        found.sort_by_key(|(seed, _)| *seed);
    }
    (total, broken)
}

fn tell(broken: &Broken) -> String {
    let told = broken.values().map(|found| {
        let (seed, violation) = &found[0];
        let seeds: Vec<_> = found.iter().map(|(seed, _)| seed.to_string()).collect();
        format!(
            "{} seeds, the first is {seed} (REFRESHD_SIMULATION_SEED={seed} prints its history): {violation}\nseeds: {}",
            found.len(),
            seeds.join(" ")
        )
    });
    told.collect::<Vec<_>>().join("\n")
}

#[test]
fn invariants_hold_through_every_fault() {
    let size = size();
    if let Some(seed) = number("REFRESHD_SIMULATION_SEED") {
        let (result, history) = World::new(seed, size, true).run();
        println!("{}", history.join("\n"));
        return println!(
            "seed {seed}: {}",
            result.map_or_else(|v| v.to_string(), |r| format!("{r:?}"))
        );
    }
    let seeds = number("REFRESHD_SIMULATION_SEEDS").unwrap_or(SEEDS);
    let first = number("REFRESHD_SIMULATION_FIRST").unwrap_or(0);
    let (total, broken) = campaign(first, seeds, size);
    println!("{:?}\n{:?}", total.counts, total.fates);
    println!("figure simulation_seeds {seeds}");
    println!("figure simulation_generations {}", total.generations);
    println!("figure simulation_sends {}", total.sends);
    println!("figure simulation_lost_as_allowed {}", total.lost);
    assert!(broken.is_empty(), "{}", tell(&broken));
    for fate in fate::ALL.into_iter().filter(|_| seeds > 1) {
        assert!(total.fates.contains_key(&fate), "{fate:?} never happened");
    }
}

/// What a world dwells on where a fault is looked for that less than one world in 10,000
/// finds: it takes several kinds of trouble in a row.
#[cfg(feature = "mutation")]
fn dwelling(mutation: refreshd_core::mutation::Mutation) -> &'static [chaos::Trouble] {
    use chaos::Trouble;
    use refreshd_core::grant::schedule::Urgency;
    use refreshd_core::mutation::Mutation;
    match mutation {
        Mutation::WindowNotLookedAtAgain => &[
            Trouble::Hangs,
            Trouble::Mood(server::Mood::Slow),
            Trouble::Mood(server::Mood::Unreachable),
            Trouble::Suspend,
        ],
        Mutation::ChanceElsewhere => &[
            Trouble::Mood(server::Mood::Slow),
            Trouble::Mood(server::Mood::Refusing),
            Trouble::NewHome,
            Trouble::Wish(Urgency::Force),
        ],
        Mutation::RenamedForgotten => &[
            Trouble::Backup,
            Trouble::Restore,
            Trouble::AcceptClock,
            Trouble::NewForm,
            Trouble::Reload,
        ],
        _ => &[],
    }
}

/// Each fault on purpose is found by some seed, and by an invariant.
#[cfg(feature = "mutation")]
#[test]
fn each_mutation_is_found() {
    use refreshd_core::mutation::{ALL, set};
    let seeds = number("REFRESHD_SIMULATION_SEEDS").unwrap_or(SEEDS);
    let first = number("REFRESHD_SIMULATION_FIRST").unwrap_or(0);
    let only = std::env::var("REFRESHD_SIMULATION_MUTATION").ok();
    let wanted = |mutation: &refreshd_core::mutation::Mutation| {
        only.as_ref()
            .is_none_or(|only| only.split(' ').any(|name| name == format!("{mutation:?}")))
    };
    let mut missed = Vec::new();
    println!("| fault | invariant | first seed |\n|---|---|---|");
    for mutation in ALL.into_iter().filter(wanted) {
        let broken = |seed| {
            let mut world = World::new(seed, CI, false);
            if !dwelling(mutation).is_empty() {
                world.temper.dwell_on(dwelling(mutation));
            }
            world.run().0.err()
        };
        let found = (first..first + seeds).find_map(|seed| {
            set(Some(mutation));
            let found = broken(seed);
            set(None);
            // A world that is red by itself has found nothing.
            let found = found.filter(|_| broken(seed).is_none())?;
            Some((seed, found.invariant))
        });
        match found {
            Some((seed, invariant)) => println!("| {mutation:?} | {invariant} | {seed} |"),
            None => missed.push(mutation),
        }
    }
    println!(
        "figure mutations_found {} of {}",
        ALL.len() - missed.len(),
        ALL.len()
    );
    assert!(
        missed.is_empty(),
        "not found within {seeds} seeds: {missed:?}"
    );
}

/// The same seed gives the same history, or a printed seed would be of no use.
#[test]
fn a_seed_is_one_history() {
    for seed in 0..10 {
        let run = || World::new(seed, CI, true).run();
        assert_eq!(format!("{:?}", run()), format!("{:?}", run()));
    }
}
