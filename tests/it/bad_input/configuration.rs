//! Configurations that cannot be used: `check` and `run` say why, with the
//! place, and the state stays as it was.

use crate::setting::{ONE, Setting};
use crate::support::House;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

/// A house whose daemon has run and stopped.
async fn at_rest() -> (Setting, String) {
    let setting = Setting::one().await;
    let (daemon, _) = setting.daemon_with_one();
    let token = setting.token("one");
    assert_eq!(daemon.stop(), Some(0));
    (setting, token)
}

/// `check` and `run` fail with 78 and these texts; nothing in the state changes.
#[track_caller]
fn refused(setting: &Setting, needles: &[&str]) {
    let before = setting.state_files();
    for args in [&["check"][..], &["run"]] {
        setting.run(args).fails(78, needles);
    }
    setting.untouched_since(&before);
}

/// What needs no client goes on at rest, and says these texts.
#[track_caller]
fn goes_on(setting: &Setting, token: &str, needles: &[&str]) {
    let got = setting.run(&["get", "one"]);
    assert_eq!((got.code, got.out.trim()), (0, token), "{got:?}");
    let status = setting.run(&["status", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&status.out).unwrap();
    assert_eq!(report["grants"][0]["state"], "fresh", "{report:#}");
    assert_eq!(report["incidents"].as_array().unwrap().len(), 0);
    let copy = setting.house.path("copy.db").display().to_string();
    let backup = setting.run(&["backup", &copy, "--force"]);
    let doctor = setting.run(&["doctor"]);
    for ran in [got, status, backup, doctor] {
        assert_eq!(ran.code, 0, "{ran:?}");
        for needle in needles.iter().chain(&["goes on with what is sound"]) {
            assert!(ran.err.contains(needle), "{needle:?} is not in {}", ran.err);
        }
    }
}

/// With the old configuration back, the old token is there.
#[track_caller]
fn nothing_is_lost(setting: &Setting, token: &str) {
    setting.house.configure(ONE);
    assert_eq!(setting.token("one"), token);
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_toml_is_shown_with_its_place() {
    let (setting, token) = at_rest().await;
    setting
        .house
        .configure("[clients.pretend]\nprovider = \"pretend\nclient_id = 3\n");
    // [daemon] takes four lines and an empty one.
    let place = format!("{}:7:", setting.house.config().display());
    refused(&setting, &[&place, "provider = \"pretend", "^"]);
    // What cannot be parsed may say where the state is.
    setting.run(&["get", "one"]).fails(78, &[&place]);
    setting.run(&["status"]).fails(78, &[&place]);
    nothing_is_lost(&setting, &token);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_provider_is_named_with_its_place() {
    let (setting, token) = at_rest().await;
    setting
        .house
        .configure(&ONE.replace("provider = \"pretend\"", "provider = \"pretent\""));
    refused(
        &setting,
        &[
            "refreshd.toml:8:12",
            "unknown provider \"pretent\"",
            "did you mean \"pretend\"",
        ],
    );
    goes_on(&setting, &token, &["unknown provider \"pretent\""]);
    nothing_is_lost(&setting, &token);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_variable_is_named_with_its_place() {
    let (setting, token) = at_rest().await;
    setting
        .house
        .configure(&format!("{ONE}\n[grants.one.vars]\nshop = \"17\"\n"));
    refused(
        &setting,
        &[
            "refreshd.toml:",
            "unknown variable \"shop\"",
            "take this one out",
        ],
    );
    nothing_is_lost(&setting, &token);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_that_a_provider_does_not_declare_is_refused() {
    let (setting, token) = at_rest().await;
    setting.provider("https://{region}.example.com/token");
    refused(&setting, &["pretend.toml:3:", "region"]);
    setting.provider(&setting.server.token_url());
    nothing_is_lost(&setting, &token);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_key_is_refused_with_the_nearest_one() {
    let (setting, token) = at_rest().await;
    setting
        .house
        .configure(&ONE.replace("client_secret", "client_secrt"));
    refused(
        &setting,
        &["refreshd.toml:10:1", "client_secrt", "client_secret"],
    );
    nothing_is_lost(&setting, &token);
}

#[tokio::test(flavor = "multi_thread")]
async fn secret_files_that_cannot_be_read_are_named_with_a_remedy() {
    let (setting, token) = at_rest().await;
    let secret = setting.house.path("secrets/pretend");
    let path = secret.display().to_string();
    let place = "refreshd.toml:10:";

    fs::rename(&secret, setting.house.path("kept")).unwrap();
    refused(&setting, &[place, &path, "create it, with mode 0400"]);
    goes_on(&setting, &token, &[place, &path]);
    let response = setting.response("one").to_string();
    let import = setting.run_with(&["import", "one"], &response);
    import.fails(78, &[place, &path]);

    fs::create_dir(&secret).unwrap();
    refused(&setting, &[place, &path, "is not a regular file"]);
    fs::remove_dir(&secret).unwrap();

    fs::write(&secret, "").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o400)).unwrap();
    refused(&setting, &[place, &path, "is empty"]);
    fs::rename(setting.house.path("kept"), &secret).unwrap();

    fs::set_permissions(&secret, fs::Permissions::from_mode(0o444)).unwrap();
    let remedy = format!("chmod 0400 {path}");
    refused(
        &setting,
        &[place, "can be read by everyone (mode 0444)", &remedy],
    );
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o400)).unwrap();
    nothing_is_lost(&setting, &token);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_literal_secret_is_refused_and_not_repeated() {
    let (setting, token) = at_rest().await;
    let literal = "planted-literal-5d0c";
    setting.plant(literal);
    for value in [
        format!("\"{literal}\""),
        format!("[\"{literal}\"]"),
        format!("{{ fil = \"{literal}\" }}"),
    ] {
        let config = ONE.replace("{ file = \"ROOT/secrets/pretend\" }", &value);
        setting.house.configure(&config);
        refused(&setting, &["refreshd.toml:10:"]);
    }
    nothing_is_lost(&setting, &token);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_problem_is_shown_at_once() {
    let (setting, token) = at_rest().await;
    setting.house.configure(
        &ONE.replace("provider = \"pretend\"", "provider = \"pretent\"")
            .replace("client = \"pretend\"", "client = \"nobody\"")
            .replace("path = ", "mode = \"rw\"\npath = "),
    );
    refused(&setting, &["pretent", "nobody", "\"rw\""]);
    let checked = setting.run(&["check", "--json"]);
    assert_eq!(checked.code, 78);
    let problems: serde_json::Value = serde_json::from_str(&checked.out).unwrap();
    assert_eq!(problems.as_array().unwrap().len(), 3, "{problems:#}");
    for problem in problems.as_array().unwrap() {
        assert_eq!(problem["severity"], "error");
        assert!(problem["spot"]["line"].as_u64().unwrap() > 6, "{problem}");
        assert!(problem["spot"]["column"].as_u64().unwrap() > 0, "{problem}");
    }
    nothing_is_lost(&setting, &token);
}

/// Commands only ask the daemon, which has its own configuration.
#[tokio::test(flavor = "multi_thread")]
async fn a_running_daemon_is_found_by_a_broken_configuration() {
    let setting = Setting::one().await;
    let house = &setting.house;
    let (daemon, _) = setting.daemon_with_one();
    let secret = house.path("secrets/pretend");
    fs::rename(&secret, house.path("kept")).unwrap();
    let broken = ONE.replace("client_id = ", "ca_file = \"ROOT/none.pem\"\nclient_id = ");
    house.configure(&broken.replace(
        "[grants.one]",
        "[grants.two]\nclient = \"nobody\"\n[grants.one]",
    ));
    let copy = house.path("copy.db").display().to_string();
    for args in [
        &["status"][..],
        &["get", "one"],
        &["doctor"],
        &["refresh", "one", "--force"],
        &["backup", &copy],
        &["key", "status"],
    ] {
        let ran = setting.run(args).succeeds();
        for needle in [
            "none.pem",
            "secrets/pretend",
            "nobody",
            "goes on with what is sound",
        ] {
            assert!(ran.err.contains(needle), "{needle}: {}", ran.err);
        }
    }
    let response = setting.response("one").to_string();
    let import = ["import", "one", "--replace"];
    setting.run_with(&import, &response).succeeds();
    // The daemon itself says what it thinks of that.
    let reload = setting.run(&["reload"]);
    reload.fails(78, &["none.pem", "secrets/pretend", "nobody"]);
    // Where the daemon is must be known, and so must what a key is needed by.
    for (table, text) in [
        (
            "daemon",
            house_text(house).replace("[daemon]\n", "[daemon]\nmax_flights = 0\n"),
        ),
        (
            "backup",
            format!("{}\n[backup]\nkeep = 0\n", house_text(house)),
        ),
    ] {
        let whole = house_text(house);
        fs::write(house.config(), text).unwrap();
        setting.run(&["status"]).fails(78, &[table]);
        fs::write(house.config(), whole).unwrap();
    }
    fs::rename(house.path("kept"), &secret).unwrap();
    assert_eq!(daemon.stop(), Some(0));
}

fn house_text(house: &House) -> String {
    fs::read_to_string(house.config()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_configuration_is_named() {
    let setting = Setting::one().await;
    fs::remove_file(setting.house.config()).unwrap();
    let path = setting.house.config().display().to_string();
    for command in ["check", "run", "status"] {
        setting.run(&[command]).fails(78, &[&path]);
    }
}
