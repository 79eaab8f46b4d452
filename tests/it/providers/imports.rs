//! What a person may get wrong when bringing a grant.

use super::{Place, epoch};
use crate::support::text;
use sandbox::{DEFAULT_REDIRECT_URI, Kind, Options};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn reteno_without_its_code_is_refused_at_once() {
    let place = Place::new(Options::of(Kind::Reteno), "").await;
    let line = place.line();
    for code in [Value::Null, json!("")] {
        let mut without = line.clone();
        without["code"] = code;
        let refused = place.import(&without);
        assert_eq!(refused.status.code(), Some(65));
        let message = text(&refused.stderr);
        assert!(message.contains("--code-file"), "{message}");
    }
    // The single form takes it from a file.
    place.house.secret("code", line["code"].as_str().unwrap());
    let file = place.house.path("code");
    let (file, at) = (file.to_str().unwrap(), epoch().to_string());
    let args = ["import", "one", "--code-file", file, "--obtained-at", &at];
    let imported = place.house.run_with(&args, &line["response"].to_string());
    assert!(imported.status.success(), "{}", text(&imported.stderr));
    let _daemon = place.house.daemon();
    let refreshed = place.force();
    assert!(refreshed.status.success(), "{}", text(&refreshed.stderr));
    place.works_at(2);
}

/// What may not be a `business_id`.
fn bad_business_ids() -> Vec<String> {
    let bad = [
        "a.b",
        "a/b",
        "evil@a",
        "xn--80ak6aa92e",
        "",
        "A",
        "-a",
        "a b",
        "a:80",
        "a?",
        "é",
    ];
    let mut bad: Vec<String> = bad.map(str::to_owned).to_vec();
    bad.push("a".repeat(64));
    bad
}

#[tokio::test(flavor = "multi_thread")]
async fn a_business_id_that_is_no_dns_label_goes_nowhere() {
    let place = Place::new(Options::of(Kind::Retm), "").await;
    let config = std::fs::read_to_string(place.house.config()).unwrap();
    for bad in bad_business_ids() {
        // In the configuration: told with its place.
        let quoted = serde_json::to_string(&bad).unwrap();
        std::fs::write(place.house.config(), config.replace("\"shop-17\"", &quoted)).unwrap();
        let checked = place.house.run(&["check"]);
        assert_eq!(checked.status.code(), Some(78), "{bad:?}");
        let message = text(&checked.stderr) + &text(&checked.stdout);
        assert!(
            message.contains("refreshd.toml:") && message.contains("one DNS label"),
            "{message}"
        );
        std::fs::write(place.house.config(), &config).unwrap();
        // In an import of a grant that is not configured.
        let mut line = place.line();
        line["name"] = json!("two");
        line["client"] = json!("c");
        line["vars"] = json!({ "business_id": bad });
        let refused = place.import(&line);
        assert_eq!(refused.status.code(), Some(65), "{bad:?}");
        let message = text(&refused.stderr);
        assert!(message.contains("business_id"), "{message}");
    }
    assert!(place.server.presentations().is_empty());
    let grants = place.house.json(&["status", "--json"])["grants"].clone();
    assert_eq!(
        grants.as_array().unwrap().len(),
        1,
        "nothing was stored: {grants}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn expires_in_in_every_odd_form_loses_nothing() {
    let place = Place::new(Options::of(Kind::Retently), "").await;
    let odd = [
        // expires_in, and what is left at most and at least
        (json!("21600"), 21_600, 21_500),
        (json!(" 21600 "), 21_600, 21_500),
        (json!("21600.0"), 21_600, 21_500),
        (json!(21_599.98), 21_600, 21_500),
        (json!(2.16e4), 21_600, 21_500),
        (json!(epoch() + 5000), 5000, 4900),
        (json!(631_152_000), 631_152_000, 631_151_900),
        (json!(9_007_199_254_740_993_i64), 3_155_760_000_u64, 21_500),
        // The description's six hours, where nothing is said that can be meant.
        (json!(null), 21_600, 21_500),
        (json!(""), 21_600, 21_500),
        (json!("soon"), 21_600, 21_500),
        (json!(true), 21_600, 21_500),
        (json!([3600]), 21_600, 21_500),
        (json!(0), 21_600, 21_500),
    ];
    for (expires_in, most, least) in odd {
        let mut line = place.line();
        line["response"]["expires_in"] = expires_in.clone();
        let imported = place.import(&line);
        assert!(
            imported.status.success(),
            "{expires_in}: {}",
            text(&imported.stderr)
        );
        let left = place.status()["expires_in"].as_u64().unwrap();
        assert!((least..=most).contains(&left), "{expires_in}: {left}");
    }
    let mut line = place.line();
    line["response"]["expires_in"] = json!(-5);
    assert!(place.import(&line).status.success());
    let _daemon = place.house.daemon();
    let generation = place.status()["generation"].as_u64().unwrap();
    crate::support::wait_for("its replacement", || {
        place.status()["generation"].as_u64().unwrap() > generation
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_configuration_says_otherwise_is_refused() {
    let place = Place::new(Options::of(Kind::Retm), "").await;
    let mut line = place.line();
    line["vars"] = json!({ "business_id": "shop-18" });
    let refused = place.import(&line);
    assert_eq!(refused.status.code(), Some(65));
    let message = text(&refused.stderr);
    let both = "business_id shop-17, the import says shop-18";
    assert!(message.contains(both), "{message}");
    line["vars"] = json!({ "business_id": "shop-17" });
    assert!(place.import(&line).status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_could_not_be_sent_is_told_before_the_first() {
    let place = Place::new(Options::of(Kind::Retently), "").await;
    let config = std::fs::read_to_string(place.house.config()).unwrap();
    let of_the_client = format!("redirect_uri = \"{DEFAULT_REDIRECT_URI}\"\n");
    let config = config.replace(&of_the_client, "");
    let of_the_grant = format!("[grants.one]\n{of_the_client}");
    let config = config.replace("[grants.one]\n", &of_the_grant);
    std::fs::write(place.house.config(), config).unwrap();
    let mut line = place.line();
    line["name"] = json!("two");
    line["client"] = json!("c");
    let refused = place.import(&line);
    assert_eq!(refused.status.code(), Some(65));
    let message = text(&refused.stderr);
    assert!(message.contains("redirect_uri"), "{message}");
    line["redirect_uri"] = json!(DEFAULT_REDIRECT_URI);
    let imported = place.import(&line);
    assert!(imported.status.success(), "{}", text(&imported.stderr));
}
