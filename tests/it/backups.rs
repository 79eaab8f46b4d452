//! Backups while everything goes on, and the way back from one: the steps of
//! docs/operations.md, as they stand there.

use crate::setting::{ONE, Setting};
use crate::support::{Daemon, House, wait_for};
use sandbox::Options;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const PASSPHRASE: &str = "planted passphrase 4711";

fn short_lived() -> Options {
    Options {
        access_lifetime: Duration::from_secs(12),
        ..Options::default()
    }
}

fn generation(house: &House) -> u64 {
    house.status("one")["generation"].as_u64().unwrap()
}

pub(crate) fn notices(house: &House) -> String {
    let status = house.json(&["status", "--json"]);
    let notices = status["notices"].as_array().unwrap();
    let texts: Vec<&str> = notices.iter().filter_map(Value::as_str).collect();
    texts.join("\n")
}

fn backups_in(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    let mut found: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|e| e == "db"));
    found.sort();
    found
}

/// Puts a backup in the place of the state: only the database, and the lock made anew.
pub(crate) fn put_back(house: &House, backup: &Path) {
    let state = house.path("state");
    if state.exists() {
        fs::rename(&state, house.path("state.old")).unwrap();
    }
    fs::create_dir(&state).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).unwrap();
    fs::copy(backup, state.join("refreshd.db")).unwrap();
}

/// Fenced until a person says so, and then on its way again.
fn is_accepted(setting: &Setting, house: &House, presented: usize) -> Daemon {
    let daemon = house.daemon();
    let told = notices(house);
    assert!(told.contains("restored from the backup of 2"), "{told}");
    assert!(
        told.contains("`refreshd doctor --accept-restore`"),
        "{told}"
    );
    // A wish does not get past it, and nothing was sent.
    let wish = house.run(&["refresh", "one", "--force"]);
    assert!(!wish.status.success());
    assert_eq!(setting.server.presentations().len(), presented);
    let from = generation(house);
    let accepted = house.run(&["doctor", "--accept-restore"]);
    assert!(accepted.status.success());
    assert_eq!(notices(house), "");
    let accepted = generation(house);
    assert!(accepted > from);
    // The living access token is used up first; then the doubt is resolved.
    wait_for("refreshes to go on", || {
        generation(house) > accepted && house.status("one")["state"] == "fresh"
    });
    daemon
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_during_constant_refreshing_brings_everything_back() {
    let setting = Setting::new(short_lived(), ONE).await;
    let house = &setting.house;
    let (daemon, _) = setting.daemon_with_one();
    let mut slowest = Duration::ZERO;
    for n in 0..8 {
        let file = house.path(&format!("copy-{n}.db"));
        let path = file.to_str().unwrap().to_owned();
        let args = ["backup", &path, "--json"];
        let backup = setting.begin(&args);
        let begun = Instant::now();
        setting.run(&["refresh", "one", "--force"]).succeeds();
        slowest = slowest.max(begun.elapsed());
        let made: Value = serde_json::from_str(&setting.end(&args, backup).succeeds().out).unwrap();
        assert_eq!(
            (&made["grants"], &made["path"]),
            (&1.into(), &path.clone().into())
        );
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
    println!(
        "figure slowest_refresh_during_backup_ms {}",
        slowest.as_millis()
    );
    let last = house.path("last.db");
    setting.run(&["backup", last.to_str().unwrap()]).succeeds();
    assert_eq!(daemon.stop(), Some(0));

    // What stands there is left as it is; a running daemon is not needed.
    let bytes = fs::read(&last).unwrap();
    setting
        .run(&["backup", last.to_str().unwrap()])
        .fails(73, &["exists already", "--force"]);
    assert_eq!(fs::read(&last).unwrap(), bytes);
    setting
        .run(&["backup", last.to_str().unwrap(), "--force"])
        .succeeds();
    setting.run(&["backup"]).fails(64, &["backup.dir"]);

    put_back(house, &last);
    let presented = setting.server.presentations().len();
    let daemon = is_accepted(&setting, house, presented);
    // The refresh token was the latest, and none was presented twice.
    assert!(
        setting
            .server
            .presentations()
            .iter()
            .all(|p| p.refresh == p.newest)
    );
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_on_another_machine_takes_backup_and_exported_key() {
    let setting = Setting::new(short_lived(), ONE).await;
    let (daemon, _) = setting.daemon_with_one();
    let house = &setting.house;
    setting.plant(PASSPHRASE);
    house.secret("passphrase", PASSPHRASE);
    let path = |name: &str| house.path(name).to_str().unwrap().to_owned();
    let (exported, passphrase) = (path("exported"), path("passphrase"));
    let export = ["key", "export", &exported, "--passphrase-file", &passphrase];
    setting.run(&export).succeeds();
    setting.run(&export).fails(73, &["exists already"]);
    setting.run(&["backup", &path("copy.db")]).succeeds();
    assert_eq!(daemon.stop(), Some(0));

    let other = House::new(ONE);
    for file in ["secrets/pretend", "providers.d/pretend.toml"] {
        other.write(file, &fs::read_to_string(house.path(file)).unwrap());
    }
    fs::set_permissions(
        other.path("secrets/pretend"),
        fs::Permissions::from_mode(0o400),
    )
    .unwrap();
    put_back(&other, &house.path("copy.db"));
    let without = other.command(&["run"]).output().unwrap();
    let text = String::from_utf8(without.stderr).unwrap();
    assert_eq!(without.status.code(), Some(78), "{text}");
    assert!(
        text.contains("sealing key") && text.contains("is missing"),
        "{text}"
    );
    assert!(!other.path("key/key").exists());

    other.secret("wrong", "not the passphrase");
    let import = |passphrase: &str| {
        other.run(&[
            "key",
            "import",
            &path("exported"),
            "--passphrase-file",
            passphrase,
        ])
    };
    let refused = import(other.path("wrong").to_str().unwrap());
    assert_eq!(refused.status.code(), Some(65));
    assert!(import(&path("passphrase")).status.success());
    let daemon = is_accepted(&setting, &other, setting.server.presentations().len());
    assert!(
        setting
            .server
            .presentations()
            .iter()
            .all(|p| p.refresh == p.newest)
    );
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_older_than_the_last_rotation_is_held_first() {
    let setting = Setting::new(short_lived(), ONE).await;
    let (daemon, _) = setting.daemon_with_one();
    let house = &setting.house;
    let copy = house.path("copy.db");
    setting.run(&["backup", copy.to_str().unwrap()]).succeeds();
    setting.run(&["refresh", "one", "--force"]).succeeds();
    assert_eq!(daemon.stop(), Some(0));
    let presented = setting.server.presentations().len();
    put_back(house, &copy);
    let daemon = house.daemon();
    assert!(notices(house).contains("--accept-restore"));
    setting.run(&["doctor", "--accept-restore"]).succeeds();
    // The access token of the backup lives on for a while: that is used up first.
    assert_eq!(house.status("one")["state"], "in-doubt");
    assert_eq!(setting.server.presentations().len(), presented);
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_backup_is_whole_or_not_there() {
    let table = "[backup]\ndir = \"ROOT/backups\"\nkeep = 100\n";
    let setting = Setting::new(Options::default(), &format!("{table}{ONE}")).await;
    let house = &setting.house;
    let (daemon, _) = setting.daemon_with_one();
    assert_eq!(daemon.stop(), Some(0));
    let dir = house.path("backups");
    for round in 0..12_u64 {
        let daemon = house.daemon();
        let args = ["backup"];
        let backup = setting.begin(&args);
        std::thread::sleep(Duration::from_millis(round * 5));
        daemon.kill();
        setting.end(&args, backup);
    }
    let whole = backups_in(&dir);
    for backup in &whole {
        let other = House::new("");
        put_back(&other, backup);
        other.secret(
            "key/key",
            &fs::read_to_string(house.path("key/key")).unwrap(),
        );
        let told = notices(&other);
        assert!(told.contains("restored from the backup of 2"), "{told}");
    }
    // The next one clears up what the kills have left.
    wait_for("a backup of another second", || {
        setting.run(&["backup"]).code == 0
    });
    let left = fs::read_dir(&dir).unwrap();
    let names: Vec<_> = left.map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), whole.len() + 1, "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_by_cron_follow_the_configuration() {
    let setting = Setting::one().await;
    let house = &setting.house;
    let (daemon, _) = setting.daemon_with_one();
    let dir = house.path("backups");
    let table = "[backup]\ndir = \"ROOT/backups\"\nschedule = \"* * * * * *\"\nkeep = 2\n";
    house.configure(&format!("{table}{ONE}"));
    setting.run(&["reload"]).succeeds();
    wait_for("the first backups", || backups_in(&dir).len() == 2);
    let first = backups_in(&dir);
    wait_for("the oldest to go", || {
        let now = backups_in(&dir);
        assert!(now.len() <= 3, "{now:?}");
        now.len() == 2 && now[0] > first[1]
    });
    let mode = fs::metadata(&dir).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o700);

    // A directory that cannot be had is a matter for a person.
    house.write("file", "");
    house.configure(&format!("{}{ONE}", table.replace("backups\"", "file/no\"")));
    setting.run(&["reload"]).succeeds();
    wait_for("the failure to be told", || {
        notices(house).contains("the last backup was not made")
    });
    let kinds = || -> Vec<Value> {
        let open = crate::incidents::open(house).into_iter();
        open.map(|incident| incident["kind"].clone()).collect()
    };
    assert_eq!(kinds(), ["backup-failed"]);
    house.configure(ONE);
    setting.run(&["reload"]).succeeds();
    wait_for("it to be over", || kinds().is_empty());
    assert_eq!(notices(house), "");
    assert_eq!(daemon.stop(), Some(0));
}
