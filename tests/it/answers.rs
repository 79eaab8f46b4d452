//! An answer that cannot be read is kept. It outlives a kill, it is read again when its
//! description says better where its members are, and its operator can look at it, read it
//! by another description, take tokens out of it by hand, and drop it.

use crate::at_rest::open;
use crate::setting::{ONE, Setting, epoch};
use crate::support::wait_for;
use crate::tiny::Tiny;
use sandbox::Options;
use serde_json::Value;

const ODD: &str = r#"{"status":"ok","data":{"token":"at-odd-2","renew":"rt-odd-2","ttl":3600}}"#;
const ODD_EACH: &str =
    r#"{"status":"ok","data":{"token":"at-odd-#","renew":"rt-odd-#","ttl":3600}}"#;
const BETTER: &str = "[response]\nroot = \"data\"\naccess_token = \"token\"\nrefresh_token = \"renew\"\nexpires_in = \"ttl\"\n";

/// A grant whose refresh has brought an answer that cannot be read.
async fn unread(answer: &'static str) -> (Setting, Tiny) {
    let tiny = Tiny::answering(answer).await;
    let setting = Setting::new(Options::default(), ONE).await;
    setting.provider(&tiny.url);
    setting.plant("rt-odd-2");
    let response = setting.response("one").to_string();
    let at = epoch().to_string();
    setting
        .run_with(&["import", "one", "--obtained-at", &at], &response)
        .succeeds();
    (setting, tiny)
}

/// The same, whose daemon was killed then; and the answer's id.
async fn kept(answer: &'static str) -> (Setting, Tiny, String) {
    let (setting, tiny) = unread(answer).await;
    let daemon = setting.house.daemon();
    setting.run(&["refresh", "one", "--force"]);
    daemon.kill();
    let all = setting.house.json(&["answers", "one", "--json"]);
    let id = all["answers"][0]["id"].as_str().expect("one is kept");
    let id = id[..6].to_owned();
    (setting, tiny, id)
}

fn describe_better(setting: &Setting) {
    let path = setting.house.path("providers.d/pretend.toml");
    let provider = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, provider + BETTER).unwrap();
}

fn state(setting: &Setting) -> Value {
    setting.house.status("one")["state"].clone()
}

fn brought(setting: &Setting) {
    let file = setting.house.path("tokens/one");
    wait_for("the answer to be read", || {
        std::fs::read_to_string(&file).is_ok_and(|token| token == "at-odd-2")
    });
    let status = setting.house.status("one");
    assert_eq!(
        (&status["state"], &status["generation"]),
        (&"fresh".into(), &2.into())
    );
    assert!(status["expires_in"].as_i64().unwrap() > 3500, "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_with_a_better_description_reads_it() {
    let (setting, tiny) = unread(ODD).await;
    let daemon = setting.house.daemon();
    let ran = setting.run(&["refresh", "one", "--force"]);
    ran.fails(69, &["it has no access_token", "serves until"]);
    assert_eq!(state(&setting), "in-doubt");
    // A reload that changes nothing about it reads nothing.
    setting.run(&["reload"]).succeeds();
    assert_eq!(state(&setting), "in-doubt");
    describe_better(&setting);
    setting.run(&["reload"]).succeeds();
    brought(&setting);
    assert_eq!(tiny.requests().len(), 1, "nothing was sent again");
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn so_does_a_start() {
    let (setting, tiny) = unread(ODD).await;
    let daemon = setting.house.daemon();
    setting
        .run(&["refresh", "one", "--force"])
        .fails(69, &["it has no access_token"]);
    daemon.kill();
    describe_better(&setting);
    let daemon = setting.house.daemon();
    brought(&setting);
    assert_eq!(tiny.requests().len(), 1, "nothing was sent again");
    // What follows is presented with the refresh token that it brought.
    setting.run(&["refresh", "one", "--force"]);
    let last = tiny.requests().pop().unwrap();
    assert!(last.contains("refresh_token=rt-odd-2"));
    assert_eq!(daemon.stop(), Some(0));
}

/// Which of them has the refresh token that the provider goes on with, nobody knows: a
/// request may have been late on its way.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_unread_beside_it_is_kept_to_be_tried() {
    let (setting, tiny) = unread(ODD_EACH).await;
    setting.plant("rt-odd-1");
    let daemon = setting.house.daemon();
    let refresh = ["refresh", "one", "--force", "--accept-risk"];
    for _ in 0..2 {
        setting.run(&refresh).fails(69, &["it has no access_token"]);
    }
    describe_better(&setting);
    setting.run(&["reload"]).succeeds();
    brought(&setting);
    assert_eq!(tiny.requests().len(), 2, "nothing was sent again");
    assert_eq!(daemon.stop(), Some(0));
    let store = open(&setting.house).store;
    let grant = store.grant_by_name("one").await.unwrap().unwrap();
    let kept = store.candidates(&grant.id).await.unwrap();
    let tokens = kept.iter().filter_map(|kept| kept.tokens.as_ref());
    let tokens: Vec<&str> = tokens
        .filter_map(|tokens| Some(tokens.refresh_token.as_ref()?.expose()))
        .collect();
    assert_eq!(tokens, ["rt-odd-1"]);
    assert_eq!(store.unread(&grant.id).await.unwrap(), []);
}

fn has_token(setting: &Setting) {
    let file = setting.house.path("tokens/one");
    wait_for("the token", || {
        std::fs::read_to_string(&file).is_ok_and(|token| token == "at-odd-2")
    });
    let all = setting.house.json(&["answers", "--json"]);
    assert_eq!(all["answers"].as_array().unwrap().len(), 1, "{all}");
    assert!(
        all["answers"][0]["why"]
            .as_str()
            .unwrap()
            .contains("an import")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_taken_out_of_it_by_hand() {
    let (setting, tiny, id) = kept(ODD).await;
    let shown = setting.run(&["answers", "show", &id]);
    assert!(shown.out.contains("renew") && !shown.out.contains("rt-odd-2"));
    // Only here may a token be printed: its owner wants it.
    let full = setting.house.run(&["answers", "show", &id, "--full"]);
    assert_eq!(String::from_utf8(full.stdout).unwrap().trim(), ODD);
    // Only a person helps, also while nobody refreshes.
    setting
        .run(&["get", "one", "--min-valid", "90d"])
        .fails(77, &["refreshd answers one"]);
    // As it is read now, it cannot be.
    setting
        .run(&["answers", "read", &id])
        .fails(65, &["it has no access_token", "answers take"]);
    let _daemon = setting.house.daemon();
    // While it is kept, the old token is not presented, by force alone neither.
    setting
        .run(&["refresh", "one", "--force"])
        .fails(77, &["answers"]);
    assert_eq!(tiny.requests().len(), 1);
    // Nobody but a person helps, however long the access token lives.
    let checked = setting.run(&["status", "--check"]).ends(77);
    assert!(
        checked.out.contains("run refreshd answers one)"),
        "{checked:?}"
    );
    setting.run(&["doctor"]).ends(77);
    let report = setting.house.status("one");
    assert_eq!(report["act"], "refreshd answers one");
    assert_eq!(
        (&report["state"], &report["waits_for"]),
        (&"in-doubt".into(), &"person".into())
    );
    let paths = [
        "answers",
        "take",
        &id,
        "--access-token-at",
        "data.token",
        "--refresh-token-at",
        "data.renew",
    ];
    setting.run(&paths).succeeds();
    has_token(&setting);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_read_by_another_provider_file_or_dropped() {
    let (setting, _tiny, id) = kept(ODD).await;
    let path = setting.house.path("providers.d/pretend.toml");
    let better = std::fs::read_to_string(path).unwrap()
        + "[response]\nroot = \"data\"\naccess_token = \"token\"\nrefresh_token = \"renew\"\n";
    let file = setting.house.path("better.toml");
    std::fs::write(&file, better).unwrap();
    setting.run(&["answers", "drop", &id]).fails(64, &["--yes"]);
    let file = file.to_str().unwrap().to_owned();
    setting
        .run(&["answers", "read", &id, "--provider", &file])
        .succeeds();
    let _daemon = setting.house.daemon();
    has_token(&setting);
    let all = setting.house.json(&["answers", "--json"]);
    let id = all["answers"][0]["id"].as_str().unwrap().to_owned();
    setting.run(&["answers", "drop", &id, "--yes"]).succeeds();
    setting
        .run(&["answers", "drop", &id, "--yes"])
        .fails(66, &[]);
}

/// What holds a grant is gone with its last kept answer: a dropped one names no command
/// that leads nowhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_grant_is_held_no_longer_than_something_is_kept() {
    let (setting, tiny, id) = kept(ODD).await;
    let _daemon = setting.house.daemon();
    setting.run(&["status", "--check"]).ends(77);
    setting.run(&["answers", "drop", &id, "--yes"]).succeeds();
    setting.run(&["status", "--check"]).ends(75);
    let report = setting.house.status("one");
    assert_eq!(report["state"], "in-doubt", "{report}");
    assert_eq!(report["needs"], Value::Null, "{report}");
    // Its refresh token is presented again, once, as after any answer that was lost.
    assert!(report["next_refresh_at"].is_string(), "{report}");
    assert_eq!(tiny.requests().len(), 1);
    let listed = setting.run(&["answers"]).succeeds().out;
    assert!(listed.contains("nothing is kept"), "{listed}");
}
