//! Sealing keys that follow one another: at rest, in a running daemon, and
//! through kills.

use crate::at_rest;
use crate::setting::{ONE, Setting, epoch};
use crate::support::{House, wait_for};
use sandbox::Options;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

fn key_lines(house: &House) -> Vec<String> {
    let text = fs::read_to_string(house.path("key/key")).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// What no log and no output may hold.
fn plant_keys(setting: &Setting) {
    for line in key_lines(&setting.house) {
        setting.plant(&line);
    }
}

fn status(house: &House) -> Value {
    house.json(&["key", "status", "--json"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_daemon_takes_up_a_new_key() {
    let setting = Setting::one().await;
    let house = &setting.house;
    let (daemon, _) = setting.daemon_with_one();
    plant_keys(&setting);
    let before = key_lines(house);
    let token = setting.token("one");
    let ran = setting.run(&["key", "rotate"]).succeeds();
    assert!(ran.out.contains("seals; needed by"), "{}", ran.out);
    wait_for("the old key to go", || key_lines(house).len() == 1);
    plant_keys(&setting);
    assert_ne!(key_lines(house), before);
    assert_eq!(setting.token("one"), token);
    setting.run(&["refresh", "one", "--force"]).succeeds();
    let status = status(house);
    assert_eq!(
        (&status["finished"], &status["credential"]),
        (&true.into(), &false.into())
    );
    assert_eq!(status["keys"].as_array().unwrap().len(), 1);
    assert_eq!(daemon.stop(), Some(0));

    // The same at rest.
    setting.run(&["key", "rotate", "--json"]).succeeds();
    plant_keys(&setting);
    assert_eq!(key_lines(house).len(), 1);
    let daemon = house.daemon();
    setting.run(&["refresh", "one", "--force"]).succeeds();
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_key_stays_for_as_long_as_a_backup_needs_it() {
    let table = "[backup]\ndir = \"ROOT/backups\"\nkeep = 1\n";
    let setting = Setting::new(Options::default(), &format!("{table}{ONE}")).await;
    let house = &setting.house;
    let (daemon, _) = setting.daemon_with_one();
    plant_keys(&setting);
    let old = key_lines(house);
    setting.run(&["backup"]).succeeds();
    setting.run(&["key", "rotate"]).succeeds();
    plant_keys(&setting);
    let lines = key_lines(house);
    assert_eq!(lines[1..], old);
    let ran = setting.run(&["key", "status"]).succeeds();
    assert!(ran.out.contains("old; needed by 1 backup"), "{}", ran.out);
    assert_eq!(daemon.stop(), Some(0));

    // Not by a start either; only when its last backup is gone.
    let daemon = house.daemon();
    setting.run(&["key", "status"]).succeeds();
    assert_eq!(key_lines(house), lines);
    wait_for("a backup of another second", || {
        setting.run(&["backup"]).code == 0
    });
    assert_eq!(daemon.stop(), Some(0));
    setting.run(&["key", "rotate"]).succeeds();
    let after = key_lines(house);
    assert_eq!((after.len(), &after[1]), (2, &lines[0]));
    plant_keys(&setting);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_the_operators_to_write() {
    let setting = Setting::one().await;
    let house = &setting.house;
    let (daemon, _) = setting.daemon_with_one();
    assert_eq!(daemon.stop(), Some(0));
    plant_keys(&setting);
    let old = key_lines(house);
    let new = "5a".repeat(32);
    setting.plant(&new);
    let configuration = fs::read_to_string(house.config()).unwrap();
    let key = format!("key = {{ file = \"{}\" }}", house.path("key/key").display());
    assert!(configuration.contains(&key));
    let by_credential = configuration.replace(&key, "key = { credential = \"key\" }");
    fs::write(house.config(), by_credential).unwrap();
    let run = |args: &[&str]| {
        let mut command = house.command(args);
        command.env("CREDENTIALS_DIRECTORY", house.path("key"));
        setting.run_command(command)
    };
    run(&["key", "rotate"]).fails(
        78,
        &["systemd credential", "openssl rand -hex 32", "restart"],
    );
    assert_eq!(key_lines(house), old);

    // As the message says: a new first line, and a start.
    fs::write(house.path("key/key"), format!("{new}\n{}\n", old[0])).unwrap();
    let mut command = house.command(&["run"]);
    command.env("CREDENTIALS_DIRECTORY", house.path("key"));
    let daemon = house.daemon_by(command);
    wait_for("everything to be sealed anew", || {
        run(&["key", "status"]).out.contains("take its line out")
    });
    assert_eq!(daemon.stop(), Some(0));
    fs::write(house.path("key/key"), format!("{new}\n")).unwrap();
    run(&["status"]).succeeds();
}

/// Each grant's refresh token, as the store has it.
async fn tokens(house: &House) -> BTreeMap<String, String> {
    let state = at_rest::open(house);
    let mut found = BTreeMap::new();
    for grant in state.store.grants().await.unwrap() {
        let (grant, set) = state.store.load(&grant.id).await.unwrap().unwrap();
        let token = set.unwrap().refresh_token.unwrap();
        found.insert(grant.name, token.expose().to_owned());
    }
    state.close().await.unwrap();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_kills_cost_no_record() {
    let setting = Setting::one().await;
    let house = &setting.house;
    let mut wanted = BTreeMap::new();
    let mut lines = String::new();
    for n in 0..600 {
        let name = format!("g{n:03}");
        let response = setting.response(&name);
        let token = response["refresh_token"].as_str().unwrap().to_owned();
        wanted.insert(name.clone(), token);
        let line = json!({"name": name, "client": "pretend", "response": response, "obtained_at": epoch()});
        lines.push_str(&format!("{line}\n"));
    }
    setting.run_with(&["import", "--ndjson"], &lines).succeeds();
    let mut cut_short = 0;
    for round in 0..20_u64 {
        let after = Duration::from_millis(round * 37 % 120);
        if round % 2 == 0 {
            let daemon = house.daemon();
            let args = ["key", "rotate"];
            let rotate = setting.begin(&args);
            std::thread::sleep(after);
            daemon.kill();
            setting.end(&args, rotate);
        } else {
            // A start would go on with it, so it is killed as well.
            let mut rotate = setting.begin(&["key", "rotate"]);
            std::thread::sleep(after * 2);
            rotate.kill().unwrap();
            rotate.wait().unwrap();
        }
        plant_keys(&setting);
        cut_short += usize::from(key_lines(house).len() > 1);
        assert_eq!(tokens(house).await, wanted, "round {round}");
    }
    println!("figure rotations_cut_short {cut_short}");
    assert!(cut_short > 0, "no kill came during a rotation");
    let daemon = house.daemon();
    wait_for("the rotation to come to its end", || {
        key_lines(house).len() == 1
    });
    assert_eq!(status(house)["finished"], true);
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(tokens(house).await, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passphrase_is_asked_for_at_the_terminal_and_not_shown() {
    let setting = Setting::one().await;
    let house = &setting.house;
    setting.import("one");
    let passphrase = "typed passphrase 4712";
    setting.plant(passphrase);
    let target = house.path("exported");
    let plain = house.command(&["key", "export", target.to_str().unwrap()]);
    let words = std::iter::once(plain.get_program()).chain(plain.get_args());
    let words: Vec<&str> = words.map(|word| word.to_str().unwrap()).collect();
    let mut terminal = Command::new("script")
        .args(["-qec", &words.join(" "), "/dev/null"])
        .env("HOME", house.path(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut shown = String::new();
    let (mut typing, mut screen) = (
        terminal.stdin.take().unwrap(),
        terminal.stdout.take().unwrap(),
    );
    let mut until = |text: &str| {
        while !shown.contains(text) {
            let mut byte = [0];
            assert_eq!(screen.read(&mut byte).unwrap(), 1, "{shown}");
            shown.push(char::from(byte[0]));
        }
    };
    for prompt in ["Passphrase: ", "Again: "] {
        until(prompt);
        writeln!(typing, "{passphrase}").unwrap();
    }
    until("exported: key ");
    drop(typing);
    assert!(terminal.wait().unwrap().success());
    setting.keep("the terminal", &shown);
    assert!(target.exists());
}
