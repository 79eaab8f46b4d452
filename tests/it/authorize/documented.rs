//! The documented providers' own ways to a first token, and to the next.

use super::{Scene, free_port, wait_for_token};
use sandbox::{Enrollment, IdToken, Kind};
use serde_json::json;

/// Reteno wants the code and the redirect URI with every refresh; Retently the
/// redirect URI; vcita's codes are short-lived, and nothing can be refreshed.
#[tokio::test(flavor = "multi_thread")]
async fn each_is_authorized_and_refreshed_by_what_it_wants() {
    for kind in [Kind::Retently, Kind::Reteno, Kind::Vcita] {
        let redirect = format!("redirect_uri = \"http://127.0.0.1:{}/back\"", free_port());
        let scene = Scene::new(kind, &redirect, "").await;
        let _daemon = scene.house.daemon();
        scene.approves_as("one");
        let ended = scene.authorize().await;
        assert_eq!(ended.code, 0, "{kind:?}: {ended:?}");
        wait_for_token(&scene, None);
        if kind == Kind::Vcita {
            continue;
        }
        // The redirect URI and code are kept with the grant, whatever is configured later.
        let other = "redirect_uri = \"https://elsewhere.example/\"";
        scene
            .house
            .configure(&super::config(&scene.server, other, ""));
        assert!(scene.house.run(&["reload"]).status.success());
        let refreshed = scene.house.json(&["refresh", "one", "--force", "--json"]);
        assert_eq!(refreshed["generation"], 2, "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asks_for_itself_is_asked_by_hand() {
    let scene = Scene::new(Kind::Blynk, "", "").await;
    let vars = format!(
        "vars = {{ server_address = \"{}\" }}",
        scene.server.address()
    );
    let config = super::config(&scene.server, "", "");
    scene.house.configure(&config.replace(
        "[[grants.one.outputs]]",
        &format!("{vars}\n[[grants.one.outputs]]"),
    ));
    let _daemon = scene.house.daemon();
    let before = wait_for_token(&scene, None);
    let told = scene.house.json(&["authorize", "one", "--json"]);
    assert_eq!(told["stage"], "done");
    assert_ne!(wait_for_token(&scene, Some(&before)), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn authorizing_again_keeps_name_outputs_and_history() {
    let scene = Scene::generic().await;
    let _daemon = scene.house.daemon();
    scene.approves_as("one");
    assert_eq!(scene.authorize().await.code, 0);
    let first = wait_for_token(&scene, None);
    scene.house.json(&["refresh", "one", "--force", "--json"]);
    let second = wait_for_token(&scene, Some(&first));
    assert_eq!(scene.authorize().await.code, 0);
    wait_for_token(&scene, Some(&second));
    let status = scene.house.status("one");
    assert_eq!(
        (&status["generation"], &status["state"]),
        (&json!(3), &json!("fresh"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_account_waits_for_an_operator() {
    for by_id_token in [true, false] {
        let scopes = if by_id_token {
            "scopes = [\"openid\"]"
        } else {
            ""
        };
        let scene = Scene::new(Kind::Generic, scopes, "").await;
        if !by_id_token {
            let account = format!("account.url = \"{}\"", scene.server.url("/userinfo"));
            let config = super::config(&scene.server, "", &account);
            scene.house.configure(&config);
        }
        let enrollment = Enrollment {
            id_token: if by_id_token {
                IdToken::Hs256
            } else {
                IdToken::Omitted
            },
            ..scene.server.enrollment()
        };
        scene.server.set_enrollment(enrollment);
        let _daemon = scene.house.daemon();
        scene.approves_as("alice");
        assert_eq!(scene.authorize().await.code, 0);
        let before = wait_for_token(&scene, None);
        scene.approves_as("alice");
        assert_eq!(scene.authorize().await.code, 0, "the same account goes on");
        let before = wait_for_token(&scene, Some(&before));

        scene.approves_as("bob");
        let held = scene.authorize().await;
        assert_eq!(held.code, 77, "{held:?}");
        assert!(held.err.contains("another account (bob)"), "{}", held.err);
        assert_eq!(scene.token(), Some(before.clone()), "the old set lives");
        assert_eq!(scene.house.status("one")["generation"], 2);
        let id = scene.list()[0]["id"].as_str().unwrap().to_owned();
        let accepted = scene.house.json(&["authorize", "--accept", &id, "--json"]);
        assert_eq!(
            (&accepted["stage"], &accepted["generation"]),
            (&json!("done"), &json!(3))
        );
        wait_for_token(&scene, Some(&before));
        scene.house.json(&["refresh", "one", "--force", "--json"]);
    }
}
