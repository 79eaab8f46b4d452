//! What people and machines do in between.

use super::{Scene, config, free_port, wait_for_token};
use crate::support::{text, wait_for};
use sandbox::faults::Fault;
use sandbox::{Enrollment, IdToken, Kind};
use serde_json::json;

fn stage(scene: &Scene, at: usize) -> String {
    scene.list()[at]["stage"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_the_exchange_under_way() {
    let scene = Scene::generic().await;
    scene.approves_as("one");
    let daemon = scene.house.daemon();
    scene.server.queue_fault(None, Fault::Late { ms: 1500 });
    let begun = scene.begin(&[]);
    let back = scene.visit(&begun.url).await;
    let get = tokio::spawn(scene.http.get(back).send());
    wait_for("the exchange", || scene.exchanged() == 1);
    assert_eq!(daemon.stop(), Some(0));
    drop((get.await, begun));
    let _daemon = scene.house.daemon();
    wait_for_token(&scene, None);
    assert_eq!((stage(&scene, 0).as_str(), scene.exchanged()), ("done", 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_a_later_authorization_has_overtaken_is_held() {
    let scene = Scene::generic().await;
    scene.approves_as("one");
    let _daemon = scene.house.daemon();
    scene.server.queue_fault(None, Fault::Late { ms: 4000 });
    let slow = scene.begin(&[]);
    let back = scene.visit(&slow.url).await;
    let get = tokio::spawn(scene.http.get(back).send());
    wait_for("the exchange", || scene.exchanged() == 1);
    assert_eq!(scene.authorize().await.code, 0);
    let token = wait_for_token(&scene, None);
    drop(get.await);
    let ended = slow.end();
    assert_eq!(ended.code, 77, "{ended:?}");
    assert!(ended.err.contains("a later authorization"), "{}", ended.err);
    assert_eq!(scene.token(), Some(token));
    assert_eq!(scene.house.status("one")["generation"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_up_is_held_and_not_dropped() {
    let scene = Scene::generic().await;
    scene.approves_as("one");
    let _daemon = scene.house.daemon();
    let begun = scene.begin(&[]);
    let id = scene.list()[0]["id"].as_str().unwrap().to_owned();
    let given_up = scene.house.json(&["authorize", "--cancel", &id, "--json"]);
    assert_eq!(given_up["stage"], "refused");
    assert_eq!(begun.end().code, 77);
    // A code that is under way cannot be called back.
    scene.server.queue_fault(None, Fault::Late { ms: 1500 });
    let begun = scene.begin(&[]);
    let back = scene.visit(&begun.url).await;
    let get = tokio::spawn(scene.http.get(back).send());
    wait_for("the exchange", || scene.exchanged() == 1);
    let id = scene.list()[0]["id"].as_str().unwrap().to_owned();
    let refused = scene.house.run(&["authorize", "--cancel", &id]);
    assert_eq!(refused.status.code(), Some(65), "{}", text(&refused.stderr));
    drop(get.await);
    assert_eq!(begun.end().code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_token_set_is_taken_once() {
    let scene = Scene::new(Kind::Generic, "scopes = [\"openid\"]", "").await;
    let enrollment = Enrollment {
        id_token: IdToken::Hs256,
        ..scene.server.enrollment()
    };
    scene.server.set_enrollment(enrollment);
    let _daemon = scene.house.daemon();
    for account in ["alice", "bob"] {
        scene.approves_as(account);
        scene.authorize().await;
    }
    let id = scene.list()[0]["id"].as_str().unwrap().to_owned();
    scene.house.json(&["authorize", "--accept", &id, "--json"]);
    let taken = wait_for_token(&scene, None);
    scene.house.json(&["refresh", "one", "--force", "--json"]);
    wait_for_token(&scene, Some(&taken));
    let again = scene.house.run(&["authorize", "--accept", &id]);
    assert_eq!(again.status.code(), Some(65), "{}", text(&again.stderr));
    assert_eq!(scene.house.status("one")["generation"], 3);
    // From now on bob is the one that is expected.
    scene.approves_as("alice");
    assert_eq!(scene.authorize().await.code, 77);
    scene.approves_as("bob");
    assert_eq!(scene.authorize().await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_was_taken_out_meanwhile_does_not_come_back() {
    let scene = Scene::generic().await;
    scene.approves_as("one");
    let _daemon = scene.house.daemon();
    let begun = scene.begin(&[]);
    let full = config(&scene.server, "", "");
    let (without, _) = full.split_once("[grants.one]").unwrap();
    scene.house.configure(without);
    assert!(scene.house.run(&["reload"]).status.success());
    let back = scene.visit(&begun.url).await;
    let page = scene.http.get(back).send().await.unwrap();
    assert_ne!(page.status(), 200);
    assert_eq!((scene.exchanged(), scene.token()), (0, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_imported_grant_is_authorized_again_by_its_own_redirect_uri() {
    let port = free_port();
    let redirect = format!("redirect_uri = \"http://127.0.0.1:{port}/back\"");
    let scene = Scene::new(Kind::Retently, &redirect, "").await;
    let _daemon = scene.house.daemon();
    let response = scene.server.make_grant("imported");
    let line = json!({"name": "imported", "client": "c", "response": response});
    let imported = scene
        .house
        .run_with(&["import", "--ndjson"], &line.to_string());
    assert!(imported.status.success(), "{}", text(&imported.stderr));
    scene.approves_as("imported");
    let begun = scene.begin_of("imported", &[]);
    assert_eq!(
        begun.param("redirect_uri"),
        Some(format!("http://127.0.0.1:{port}/back"))
    );
    let back = scene.visit(&begun.url).await;
    scene.http.get(back).send().await.unwrap();
    assert_eq!(begun.end().code, 0);
    assert_eq!(scene.house.status("imported")["generation"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_alone_is_refused_where_nobody_tells_the_grant() {
    let scene = Scene::generic().await;
    let _daemon = scene.house.daemon();
    let ended = scene
        .house
        .run(&["authorize", "--client", "c", "--no-browser"]);
    assert_eq!(ended.status.code(), Some(64), "{}", text(&ended.stderr));
    assert_eq!(scene.list().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_comes_back_to_the_command_is_waited_for() {
    let scene = Scene::generic().await;
    let _daemon = scene.house.daemon();
    let ended = scene.house.run(&["authorize", "one", "--no-wait"]);
    assert_eq!(ended.status.code(), Some(64), "{}", text(&ended.stderr));
    assert_eq!(scene.list().len(), 0, "nothing was begun");
}

fn redirecting_to(scene: &Scene, port: u16) -> String {
    let redirect = format!("redirect_uri = \"http://127.0.0.1:{port}/back\"");
    config(&scene.server, &redirect, "")
}

/// The provider compares the redirect URI with what is registered now.
#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_uri_that_was_changed_is_used_and_its_change_noticed() {
    let scene = Scene::generic().await;
    let (before, after) = (free_port(), free_port());
    scene.house.configure(&redirecting_to(&scene, before));
    let _daemon = scene.house.daemon();
    scene.approves_as("one");
    assert_eq!(scene.authorize().await.code, 0);
    scene.house.configure(&redirecting_to(&scene, after));
    let told = scene.house.run(&["authorize", "one", "--no-browser"]);
    assert_eq!(told.status.code(), Some(78), "{}", text(&told.stderr));
    for said in ["redirect_uri of client c", "refreshd reload", "--yes"] {
        let err = text(&told.stderr);
        assert!(err.contains(said), "{said}: {err}");
    }
    assert_eq!(scene.list().len(), 1, "nothing was begun");
    let begun = scene.begin(&["--yes"]);
    let uri = format!("http://127.0.0.1:{after}/back");
    assert_eq!(begun.param("redirect_uri"), Some(uri));
    let back = scene.visit(&begun.url).await;
    assert_eq!(scene.http.get(back).send().await.unwrap().status(), 200);
    assert_eq!(begun.end().code, 0);

    scene.house.secret("pretend-secret", "another-secret");
    let told = scene.house.run(&["authorize", "one", "--no-browser"]);
    let err = text(&told.stderr);
    assert!(err.contains("client_secret of client c"), "{err}");
    assert!(!err.contains("another-secret"), "{err}");
}

/// Its command is gone, and its page is still open in the browser.
#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_authorization_of_the_grant_does_as_well() {
    let scene = Scene::generic().await;
    scene.house.configure(&redirecting_to(&scene, free_port()));
    let _daemon = scene.house.daemon();
    scene.approves_as("one");
    let first = scene.begin(&[]).url.clone();
    let second = scene.begin(&[]);
    let back = scene.visit(&first).await;
    let page = scene.http.get(back).send().await.unwrap();
    assert_eq!(page.status(), 200);
    let ended = second.end();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(scene.exchanged(), 1);
    let list = scene.list();
    assert_eq!(list[1]["stage"], "done", "{list:?}");
    assert_eq!(list[0]["text"], "given up", "{list:?}");
}
