//! `refreshd import --from`: what other programs keep.

use crate::setting::{CLIENT_SECRET, ONE, Setting, epoch};
use crate::support::wait_for;
use sandbox::Options;
use serde_json::{Value, json};

const WARNING: &str = "must stop using it now";

/// Rclone's token for a response of the server's.
fn rclone_token(response: &Value, expires_in: i64) -> Value {
    let end = i64::try_from(epoch()).unwrap() + expires_in;
    let end = chrono::DateTime::from_timestamp(end, 123_456_789).unwrap();
    let end = end.with_timezone(&chrono::FixedOffset::east_opt(3600).unwrap());
    json!({
        "access_token": response["access_token"], "token_type": "bearer",
        "refresh_token": response["refresh_token"], "expiry": end.to_rfc3339(),
    })
}

fn google(response: &Value) -> Value {
    json!({
        "client_id": "pretend", "client_secret": CLIENT_SECRET,
        "refresh_token": response["refresh_token"], "type": "authorized_user",
        "universe_domain": "googleapis.com",
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn rclones_token_keeps_its_moment_of_expiry() {
    let setting = Setting::one().await;
    let daemon = setting.house.daemon();
    let response = setting.response("one");
    let conf = format!(
        "[plain]\ntype = sftp\n\n[box]\ntype = drive\nclient_id = pretend\ntoken = {}\n[other]\ntoken = {{}}\n",
        rclone_token(&response, 3000)
    );
    let import = |extra: &[&str], input: &str| {
        let args = [&["import", "one", "--from", "rclone"], extra].concat();
        setting.run_with(&args, input)
    };
    import(&[], &conf).fails(65, &["--section: box, other"]);
    import(&["--section", "plain"], &conf).fails(65, &["section [plain] has no line"]);
    import(&["--section", "other"], &conf).fails(65, &["has the field access_token"]);
    let foreign = conf.replace("= pretend", "= their-own-id");
    import(&["--section", "box"], &foreign).fails(65, &["client_id is not that of client pretend"]);
    setting
        .run(&["get", "one"])
        .fails(77, &["no token set yet"]);
    let ran = import(&["--section", "box"], &conf).succeeds();
    assert_eq!(ran.out, "one: created, generation 1\n");
    assert!(
        ran.err.contains(WARNING) && ran.err.contains("refresh token of one"),
        "{ran:?}"
    );
    let status = setting.house.status("one");
    let left = status["expires_in"].as_i64().unwrap();
    assert!((2900..=3000).contains(&left), "{status:#}");
    assert_eq!(setting.token("one"), response["access_token"]);
    // The same again, as the token alone.
    let token = rclone_token(&response, 3000);
    let ran = import(&[], &token.to_string()).succeeds();
    assert_eq!(ran.out, "one: unchanged, generation 1\n");
    setting.run(&["refresh", "one", "--force"]).succeeds();
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authorized_user_is_refreshed_at_once_and_nothing_is_published_before() {
    let setting = Setting::one().await;
    let daemon = setting.house.daemon();
    let response = setting.response("one");
    setting
        .server
        .queue_fault(None, sandbox::faults::Fault::Late { ms: 3000 });
    let document = google(&response);
    let import = |document: &Value| {
        let args = ["import", "one", "--from", "google-authorized-user"];
        setting.run_with(&args, &document.to_string())
    };
    for field in ["client_id", "client_secret", "refresh_token", "type"] {
        let mut lacking = document.clone();
        lacking.as_object_mut().unwrap().remove(field);
        import(&lacking).fails(65, &[&format!("has the field {field}, and this has none")]);
    }
    let mut foreign = document.clone();
    foreign["client_id"] = json!("another-app");
    import(&foreign).fails(65, &["client_id is not that of client pretend (pretend)"]);
    assert!(setting.server.presentations().is_empty());

    let ran = import(&document).succeeds();
    assert!(ran.err.contains(WARNING), "{ran:?}");
    // While the answer is late there is nothing to hand out, and nothing is.
    let status = setting.house.status("one");
    assert_eq!(
        (&status["generation"], &status["state"]),
        (&json!(1), &json!("expired"))
    );
    assert!(!setting.house.path("tokens/one").exists());
    setting
        .run(&["get", "one", "--timeout", "0s"])
        .fails(75, &["one"]);
    wait_for("the first access token", || {
        setting.house.status("one")["generation"] == 2
    });
    let token = setting.token("one");
    assert!(!token.is_empty());
    wait_for("the file", || setting.house.path("tokens/one").exists());
    assert_eq!(
        import(&document).succeeds().out,
        "one: unchanged, generation 2\n"
    );
    assert_eq!(setting.server.stats().grants["one"].reuses, 0);
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn at_rest_an_authorized_user_waits_for_the_daemon() {
    let setting = Setting::new(Options::default(), ONE).await;
    let response = setting.response("one");
    let args = ["import", "one", "--from", "google-authorized-user"];
    let ran = setting
        .run_with(&args, &google(&response).to_string())
        .succeeds();
    assert!(ran.err.contains(WARNING), "{ran:?}");
    setting.run(&["get", "one"]).fails(75, &["refreshd run"]);
    let daemon = setting.house.daemon();
    wait_for("the first access token", || {
        setting.house.status("one")["generation"] == 2
    });
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_may_each_say_where_they_come_from() {
    let setting = Setting::one().await;
    let daemon = setting.house.daemon();
    let (one, two) = (setting.response("one"), setting.response("two"));
    let lines = [
        json!({"name": "one", "from": "rclone", "response": rclone_token(&one, 3000)}),
        json!({"name": "two", "client": "pretend", "from": "google-authorized-user", "response": google(&two)}),
        json!({"name": "three", "client": "pretend", "from": "somewhere", "response": {}}),
    ];
    let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
    let ran = setting.run_with(&["import", "--ndjson"], &lines.join("\n"));
    ran.fails(65, &["line 3: ", "refresh tokens of one and 1 more"]);
    assert_eq!(ran.out, "2 imported, 1 refused\n");
    for args in [
        &["import", "one", "--section", "box"][..],
        &["import", "--ndjson", "--from", "rclone"],
        &["import", "one", "--from", "elsewhere"],
    ] {
        assert_eq!(setting.run(args).code, 64, "{args:?}");
    }
    assert_eq!(daemon.stop(), Some(0));
}
