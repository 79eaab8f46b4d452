//! Configurations that cannot be used: `check` and `run` say why, with the
//! place, and the state stays as it was.

use crate::setting::{ONE, Setting};
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
    for args in [&["check"][..], &["run"], &["get", "one"]] {
        setting.run(args).fails(78, needles);
    }
    setting.untouched_since(&before);
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

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_configuration_is_named() {
    let setting = Setting::one().await;
    fs::remove_file(setting.house.config()).unwrap();
    let path = setting.house.config().display().to_string();
    for command in ["check", "run", "status"] {
        setting.run(&[command]).fails(78, &[&path]);
    }
}
