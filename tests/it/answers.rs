//! What is kept of answers that could not be read outlives a kill, and its operator can
//! look at it, read it again, take tokens out of it by hand, and drop it.

use crate::setting::{ONE, Setting, epoch};
use crate::support::wait_for;
use crate::tiny::Tiny;
use sandbox::Options;

const ODD: &str = r#"{"status":"ok","data":{"token":"at-odd-2","renew":"rt-odd-2","ttl":3600}}"#;

async fn kept(answer: &'static str) -> (Setting, Tiny, String) {
    let tiny = Tiny::answering(answer).await;
    let setting = Setting::new(Options::default(), ONE).await;
    setting.provider(&tiny.url);
    setting.plant("rt-odd-2");
    let response = setting.response("one").to_string();
    let at = epoch().to_string();
    setting
        .run_with(&["import", "one", "--obtained-at", &at], &response)
        .succeeds();
    let daemon = setting.house.daemon();
    setting.run(&["refresh", "one", "--force"]);
    daemon.kill();
    let all = setting.house.json(&["answers", "one", "--json"]);
    let id = all["answers"][0]["id"].as_str().expect("one is kept");
    (setting, tiny, id[..6].to_owned())
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
