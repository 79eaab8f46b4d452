//! node-oidc-provider: consent for offline access, id tokens with a nonce.

use super::super::pages::OIDC;
use super::django::replaced;
use super::{CLOSE, Scene};
use url::Url;

/// With the provider file that `refreshd provider discover` prints.
#[test]
fn people_authorize_at_node_oidc_provider() {
    let scene = Scene::discovered(&OIDC, "web");
    let _daemon = scene.house.daemon();
    let begun = scene.begin(&[]);
    assert_eq!(begun.param("prompt").as_deref(), Some("consent"));
    scene.approve(&begun.url, "alice");
    scene.browser.wait_for_text(CLOSE);
    let ended = begun.end();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(!ended.out.contains("no refresh token"), "{ended:?}");
    assert_eq!(scene.owner(1), "alice");
    for generation in [2, 3] {
        assert_eq!(scene.refresh(), generation);
        assert_eq!(scene.owner(generation), "alice");
    }

    let begun = scene.begin(&[]);
    scene.refuse(&begun.url, "alice");
    scene.browser.wait_for_text("Not authorized");
    assert_eq!(begun.end().code, 77);

    let ended = scene.authorize("bob");
    assert_eq!(ended.code, 77, "{ended:?}");
    assert!(
        ended.err.contains("another account (bob)"),
        "by the id token: {ended:?}"
    );
    assert_eq!(scene.owner(3), "alice");
}

/// An id token that does not repeat our nonce belongs to another authorization.
#[test]
fn a_real_id_token_must_repeat_the_nonce() {
    let scene = Scene::new(&OIDC, &[], "native", |_| String::new());
    let _daemon = scene.house.daemon();
    let changed = |url: &Url| replaced(url, "nonce", |nonce| format!("x{nonce}"));
    for altered in [changed, without_nonce] {
        let begun = scene.begin(&[]);
        assert!(begun.param("nonce").is_some());
        scene.approve(&altered(&begun.url), "alice");
        let page = scene.browser.wait_for_text(CLOSE);
        assert!(page.contains("nonce"), "{page}");
        let ended = begun.end();
        assert_eq!(ended.code, 77, "{ended:?}");
        assert!(!scene.file().exists());
    }
    assert_eq!(scene.authorize("alice").code, 0);
    assert_eq!(scene.owner(1), "alice");
}

fn without_nonce(url: &Url) -> Url {
    let mut changed = url.clone();
    let pairs = url.query_pairs().filter(|(name, _)| name != "nonce");
    changed.query_pairs_mut().clear().extend_pairs(pairs);
    changed
}
