//! Twenty years: delivered, watched, announced, and no request ever.

use super::{Place, epoch};
use crate::support::{text, wait_for};
use sandbox::{Kind, Options};
use serde_json::Value;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn it_is_delivered_and_left_alone() {
    let place = Place::new(Options::of(Kind::Vcita), "").await;
    let daemon = place.house.daemon();
    place.authorize();
    place.works_at(1);
    let status = place.status();
    assert_eq!(status["state"], "fresh");
    assert_eq!(status["next_refresh_at"], Value::Null);
    assert_eq!(status["needs"], Value::Null, "twenty years are far");
    let expires_in = status["expires_in"].as_u64().unwrap();
    assert!((631_151_000..=631_152_000).contains(&expires_in));
    assert_eq!(status["reauthorize_before"], status["expires_at"]);
    let table = text(&place.house.run(&["status"]).stdout);
    assert!(!table.contains("authorize again before"), "{table}");

    // A timer armed that far would overflow and fire at once, over and over.
    let before = processor_time(daemon.pid());
    std::thread::sleep(Duration::from_secs(3));
    let used = processor_time(daemon.pid()) - before;
    assert!(used < Duration::from_millis(300), "{used:?} while idle");
    assert!(place.server.presentations().is_empty());

    let refused = place.force();
    assert_eq!(refused.status.code(), Some(77));
    let message = text(&refused.stderr);
    assert!(message.contains("authorize again"), "{message}");
    assert_eq!(daemon.stop(), Some(0));
}

/// User and system time of a process so far.
fn processor_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

#[tokio::test(flavor = "multi_thread")]
async fn created_at_counts_where_it_is_the_earlier() {
    let place = Place::new(Options::of(Kind::Vcita), "").await;
    let mut line = place.line();
    let a_year_ago = epoch() - 31_557_600;
    line["response"]["created_at"] = a_year_ago.into();
    assert!(place.import(&line).status.success());
    let expires_in = place.status()["expires_in"].as_u64().unwrap();
    let nineteen_years = 631_152_000 - 31_557_600;
    assert!(expires_in <= nineteen_years && expires_in > nineteen_years - 600);
}

#[tokio::test(flavor = "multi_thread")]
async fn its_owner_is_told_in_good_time() {
    let place = Place::new(Options::of(Kind::Vcita), "").await;
    let daemon = place.house.daemon();
    let days_left = |days: u64| {
        let mut line = place.line();
        line["obtained_at"] = (epoch() - 631_152_000 + days * 86_400 - 60).into();
        line["response"]["created_at"] = line["obtained_at"].clone();
        assert!(place.import(&line).status.success());
    };
    for (days, told) in [(20, false), (13, true), (2, true)] {
        days_left(days);
        let status = place.status();
        let needs = status["needs"].as_str().unwrap_or_default();
        assert_eq!(needs.contains("authorize again before"), told, "{status}");
    }
    let announced = daemon.log().matches("authorize it again before").count();
    assert_eq!(announced, 2, "{}", daemon.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn its_end_is_told_and_the_token_stays() {
    let options = Options {
        access_lifetime: Duration::from_secs(4),
        ..Options::of(Kind::Vcita)
    };
    let place = Place::new(options, "").await;
    let daemon = place.house.daemon();
    place.authorize();
    place.works_at(1);
    wait_for("the end", || place.status()["state"] == "refused");
    wait_for("the announcement", || {
        daemon
            .log()
            .contains("cannot be refreshed; authorize it again")
    });
    let needs = place.status()["needs"].as_str().unwrap().to_owned();
    assert!(needs.contains("authorize again"), "{needs}");
    assert!(place.house.path("tokens/one").exists());
    assert!(place.server.presentations().is_empty());
    // Authorizing again goes on under the same name.
    place.authorize();
    place.works_at(2);
}
