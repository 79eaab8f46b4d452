//! What has to be set before anybody can come to us.

use super::{ONE, Place};
use crate::support::text;
use refreshd_core::enroll::Via;
use sandbox::Options;
use std::net::TcpListener;

const GRANT: &str = "[grants.one]\nclient = \"c\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_for_a_link_is_said_when_it_is_asked_for() {
    let place = Place::new(Options::default(), "", GRANT).await;
    let (address, ours) = (place.address, place.url(""));
    let listens = format!("listen = \"{address}\"\n");
    let open = format!("{listens}public_url = \"{ours}\"\n");
    let elsewhere = "redirect_uri = \"https://www.example.com/callback\"";
    for (enroll, client, needles) in [
        ("", "", ["[enroll] listen", "restart"]),
        (listens.as_str(), "", ["[enroll] public_url", "proxy"]),
        (
            open.as_str(),
            elsewhere,
            ["https://www.example.com/callback", "/callback: register"],
        ),
    ] {
        place.configure(enroll, client, GRANT);
        let daemon = place.daemon();
        let refused = place.begin(Some("one"), Via::Link).await.unwrap_err();
        for needle in needles {
            assert!(refused.message.contains(needle), "{needle:?} in {refused}");
        }
        assert!(place.control().enrollments().await.unwrap().is_empty());
        assert_eq!(daemon.stop(), Some(0));
    }
    // The right one may be configured.
    place.configure(&open, &format!("redirect_uri = \"{ours}/callback\""), GRANT);
    let _daemon = place.daemon();
    let (_, link) = place.begin(Some("one"), Via::Link).await.unwrap();
    assert!(
        link.as_str().starts_with(&format!("{ours}/authorize/")),
        "{link}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_needs_somebody_who_listens() {
    let place = Place::retm("").await;
    place.configure("", "", ONE);
    let _daemon = place.daemon();
    let refused = place.begin(Some("one"), Via::Redirect).await.unwrap_err();
    assert!(refused.message.contains("[enroll] listen"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_ends_the_start() {
    let place = Place::retm(ONE).await;
    let _taken = TcpListener::bind(place.address).unwrap();
    let ended = place.house.run(&["run"]);
    assert_eq!(ended.status.code(), Some(73), "{}", text(&ended.stderr));
    let said = text(&ended.stderr);
    for needle in [
        place.address.to_string().as_str(),
        "[enroll] listen",
        "another program",
    ] {
        assert!(said.contains(needle), "{needle:?} in {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_takes_over_how_pushes_are_taken_and_not_where() {
    let place = Place::retm(ONE).await;
    let _daemon = place.daemon();
    let enroll = format!(
        "listen = \"{}\"\npublic_url = \"https://elsewhere.example\"\n",
        place.address
    );
    let more = format!("{ONE}[clients.c.push]\npath = \"new-path\"\n");
    place.configure(&enroll, "", &more);
    let reloaded = place.house.run(&["reload"]);
    assert!(reloaded.status.success());
    let said = text(&reloaded.stdout) + &text(&reloaded.stderr);
    assert!(said.contains("public_url take a restart"), "{said}");
    let (id, data) = place.install(Some("one")).await;
    assert_eq!(place.push("shop-17", &data, None).await.status, Some(404));
    let mut enrollment = place.server.enrollment();
    enrollment.success_url = Some(place.url("/push/new-path"));
    place.server.set_enrollment(enrollment);
    assert_eq!(place.push("shop-17", &data, None).await.status, Some(200));
    place.done(&id, "one").await;
}
