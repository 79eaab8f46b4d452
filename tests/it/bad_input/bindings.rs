//! A refresh token goes to the client and token endpoint it was made for, and
//! to others only when its operator says so.

use crate::setting::{CLIENT_SECRET, ONE, Setting};
use crate::support::wait_for;
use sandbox::Options;
use sandbox::server::Server;

async fn another_server() -> Server {
    let options = Options {
        client_secret: Some(CLIENT_SECRET.to_owned()),
        ..Options::default()
    };
    Server::start(options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_token_url_pauses_until_it_is_accepted() {
    let setting = Setting::one().await;
    let other = another_server().await;
    let (daemon, _) = setting.daemon_with_one();
    let token = setting.token("one");
    let to = |url: &str| {
        setting.provider(url);
        setting.run(&["reload"]).succeeds();
    };
    let state = || setting.house.status("one")["state"].clone();

    to(&other.token_url());
    assert_eq!(state(), "paused");
    assert!(
        daemon
            .log()
            .contains("refreshd doctor --accept-binding one")
    );
    // The living token is served; nothing is presented, however much it is wished for.
    assert_eq!(setting.token("one"), token);
    for extra in [&[][..], &["--force"], &["--force", "--accept-risk"]] {
        let args = [&["refresh", "one"], extra].concat();
        setting
            .run(&args)
            .fails(77, &["one: ", "token endpoint changed"]);
    }
    let shown = setting.run(&["doctor"]).ends(77).out;
    let first = "1 grant needs a person: one (its client was changed; run refreshd doctor --accept-binding one)\n";
    assert!(shown.starts_with(first), "{shown}");
    let report = setting.house.status("one");
    let held = (&report["next_refresh_at"], &report["waits_for"]);
    assert_eq!(
        held,
        (&serde_json::Value::Null, &"person".into()),
        "{report:#}"
    );
    assert!(other.presentations().is_empty());

    // Changing it back resumes, without a word from anybody.
    to(&setting.server.token_url());
    assert_eq!(state(), "fresh");
    setting.run(&["refresh", "one", "--force"]).succeeds();

    // It also holds over a restart with the change made while stopped.
    assert_eq!(daemon.stop(), Some(0));
    setting.provider(&other.token_url());
    let daemon = setting.house.daemon();
    assert_eq!(state(), "paused");
    assert!(other.presentations().is_empty());
    let accept = ["doctor", "--accept-binding", "one"];
    setting.run(&accept).succeeds();
    assert_eq!(state(), "fresh");
    setting.run(&accept).fails(65, &["not paused"]);
    // This server does not know the token and says so: that is what was accepted.
    setting
        .run(&["refresh", "one", "--force"])
        .fails(77, &["one: "]);
    assert_eq!(other.presentations().len(), 1);
    setting
        .run(&["doctor", "--accept-binding", "nobody"])
        .fails(65, &["nobody"]);
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_client_id_pauses_and_a_changed_secret_does_not() {
    let setting = Setting::one().await;
    let (daemon, _) = setting.daemon_with_one();
    setting
        .house
        .configure(&ONE.replace("client_id = \"pretend\"", "client_id = \"another\""));
    setting.run(&["reload"]).succeeds();
    assert_eq!(setting.house.status("one")["state"], "paused");
    setting.house.configure(ONE);
    let set = setting.house.path("secrets/pretend");
    std::fs::remove_file(&set).unwrap();
    setting
        .house
        .secret("secrets/pretend", "planted-new-secret");
    setting.plant("planted-new-secret");
    setting.run(&["reload"]).succeeds();
    let status = setting.house.status("one");
    assert_eq!(status["state"], "fresh", "{status:#}");
    assert_eq!(setting.server.presentations().len(), 0);
    // The same server under another path is the same origin: no pause.
    setting.provider(&format!("{}?tenant=1", setting.server.token_url()));
    setting.run(&["reload"]).succeeds();
    wait_for("fresh", || setting.house.status("one")["state"] == "fresh");
    assert_eq!(daemon.stop(), Some(0));
}
