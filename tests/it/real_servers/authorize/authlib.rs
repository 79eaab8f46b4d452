//! Authlib: who a redirect is from (RFC 9207), and codes that are too old.

use super::super::pages::AUTHLIB;
use super::super::python::RealServer;
use super::{CLOSE, Scene};

fn account(server: &RealServer) -> String {
    format!("[account]\nurl = {:?}\n", server.member("userinfo_url"))
}

/// Its redirects say whom they are from, its refusals too; its userinfo says who it was.
#[test]
fn people_authorize_at_authlib() {
    let scene = Scene::new(&AUTHLIB, &[], "web", account);
    let _daemon = scene.house.daemon();
    assert_eq!(scene.authorize("alice").code, 0);
    assert_eq!(scene.owner(1), "alice");
    assert_eq!(scene.refresh(), 2);

    let begun = scene.begin(&[]);
    scene.refuse(&begun.url, "alice");
    scene.browser.wait_for_text("Not authorized");
    let ended = begun.end();
    assert_eq!(ended.code, 77, "{ended:?}");
    assert!(ended.err.contains("access_denied"), "{ended:?}");

    let ended = scene.authorize("bob");
    assert_eq!(ended.code, 77, "{ended:?}");
    assert!(
        ended.err.contains("another account (bob)"),
        "by its userinfo: {ended:?}"
    );
    assert_eq!(scene.owner(2), "alice");
    assert_eq!(scene.refresh(), 3);
    assert_eq!(scene.owner(3), "alice");
}

/// RFC 9700 §4.4: a redirect from somebody else is not an answer, and its code goes nowhere.
#[test]
fn a_real_redirect_from_another_issuer_is_refused() {
    let attacker = ["--redirect-issuer", "https://attacker.example"];
    let scene = Scene::new(&AUTHLIB, &attacker, "web", account);
    let _daemon = scene.house.daemon();
    let mut begun = scene.begin(&[]);
    scene.approve(&begun.url, "alice");
    let page = scene.browser.wait_for_text("RFC 9207");
    assert!(page.contains("https://attacker.example"), "{page}");
    assert!(begun.waits(), "it is no answer");
    scene.refuse(&begun.url, "alice");
    scene.browser.wait_for_text("RFC 9207");
    assert!(begun.waits(), "nor is its refusal");
    let latest = scene.latest();
    assert_eq!(latest["stage"], "open", "{latest}");
    let id = latest["id"].as_str().unwrap();
    scene.house.json(&["authorize", "--cancel", id, "--json"]);
    let ended = begun.end();
    assert_eq!(ended.code, 77, "{ended:?}");
    assert!(!scene.file().exists());
}

#[test]
fn a_real_code_that_is_too_old_is_refused() {
    let scene = Scene::new(&AUTHLIB, &["--code-lifetime", "0"], "native", account);
    let _daemon = scene.house.daemon();
    let begun = scene.begin(&[]);
    scene.approve(&begun.url, "alice");
    let page = scene.browser.wait_for_text(CLOSE);
    assert!(page.contains("Not authorized"), "{page}");
    let ended = begun.end();
    assert_eq!(ended.code, 77, "{ended:?}");
    for said in ["invalid_grant", "too old", "authorize again"] {
        assert!(ended.err.contains(said), "{said}: {ended:?}");
    }
    assert!(!scene.file().exists());
}
