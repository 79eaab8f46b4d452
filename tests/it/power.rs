//! Loss of power: every write, sync and change of names that the daemon makes in
//! its directories is recorded; then the directories are made as a loss of power
//! would leave them, after each call and with any part of what was not synced, and
//! opened by the code that opens them after a real one.
//!
//! `REFRESHD_TEST_POWER` is how many ways of losing are drawn after each call,
//! `REFRESHD_TEST_SEED` draws others.

mod binary;
mod change;
mod disk;
mod facts;
mod fate;
mod forget;
mod judge;
mod lay_out;
mod replay;
mod trace;
mod walk;
mod work;

use facts::Facts;
use replay::Replay;

#[test]
fn nothing_promised_is_lost_with_the_power() {
    let draws = std::env::var("REFRESHD_TEST_POWER").map_or(1, |n| n.parse().unwrap());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let recording = work::record(runtime.handle());
    let mut facts = Facts::of(&recording);
    let figures = facts.figures();
    let many = |name| figures.get(name).is_some_and(|number| *number > 20);
    assert!(many("presentations") && many("settlements") && many("published"));
    let mut replay = Replay::new(&recording, &mut facts, draws);
    let wrong = replay.run();
    replay.tell();
    for (name, number) in figures {
        println!("figure power_{name} {number}");
    }
    println!("figure power_states_wrong {}", wrong.len());
    assert!(
        wrong.is_empty(),
        "{} states are wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );

    // It can find something: without any one of these syncs, something is lost.
    for (kind, syncs) in replay.forget(if draws > 1 { 1 } else { 8 }) {
        let (all, forgotten, missed) = (syncs.all, syncs.forgotten, syncs.missed);
        println!("figure power_syncs_{kind} {all}");
        println!("figure power_syncs_{kind}_forgotten {forgotten}");
        println!("figure power_syncs_{kind}_needed {}", syncs.needed);
        println!("figure power_syncs_{kind}_missed {missed}");
        match kind {
            "intent" | "settlement" => {
                assert!(syncs.needed > 0 && missed >= syncs.needed, "{kind}");
            }
            "log" => assert!(missed > 0, "no import was missed"),
            "database" => assert!(all > 2, "no checkpoint was made"),
            _ => {}
        }
    }
}
