//! State directories that cannot be used: named, with what to do, and untouched.

use crate::setting::Setting;
use rusqlite::Connection;
use std::fs;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, chown};

async fn at_rest() -> (Setting, String) {
    let setting = Setting::one().await;
    let (daemon, _) = setting.daemon_with_one();
    let token = setting.token("one");
    assert_eq!(daemon.stop(), Some(0));
    (setting, token)
}

/// `run` and every command that would open the state fail alike and change nothing.
#[track_caller]
fn refused(setting: &Setting, code: i32, needles: &[&str]) {
    let before = setting.state_files();
    let import = setting.run_with(&["import", "one"], "{\"access_token\":\"a\"}");
    import.fails(code, needles);
    for args in [&["run"][..], &["status"], &["get", "one"]] {
        setting.run(args).fails(code, needles);
    }
    setting.untouched_since(&before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_the_place_of_the_state_directory_is_named() {
    let setting = Setting::one().await;
    setting.house.write("state", "not a directory");
    let path = setting.house.path("state").display().to_string();
    setting
        .run(&["run"])
        .fails(77, &[&path, "cannot be made", "daemon.state_dir"]);
    let needles = [&path, "is not a directory", "mv "];
    setting.run(&["status"]).fails(77, &needles);
    let kept = fs::read_to_string(setting.house.path("state")).unwrap();
    assert_eq!(kept, "not a directory");
    fs::remove_file(setting.house.path("state")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_where_nothing_can_be_made_is_named() {
    let setting = Setting::one().await;
    for place in ["/proc/refreshd", "/proc/self/refreshd/state"] {
        let set = format!("daemon.state_dir={place}");
        setting
            .run(&["run", "--set", &set])
            .fails(77, &[place, "cannot be made", "daemon.state_dir"]);
    }
}

/// Root may write anywhere: as root, the binary runs as somebody else.
#[tokio::test(flavor = "multi_thread")]
async fn a_state_directory_that_is_not_writable_is_named_with_the_user() {
    let setting = Setting::one().await;
    let house = &setting.house;
    let root = rustix::process::geteuid().is_root();
    let above = house.path("above");
    fs::create_dir(&above).unwrap();
    fs::set_permissions(&above, fs::Permissions::from_mode(0o555)).unwrap();
    let state = above.join("state");
    let set = format!("daemon.state_dir={}", state.display());
    let args = ["run", "--set", &set];
    let command = if root {
        setting.as_nobody(&args)
    } else {
        house.command(&args)
    };
    let ran = setting.run_command(command);
    let path = state.display().to_string();
    ran.fails(77, &[&path, "cannot be made by", "Permission denied"]);
    assert!(!state.exists());
    if root {
        // A directory of somebody else's is refused even where it could be written to.
        fs::create_dir(house.path("state")).unwrap();
        chown(house.path("state"), Some(65533), Some(65533)).unwrap();
        setting.run(&["run"]).fails(77, &["belongs to uid 65533"]);
        let ran = setting.run_command(setting.as_nobody(&["run"]));
        ran.fails(77, &["belongs to uid 65533", "run it as uid 65533"]);
        let left = fs::read_dir(house.path("state")).unwrap().count();
        assert_eq!(left, 0);
    }
    fs::set_permissions(&above, fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_from_the_future_is_refused_and_untouched() {
    let (setting, token) = at_rest().await;
    let path = setting.house.path("state/refreshd.db");
    let version = |version: Option<i64>| {
        let db = Connection::open(&path).unwrap();
        let have = db
            .pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))
            .unwrap();
        if let Some(version) = version {
            db.pragma_update(None, "user_version", version).unwrap();
        }
        db.close().unwrap();
        have
    };
    let ours = version(Some(9999));
    let name = path.display().to_string();
    refused(&setting, 65, &[&name, "newer refreshd", "9999"]);
    version(Some(ours));
    assert_eq!(setting.token("one"), token);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_database_is_refused_and_untouched() {
    let (setting, token) = at_rest().await;
    let path = setting.house.path("state/refreshd.db");
    let whole = fs::read(&path).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let middle = whole.len() as u64 / 2 / 4096 * 4096;
    file.write_all_at(&[0xa5; 4096], middle).unwrap();
    let name = path.display().to_string();
    refused(&setting, 65, &[&name, "is damaged", "restore a backup"]);

    fs::write(
        &path,
        "this is no database at all, and longer than a header".repeat(9),
    )
    .unwrap();
    refused(&setting, 65, &[&name, "is damaged", "restore a backup"]);

    fs::write(&path, whole).unwrap();
    assert_eq!(setting.token("one"), token);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_gone_or_in_disguise_is_no_first_start() {
    let (setting, token) = at_rest().await;
    let path = setting.house.path("state/refreshd.db");
    let name = path.display().to_string();
    let aside = setting.house.path("aside.db");
    fs::rename(&path, &aside).unwrap();
    let mut left = vec![name.as_str(), "no first start", "stamp"];
    left.push("Nothing was touched");
    refused(&setting, 65, &left);
    assert!(!path.exists());
    fs::write(&path, "").unwrap();
    refused(&setting, 65, &[&name, "is empty", "no first start"]);
    assert_eq!(fs::metadata(&path).unwrap().len(), 0);

    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/nonexistent/refreshd.db", &path).unwrap();
    setting.run(&["run"]).fails(65, &[&name, "no first start"]);
    fs::remove_file(&path).unwrap();

    fs::create_dir(&path).unwrap();
    for args in [&["run"][..], &["status"]] {
        setting.run(args).fails(65, &[&name, "not a regular file"]);
    }
    fs::remove_dir(&path).unwrap();

    let whole = fs::read(&aside).unwrap();
    for length in [50, 4096, whole.len() / 2] {
        fs::write(&path, &whole[..length]).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        refused(&setting, 65, &[&name, "damaged"]);
    }
    fs::copy(&aside, &path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    refused(&setting, 65, &[&name, "everyone can write it"]);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(setting.token("one"), token);

    // The whole directory is gone, as a volume that was not mounted; the key knows.
    let state = setting.house.path("state");
    fs::rename(&state, setting.house.path("state.aside")).unwrap();
    for args in [&["run"][..], &["status"]] {
        setting
            .run(args)
            .fails(65, &["key.used-by", "no first start"]);
    }
    assert!(!state.exists());
    fs::rename(setting.house.path("state.aside"), &state).unwrap();
    assert_eq!(setting.token("one"), token);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wrong_sealing_key_opens_nothing_and_changes_nothing() {
    let (setting, token) = at_rest().await;
    let key = setting.house.path("key/key");
    let right = fs::read_to_string(&key).unwrap();
    setting.plant(right.trim());
    let path = key.display().to_string();

    fs::write(&key, format!("{}\n", "ab".repeat(32))).unwrap();
    refused(
        &setting,
        78,
        &[
            &path,
            "the database was sealed with key",
            "nothing was changed",
        ],
    );
    fs::write(&key, "not a key").unwrap();
    refused(&setting, 78, &[&path, "64 hexadecimal digits"]);

    fs::remove_file(&key).unwrap();
    refused(&setting, 78, &[&path, "is missing"]);
    assert!(!key.exists(), "a new key cannot open an old database");

    fs::write(&key, &right).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let remedy = format!("chmod 0600 {path}");
    refused(&setting, 78, &[&path, "mode 0644", &remedy]);

    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(setting.token("one"), token);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_daemon_is_told_who_has_the_state() {
    let setting = Setting::one().await;
    let (daemon, _) = setting.daemon_with_one();
    let pid = format!("pid {}", daemon.pid());
    let path = setting.house.path("state").display().to_string();
    setting
        .run(&["run"])
        .fails(75, &[&pid, &path, "another refreshd"]);
    // Even one with another runtime directory, which cannot see the socket.
    let elsewhere = format!(
        "daemon.runtime_dir={}",
        setting.house.path("elsewhere").display()
    );
    setting
        .run(&["run", "--set", &elsewhere])
        .fails(75, &[&pid, &path]);
    // A command finds the first by the lock.
    let status = ["status", "--json", "--set", &elsewhere];
    let status = setting.run(&status).succeeds().out;
    assert!(status.contains("\"running\": true"), "{status}");
    // The first is none the worse for it: its socket is still there.
    assert_eq!(setting.house.status("one")["state"], "fresh");
    assert_eq!(daemon.stop(), Some(0));
}
