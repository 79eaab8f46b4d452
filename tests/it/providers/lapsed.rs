//! Down for longer than a refresh token lives.

use super::{Place, epoch};
use crate::support::{Daemon, text, wait_for};
use sandbox::faults::Outage;
use sandbox::{Kind, Options};
use serde_json::Value;
use std::time::Duration;

const DAY: u64 = 86_400;

/// A grant whose last token set is 31 days old.
async fn after_31_days() -> Place {
    let place = Place::new(Options::of(Kind::Reteno), "").await;
    let mut line = place.line();
    line["obtained_at"] = (epoch() - 31 * DAY).into();
    assert!(place.import(&line).status.success());
    place
}

fn tries(place: &Place) -> usize {
    place.server.presentations().len()
}

fn says_what_died(place: &Place, daemon: &Daemon) {
    let status = place.status();
    let needs = status["needs"].as_str().unwrap();
    assert!(
        needs.contains("its refresh token") && needs.contains("died at"),
        "{needs}"
    );
    assert!(needs.contains("authorize again"), "{needs}");
    let died = status["refresh_token_expires_at"].as_str().unwrap();
    assert!(needs.contains(died), "{needs}");
    let log = daemon.log();
    assert!(
        log.contains(&format!("its refresh token died at {died}")),
        "{log}"
    );
    let table = text(&place.house.run(&["status"]).stdout);
    assert!(table.contains("authorize again"), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_what_died_and_tries_once() {
    let place = after_31_days().await;
    place.server.withdraw_grant("one");
    let daemon = place.house.daemon();
    wait_for("the one try", || place.status()["state"] == "refused");
    says_what_died(&place, &daemon);
    let got = place.house.run(&["get", "one"]);
    assert_eq!(got.status.code(), Some(77), "{}", text(&got.stderr));
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(tries(&place), 1, "never a loop");
    assert_eq!(daemon.stop(), Some(0));
    // Nor after another start.
    let _daemon = place.house.daemon();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(tries(&place), 1);
    assert_eq!(place.status()["state"], "refused");
    // Whoever authorizes again goes on under the same name.
    place.authorize();
    place.works_at(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_erred_costs_nothing() {
    let place = after_31_days().await;
    let _daemon = place.house.daemon();
    place.works_at(2);
    assert_eq!(place.status()["state"], "fresh");
    assert_eq!(place.status()["needs"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_definite_answer_it_is_tried_seldom() {
    let place = after_31_days().await;
    let outage = Outage::Unavailable { retry_after: 1 };
    place.server.set_outage(Some(outage));
    let daemon = place.house.daemon();
    wait_for("the one try", || tries(&place) == 1);
    wait_for("its outcome", || {
        place.status()["last_outcome"] != Value::Null
    });
    says_what_died(&place, &daemon);
    let next = place.status()["next_refresh_in"].as_u64().unwrap();
    assert!((3000..=3600).contains(&next), "{next} s until the next try");
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(tries(&place), 1, "never a loop");
}
