//! A boot with a broken configuration serves what the last sound one served, and says so.

use crate::setting::{ONE, Setting};
use crate::support::{Daemon, wait_for};
use std::fs;

const FORCE: [&str; 3] = ["refresh", "one", "--force"];

/// A house whose daemon has run by a sound configuration, with a token; and stopped.
async fn has_run() -> (Setting, String) {
    let setting = Setting::one().await;
    let (daemon, _) = setting.daemon_with_one();
    let token = setting.token("one");
    assert_eq!(daemon.stop(), Some(0));
    fs::remove_file(setting.house.path("tokens/one")).unwrap();
    (setting, token)
}

/// What a person finds, and that the token is served.
fn serves(setting: &Setting, token: &str, place: &str) -> Daemon {
    let daemon = setting.house.daemon();
    let published = fs::read_to_string(setting.house.path("tokens/one"));
    assert_eq!(published.unwrap(), token);
    assert_eq!(setting.token("one"), token);
    daemon.logs("the configuration is broken");
    let status = setting.house.json(&["status", "--json"]);
    let incidents = status["incidents"].as_array().unwrap();
    let incident = incidents
        .iter()
        .find(|i| i["kind"] == "configuration-broken");
    let text = incident.unwrap_or_else(|| panic!("{status:#}"))["text"].as_str();
    for part in [place, "refreshd check", "refreshd reload", "20"] {
        assert!(text.unwrap().contains(part), "{text:?}");
    }
    let doctor = setting.run(&["doctor"]);
    assert_eq!(doctor.code, 77, "{doctor:?}");
    assert!(
        doctor.out.contains("the configuration is broken"),
        "{doctor:?}"
    );
    daemon
}

/// Mended, it is taken over by a reload.
fn is_mended(setting: &Setting, daemon: Daemon) {
    setting.run(&["reload"]).succeeds();
    let status = setting.house.json(&["status", "--json"]);
    let mut incidents = status["incidents"].as_array().unwrap().iter();
    let over = incidents.all(|i| i["kind"] != "configuration-broken");
    assert!(over, "{status:#}");
    setting.run(&FORCE).succeeds();
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(setting.house.daemon().stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slip_leaves_tokens_served_and_refreshed() {
    let (setting, token) = has_run().await;
    setting
        .house
        .configure(&ONE.replace("[grants.one]", "[grants.one"));
    let daemon = serves(&setting, &token, "refreshd.toml:");
    setting.run(&["reload"]).fails(78, &["refreshd.toml:"]);
    setting.run(&FORCE).succeeds();
    assert_ne!(setting.token("one"), token);
    setting.house.configure(ONE);
    is_mended(&setting, daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_file_that_is_gone_is_remembered() {
    let (setting, token) = has_run().await;
    fs::remove_file(setting.house.path("providers.d/pretend.toml")).unwrap();
    let daemon = serves(&setting, &token, "unknown provider");
    setting.run(&FORCE).succeeds();
    setting.provider(&setting.server.token_url());
    is_mended(&setting, daemon);
}

/// Without its secret nothing is sent for a client: that could cost a refresh token.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_gone_stops_its_own_client_alone() {
    let (setting, token) = has_run().await;
    let (secret, away) = (
        setting.house.path("secrets/pretend"),
        setting.house.path("away"),
    );
    fs::rename(&secret, &away).unwrap();
    let daemon = serves(&setting, &token, "cannot read secret file");
    let ran = setting.run(&FORCE);
    assert_ne!(ran.code, 0);
    assert!(ran.err.contains("cannot read secret file"), "{ran:?}");
    assert_eq!(setting.server.presentations().len(), 0);
    assert_eq!(setting.token("one"), token);
    fs::rename(&away, &secret).unwrap();
    // It was to be there at the start: nobody has to think of a reload.
    wait_for("the secret to be noticed", || {
        daemon.log().contains("the configuration has been mended")
    });
    is_mended(&setting, daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_sound_one_or_strictly_it_does_not_start() {
    let (setting, token) = has_run().await;
    setting.house.configure("[clients");
    let strict = setting.run(&["run", "--strict"]);
    strict.fails(78, &["refreshd.toml:"]);
    // Commands at rest go on, too.
    assert_eq!(setting.token("one"), token);
    let kept = setting.house.path("state/last-sound-configuration.json");
    fs::remove_file(&kept).unwrap();
    setting.run(&["run"]).fails(78, &["refreshd.toml:"]);
    assert!(!kept.exists());
}
