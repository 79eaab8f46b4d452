//! `refreshd refresh`: a wish, which keeps to the rules unless forced.

use crate::setting::{ONE, Setting};
use crate::support::wait_for;
use sandbox::Options;
use sandbox::faults::Fault;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_soon_after_the_last_is_told_when() {
    let setting = Setting::one().await;
    let (daemon, _) = setting.daemon_with_one();
    setting.run(&["refresh", "one", "--force"]).succeeds();
    let year = "not before 20";
    setting
        .run(&["refresh", "one"])
        .fails(75, &["one: ", year, "only a moment ago"]);
    assert_eq!(setting.server.presentations().len(), 1);
    let ran = setting.run(&["refresh", "one", "--force"]).succeeds();
    assert!(
        ran.out.starts_with("one: generation 3 until 20"),
        "{}",
        ran.out
    );
    assert_eq!(setting.server.presentations().len(), 2);
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_wish_does_nothing() {
    let setting = Setting::one().await;
    let (daemon, _) = setting.daemon_with_one();
    let force = ["refresh", "one", "--force", "--generation"];
    let wish = |generation| setting.run(&[&force[..], &[generation]].concat());
    wish("1").succeeds();
    // Two consumers saw a 401 with generation 1: the second finds it replaced.
    let ran = wish("1").succeeds();
    assert!(
        ran.out.starts_with("one: generation 2 until"),
        "{}",
        ran.out
    );
    assert_eq!(setting.server.presentations().len(), 1);
    wish("2").succeeds();
    assert_eq!(setting.server.presentations().len(), 2);
    let json = setting
        .house
        .json(&["refresh", "one", "--generation", "1", "--json"]);
    assert_eq!(json["grant"], "one");
    assert_eq!(json["generation"], 3);
    chrono::DateTime::parse_from_rfc3339(json["expires_at"].as_str().unwrap()).unwrap();
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_to_fail_has_its_code() {
    let setting = Setting::one().await;
    let (daemon, _) = setting.daemon_with_one();
    let force = ["refresh", "one", "--force"];
    setting
        .run(&["refresh", "nobody"])
        .fails(66, &["no grant nobody"]);
    setting
        .server
        .queue_fault(None, Fault::TooMany { retry_after: 60 });
    setting.run(&force).fails(75, &["one: ", "429"]);
    setting
        .run(&["refresh", "one"])
        .fails(75, &["not before 20"]);
    setting.server.queue_fault(None, Fault::InvalidClient);
    setting.run(&force).fails(77, &["one: ", "invalid_client"]);
    // Its own back-off holds it for everyone but an operator's force; a reload ends that.
    setting
        .run(&["refresh", "one"])
        .fails(75, &["one: not before 20"]);
    setting.run(&["reload"]).succeeds();
    setting.server.queue_fault(None, Fault::ResetAfter);
    setting.run(&force).fails(69, &["one: "]);
    // In doubt now, and a second presentation could revoke: not even by force.
    setting
        .run(&force)
        .fails(75, &["one: ", "could revoke the whole grant"]);
    assert_eq!(setting.server.presentations().len(), 3);
    assert_eq!(setting.server.stats().grants["one"].reuses, 0);
    // Its access token is none the worse.
    setting.token("one");
    assert_eq!(daemon.stop(), Some(0));
}

/// A reload schedules every grant anew; the wish used to lie until the grant was due.
#[tokio::test(flavor = "multi_thread")]
async fn a_wish_that_waits_for_its_turn_outlives_a_reload() {
    let config = format!("{ONE}[grants.two]\nclient = \"pretend\"\n");
    let setting = Setting::new(Options::default(), &config).await;
    let one_at_a_time = "[daemon]\nmax_flights = 1\n";
    setting.house.write("conf.d/x.toml", one_at_a_time);
    let (daemon, _) = setting.daemon_with_one();
    // Old enough to be refreshed.
    let response = setting.response("two").to_string();
    let a_minute_ago = (chrono::Utc::now().timestamp() - 60).to_string();
    let import = ["import", "two", "--obtained-at", &a_minute_ago];
    setting.run_with(&import, &response).succeeds();
    setting.server.queue_fault(None, Fault::Slow { ms: 4000 });
    let (first, second) = (["refresh", "one", "--force"], ["refresh", "two"]);
    let holds_the_place = setting.begin(&first);
    wait_for("the slow request", || {
        setting.house.status("one")["refreshing"] == true
    });
    let waits = setting.begin(&second);
    std::thread::sleep(Duration::from_millis(500));
    setting.run(&["reload"]).succeeds();
    assert_eq!(setting.house.status("one")["refreshing"], true);
    setting.end(&first, holds_the_place).succeeds();
    let ran = setting.end(&second, waits).succeeds();
    assert!(ran.out.starts_with("two: generation 2"), "{}", ran.out);
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn forced_wishes_take_the_next_place_that_is_free() {
    let config = format!("{ONE}\n[grants.two]\nclient = \"pretend\"\n");
    let setting = Setting::new(Options::default(), &config).await;
    setting
        .house
        .write("conf.d/x.toml", "[daemon]\nmax_flights = 1\n");
    let (daemon, _) = setting.daemon_with_one();
    setting.import("two");
    setting.server.queue_fault(None, Fault::Slow { ms: 1500 });
    let (first, second) = (["refresh", "one", "--force"], ["refresh", "two", "--force"]);
    let holds_the_place = setting.begin(&first);
    wait_for("the slow request", || {
        setting.house.status("one")["refreshing"] == true
    });
    let begun = std::time::Instant::now();
    setting.run(&second).succeeds();
    setting.end(&first, holds_the_place).succeeds();
    // The engine looks again after 30 s whatever happens.
    assert!(begun.elapsed() < Duration::from_secs(20), "{begun:?}");
    assert_eq!(daemon.stop(), Some(0));
}
