//! The daemon is killed between the code and the token set.

use super::{Scene, killed_and_restarted, wait_for_token};
use crate::support::wait_for;
use sandbox::faults::Fault;

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_written_down_is_taken_in_after_a_kill() {
    let scene = Scene::generic().await;
    scene.approves_as("one");
    // It dies at the commit, when the answer is in the journal.
    let daemon = scene.house.daemon();
    let begun = scene.begin(&[]);
    let back = scene.visit(&begun.url).await;
    let get = tokio::spawn(scene.http.get(back).send());
    wait_for("the exchange", || scene.exchanged() == 1);
    let daemon = killed_and_restarted(&scene, daemon);
    drop(get.await);
    // Taken in, or in doubt: said either way, and the code is not presented again.
    wait_for("it to be settled", || {
        let stage = scene.list()[0]["stage"].clone();
        stage == "done" || stage == "in-doubt"
    });
    assert_eq!(scene.exchanged(), 1);
    if scene.list()[0]["stage"] == "done" {
        wait_for_token(&scene, None);
    }
    drop(daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_whose_answer_is_lost_is_not_presented_again() {
    let scene = Scene::generic().await;
    scene.approves_as("one");
    let daemon = scene.house.daemon();
    scene.server.queue_fault(None, Fault::ResetAfter);
    let ended = scene.authorize().await;
    assert_eq!(ended.code, 77, "{ended:?}");
    assert!(
        ended.err.contains("not known") && ended.err.contains("authorize again"),
        "{}",
        ended.err
    );
    let _daemon = killed_and_restarted(&scene, daemon);
    assert_eq!(scene.exchanged(), 1);
    assert_eq!(scene.list()[0]["stage"], "in-doubt");
    assert_eq!(scene.authorize().await.code, 0, "another one ends it");
}
