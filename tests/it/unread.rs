//! An answer that cannot be read is kept, and read again when its description
//! says better where its members are.

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
