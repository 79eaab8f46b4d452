//! Very many reads of token files and of a database, by other processes, while
//! the daemon rotates without a pause and is killed over and over: none torn,
//! none empty, none older than the last seen.
//!
//! `REFRESHD_TEST_READS` makes a longer campaign of it.

use super::BOTH;
use super::place::{GRANTS, Place, SHOPS};
use super::readers::{Reader, Tokens, distinct};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Besides the database, a file for each shop.
const FILES: &str = r#"
[[clients.pretend.outputs]]
path = "ROOT/tokens/{grant}.json"
format = "json"
"#;

#[test]
fn none_of_very_many_reads_is_torn_empty_or_older() {
    let wanted = std::env::var("REFRESHD_TEST_READS").map_or(40_000, |n| n.parse().unwrap());
    let place = Place::new(SHOPS);
    place
        .setting
        .house
        .configure(&format!("{GRANTS}{FILES}{SHOPS}"));
    if !place.open_to_group() {
        return;
    }
    let directory = place.setting.house.path("tokens");
    fs::set_permissions(&directory, Permissions::from_mode(0o2750)).unwrap();
    let mut daemon = place.daemon();
    place.wait_for_rows(&BOTH);
    let tokens = Tokens::default();
    let path = place.database();
    let readers = [
        Reader::restless("files", &directory, &tokens),
        Reader::restless("files", &directory, &tokens),
        Reader::restless("kept", &path, &tokens),
        Reader::restless("fresh", &path, &tokens),
    ];
    let read = || readers.iter().map(Reader::rounds).sum::<usize>();
    let mut kills = 0;
    // A round reads both shops.
    while 2 * read() < wanted {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            for grant in BOTH {
                let (house, done) = (&place.setting.house, &done);
                scope.spawn(move || {
                    while !done.load(Ordering::Relaxed) {
                        house.run(&["refresh", grant, "--force", "--accept-risk"]);
                    }
                });
            }
            thread::sleep(Duration::from_millis(700 + 37 * (kills % 20)));
            daemon.kill_now();
            done.store(true, Ordering::Relaxed);
        });
        kills += 1;
        daemon = place.setting.house.daemon();
    }
    let generations = BOTH.map(|grant| place.generation(grant));
    let rounds: usize = readers.into_iter().map(Reader::end).sum();
    println!("figure reads {}", 2 * rounds);
    println!("figure reads_kills {kills}");
    println!(
        "figure reads_generations {}",
        generations.iter().sum::<u64>()
    );
    println!("figure reads_torn_empty_or_older 0");
    assert!(generations.iter().all(|g| *g > 5), "{generations:?}");
    place.all_work(&distinct(&tokens)[..1]);
    assert_eq!(daemon.stop(), Some(0));
}
