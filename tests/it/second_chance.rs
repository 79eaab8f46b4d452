//! A refused grant tries what a late answer brought, before a person is asked.

use crate::at_rest::{THEN, bygone_intent, open};
use crate::setting::Setting;
use crate::support::wait_for;
use refreshd::state::{Commit, Event};
use refreshd_core::flight::Settlement;
use refreshd_core::grant::{Grant, GrantState, TokenSet};
use refreshd_core::secret::Secret;

/// Leaves a token set in the store as an answer that came too late does. A
/// server that gives two good refresh tokens for one grant cannot be had, so
/// that of another grant stands in.
async fn leave_late_answer(setting: &Setting, refresh_token: &str) {
    let store = open(&setting.house).store;
    let grant = store.grant_by_name("one").await.unwrap().unwrap();
    let (_, tokens) = store.load(&grant.id).await.unwrap().unwrap();
    let tokens = TokenSet {
        refresh_token: Some(Secret::new(refresh_token)),
        ..tokens.unwrap()
    };
    let commit = Commit {
        base: Grant {
            revision: 1,
            ..grant.clone()
        },
        settlement: Settlement {
            state: GrantState {
                generation: grant.state.generation,
                ..grant.state.clone()
            },
            tokens: Some(tokens),
            unread: None,
            sent: None,
        },
        event: Event {
            at: THEN,
            kind: "success".to_owned(),
            text: String::new(),
        },
        intent: Some(bygone_intent(&grant)),
        ends: true,
        was_kept: false,
    };
    store.commit(commit).await.unwrap();
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_grant_tries_a_late_answers_refresh_token() {
    let setting = Setting::one().await;
    let (daemon, _) = setting.daemon_with_one();
    setting.run(&["refresh", "one", "--force"]).succeeds();
    assert_eq!(daemon.stop(), Some(0));
    let other = setting.response("two");
    leave_late_answer(&setting, other["refresh_token"].as_str().unwrap()).await;
    setting.server.withdraw_grant("one");

    let daemon = setting.house.daemon();
    let ran = setting.run(&["refresh", "one", "--force"]);
    ran.fails(77, &["invalid_grant", "next try at"]);
    // It is not due for long: its access token lives.
    setting.run(&["refresh", "one", "--force"]).succeeds();
    assert_eq!(setting.house.status("one")["generation"], 3);
    assert_eq!(setting.house.status("one")["state"], "fresh");
    let presented = setting.server.presentations();
    let whose: Vec<_> = presented.iter().map(|p| p.grant.as_deref()).collect();
    assert_eq!(whose, [Some("one"), Some("one"), Some("two")]);
    assert!(
        daemon
            .log()
            .contains("one that a late answer brought is tried")
    );
    // The next refusal has nothing left to try.
    setting.server.withdraw_grant("two");
    setting
        .run(&["refresh", "one", "--force"])
        .fails(77, &["authorize again"]);
    assert_eq!(setting.house.status("one")["state"], "refused");
    assert_eq!(daemon.stop(), Some(0));
}

/// Takes nothing from the candidates as long as there is no grant "three".
const FAILING: &str = "
CREATE TRIGGER failing BEFORE DELETE ON candidates
WHEN NOT EXISTS (SELECT 1 FROM grants WHERE name = 'three')
BEGIN SELECT RAISE(ROLLBACK, 'the disk is full'); END;
";

/// The refusal is durable, and what follows from it could not be written: it would
/// have waited for the next start.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_chance_that_could_not_be_saved_is_taken_once_it_can() {
    let setting = Setting::one().await;
    let (daemon, _) = setting.daemon_with_one();
    setting.run(&["refresh", "one", "--force"]).succeeds();
    assert_eq!(daemon.stop(), Some(0));
    let other = setting.response("two");
    leave_late_answer(&setting, other["refresh_token"].as_str().unwrap()).await;
    let database = setting.house.path("state/refreshd.db");
    let database = rusqlite::Connection::open(database).unwrap();
    database.execute_batch(FAILING).unwrap();
    database.close().unwrap();
    setting.server.withdraw_grant("one");

    let daemon = setting.house.daemon();
    let refused = ["invalid_grant", "authorize again"];
    setting
        .run(&["refresh", "one", "--force"])
        .fails(77, &refused);
    wait_for("the store to fail", || {
        daemon.log().contains("cannot be tried yet")
    });
    assert_eq!(setting.house.status("one")["state"], "refused");
    let three = setting.response("three").to_string();
    let import = ["import", "three", "--client", "pretend"];
    // In between the store takes it for writable, and tries.
    wait_for("room", || setting.run_with(&import, &three).code == 0);
    wait_for("the second chance", || {
        daemon
            .log()
            .contains("one that a late answer brought is tried")
    });
    setting.run(&["refresh", "one", "--force"]).succeeds();
    assert_eq!(setting.house.status("one")["state"], "fresh");
    assert_eq!(daemon.stop(), Some(0));
}
