//! What is shipped for systemd, as systemd sees it.

use crate::support::text;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const UNIT: &str = include_str!("../../../systemd/refreshd.service");
const INSTANCE: &str = include_str!("../../../systemd/refreshd@.service");

/// The unit in a directory of its own, with the binary where it is.
fn installed() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("refreshd.service");
    let unit = UNIT.replace("/usr/bin/refreshd", env!("CARGO_BIN_EXE_refreshd"));
    fs::write(&path, unit).unwrap();
    (dir, path)
}

fn analyze(args: &[&str], unit: &Path) -> Output {
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
    assert_eq!(values("ConfigurationDirectoryMode"), ["0750"]);
    assert_eq!(values("RestartPreventExitStatus"), ["64 65 66 77 78"]);
    let seconds = |key| values(key)[0].parse::<u64>().unwrap();
    // The default of daemon.drain is 25 s.
    assert!(seconds("TimeoutStopSec") > 25 + 10);
    // The engine rests for 30 s at most, and for a third of this.
    assert!(seconds("WatchdogSec") >= 60);
    let reload = values("ExecReload")[0];
    assert!(reload.starts_with("/usr/bin/refreshd reload "), "{reload}");
}

/// An instance differs from the only one by its directories, and in nothing else.
#[test]
fn an_instance_has_directories_of_its_own() {
    let settings = |unit: &'static str| {
        unit.lines().filter(|line| {
            line.contains('=') && !line.starts_with('#') && !line.starts_with("Description=")
        })
    };
    let of_instance = |line: &str| {
        let directory = line.contains("Directory=") || line.contains("/etc/refreshd/");
        if !directory {
            return line.to_owned();
        }
        line.replace("/etc/refreshd/", "/etc/refreshd-%i/")
            .replace("refreshd-key", "refreshd-%i-key")
            .replace("Directory=refreshd", "Directory=refreshd-%i")
    };
    let derived: Vec<String> = settings(UNIT).map(of_instance).collect();
    let shipped: Vec<&str> = settings(INSTANCE).collect();
    assert_eq!(derived, shipped);
    let own = shipped.iter().filter(|line| line.contains("-%i")).count();
    assert_eq!(own, 5, "two commands and three kinds of directories");
}

/// After a boot `/run` is empty; the user and the directories come from what is shipped.
#[test]
fn its_user_and_directories_are_made_by_systemd() {
    let root = tempfile::tempdir().unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd");
    for (from, to) in [
        ("sysusers.conf", "etc/sysusers.d"),
        ("tmpfiles.conf", "etc/tmpfiles.d"),
    ] {
        let dir = root.path().join(to);
        fs::create_dir_all(&dir).unwrap();
        fs::copy(shipped.join(from), dir.join("refreshd.conf")).unwrap();
    }
    let make = |command: &str, args: &[&str]| {
        let output = Command::new(command)
            .arg(format!("--root={}", root.path().display()))
            .args(args)
            .output()
            .unwrap_or_else(|e| panic!("{command}: {e}; install the package systemd"));
        assert!(output.status.success(), "{}", text(&output.stderr));
    };
    make("systemd-sysusers", &[]);
    let users = fs::read_to_string(root.path().join("etc/passwd")).unwrap();
    let user = users.lines().find(|line| line.starts_with("refreshd:"));
    let fields: Vec<&str> = user.expect("the user is made").split(':').collect();
    if !rustix::process::geteuid().is_root() {
        return; // Only root can give directories to it.
    }
    make("systemd-tmpfiles", &["--create"]);
    let shown = |path: &str| {
        let stat = fs::metadata(root.path().join(path)).unwrap();
        (stat.mode() & 0o7777, stat.uid(), stat.gid())
    };
    let [uid, gid] = [2, 3].map(|n| fields[n].parse::<u32>().unwrap());
    assert_eq!(shown("etc/refreshd"), (0o750, 0, gid));
    assert_eq!(shown("etc/refreshd/secrets"), (0o2750, 0, gid));
    assert_eq!(shown("run/refreshd"), (0o711, uid, gid));
    assert_eq!(shown("run/refreshd/tokens"), (0o711, uid, gid));
}
