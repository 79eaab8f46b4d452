//! `refreshd get`: a token that lives as long as asked, or a code that says why not.

use crate::setting::{Setting, epoch};
use crate::support::{Daemon, wait_for};
use sandbox::Options;
use sandbox::faults::Fault;
use std::time::Duration;

/// A daemon, and a token with 50 of its 60 minutes left.
async fn aged() -> (Setting, Daemon) {
    let setting = Setting::one().await;
    let daemon = setting.house.daemon();
    let response = setting.response("one").to_string();
    let at = (epoch() - 600).to_string();
    setting
        .run_with(&["import", "one", "--obtained-at", &at], &response)
        .succeeds();
    (setting, daemon)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_lives_long_enough_is_printed_as_it_is() {
    let (setting, daemon) = aged().await;
    let token = setting.token("one");
    for min_valid in ["0s", "10m", "45m"] {
        let ran = setting.run(&["get", "one", "--min-valid", min_valid]);
        assert_eq!(ran.succeeds().out, format!("{token}\n"));
    }
    let ran = setting.run(&["get", "one", "--json"]).succeeds();
    let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(json["access_token"], token);
    assert_eq!(json["token_type"], "Bearer");
    assert_eq!(json["generation"], 1);
    assert_eq!(json["name"], "one");
    assert!(json.get("refresh_token").is_none());
    let left = json["expires_at"].as_u64().unwrap() - epoch();
    assert!((2900..=3000).contains(&left), "{left}");
    assert!(setting.server.presentations().is_empty());
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_does_not_is_refreshed_first() {
    let (setting, daemon) = aged().await;
    let old = setting.token("one");
    setting.server.queue_fault(None, Fault::Late { ms: 1000 });
    let ran = setting
        .run(&["get", "one", "--min-valid", "55m"])
        .succeeds();
    assert_ne!(ran.out.trim(), old);
    assert_eq!(setting.house.status("one")["generation"], 2);
    // Longer than any token lives, and just after a refresh.
    setting.run(&["get", "one", "--min-valid", "2h"]).fails(
        75,
        &[
            "one: the access token lives, but less than 2h",
            "not before 20",
        ],
    );
    assert_eq!(setting.server.presentations().len(), 1);
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_share_one_refresh() {
    let (setting, daemon) = aged().await;
    setting.server.queue_fault(None, Fault::Late { ms: 1500 });
    let args = ["get", "one", "--min-valid", "55m"];
    let waiting: Vec<_> = (0..8).map(|_| setting.begin(&args)).collect();
    let tokens: Vec<String> = waiting
        .into_iter()
        .map(|child| setting.end(&args, child).succeeds().out)
        .collect();
    assert!(tokens.iter().all(|token| *token == tokens[0]));
    assert_eq!(setting.server.presentations().len(), 1);
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_does_not_wait_long_is_told_to_try_again() {
    let (setting, daemon) = aged().await;
    setting.server.queue_fault(None, Fault::Late { ms: 2500 });
    setting
        .run(&["get", "one", "--min-valid", "55m", "--timeout", "200ms"])
        .fails(75, &["has not ended yet; it goes on"]);
    // Who only wants a living token does not wait for the exchange.
    assert_eq!(setting.house.status("one")["refreshing"], true);
    setting.token("one");
    assert_eq!(setting.house.status("one")["generation"], 1);
    wait_for("the refresh", || {
        setting.house.status("one")["generation"] == 2
    });
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_and_pending_grants_have_codes_of_their_own() {
    let setting = Setting::one().await;
    let daemon = setting.house.daemon();
    setting
        .run(&["get", "nobody"])
        .fails(66, &["no grant nobody", "refreshd status"]);
    setting.run(&["get", "one"]).fails(
        77,
        &[
            "no token set yet",
            "refreshd authorize one",
            "refreshd import one",
        ],
    );
    assert_eq!(daemon.stop(), Some(0));
    setting
        .run(&["get", "nobody"])
        .fails(66, &["no grant nobody"]);
    setting
        .run(&["get", "one"])
        .fails(77, &["no token set yet"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_grant_serves_its_living_token_and_then_77() {
    let options = Options {
        access_lifetime: Duration::from_secs(6),
        ..Options::default()
    };
    let setting = Setting::new(options, crate::setting::ONE).await;
    let (daemon, _) = setting.daemon_with_one();
    assert!(setting.server.withdraw_grant("one"));
    wait_for("the refusal", || {
        setting.house.status("one")["state"] == "refused"
    });
    let expires_in = || setting.house.status("one")["expires_in"].as_i64().unwrap();
    if expires_in() > 1 {
        setting.token("one");
    }
    wait_for("the end of the token", || expires_in() < 0);
    setting
        .run(&["get", "one"])
        .fails(77, &["one: the access token is over", "authorize again"]);
    assert_eq!(setting.server.stats().grants["one"].presentations, 1);
    assert_eq!(daemon.stop(), Some(0));
    setting.run(&["get", "one"]).fails(77, &["authorize again"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_token_whose_provider_is_away_is_75() {
    let options = Options {
        access_lifetime: Duration::from_secs(4),
        ..Options::default()
    };
    let setting = Setting::new(options, crate::setting::ONE).await;
    let (daemon, _) = setting.daemon_with_one();
    setting
        .server
        .set_now_and_then(sandbox::faults::NowAndThen {
            probability: 1.0,
            faults: vec![Fault::Unavailable {
                retry_after: 60,
                performed: false,
            }],
            spare_next: false,
        });
    let expires_in = || setting.house.status("one")["expires_in"].as_i64().unwrap();
    wait_for("the end of the token", || expires_in() < 0);
    setting
        .run(&["get", "one"])
        .fails(75, &["one: the access token is over"]);
    assert_eq!(daemon.stop(), Some(0));
    setting.run(&["get", "one"]).fails(75, &["refreshd run"]);
}
