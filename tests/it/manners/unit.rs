//! `systemd/refreshd.service` as systemd sees it.

use crate::support::text;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

const UNIT: &str = include_str!("../../../systemd/refreshd.service");

/// The unit in a directory of its own, with the binary where it is.
fn installed() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("refreshd.service");
    let unit = UNIT.replace("/usr/bin/refreshd", env!("CARGO_BIN_EXE_refreshd"));
    fs::write(&path, unit).unwrap();
    (dir, path)
}

fn analyze(args: &[&str], unit: &std::path::Path) -> Output {
    Command::new("systemd-analyze")
        .args(args)
        .arg(unit)
        .output()
        .unwrap_or_else(|e| panic!("systemd-analyze: {e}; install the package systemd"))
}

/// All values of a setting.
fn values(key: &str) -> Vec<&'static str> {
    let begin = format!("{key}=");
    UNIT.lines()
        .filter_map(|line| line.strip_prefix(&begin))
        .collect()
}

#[test]
fn systemd_finds_nothing_wrong_with_it() {
    let (_dir, unit) = installed();
    let output = analyze(&["verify"], &unit);
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    // What is not known is a warning, and ignored.
    assert!(!said.contains("refreshd.service:"), "{said}");
}

#[test]
fn its_exposure_is_small() {
    let (_dir, unit) = installed();
    let output = analyze(&["security", "--offline=yes", "--no-pager"], &unit);
    let said = text(&output.stdout);
    let line = said
        .lines()
        .find(|line| line.contains("Overall exposure level"));
    let line = line.unwrap_or_else(|| panic!("{said}{}", text(&output.stderr)));
    let level = line.split(": ").nth(1).unwrap().split(' ').next().unwrap();
    assert!(level.parse::<f32>().unwrap() <= 2.0, "{line}");
}

#[test]
fn it_keeps_what_restarts_and_stops_must_not_lose() {
    assert_eq!(values("Type"), ["notify"]);
    assert_eq!(values("RuntimeDirectoryPreserve"), ["yes"]);
    assert_eq!(values("RuntimeDirectoryMode"), ["0711"]);
    assert_eq!(values("StateDirectory"), ["refreshd refreshd-key"]);
    assert_eq!(values("StateDirectoryMode"), ["0700"]);
    assert_eq!(values("RestartPreventExitStatus"), ["64 65 66 77 78"]);
    let seconds = |key| values(key)[0].parse::<u64>().unwrap();
    // The default of daemon.drain is 30 s.
    assert!(seconds("TimeoutStopSec") > 30 + 10);
    // The engine rests for 30 s at most, and for a third of this.
    assert!(seconds("WatchdogSec") >= 60);
    let reload = values("ExecReload")[0];
    assert!(reload.starts_with("/usr/bin/refreshd reload "), "{reload}");
}
