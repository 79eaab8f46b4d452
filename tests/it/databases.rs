//! Published databases, read as others read them: by another user who is in
//! their group, while the daemon rotates, has stopped, and was killed.

mod killed;
mod many_reads;
mod place;
mod readers;
mod unprivileged;

use crate::support::{text, wait_for};
use place::{GRANTS, Place, SHOPS};
use readers::{Reader, Tokens, distinct, read_on};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Command;

const BOTH: [&str; 2] = ["shop-1", "shop-2"];

#[test]
fn readers_of_another_user_never_notice() {
    let place = Place::new(SHOPS);
    if !place.open_to_group() {
        return;
    }
    // They look for it before it is made.
    let tokens = Tokens::default();
    let path = place.database();
    let mut readers: Vec<Reader> = ["fresh", "kept", "plain"]
        .map(|how| Reader::python(how, &path, &tokens))
        .into();
    readers.push(Reader::tool(&path, &tokens));
    let daemon = place.daemon();
    place.wait_for_rows(&BOTH);
    rotate_and_see(&place, &readers, 4);

    // A clean stop, without and with a reader that keeps a transaction open.
    assert_eq!(daemon.stop(), Some(0));
    read_on(&readers);
    let daemon = place.setting.house.daemon();
    rotate_and_see(&place, &readers, 3);
    let idle = [Reader::python("idle", &path, &tokens)];
    read_on(&idle);
    rotate_and_see(&place, &readers, 3);
    assert_eq!(daemon.stop(), Some(0));
    read_on(&readers);

    // Killed while it rotates, several times.
    for round in 0..5 {
        let daemon = place.setting.house.daemon();
        rotate_and_see(&place, &readers, 1);
        let args = ["refresh", BOTH[round % 2], "--force"];
        let refreshing = place.setting.begin(&args);
        std::thread::sleep(std::time::Duration::from_millis(10 * round as u64));
        daemon.kill();
        place.setting.end(&args, refreshing);
        read_on(&readers);
    }
    let daemon = place.setting.house.daemon();
    rotate_and_see(&place, &readers, 2);
    read_on(&idle);
    for reader in &idle {
        let newest = BOTH.map(|grant| reader.newest(grant));
        let now = BOTH.map(|grant| place.generation(grant));
        assert!(newest < now, "an idle reader saw something else meanwhile");
    }
    let rounds: usize = (idle.into_iter().chain(readers)).map(Reader::end).sum();
    println!("figure database_reader_rounds {rounds}");
    place.all_work(&distinct(&tokens));
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_reader_that_was_there_first_keeps_its_rows_and_stops_nobody() {
    let place = Place::new(SHOPS);
    if !place.open_to_group() {
        return;
    }
    let daemon = place.daemon();
    place.wait_for_rows(&BOTH);
    assert_eq!(daemon.stop(), Some(0));
    let tokens = Tokens::default();
    let idle = [Reader::python("idle", &place.database(), &tokens)];
    read_on(&idle);
    for restarts in 1..=2 {
        let daemon = place.setting.house.daemon();
        BOTH.iter().for_each(|grant| place.rotate(grant));
        place.wait_for_rows(&BOTH);
        assert_eq!(place.generation("shop-1"), 1 + restarts);
        assert_eq!(daemon.stop(), Some(0));
    }
    read_on(&idle);
    for reader in idle {
        assert_eq!(reader.newest("shop-1"), 1);
        reader.end();
    }
}

/// Rotates both shops, and waits until every reader has the newest.
fn rotate_and_see(place: &Place, readers: &[Reader], times: usize) {
    for _ in 0..times {
        BOTH.iter().for_each(|grant| place.rotate(grant));
    }
    for grant in BOTH {
        let generation = place.generation(grant);
        wait_for("the readers to see the newest", || {
            readers.iter().all(|r| r.newest(grant) == generation)
        });
    }
    read_on(readers);
}

#[test]
fn status_names_it_and_a_reload_moves_rows() {
    let place = Place::new(SHOPS);
    let house = &place.setting.house;
    let daemon = place.daemon();
    place.wait_for_rows(&BOTH);
    let outputs = |grant: &str| house.status(grant)["outputs"].clone();
    let path = place.database().display().to_string();
    wait_for("the report", || {
        outputs("shop-1")
            == serde_json::json!([{ "path": path, "kind": "row", "generation": 1, "up_to_date": true }])
    });
    assert_eq!(outputs("other"), Value::Array(vec![]));
    let shown = place.setting.run(&["status", "shop-1"]).succeeds().out;
    let line = format!("shop-1: {path} (row): generation 1, up to date\n");
    assert!(shown.ends_with(&line), "{shown}");

    let reload = |databases: &str| {
        house.configure(&format!("{GRANTS}{databases}"));
        place.setting.run(&["reload"]).succeeds();
    };
    reload(&SHOPS.replace("shop-*", "shop-2\", \"o*r"));
    place.wait_for_rows(&["other", "shop-2"]);
    // Out of the configuration: no row, but no reader loses its file either.
    reload("");
    wait_for("the rows to go", || place.names().is_empty());
    wait_for("the reports to go", || {
        outputs("other") == Value::Array(vec![])
    });
    assert!(place.database().exists());
    // Also when that happens while the daemon is down.
    reload(SHOPS);
    place.wait_for_rows(&BOTH);
    assert_eq!(daemon.stop(), Some(0));
    house.configure(GRANTS);
    let daemon = house.daemon();
    assert_eq!(place.names(), [""; 0]);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn its_files_are_for_its_group_alone() {
    let place = Place::new(SHOPS);
    if !place.open_to_group() {
        return;
    }
    let daemon = place.daemon();
    place.wait_for_rows(&BOTH);
    for suffix in ["", "-wal", "-shm"] {
        let path = format!("{}{suffix}", place.database().display());
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o640, "{path}");
        assert_eq!(metadata.gid(), place::GROUP, "{path}");
    }
    let stranger = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .args(["sqlite3", "-readonly"])
        .arg(place.database())
        .arg("SELECT * FROM tokens")
        .output()
        .unwrap();
    assert!(!stranger.status.success(), "{}", text(&stranger.stdout));
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn what_stands_in_its_place_is_left_alone_and_hurts_no_other() {
    let file = "[[grants.shop-1.outputs]]\npath = \"ROOT/tokens/shop-1\"\n";
    let place = Place::new(&format!("{SHOPS}{file}").replace("group = 65533\n", ""));
    let house = &place.setting.house;
    house.write("tokens/shops.db", "somebody's notes");
    let daemon = place.daemon();
    let errors = || house.status("shop-1")["output_errors"].clone();
    wait_for("the error", || errors().as_array().unwrap().len() == 1);
    let error = errors()[0].as_str().unwrap().to_owned();
    assert!(error.contains("no SQLite database"), "{error}");
    place.rotate("shop-1");
    let token = place.setting.token("shop-1");
    wait_for("the file", || {
        fs::read_to_string(house.path("tokens/shop-1")).is_ok_and(|read| read == token)
    });
    let outputs = house.status("shop-1")["outputs"].clone();
    let row = outputs
        .as_array()
        .unwrap()
        .iter()
        .find(|o| o["kind"] == "row");
    assert_eq!(row.unwrap()["up_to_date"], false);
    assert_eq!(fs::read(place.database()).unwrap(), b"somebody's notes");
    fs::remove_file(place.database()).unwrap();
    place.wait_for_rows(&BOTH);
    wait_for("a clean report", || errors().as_array().unwrap().is_empty());

    // Removed while the daemon runs: the next write makes it again, with every row.
    fs::remove_file(place.database()).unwrap();
    place.rotate("shop-2");
    place.wait_for_rows(&BOTH);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_row_that_is_ahead_fences_the_store() {
    let place = Place::new(&SHOPS.replace("group = 65533\n", ""));
    let house = &place.setting.house;
    let daemon = place.daemon();
    place.wait_for_rows(&BOTH);
    assert_eq!(daemon.stop(), Some(0));
    let copy = |from: &str, to: &str| {
        let _none = fs::remove_dir_all(house.path(to));
        let mut cp = Command::new("cp");
        cp.arg("-a").arg(house.path(from)).arg(house.path(to));
        assert!(cp.status().unwrap().success());
    };
    copy("state", "earlier");
    let daemon = house.daemon();
    place.rotate("shop-1");
    place.wait_for_rows(&BOTH);
    let published = place.rows();
    assert_eq!(daemon.stop(), Some(0));
    // With its stamp: only what is published tells.
    copy("earlier", "state");
    fs::remove_dir_all(house.path("earlier")).unwrap();

    let daemon = house.daemon();
    let status = place.setting.run(&["status"]).succeeds();
    let first = status.out.lines().next().unwrap();
    assert!(first.contains("doctor --accept-restore"), "{status:?}");
    let fenced = house.status("shop-1");
    let next = (&fenced["next_refresh_at"], &fenced["waits_for"]);
    assert_eq!(next, (&serde_json::Value::Null, &"fence".into()));
    place.setting.run(&["doctor"]).ends(77);
    assert_eq!(place.rows(), published);
    place
        .setting
        .run(&["doctor", "--accept-restore"])
        .succeeds();
    place.rotate("shop-1");
    place.wait_for_rows(&BOTH);
    assert!(place.rows()[0].1 > published[0].1);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_locked_database_holds_up_no_file() {
    let file = "[[clients.pretend.outputs]]\npath = \"ROOT/files/{grant}\"\n";
    let place = Place::new(&format!("{file}{SHOPS}").replace("group = 65533\n", ""));
    let daemon = place.daemon();
    place.wait_for_rows(&BOTH);
    let locker = rusqlite::Connection::open(place.database()).unwrap();
    locker.execute_batch("BEGIN IMMEDIATE").unwrap();
    place.rotate("shop-1");
    let token = place.setting.token("shop-1");
    let file = place.setting.house.path("files/shop-1");
    wait_for("the file", || fs::read_to_string(&file).unwrap() == token);
    assert_eq!(place.rows()[0].1, 1);
    let status = || place.setting.house.status("shop-1");
    wait_for("the error", || {
        let errors = status()["output_errors"].clone();
        errors[0]
            .as_str()
            .is_some_and(|error| error.contains("locked"))
    });
    locker.execute_batch("ROLLBACK").unwrap();
    place.wait_for_rows(&BOTH);
    drop(locker);
    assert_eq!(daemon.stop(), Some(0));
}
