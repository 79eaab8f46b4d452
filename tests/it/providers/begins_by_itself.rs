//! Client credentials: the grant begins without a person and always heals.

use super::Place;
use crate::support::{Daemon, text, wait_for};
use sandbox::faults::{Fault, Outage};
use sandbox::{Auth, Body, Brings, Flow, Kind, Options};
use std::time::Duration;

/// What was asked for, in order.
fn flows(place: &Place) -> Vec<Flow> {
    let seen = place.server.presentations();
    seen.iter().filter_map(|p| p.flow).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_begins_and_renews_by_refresh_token() {
    let place = Place::new(Options::of(Kind::Blynk), "").await;
    let daemon = place.house.daemon();
    place.works_at(1);
    assert!(place.force().status.success());
    place.works_at(2);
    assert_eq!(flows(&place), [Flow::ClientCredentials, Flow::RefreshToken]);
    let status = place.status();
    assert_eq!(status["state"], "fresh");
    assert_eq!(status["reauthorize_before"], serde_json::Value::Null);
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_in_the_query_works_too() {
    let options = Options {
        bodies: vec![Body::Query],
        client_auth: vec![Auth::Query],
        ..Options::of(Kind::Blynk)
    };
    let place = Place::new(options, "").await;
    let overridden = std::fs::read_to_string(place.house.config()).unwrap();
    let query = "[clients.c.override]\ntoken.body = \"query\"\ntoken.client.auth = \"query\"";
    let overridden = overridden.replace("[clients.c.override]", query);
    std::fs::write(place.house.config(), overridden).unwrap();
    let _daemon = place.house.daemon();
    place.works_at(1);
    assert!(place.force().status.success());
    place.works_at(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_refresh_token_it_asks_anew() {
    let options = Options {
        brings_refresh_token: Brings::Null,
        ..Options::of(Kind::Blynk)
    };
    let place = Place::new(options, "").await;
    let _daemon = place.house.daemon();
    place.works_at(1);
    assert!(place.force().status.success());
    place.works_at(2);
    let anew = Flow::ClientCredentials;
    assert_eq!(flows(&place), [anew, anew]);
}

/// On a schedule: six-second tokens, so that a refresh comes every few seconds.
async fn quick() -> Place {
    let options = Options::of(Kind::Blynk).scaled(86_400.0 / 6.0);
    Place::new(options, "").await
}

/// Meets a fault with its next refresh token and comes through by asking anew.
async fn heals(fault: Fault) {
    let place = quick().await;
    let _daemon = place.house.daemon();
    place.works_at(1);
    place.server.queue_fault(Some("pretend"), fault.clone());
    wait_for("a token set of its own making", || {
        flows(&place)[1..].contains(&Flow::ClientCredentials)
    });
    let seen = place.server.presentations();
    let met = seen.iter().position(|p| p.fault.is_some()).unwrap();
    assert_eq!(seen[met].flow, Some(Flow::RefreshToken), "{fault:?}");
    assert_eq!(
        seen[met + 1].flow,
        Some(Flow::ClientCredentials),
        "{fault:?}: the token in doubt is not presented again"
    );
    wait_for("the next generation", || {
        place.status()["generation"].as_u64() > Some(met as u64)
    });
    place.works_at(2);
    assert_eq!(place.server.stats().grants["pretend"].reuses, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_heals_from_a_refusal() {
    heals(Fault::DeadRefreshToken).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_heals_from_doubt() {
    heals(Fault::ResetAfter).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_heals_from_a_stop_that_outlasts_its_tokens() {
    let place = quick().await;
    let daemon = place.house.daemon();
    place.works_at(1);
    assert_eq!(daemon.stop(), Some(0));
    let asked = flows(&place).len();
    wait_for("the token to die", || place.resource() == 401);
    let _daemon = place.house.daemon();
    wait_for("a new token", || place.resource() == 200);
    let after = flows(&place)[asked..].to_vec();
    assert_eq!(after[0], Flow::ClientCredentials, "{after:?}");
    let refused = place.server.stats().grants["pretend"].refusals;
    assert_eq!(refused, 0, "what was over has not been presented");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_at_the_first_start_passes() {
    let place = Place::new(Options::of(Kind::Blynk), "").await;
    place.server.set_outage(Some(Outage::Reset));
    let daemon = place.house.daemon();
    wait_for("a first try", || {
        place.status()["last_outcome"]["kind"] == "unanswered"
    });
    assert_eq!(place.status()["state"], "pending");
    let got = place.house.run(&["get", "one", "--timeout", "1s"]);
    assert_eq!(got.status.code(), Some(75), "{}", text(&got.stderr));
    let message = text(&got.stderr);
    assert!(message.contains("has no token set yet"), "{message}");
    place.server.set_outage(None);
    place.works_at(1);
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_before_the_first_answer_is_no_loss() {
    let place = Place::new(Options::of(Kind::Blynk), "").await;
    place.server.queue_fault(None, Fault::Late { ms: 60_000 });
    let daemon = place.house.daemon();
    wait_for("the request", || !place.server.presentations().is_empty());
    daemon.kill();
    let _daemon = place.house.daemon();
    place.works_at(1);
    assert_eq!(place.server.presentations().len(), 2);
}

/// A grant whose client has the wrong secret, and backs off.
async fn not_accepted() -> (Place, Daemon) {
    let place = Place::new(Options::of(Kind::Blynk), "").await;
    secret(&place, "wrong");
    let daemon = place.house.daemon();
    wait_for("the refusal", || {
        place.status()["last_outcome"]["kind"] == "invalid-client"
    });
    std::thread::sleep(Duration::from_millis(1500));
    let tries = place.server.presentations().len();
    assert_eq!(tries, 1, "it is not asked for again at once");
    let log = daemon.log();
    assert!(log.contains("client_secret of client c"), "{log}");
    secret(&place, "pretend-secret");
    (place, daemon)
}

fn secret(place: &Place, secret: &str) {
    std::fs::remove_file(place.house.path("pretend-secret")).unwrap();
    place.house.secret("pretend-secret", secret);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_is_mended_by_a_reload() {
    let (place, _daemon) = not_accepted().await;
    assert!(place.house.run(&["reload"]).status.success());
    place.works_at(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_is_mended_by_the_right_one_alone() {
    let (place, daemon) = not_accepted().await;
    // Looked at each half minute.
    place.works_at(1);
    let log = daemon.log();
    assert!(
        log.contains("the credentials of client c have changed"),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn at_rest_nobody_is_sent_for_what_comes_by_itself() {
    let place = Place::new(Options::of(Kind::Blynk), "").await;
    let says = |exit: i32, needle: &str| {
        let got = place.house.run(&["get", "one"]);
        let message = text(&got.stderr);
        assert_eq!(got.status.code(), Some(exit), "{message}");
        assert!(message.contains(needle), "{message}");
        let status = text(&place.house.run(&["status"]).stdout);
        assert!(!status.contains("import"), "{status}");
    };
    says(69, "start it with `refreshd run`");
    place.server.set_outage(Some(Outage::Reset));
    let daemon = place.house.daemon();
    wait_for("a first try", || {
        place.status()["last_outcome"]["kind"] == "unanswered"
    });
    assert_eq!(daemon.stop(), Some(0));
    says(75, "start it with `refreshd run`");
}

/// Many begin at once, each once, within the daemon's cap on flights.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_begin_at_once() {
    let place = Place::new(Options::of(Kind::Blynk), "").await;
    let address = place.server.address();
    let more: String = (0..1000)
        .map(|n| {
            format!("[grants.s{n}]\nclient = \"c\"\nvars = {{ server_address = \"{address}\" }}\n")
        })
        .collect();
    let config = std::fs::read_to_string(place.house.config()).unwrap() + &more;
    std::fs::write(place.house.config(), config).unwrap();
    let _daemon = place.house.daemon();
    wait_for("all of them", || {
        let status = place.house.json(&["status", "--json"]);
        let grants = status["grants"].as_array().unwrap();
        grants.len() == 1001 && grants.iter().all(|grant| grant["state"] == "fresh")
    });
    assert_eq!(place.server.presentations().len(), 1001);
    assert!(place.house.run(&["reload"]).status.success());
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(place.server.presentations().len(), 1001);
}
