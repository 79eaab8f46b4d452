//! Looking makes nothing, and keeps nobody from starting.

use super::anywhere;
use crate::setting::Setting;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Everything below a directory.
fn all_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(all_below(&path));
        }
        found.push(path);
    }
    found.sort();
    found
}

const LOOKS: [&[&str]; 7] = [
    &["status"],
    &["status", "one"],
    &["get", "one"],
    &["verify", "one"],
    &["doctor"],
    &["key", "status"],
    &["backup", "/nonexistent/backup.db"],
];

#[tokio::test(flavor = "multi_thread")]
async fn looking_at_nothing_makes_nothing() {
    for setting in [anywhere().await, Setting::one().await] {
        let before = all_below(setting.house.root());
        for args in LOOKS {
            let needles = [
                "refreshd is not running",
                "control.sock",
                "there is no state",
            ];
            setting.run(args).fails(69, &needles);
            assert_eq!(all_below(setting.house.root()), before, "{args:?}");
        }
        // A home that is not there is not made.
        let mut command = setting.house.command(&["status"]);
        command.env("HOME", "/nonexistent");
        assert_ne!(setting.run_command(command).code, 0);
        assert!(!Path::new("/nonexistent").exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_starts_beside_those_who_look() {
    let setting = Setting::one().await;
    let (daemon, _) = setting.daemon_with_one();
    assert_eq!(daemon.stop(), Some(0));
    let house = &setting.house;
    let enough = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !enough.load(Ordering::Relaxed) {
                    let code = house.run(&["status"]).status.code();
                    // One may end while it is asked, or begin.
                    assert!(matches!(code, Some(0 | 69 | 75)), "{code:?}");
                }
            });
        }
        for turn in 0..6 {
            let mut daemon = house.daemon();
            match turn % 2 {
                0 => assert_eq!(daemon.stop(), Some(0)),
                _ => daemon.kill_now(),
            }
        }
        enough.store(true, Ordering::Relaxed);
    });
}
