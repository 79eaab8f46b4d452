//! SIGKILL at random moments during constant rotation, with one answer in
//! twenty cut off after the server has rotated: the grant lives, or the loss is
//! one that nobody could have prevented, and the daemon has said so.
//!
//! `REFRESHD_TEST_KILLS` makes a longer campaign of it, `REFRESHD_TEST_SEED` repeats one.

use super::{AUTHLIB, DOT, EndsWhenDropped, Scene};
use crate::incidents::of_grant;
use crate::kill::Chance;
use crate::resource::{Asker, published};
use crate::support::wait_for;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Kills of one server and its grants; then others begin, since some are lost.
/// Were many lost at once, the daemon would rightly ask one at a time.
const ROUND: u64 = 5;
const GRANTS: usize = 30;

/// What a campaign saw.
#[derive(Default)]
struct Tally {
    kills: u64,
    lost: u64,
    doubts: usize,
    generations: u64,
}

#[test]
fn kills_and_cut_answers_at_both() {
    let kills = std::env::var("REFRESHD_TEST_KILLS").map_or(40, |n| n.parse().unwrap());
    let cut = ["--cut", "5", "--access-lifetime", "12"];
    // A grace window gives the answer once more; without one, reuse revokes all.
    let (dot, authlib) = thread::scope(|scope| {
        let dot = scope.spawn(|| {
            let options = [&cut[..], &["--reuse-protection", "--grace", "60"]].concat();
            let provider = DOT.replace("\"0s\"", "\"60s\"");
            campaign("dot_server.py", &options, &provider, kills / 2)
        });
        let authlib = scope.spawn(|| {
            let options = [&cut[..], &["--reuse-revokes"]].concat();
            campaign("authlib_server.py", &options, AUTHLIB, kills / 2)
        });
        (dot.join().unwrap(), authlib.join().unwrap())
    });
    assert_eq!(dot.lost, 0, "the grace window forgives every lost answer");
    assert!(dot.doubts + authlib.doubts > 0, "nothing was ever in doubt");
    println!("figure real_server_kills {}", dot.kills + authlib.kills);
    println!(
        "figure real_server_generations {}",
        dot.generations + authlib.generations
    );
    println!("figure real_server_lost_as_allowed {}", authlib.lost);
    println!("figure real_server_lost_otherwise 0");
}

fn campaign(script: &str, options: &[&str], provider: &str, kills: u64) -> Tally {
    let mut tally = Tally::default();
    let mut chance = Chance::seeded();
    while tally.kills < kills {
        let count = ROUND.min(kills - tally.kills);
        round(script, options, provider, count, &mut chance, &mut tally);
    }
    tally
}

fn round(
    script: &str,
    options: &[&str],
    provider: &str,
    kills: u64,
    chance: &mut Chance,
    tally: &mut Tally,
) {
    let (grants, seed) = (GRANTS.to_string(), chance.below(1_000_000).to_string());
    let more = ["--grants", &grants, "--seed", &seed];
    let mut scene = Scene::set(script, &[options, &more].concat(), provider);
    let names: Vec<String> = scene
        .server
        .seeds()
        .map(|(name, _)| name.to_owned())
        .collect();
    for _ in 0..kills {
        let alive = chance.millis(200, 1200);
        let wished = &names[chance.below(names.len())];
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let _ends = EndsWhenDropped(&done);
            let (house, done) = (&scene.house, &done);
            let daemon = &mut scene.daemon;
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    house.run(&["refresh", wished, "--force"]);
                    thread::sleep(Duration::from_millis(200));
                }
            });
            thread::sleep(alive);
            daemon.kill_now();
        });
        tally.kills += 1;
        scene.daemon = scene.house.daemon();
    }
    let asker = Asker::new();
    for name in &names {
        settle(&scene, &asker, name, tally);
    }
    let log = scene.daemon.log();
    tally.doubts += log.matches("incident=\"in-doubt\"").count();
}

/// Waits until a grant works, or is refused as it may be.
fn settle(scene: &Scene, asker: &Asker, name: &str, tally: &mut Tally) {
    let mut status = serde_json::Value::Null;
    wait_for("the grant to work or to be lost", || {
        status = scene.house.status(name);
        match status["state"].as_str() {
            Some("refused") => true,
            Some("fresh") => {
                let (_, token) = published(&scene.file(name)).unwrap();
                asker.status(scene.resource_url(), &token) == 200
            }
            // Where so many were lost that a brake is on, an operator's word passes that.
            _ => {
                scene.house.run(&["refresh", name, "--force"]);
                false
            }
        }
    });
    tally.generations += status["generation"].as_u64().unwrap();
    if status["state"] == "refused" {
        tally.lost += 1;
        // The loss has a name, and so had the doubt before it.
        let incidents = of_grant(&scene.house, name);
        let id = |kind: &str| {
            let found = incidents.iter().find(|i| i["kind"] == kind);
            found.and_then(|i| i["id"].as_u64())
        };
        let (doubted, refused) = (id("in-doubt"), id("refused"));
        assert!(
            doubted.is_some() && doubted < refused,
            "{name} was lost without a doubt: {incidents:#?}"
        );
        let needs = status["why"].as_str().unwrap();
        assert!(needs.contains("authorize again"), "{status}");
    }
}
