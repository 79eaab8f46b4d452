//! Answers that cannot be used, and answers to a grant that is gone.

use crate::setting::{ONE, Setting};
use crate::support::wait_for;
use crate::tiny::Tiny;
use sandbox::faults::Fault;

#[tokio::test(flavor = "multi_thread")]
async fn a_token_with_a_line_feed_is_kept_unread_and_the_old_one_served() {
    let tiny = Tiny::answering(
        "{\"access_token\":\"planted-access\\nX-Evil: 1\",\"refresh_token\":\"planted-refresh\",\"token_type\":\"Bearer\",\"expires_in\":3600}",
    )
    .await;
    let setting = Setting::one().await;
    setting.plant("planted-access");
    setting.plant("planted-refresh");
    setting.provider(&tiny.url);
    let (daemon, response) = setting.daemon_with_one();
    let file = || std::fs::read_to_string(setting.house.path("tokens/one")).unwrap_or_default();
    let old = response["access_token"].as_str().unwrap();
    wait_for("the file", || file() == old);
    let ran = setting.run(&["refresh", "one", "--force"]);
    ran.fails(69, &["one: ", "access_token"]);
    let status = setting.house.status("one");
    assert_eq!(status["last_outcome"]["kind"], "unread", "{status:#}");
    assert_eq!(status["state"], "in-doubt");
    assert_eq!(status["generation"], 1);
    // A rotated refresh token may stand in the bytes: presenting the old one again would revoke.
    assert_eq!(setting.token("one"), old);
    assert_eq!(file(), old);
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(tiny.requests().len(), 1);
    assert_eq!(setting.token("one"), old);
    setting.run(&["status"]).succeeds();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_removed_during_its_exchange_keeps_what_the_answer_brings() {
    let clients = "[[clients.pretend.outputs]]\npath = \"ROOT/all/{grant}\"\n";
    let with = format!("{ONE}\n{clients}");
    let setting = Setting::new(sandbox::Options::default(), &with).await;
    let (daemon, _) = setting.daemon_with_one();
    let files = ["tokens/one", "all/one"].map(|path| setting.house.path(path));
    let published = || files.iter().filter(|file| file.exists()).count();
    wait_for("the files", || published() == 2);
    setting.server.queue_fault(None, Fault::Late { ms: 2000 });
    let args = ["refresh", "one", "--force"];
    let refresh = setting.begin(&args);
    wait_for("the exchange", || {
        setting.server.stats().grants["one"].rotations == 1
    });

    let without = ONE.split("[grants.one]").next().unwrap();
    setting.house.configure(&format!("{without}\n{clients}"));
    setting.run(&["reload"]).succeeds();
    wait_for("the outputs to be withdrawn", || published() == 0);
    setting.run(&["get", "one"]).fails(66, &["one"]);
    assert_eq!(setting.server.stats().grants["one"].rotations, 1);
    setting.end(&args, refresh);
    let log = |what: &str| daemon.log().contains(what);
    wait_for("the answer to be committed", || log("one: generation 2"));
    // It is not published again by the answer.
    wait_for("the grant to retire", || {
        setting.house.status("one")["state"] == "retired"
    });
    setting.run(&["get", "one"]).fails(66, &["one"]);
    assert_eq!(published(), 0);

    setting.house.configure(&with);
    setting.run(&["reload"]).succeeds();
    wait_for("the outputs to be published", || published() == 2);
    assert_eq!(setting.house.status("one")["generation"], 2);
    setting.run(&args).succeeds();
    assert_eq!(setting.house.status("one")["generation"], 3);
    let stats = &setting.server.stats().grants["one"];
    assert_eq!((stats.rotations, stats.reuses), (2, 0));
    assert_eq!(daemon.stop(), Some(0));
}
