//! What comes back by other ways than it should.

use super::{Scene, page, wait_for_token};

/// First the address that was printed, then one of another attempt, then the right one in
/// two lines.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_paste_is_followed_by_the_right_one() {
    let scene = Scene::generic().await;
    let _daemon = scene.house.daemon();
    scene.approves_as("one");
    let mut begun = scene.begin(&["--paste"]);
    let back = scene.visit(&begun.url).await.to_string();
    let other = begun.callback(&[("code", "4/0AbC-dEf"), ("state", "qhX4GgsDVrA1YHDbr1JmVA")]);
    let (first, rest) = back.split_at(back.len() / 2);
    begun.paste(&format!("{}\n{other}\n\"{first}\n  {rest}\"", begun.url));
    let ended = begun.end();
    assert_eq!(ended.code, 0, "{ended:?}");
    wait_for_token(&scene, None);
    assert_eq!(scene.exchanged(), 1, "only the right one was presented");
}

/// An error without our state may be forged: it is shown, and ends nothing.
#[tokio::test(flavor = "multi_thread")]
async fn words_that_nothing_proves_are_shown_and_end_nothing() {
    let scene = Scene::generic().await;
    let _daemon = scene.house.daemon();
    scene.approves_as("one");
    let mut begun = scene.begin(&[]);
    let words = [
        ("error", "access_denied"),
        ("error_description", "Nora has\u{1b}[2J declined"),
    ];
    let shown = page(&scene.http, begun.callback(&words)).await;
    assert!(
        shown.contains("Nora has") && shown.contains("proves nothing"),
        "{shown}"
    );
    assert!(begun.waits());
    let back = scene.visit(&begun.url).await;
    page(&scene.http, back).await;
    let ended = begun.end();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.err.contains("access_denied: Nora has"), "{ended:?}");
    assert!(!ended.err.contains('\u{1b}'), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_are_told_at_the_end_and_later() {
    let scene = Scene::new(sandbox::Kind::Generic, "scopes = [\"read\", \"write\"]", "").await;
    let _daemon = scene.house.daemon();
    scene.approves_as("one");
    let ended = scene.authorize().await;
    assert!(
        ended.out.contains("Scopes granted: read write"),
        "{ended:?}"
    );
    let status = scene.house.run(&["status", "one"]);
    let said = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(said.contains("one: Scopes granted: read write"), "{said}");
    let status = scene.house.json(&["status", "one", "--json"]);
    assert_eq!(status["scopes"]["one"]["withheld"], serde_json::json!([]));
}
