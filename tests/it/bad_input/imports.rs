//! Imports that are refused, and imports that change nothing.

use crate::setting::{Setting, epoch};
use crate::support::wait_for;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn bad_lines_are_named_by_number_and_good_ones_kept() {
    let setting = Setting::one().await;
    let daemon = setting.house.daemon();
    let line = |name: &str| {
        let response = setting.response(name);
        json!({"name": name, "client": "pretend", "response": response, "obtained_at": epoch()})
            .to_string()
    };
    let mut of_nobody: Value = serde_json::from_str(&line("d")).unwrap();
    of_nobody["client"] = "nobody".into();
    let mut unknown_key: Value = serde_json::from_str(&line("e")).unwrap();
    unknown_key["acces_token"] = "planted-4711".into();
    setting.plant("planted-4711");
    let lines = [
        line("a"),
        "this is not JSON: planted-0815".to_owned(),
        line("b"),
        String::new(),
        line("Not A Name"),
        of_nobody.to_string(),
        unknown_key.to_string(),
        "{\"name\":\"f\",\"client\":\"pretend\",\"response\":{\"error\":\"invalid_grant\",\"refresh_token\":\"planted-1234\"}}"
            .to_owned(),
        line("c"),
    ];
    setting.plant("planted-0815");
    setting.plant("planted-1234");
    let ran = setting.run_with(&["import", "--ndjson"], &lines.join("\n"));
    ran.fails(65, &["line 2:", "line 5:", "line 6:", "line 7:", "line 8:"]);
    assert!(ran.err.contains("\"nobody\""), "{}", ran.err);
    assert!(ran.out.contains("3 imported, 5 refused"), "{}", ran.out);
    for name in ["a", "b", "c"] {
        assert_eq!(setting.house.status(name)["generation"], 1);
    }
    for name in ["d", "e", "f"] {
        setting.run(&["status", name]).fails(66, &[name]);
    }
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_token_response_is_refused_and_the_old_one_stays() {
    let setting = Setting::one().await;
    let (daemon, _) = setting.daemon_with_one();
    let token = setting.token("one");
    setting.plant("planted-a");
    let with_line_feed = [
        json!({"access_token": "planted-a\nX-Evil: 1", "refresh_token": "planted-r"}),
        json!({"access_token": "planted-a", "refresh_token": "planted-r\n"}),
        json!({"access_token": "planted-a\r", "refresh_token": "planted-r"}),
        json!({"access_token": "", "refresh_token": "planted-r"}),
        json!({"refresh_token": "planted-a"}),
        json!(["planted-a"]),
        json!("planted-a"),
    ];
    for response in with_line_feed {
        let ran = setting.run_with(&["import", "one"], &response.to_string());
        ran.fails(65, &["one: "]);
    }
    for text in ["", "planted-a", "{\"access_token\": \"planted-a\""] {
        setting
            .run_with(&["import", "one"], text)
            .fails(65, &["is not a token response in JSON"]);
    }
    assert_eq!(setting.token("one"), token);
    assert_eq!(setting.house.status("one")["generation"], 1);
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_none_are_refused() {
    let setting = Setting::one().await;
    let daemon = setting.house.daemon();
    let long = "a".repeat(64);
    for name in ["", "A", "a b", "../etc", "-a", ".a", "a/b", "ä", &long] {
        let response = setting.response("x").to_string();
        // `--`: a name may begin with a dash.
        let ran = setting.run_with(&["import", "--client", "pretend", "--", name], &response);
        ran.fails(65, &["is not a name"]);
    }
    for name in ["A", "../etc", "a/b", "nobody"] {
        setting.run(&["get", name]).fails(66, &["no grant"]);
        setting.run(&["refresh", name]).fails(66, &["no grant"]);
    }
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_refresh_token_belongs_to_one_grant() {
    let setting = Setting::one().await;
    let (daemon, response) = setting.daemon_with_one();
    let again = |name: &str, response: &Value| {
        setting.run_with(
            &["import", name, "--client", "pretend"],
            &response.to_string(),
        )
    };
    again("two", &response).fails(65, &["two: ", "belongs to the grant one already"]);
    setting.run(&["refresh", "one", "--force"]).succeeds();
    // Its first form too, which the provider has rotated away.
    again("two", &response).fails(65, &["belongs to the grant one already"]);
    setting.run(&["status", "two"]).fails(66, &["two"]);
    // In one batch as well.
    let shared = setting.response("shared");
    let line = |name| json!({"name": name, "client": "pretend", "response": shared}).to_string();
    let lines = format!("{}\n{}\n", line("x"), line("y"));
    let ran = setting.run_with(&["import", "--ndjson"], &lines);
    ran.fails(65, &["belongs to the grant"]);
    assert!(ran.out.contains("1 imported, 1 refused"), "{}", ran.out);
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn importing_again_does_nothing_even_after_rotations() {
    let setting = Setting::one().await;
    let (daemon, response) = setting.daemon_with_one();
    let import = |extra: &[&str]| {
        let args = [&["import", "one"], extra].concat();
        setting
            .run_with(&args, &response.to_string())
            .succeeds()
            .out
    };
    assert_eq!(import(&[]), "one: unchanged, generation 1\n");
    for generation in 2..=3 {
        setting.run(&["refresh", "one", "--force"]).succeeds();
        let unchanged = format!("one: unchanged, generation {generation}\n");
        assert_eq!(import(&[]), unchanged);
        assert_eq!(import(&["--obtained-at", &epoch().to_string()]), unchanged);
    }
    // The rotated token still refreshes, and none was ever presented twice.
    setting.run(&["refresh", "one", "--force"]).succeeds();
    assert_eq!(setting.server.stats().grants["one"].reuses, 0);
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(import(&[]), "one: unchanged, generation 4\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_token_set_is_refused_unless_it_is_to_replace() {
    let setting = Setting::one().await;
    let (daemon, _) = setting.daemon_with_one();
    let token = setting.token("one");
    let other = setting.response("other").to_string();
    let hour_ago = (epoch() - 3600).to_string();
    let args = ["import", "one", "--obtained-at", &hour_ago];
    setting
        .run_with(&args, &other)
        .fails(65, &["one: ", "was obtained at", "--replace"]);
    assert_eq!(setting.token("one"), token);
    let newer = (epoch() + 1).to_string();
    let third = setting.response("third").to_string();
    let ran = setting.run_with(&["import", "one", "--obtained-at", &newer], &third);
    assert_eq!(ran.succeeds().out, "one: re-authorized, generation 2\n");
    let ran = setting.run_with(&[&args[..], &["--replace"]].concat(), &other);
    assert_eq!(ran.succeeds().out, "one: re-authorized, generation 3\n");
    // It was an hour old, so it is replaced at once.
    wait_for("a refresh", || {
        setting.house.status("one")["generation"] == 4
    });
    assert_eq!(setting.server.stats().grants["other"].presentations, 1);
    for bad in ["soon", "-5", "1e99", "2026-13-01T00:00:00Z"] {
        let set = format!("--obtained-at={bad}");
        setting
            .run_with(&["import", "one", &set], &third)
            .fails(65, &["obtained_at"]);
    }
    assert_eq!(daemon.stop(), Some(0));
}
