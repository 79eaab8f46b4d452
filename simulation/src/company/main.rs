//! Whether a grant dies of another's trouble: many grants of clients, hosts and URL
//! templates under a script of faults, and beside it each grant alone under the same
//! script. The schedule, the settlement, the queue and the limits are the core's; the
//! shell around them is thin, and its store never fails.
//!
//! A fault is about a grant, a client, a host, or all; it lasts for a time, and an
//! exchange meets what holds when it reaches the server. What is random for a grant is a
//! hash of seed, grant, generation, attempt and purpose, so that company changes nothing
//! of it. A grant is *healthy* when the script does not name it.
//!
//! - `independence`: a healthy grant that no shared fault touches is dead for at most
//!   five seconds; one that is touched, for at most what it is alone, five seconds, and
//!   for each such fault its length up to five minutes.
//! - `shared-limit`: where all were told to wait, nothing is sent before that.
//! - `storm`: while a host gives no success, a grant is asked twice a life but for the
//!   chain; where a brake holds, the chain alone asks.
//! - `in-turn`: after a success that ends a host's brake each who waits is asked once before
//!   anybody has a second turn.
//! - `needless-loss`: while a brake is proven, only the chain spends refresh tokens.
//! - `gap`: two automatic sends for a grant keep their distance.
//! - `evidence`: a brake begins where so many failed alike at that very host, and no
//!   exchange there that began after the first of them has succeeded.
//! - `two-attempts`: where no brake may hold it, a grant is asked before its last moment,
//!   and where that failed once more before its token ends.
//! - `dead-wait`: a dead token has nothing to save in time, and waits for its turn.
//! - `host-share`, `read-on`: what hangs counts at its own host until it is in doubt, and
//!   where four times the places are read on a host that hangs gets no more.
//! - `refused-twice`: a refused refresh token is presented once more, and not again.
//! - `told-of-end`: who lacks a living token is looked at, whatever a brake arms.
//!
//! Worlds that *dwell* on few kinds of trouble show what is rare where everything may
//! happen; in them faults on purpose are looked for.
//!
//! `REFRESHD_COMPANY_SEED=N` replays a seed and prints its history, of the world that
//! `REFRESHD_COMPANY_DWELLING` names where it is set; `REFRESHD_COMPANY_MUTATION="A B"`
//! chooses among the faults on purpose.

#![expect(clippy::print_stdout, reason = "figures, and the history of a seed")]

mod course;
mod dwelling;
mod evidence;
mod judge;
mod provider;
mod rules;
mod script;
mod turns;
mod world;

use dwelling::Dwelling;
use judge::{Verdict, judge};
use script::{Script, Size};
use std::collections::{BTreeMap, BTreeSet};

/// How many seeds CI runs of each size; more by `REFRESHD_COMPANY_SEEDS`.
const SEEDS: [(Size, u64); 3] = [(Size::Few, 2_000), (Size::Many, 20), (Size::Crowd, 1)];

/// How many seeds CI runs of each trouble that a world may dwell on.
const DWELLING_SEEDS: u64 = 100;

/// How many of them a fault on purpose is looked for in.
#[cfg(feature = "mutation")]
const MUTATION_SEEDS: u64 = 50;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is a number")),
    )
}

fn size() -> Option<Size> {
    match std::env::var("REFRESHD_COMPANY_SIZE").as_deref() {
        Ok("few") => Some(Size::Few),
        Ok("many") => Some(Size::Many),
        Ok("crowd") => Some(Size::Crowd),
        _ => None,
    }
}

/// Seeds and what broke at them, by invariant.
type Broken = BTreeMap<&'static str, Vec<(u64, String)>>;

/// Judges the scripts of seeds, by two threads; those that are broken, by invariant.
fn campaign(draw: impl Fn(u64) -> Script + Sync, first: u64, count: u64) -> (Verdict, Broken) {
    let work = |thread: u64| {
        let (mut total, mut broken) = (Verdict::default(), BTreeMap::<_, Vec<_>>::new());
        for seed in (first + thread..first + count).step_by(2) {
            let verdict = judge(&draw(seed), false);
            for (invariant, text) in &verdict.broken {
                broken
                    .entry(*invariant)
                    .or_default()
                    .push((seed, text.clone()));
            }
            total.add(verdict);
        }
        (total, broken)
    };
    let (mut total, mut broken) = (Verdict::default(), BTreeMap::<_, Vec<_>>::new());
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..2)
            .map(|thread| scope.spawn(move || work(thread)))
            .collect();
        for done in running {
            let (verdict, found) = done.join().expect("a world does not panic");
            total.add(verdict);
            for (invariant, found) in found {
                broken.entry(invariant).or_default().extend(found);
            }
        }
    });
    (total, broken)
}

fn tell(broken: &Broken) -> String {
    let told = broken.iter().map(|(invariant, found)| {
        let (seed, text) = found.iter().min().expect("one is broken");
        let mut seeds: Vec<u64> = found.iter().map(|(seed, _)| *seed).collect();
        seeds.sort_unstable();
        seeds.dedup();
        format!(
            "{invariant}: {} seeds, the first is {seed}: {text}\nseeds: {seeds:?}",
            seeds.len()
        )
    });
    told.collect::<Vec<_>>().join("\n")
}

#[test]
fn no_grant_dies_of_anothers_trouble() {
    if let Some(seed) = number("REFRESHD_COMPANY_SEED") {
        let script = match dwelling() {
            Some(on) => Script::dwelling(seed, on),
            None => Script::draw(seed, size().unwrap_or(Size::Few)),
        };
        #[cfg(feature = "mutation")]
        if std::env::var_os("REFRESHD_COMPANY_MUTATION").is_some() {
            refreshd_core::mutation::set(mutations().first().copied());
        }
        let verdict = judge(&script, true);
        println!("{}\n{:?}", verdict.history.join("\n"), verdict.broken);
        return;
    }
    let first = number("REFRESHD_COMPANY_FIRST").unwrap_or(0);
    let mut all = BTreeMap::new();
    for (each, seeds) in SEEDS {
        if size().is_some_and(|size| size != each) || dwelling().is_some() {
            continue;
        }
        let seeds = number("REFRESHD_COMPANY_SEEDS").unwrap_or(seeds);
        let (total, broken) = campaign(|seed| Script::draw(seed, each), first, seeds);
        println!("{each:?}: {:?}", total.counts);
        println!("figure company_{each:?}_seeds {seeds}");
        println!(
            "figure company_{each:?}_healthy_dead_seconds {}",
            total.healthy_dead / 1000
        );
        for (invariant, found) in broken {
            all.entry(invariant).or_insert_with(Vec::new).extend(found);
        }
    }
    assert!(all.is_empty(), "{}", tell(&all));
}

/// What a fault on purpose is looked for in breaks nothing by itself.
#[test]
fn no_grant_dies_where_worlds_dwell_on_one_trouble() {
    let seeds = number("REFRESHD_COMPANY_SEEDS").unwrap_or(DWELLING_SEEDS);
    let first = number("REFRESHD_COMPANY_FIRST").unwrap_or(0);
    let mut red = Vec::new();
    for on in Dwelling::ALL {
        if dwelling().is_some_and(|chosen| chosen != on) {
            continue;
        }
        let (total, mut broken) = campaign(|seed| Script::dwelling(seed, on), first, seeds);
        println!("{on:?}: {:?}", total.counts);
        // Each try is a connection where nothing can be sent, so turns are further apart: where
        // they meet grants first for which that stays so, the others may be back late.
        if on == Dwelling::Down {
            let late = broken.remove("independence").unwrap_or_default();
            let late: BTreeSet<u64> = late.iter().map(|(seed, _)| *seed).collect();
            println!("figure company_Down_late {} of {seeds}", late.len());
        }
        if !broken.is_empty() {
            red.push(format!("{on:?}: {}", tell(&broken)));
        }
    }
    println!("figure company_dwelling_seeds {seeds}");
    assert!(red.is_empty(), "{}", red.join("\n"));
}

/// The trouble that `REFRESHD_COMPANY_DWELLING` names.
fn dwelling() -> Option<Dwelling> {
    let name = std::env::var("REFRESHD_COMPANY_DWELLING").ok()?;
    let mut all = Dwelling::ALL.into_iter();
    Some(
        all.find(|on| format!("{on:?}") == name)
            .expect("a dwelling"),
    )
}

/// The faults on purpose that `REFRESHD_COMPANY_MUTATION="A B"` names, or all.
#[cfg(feature = "mutation")]
fn mutations() -> Vec<refreshd_core::mutation::Mutation> {
    let chosen = std::env::var("REFRESHD_COMPANY_MUTATION").ok();
    let names = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    let chosen: Option<Vec<String>> = chosen.as_deref().map(names);
    let all = refreshd_core::mutation::BRAKES.into_iter();
    let wanted = |each: &refreshd_core::mutation::Mutation| {
        let name = format!("{each:?}");
        chosen.as_ref().is_none_or(|names| names.contains(&name))
    };
    all.filter(wanted).collect()
}

/// What a world dwells on in which a fault on purpose is looked for.
#[cfg(feature = "mutation")]
fn troubles_of(mutation: refreshd_core::mutation::Mutation) -> &'static [Dwelling] {
    use refreshd_core::mutation::Mutation;
    match mutation {
        Mutation::ChainAlwaysSame | Mutation::UnavailableIsSlow => &[Dwelling::Sick],
        Mutation::DeadHaveFirstAttempts => &[Dwelling::Sick, Dwelling::Down],
        Mutation::HarmlessHeld | Mutation::OneAttemptOnly => &[Dwelling::Sick],
        Mutation::EvidenceByEnd => &[Dwelling::Late],
        Mutation::GivingBackFreesOwn | Mutation::ReadOnUncapped => &[Dwelling::Hangs],
        Mutation::RefusedRetriedForEver | Mutation::RefusalsPauseClient => &[Dwelling::Refused],
        Mutation::HangingKeepPlaces => &[Dwelling::Starved],
        Mutation::UnitIsTemplate => &[Dwelling::Apart],
        Mutation::SuspicionAtEachRetry | Mutation::OneRejectionPausesClient => {
            &[Dwelling::Rejected]
        }
        Mutation::TurnsForgotten => &[Dwelling::Sick, Dwelling::Down],
        Mutation::EndTimerOverwritten => &[Dwelling::Down, Dwelling::Sick],
        _ => &[],
    }
}

/// Each rule of the brakes that is broken on purpose is found, in most worlds that dwell on
/// what it takes.
#[cfg(feature = "mutation")]
#[test]
fn each_mutation_of_brakes_is_found() {
    use refreshd_core::mutation::set;
    let seeds = number("REFRESHD_COMPANY_SEEDS").unwrap_or(MUTATION_SEEDS);
    let (mutations, mut missed) = (mutations(), Vec::new());
    println!("| fault | invariant | first seed | of {seeds} |\n|---|---|---|---|");
    for mutation in &mutations {
        let mut found = Vec::new();
        for seed in 0..seeds {
            for on in troubles_of(*mutation) {
                let script = Script::dwelling(seed, *on);
                set(Some(*mutation));
                let broken = judge(&script, false).broken;
                set(None);
                // A world that is red by itself has found nothing.
                let Some((invariant, _)) = broken.first() else {
                    continue;
                };
                if judge(&script, false).broken.is_empty() {
                    found.push((seed, *invariant, *on));
                }
            }
        }
        match found.first() {
            Some((seed, invariant, on)) => {
                let times = found.len();
                println!("| {mutation:?} | {invariant} | {on:?} {seed} | {times} |");
            }
            None => missed.push(mutation),
        }
    }
    let (of, count) = (mutations.len(), mutations.len() - missed.len());
    println!("figure brakes_mutations_found {count} of {of}");
    assert!(
        missed.is_empty(),
        "not found within {seeds} seeds: {missed:?}"
    );
}
