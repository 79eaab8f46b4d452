//! `refreshd status`: a table for people, JSON for programs.

use crate::setting::{ONE, Setting};
use sandbox::Options;
use serde_json::Value;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn the_table_fits_into_80_columns_whatever_the_names() {
    let long = "a-very-long-name-of-a-grant-that-goes-on-and-on-up-to-63-letter";
    assert_eq!(long.len(), 63);
    let options = Options {
        access_lifetime: Duration::from_secs(400 * 365 * 86_400),
        ..Options::default()
    };
    let config = format!("{ONE}\n[grants.{long}]\nclient = \"pretend\"\n");
    let setting = Setting::new(
        options,
        &config.replace(
            "provider = \"pretend\"",
            "provider = \"a-provider-with-a-long-name\"",
        ),
    )
    .await;
    setting.house.write(
        "providers.d/a-provider-with-a-long-name.toml",
        &format!(
            "name = \"a-provider-with-a-long-name\"\n[token]\nurl = \"{}\"\n",
            setting.server.token_url()
        ),
    );
    let (daemon, _) = setting.daemon_with_one();
    setting.import(long);
    setting.run(&["refresh", long, "--force"]).succeeds();
    let table = setting.run(&["status"]).succeeds().out;
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 5, "{table}");
    for line in &lines {
        assert!(line.chars().count() <= 80, "{line}");
    }
    assert_eq!(lines[0], "all is well: nothing needs a person");
    assert_eq!(lines[1], "2 grants: 2 fresh");
    let lines = &lines[2..];
    let words: Vec<&str> = lines[0].split_whitespace().collect();
    assert_eq!(
        words,
        [
            "GRANT", "PROVIDER", "STATE", "GEN", "EXPIRES", "NEXT", "LAST"
        ]
    );
    let words: Vec<&str> = lines[1].split_whitespace().collect();
    assert_eq!(
        words[..4],
        ["a-very-long-name-of…", "a-provide…", "fresh", "2"],
        "{table}"
    );
    assert_eq!(words[6], "success");
    assert!(lines[2].starts_with("one "), "{table}");
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn json_has_what_an_operator_asks_for() {
    let options = Options {
        refresh_lifetime: Some(Duration::from_secs(30 * 86_400)),
        ..Options::default()
    };
    let config = format!("{ONE}\n[grants.two]\nclient = \"pretend\"\n");
    let setting = Setting::new(options, &config).await;
    setting.house.write(
        "providers.d/pretend.toml",
        &format!(
            "name = \"pretend\"\n[token]\nurl = \"{}\"\n[lifetime]\nrefresh = \"30d\"\n[rotation]\nrotates = \"always\"\n",
            setting.server.token_url()
        ),
    );
    let (daemon, _) = setting.daemon_with_one();
    let status = setting.house.json(&["status", "--json"]);
    assert_eq!(status["running"], true);
    assert_eq!(status["pid"], daemon.pid());
    let grants = status["grants"].as_array().unwrap();
    assert_eq!(grants.len(), 2);
    let one = &grants[0];
    assert_eq!(one["grant"], "one");
    assert_eq!(one["client"], "pretend");
    assert_eq!(one["provider"], "pretend");
    assert_eq!(one["state"], "fresh");
    assert_eq!(one["generation"], 1);
    assert_eq!(one["refreshing"], false);
    assert_eq!(one["last_outcome"]["kind"], "authorized");
    assert_eq!(one["urgency"], "well");
    let expires_in = one["expires_in"].as_i64().unwrap();
    assert!((3500..=3600).contains(&expires_in), "{one:#}");
    // Six minutes ahead, and up to 72 s of jitter.
    let next = one["next_refresh_in"].as_i64().unwrap();
    assert!(
        (3600 - 360 - 72 - 60..=3600 - 360).contains(&next),
        "{one:#}"
    );
    for time in ["expires_at", "next_refresh_at", "refresh_token_expires_at"] {
        let text = one[time]
            .as_str()
            .unwrap_or_else(|| panic!("{time}: {one:#}"));
        chrono::DateTime::parse_from_rfc3339(text).unwrap();
    }
    let two = &grants[1];
    assert_eq!(two["state"], "pending");
    assert_eq!(two["generation"], 0);
    assert_eq!(two["expires_in"], Value::Null);
    assert!(two["why"].as_str().unwrap().contains("refreshd import"));
    assert_eq!(two["act"], "refreshd authorize two");
    // The same facts in a few words.
    let summary = &status["summary"];
    assert_eq!(
        summary["headline"],
        "1 grant needs a person: two (never authorized; run refreshd authorize two)"
    );
    let facts = (&summary["urgency"], &summary["exit"], &summary["grants"]);
    assert_eq!(facts, (&"person".into(), &77.into(), &2.into()));
    let states = serde_json::json!({ "fresh": 1, "pending": 1 });
    assert_eq!(summary["states"], states);
    assert_eq!(summary["urgent"][0]["grants"], serde_json::json!(["two"]));
    setting.run(&["status", "--check"]).ends(77);
    setting.run(&["status", "--check", "one"]).succeeds();
    setting
        .run(&["status", "--check", "two", "--json"])
        .ends(77);
    setting.run(&["doctor"]).ends(77);

    setting.run(&["refresh", "one", "--force"]).succeeds();
    let one = setting.house.status("one");
    assert_eq!(one["generation"], 2);
    assert_eq!(one["last_outcome"]["kind"], "success");
    assert_eq!(one["last_outcome"]["text"], "");

    setting
        .run(&["status", "nobody"])
        .fails(66, &["no grant nobody"]);
    setting
        .run(&["status", "one", "nobody"])
        .fails(66, &["no grant nobody"]);
    let only = setting.house.json(&["status", "--json", "two"]);
    assert_eq!(only["grants"].as_array().unwrap().len(), 1);
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_stands_below_the_table_in_the_providers_words() {
    let setting = Setting::one().await;
    let (daemon, _) = setting.daemon_with_one();
    assert!(setting.server.withdraw_grant("one"));
    setting
        .run(&["refresh", "one", "--force"])
        .fails(77, &["invalid_grant"]);
    let table = setting.run(&["status"]).succeeds().out;
    let first = "1 grant needs a person: one (refused by the provider; run refreshd authorize one)\n1 grant: 1 refused\nGRANT ";
    assert!(table.starts_with(first), "{table}");
    // Once, with what to do.
    assert_eq!(
        table.matches("one: the provider refused").count(),
        1,
        "{table}"
    );
    let act = "authorize again with `refreshd authorize one`, or try once more with `refreshd refresh one --force`";
    assert!(table.contains(act), "{table}");
    assert!(table.contains("one: invalid-grant at 20"), "{table}");
    assert!(table.contains("invalid_grant"), "{table}");
    let doctor = setting.run(&["doctor"]).ends(77).out;
    assert!(doctor.contains("authorize again"), "{doctor}");
    assert_eq!(daemon.stop(), Some(0));
}
