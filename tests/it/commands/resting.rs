//! Commands while no daemon runs: they take the lock, settle what was under way,
//! and send nothing.

use crate::setting::{Setting, epoch};
use crate::support::wait_for;
use sandbox::faults::Fault;

#[tokio::test(flavor = "multi_thread")]
async fn import_get_and_status_work_without_a_daemon() {
    let setting = Setting::one().await;
    let response = setting.response("one");
    let at = epoch().to_string();
    let import = ["import", "one", "--obtained-at", &at];
    let ran = setting.run_with(&import, &response.to_string()).succeeds();
    assert_eq!(ran.out, "one: created, generation 1\n");
    let old = response["access_token"].as_str().unwrap();
    assert_eq!(setting.token("one"), old);
    let ran = setting.run(&["status"]).succeeds();
    assert!(
        ran.out.starts_with("refreshd is not running"),
        "{}",
        ran.out
    );
    let shown = setting.run(&["status", "--check"]).ends(69).out;
    assert!(shown.contains("1 grant: 1 fresh"), "{shown}");
    setting.run(&["doctor"]).ends(69);
    let status = setting.house.json(&["status", "--json"]);
    assert_eq!(status["running"], false);
    let one = &status["grants"][0];
    assert_eq!(one["state"], "fresh");
    // Nothing is sent while no daemon runs.
    let next = (&one["next_refresh_at"], &one["waits_for"]);
    assert_eq!(next, (&serde_json::Value::Null, &"daemon".into()));
    assert_eq!(status["summary"]["exit"], 69, "{status:#}");
    setting
        .run(&["get", "one", "--min-valid", "2h"])
        .fails(75, &["refreshd is not running", "refreshd run"]);
    assert!(setting.server.presentations().is_empty());
    // Nothing is published by commands; the daemon does it first of all.
    assert!(!setting.house.path("tokens/one").exists());
    let daemon = setting.house.daemon();
    let file = std::fs::read_to_string(setting.house.path("tokens/one")).unwrap();
    assert_eq!(file, old);
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_under_way_is_settled_and_nothing_is_sent() {
    let setting = Setting::one().await;
    let (daemon, _) = setting.daemon_with_one();
    let token = setting.token("one");
    setting.server.queue_fault(None, Fault::Late { ms: 3000 });
    let args = ["refresh", "one", "--force"];
    let refresh = setting.begin(&args);
    wait_for("the exchange", || setting.server.presentations().len() == 1);
    daemon.kill();
    // Whoever waited for the daemon is told that it is gone.
    setting
        .end(&args, refresh)
        .fails(69, &["refreshd did not answer"]);

    // Looking settles it on a copy, and leaves everything as it was.
    let before = setting.state_files();
    let status = setting.house.status("one");
    assert_eq!(status["state"], "in-doubt", "{status:#}");
    assert_eq!(setting.token("one"), token);
    setting.untouched_since(&before);
    let ran = setting.run(&["status"]).succeeds();
    assert!(ran.out.contains("could revoke"), "{}", ran.out);
    assert_eq!(setting.server.presentations().len(), 1);

    // Once is enough: the next start finds nothing to settle and goes on holding.
    let daemon = setting.house.daemon();
    assert_eq!(setting.house.status("one")["state"], "in-doubt");
    assert_eq!(setting.server.presentations().len(), 1);
    // Authorizing again ends the doubt.
    let response = setting.response("again").to_string();
    let at = (epoch() + 1).to_string();
    setting
        .run_with(&["import", "one", "--obtained-at", &at], &response)
        .succeeds();
    assert_eq!(setting.house.status("one")["state"], "fresh");
    assert_eq!(daemon.stop(), Some(0));
}

/// It used to give up after ten seconds, and say that another refreshd uses the state.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_waits_for_a_command_that_works_on_the_state() {
    let setting = Setting::one().await;
    setting.import("one");
    let lock = setting.house.path("state/lock");
    let held = setting.house.path("held");
    // As a large import does: it holds the lock, and answers nowhere.
    let script = "exec 9<>\"$0\"; flock 9; printf '%s\\n' $$ > \"$0\"; : > \"$1\"; sleep 12";
    let mut command = std::process::Command::new("bash")
        .args(["-c", script])
        .args([&lock, &held])
        .spawn()
        .unwrap();
    wait_for("the lock", || held.exists());
    let daemon = setting.house.daemon();
    daemon.logs("waiting for another refreshd command");
    assert!(command.try_wait().unwrap().is_some_and(|s| s.success()));
    assert_eq!(daemon.stop(), Some(0));
}
