//! `refreshd verify`.

use super::revoke::describe;
use crate::setting::{Setting, epoch};
use sandbox::faults::Outage;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_token_works_is_refused_or_cannot_be_told() {
    let setting = Setting::one().await;
    setting
        .run(&["verify", "one"])
        .fails(69, &["refreshd is not running", "no state"]);
    let (daemon, _) = setting.daemon_with_one();
    setting
        .run(&["verify", "one"])
        .fails(78, &["provider pretend has no verify URL", "[verify] url"]);
    describe(&setting, "");
    setting.run(&["reload"]).succeeds();
    let ran = setting.run(&["verify", "one"]).succeeds();
    assert_eq!(
        ran.out,
        "one: generation 1: it works: 127.0.0.1 answered HTTP 200\n"
    );
    let seen = setting.server.stats();
    setting
        .run(&["verify", "none"])
        .fails(66, &["no grant none"]);
    setting
        .server
        .set_outage(Some(Outage::Unavailable { retry_after: 1 }));
    setting
        .run(&["verify", "one"])
        .fails(75, &["HTTP 503, which says nothing"]);
    setting.server.set_outage(Some(Outage::Reset));
    setting
        .run(&["verify", "one"])
        .fails(69, &["one: generation 1"]);
    setting.server.set_outage(None);
    assert_eq!(
        setting.house.status("one")["generation"],
        1,
        "nothing is changed by it"
    );
    assert_eq!(setting.server.stats().grants, seen.grants);

    // At rest the command asks by itself.
    assert_eq!(daemon.stop(), Some(0));
    setting.run(&["verify", "one"]).succeeds();
    setting.server.withdraw_grant("one");
    let ran = setting.run(&["verify", "one", "--json"]);
    assert_eq!(ran.code, 77, "{ran:?}");
    let verified: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(verified["verdict"], "refused");
    setting
        .run(&["verify", "one", "--refresh"])
        .fails(69, &["refreshd is not running"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_is_replaced_where_that_is_wished() {
    let setting = Setting::one().await;
    describe(&setting, "");
    let daemon = setting.house.daemon();
    let import = |name: &str| {
        let mut response = setting.response(name);
        let dead = format!("planted-dead-{name}");
        response["access_token"] = json!(dead);
        setting.plant(&dead);
        // Older than the moment for which a new one is left alone.
        let before = (epoch() - 60).to_string();
        let args = [
            "import",
            name,
            "--client",
            "pretend",
            "--obtained-at",
            &before,
        ];
        setting.run_with(&args, &response.to_string()).succeeds();
    };
    import("one");
    setting
        .run(&["verify", "one"])
        .fails(77, &["refused", "HTTP 401"]);
    let generation = &setting.house.status("one")["generation"];
    assert_eq!(*generation, 1, "only with --refresh");
    let ran = setting.run(&["verify", "one", "--refresh"]).succeeds();
    let replaced = "it was replaced: generation 2 until ";
    assert!(ran.out.contains(replaced), "{ran:?}");
    setting.run(&["verify", "one"]).succeeds();
    // One that cannot be replaced.
    import("two");
    setting.server.withdraw_grant("two");
    setting
        .run(&["verify", "two", "--refresh"])
        .fails(77, &["was not replaced"]);
    assert_eq!(daemon.stop(), Some(0));
}
