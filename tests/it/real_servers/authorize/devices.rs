//! The device flow (RFC 8628) at Authlib and node-oidc-provider.

use super::super::pages::{AUTHLIB, OIDC, Site};
use super::super::python::RealServer;
use super::Scene;
use crate::support::wait_for;
use url::Url;

fn device(server: &RealServer) -> String {
    format!("[device]\nurl = {:?}\n", server.member("device_url"))
}

impl Scene {
    fn by_device(site: &'static Site, options: &[&str], client: &str) -> Self {
        Scene::new(site, options, client, device)
    }

    /// Types the code as this person, and agrees.
    fn approve_device(&self, url: &Url, name: &str) {
        self.browser.forget();
        self.browser.go(url.as_str());
        let password = self.server.member("password");
        self.site.approve_device(&self.browser, name, password);
    }

    /// When the server was polled, in seconds since the first time.
    fn polls(&self) -> Vec<f64> {
        let (_, polls) = self.http.json(self.server.member("polls_url"), None);
        let polls = polls.as_array().unwrap().iter();
        polls.map(|at| at.as_f64().unwrap()).collect()
    }
}

/// It waits between polls as it was told, and longer once it is told to slow down.
#[test]
fn a_device_is_polled_for_as_slowly_as_the_server_wants() {
    let options = ["--device-interval", "1", "--slow-down", "1"];
    let scene = Scene::by_device(&AUTHLIB, &options, "native");
    let _daemon = scene.house.daemon();
    let begun = scene.begin(&["--device"]);
    // The first is told to slow down, the second that nobody has decided.
    wait_for("two polls", || scene.polls().len() >= 2);
    assert_eq!(scene.latest()["stage"], "open");
    scene.approve_device(&begun.url, "alice");
    let ended = begun.end();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.contains("type the code"), "{ended:?}");
    let polls = scene.polls();
    for pair in polls.windows(2) {
        // RFC 8628 §3.5: five seconds more, from then on.
        assert!(pair[1] - pair[0] > 5.9, "{polls:?}");
    }
    assert_eq!(scene.owner(1), "alice");
    assert_eq!(scene.refresh(), 2);
}

#[test]
fn a_device_that_is_refused_or_forgotten_is_not_authorized() {
    let options = ["--device-interval", "1"];
    let scene = Scene::by_device(&AUTHLIB, &options, "web");
    let _daemon = scene.house.daemon();
    let begun = scene.begin(&["--device"]);
    scene.refuse(&begun.url, "alice");
    scene.browser.wait_for_text("Device denied");
    let ended = begun.end();
    assert_eq!(ended.code, 77, "{ended:?}");
    assert!(ended.err.contains("access_denied"), "{ended:?}");

    // Its code is over before it would be polled for at all.
    let options = ["--device-interval", "300", "--device-lifetime", "2"];
    let scene = Scene::by_device(&AUTHLIB, &options, "web");
    let _daemon = scene.house.daemon();
    let ended = scene.begin(&["--device"]).end();
    assert_eq!(ended.code, 77, "{ended:?}");
    assert!(ended.err.contains("expired"), "{ended:?}");
    assert_eq!(scene.polls().len(), 0);

    // So it is between polls, and then it is not polled for again.
    let options = ["--device-interval", "1", "--device-lifetime", "3"];
    let scene = Scene::by_device(&AUTHLIB, &options, "web");
    let _daemon = scene.house.daemon();
    let ended = scene.begin(&["--device"]).end();
    assert_eq!(ended.code, 77, "{ended:?}");
    let polls = scene.polls();
    assert!((1..=3).contains(&polls.len()), "{polls:?}");
    assert!(!scene.file().exists());
}

/// The daemon is killed while a person makes up their mind.
#[test]
fn a_device_is_polled_for_after_a_kill() {
    let scene = Scene::by_device(&AUTHLIB, &["--device-interval", "1"], "native");
    let daemon = scene.house.daemon();
    let begun = scene.begin(&["--device"]);
    wait_for("a poll", || !scene.polls().is_empty());
    daemon.kill();
    let before = scene.polls().len();
    let _daemon = scene.house.daemon();
    assert_eq!(scene.latest()["stage"], "open");
    scene.approve_device(&begun.url, "alice");
    let ended = begun.end();
    assert_eq!(ended.code, 0, "the command outlives the daemon: {ended:?}");
    assert!(scene.polls().len() > before);
    assert_eq!(scene.owner(1), "alice");
    assert_eq!(scene.refresh(), 2);
}

/// An OpenID provider gives a device a refresh token only where consent is asked for.
#[test]
fn a_device_is_let_in_by_node_oidc_provider() {
    let scene = Scene::discovered(&OIDC, "native");
    let _daemon = scene.house.daemon();
    let begun = scene.begin(&["--device"]);
    scene.approve_device(&begun.url, "alice");
    let ended = begun.end();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(scene.owner(1), "alice");
    assert_eq!(scene.refresh(), 2);
    assert_eq!(scene.owner(2), "alice");
}
