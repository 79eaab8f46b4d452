//! django-oauth-toolkit: Django's login, the toolkit's consent form, PKCE and id tokens.

use super::super::pages::DOT;
use super::{CLOSE, Reader, Scene};
use crate::support::{text, wait_for};
use serde_json::json;
use url::Url;

fn scene(client: &str) -> Scene {
    Scene::new(&DOT, &["--reuse-protection"], client, |server| {
        format!(
            "reuse = \"revokes\"\nrevokes_old_access = true\n[revoke]\nurl = {:?}\n",
            server.member("revoke_url")
        )
    })
}

/// A person authorizes, says no, authorizes again; then another does. Whoever reads the
/// token file notices nothing of it but generations.
#[test]
fn people_authorize_refuse_and_authorize_again_at_django_oauth_toolkit() {
    let scene = scene("web");
    let _daemon = scene.house.daemon();
    let reader = Reader::of(&scene.file());

    let ended = scene.authorize("alice");
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(
        ended.out.contains("one is authorized: generation 1"),
        "{ended:?}"
    );
    let alice = scene.owner(1);
    // The second refresh presents what the first one brought.
    for generation in [2, 3] {
        assert_eq!(scene.refresh(), generation);
        assert_eq!(scene.owner(generation), alice);
    }

    let begun = scene.begin(&[]);
    scene.refuse(&begun.url, "alice");
    scene.browser.wait_for_text("Not authorized");
    let ended = begun.end();
    assert_eq!(ended.code, 77, "{ended:?}");
    assert!(ended.err.contains("access_denied"), "{ended:?}");
    assert_eq!(scene.owner(3), alice, "the token set lives on");

    assert_eq!(scene.authorize("alice").code, 0, "the same account goes on");
    assert_eq!(scene.owner(4), alice);

    let ended = scene.authorize("bob");
    assert_eq!(ended.code, 77, "{ended:?}");
    assert!(ended.err.contains("another account"), "{ended:?}");
    assert_eq!(scene.owner(4), alice, "nothing changed hands by itself");
    let held = scene.latest();
    assert_eq!(held["stage"], "held", "{held}");
    let id = held["id"].as_str().unwrap();
    let accepted = scene.house.json(&["authorize", "--accept", id, "--json"]);
    assert_eq!(
        (&accepted["stage"], &accepted["generation"]),
        (&json!("done"), &json!(5))
    );
    let bob = scene.owner(5);
    assert_ne!(alice, bob);
    assert_eq!(scene.refresh(), 6);
    assert_eq!(scene.owner(6), bob);
    assert_eq!(reader.end(), 6);
    assert_eq!(scene.house.status("one")["state"], "fresh");
}

/// What was given up by hand is had again, under the same name and with its history.
#[test]
fn a_revoked_grant_is_authorized_again() {
    let scene = scene("web");
    let _daemon = scene.house.daemon();
    assert_eq!(scene.authorize("alice").code, 0);
    let before = scene.token(1);
    let revoked = scene.house.run(&["revoke", "one", "--yes"]);
    assert!(revoked.status.success(), "{}", text(&revoked.stderr));
    wait_for("the end", || {
        scene.house.status("one")["state"] == "revoked"
    });
    assert_eq!(scene.authorize("alice").code, 0);
    assert_ne!(scene.token(2), before);
    assert_eq!(scene.house.status("one")["state"], "fresh");
    assert_eq!(scene.refresh(), 3);
    scene.owner(3);
}

/// A client without a secret is let in by its verifier, and refreshes without one. A code
/// that was asked for with another challenge is of no use to it (RFC 9700 §2.1.1).
#[test]
fn a_public_client_proves_itself_by_pkce() {
    let scene = scene("native");
    let daemon = scene.house.daemon();
    let begun = scene.begin(&[]);
    let stolen = replaced(&begun.url, "code_challenge", |_| "A".repeat(43));
    scene.approve(&stolen, "bob");
    let page = scene.browser.wait_for_text(CLOSE);
    assert!(page.contains("Not authorized"), "{page}");
    let ended = begun.end();
    assert_eq!(ended.code, 77, "{ended:?}");
    assert!(ended.err.contains("invalid_grant"), "{ended:?}");

    assert_eq!(scene.authorize("alice").code, 0);
    let alice = scene.owner(1);
    for generation in [2, 3] {
        assert_eq!(scene.refresh(), generation);
        assert_eq!(scene.owner(generation), alice);
    }
    assert_eq!(daemon.stop(), Some(0));
}

/// The address with another value for one parameter.
pub(super) fn replaced(url: &Url, name: &str, with: impl Fn(&str) -> String) -> Url {
    let mut changed = url.clone();
    let pairs = url.query_pairs().map(|(key, value)| match key == name {
        true => (key, with(&value).into()),
        false => (key, value),
    });
    changed.query_pairs_mut().clear().extend_pairs(pairs);
    changed
}
