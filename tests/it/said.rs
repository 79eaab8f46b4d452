//! What an answer says besides tokens reaches the people it is for.

use crate::setting::{ONE, Setting, epoch};
use crate::tiny::Tiny;
use sandbox::Options;

/// A grant with a living token, at an endpoint that answers every refresh alike.
async fn answered(answer: &'static str) -> (Setting, Tiny) {
    let tiny = Tiny::answering(answer).await;
    let setting = Setting::new(Options::default(), ONE).await;
    setting.provider(&tiny.url);
    let response = setting.response("one").to_string();
    let at = epoch().to_string();
    setting
        .run_with(&["import", "one", "--obtained-at", &at], &response)
        .succeeds();
    (setting, tiny)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_asked_while_the_token_lives() {
    let answer =
        r#"{"error":"interaction_required","error_description":"AADSTS50076: use two factors"}"#;
    let (setting, tiny) = answered(answer).await;
    let daemon = setting.house.daemon();
    setting
        .run(&["refresh", "one", "--force"])
        .fails(77, &["interaction_required", "AADSTS50076"]);
    setting.run(&["get", "one"]).succeeds();
    let status = setting.house.status("one");
    assert_eq!(status["state"], "refused");
    let needs = status["needs"].as_str().unwrap();
    assert!(needs.contains("`refreshd authorize one`"), "{needs}");
    for args in [&["doctor"][..], &["status", "one"]] {
        let told = setting.run(args).out;
        assert!(told.contains("AADSTS50076"), "{args:?}: {told}");
        assert!(told.contains("refreshd authorize one"), "{args:?}: {told}");
    }
    // Nobody who waits longer gets more.
    setting
        .run(&["refresh", "one"])
        .fails(77, &["authorize again"]);
    assert_eq!(tiny.requests().len(), 1);
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_odd_about_a_success_reaches_status() {
    let answer = r#"{"access_token":"at-odd-#","token_type":"bearer","refresh_token":"rt-odd-#","expires_at":"6/1/2017 2:24:46 PM"}"#;
    let (setting, _tiny) = answered(answer).await;
    setting.plant("rt-odd-1");
    let daemon = setting.house.daemon();
    setting.run(&["refresh", "one", "--force"]).succeeds();
    let odd = "expires_at cannot be read";
    let told = setting.run(&["status", "one"]).succeeds().out;
    assert!(told.contains(odd), "{told}");
    let status = setting.house.status("one");
    assert_eq!(status["last_outcome"]["kind"], "success");
    let text = status["last_outcome"]["text"].as_str().unwrap();
    assert!(
        text.contains(odd) && text.contains("as last stated"),
        "{text}"
    );
    assert!(status["expires_in"].as_i64().unwrap() > 3500, "{status}");
    assert_eq!(daemon.stop(), Some(0));
}
