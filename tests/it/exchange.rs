//! One exchange with a provider that answers late, elsewhere, in the provider's
//! place, or in the middle of a proxy's opinion.

use crate::support::{House, text, wait_for};
use sandbox::faults::Fault;
use sandbox::server::Server;
use sandbox::{OldValid, Options, Rotation};
use std::time::Duration;

const CONFIG: &str = r#"
[clients.pretend]
provider = "pretend"
client_id = "pretend"
client_secret = { file = "ROOT/pretend-secret" }
[grants.one]
client = "pretend"
[[grants.one.outputs]]
path = "ROOT/tokens/one"
"#;

/// A server, a house that knows it, and a grant of generation 1 that is not due.
async fn settled(rotation: Rotation) -> (Server, House, String) {
    let old_valid = String::from(rotation.old_valid);
    let server = Server::start(Options {
        rotation,
        ..Options::default()
    })
    .await
    .unwrap();
    let house = House::new(CONFIG);
    house.secret("pretend-secret", "pretend-secret");
    let url = server.token_url();
    house.write(
        "providers.d/pretend.toml",
        &format!("name = \"pretend\"\n[token]\nurl = \"{url}\"\n[rotation]\nrotates = \"always\"\nold_valid = \"{old_valid}\"\n"),
    );
    let mut response = server.make_grant("one");
    let first = response["access_token"].as_str().unwrap().to_owned();
    let line = serde_json::json!({
        "name": "one", "response": response.take(), "obtained_at": now(),
    });
    let imported = house.run_with(&["import", "--ndjson"], &line.to_string());
    assert!(imported.status.success(), "{}", text(&imported.stderr));
    (server, house, first)
}

fn now() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

fn forced(house: &House) -> std::process::Output {
    house.run(&["refresh", "one", "--force"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_answer_is_read_and_adopted() {
    let (server, house, first) = settled(Rotation::default()).await;
    server.queue_fault(Some("one"), Fault::Late { ms: 33_000 });
    let daemon = house.daemon();
    let refreshed = forced(&house);
    assert_eq!(
        refreshed.status.code(),
        Some(69),
        "{}",
        text(&refreshed.stderr)
    );
    assert!(
        text(&refreshed.stderr).contains("still listening"),
        "{}",
        text(&refreshed.stderr)
    );
    let doubtful = house.status("one");
    assert_eq!(doubtful["state"], "in-doubt");
    let served = house.run(&["get", "one"]);
    assert_eq!(
        text(&served.stdout).trim(),
        first,
        "the living token is served meanwhile"
    );
    wait_for("the late answer", || house.status("one")["generation"] == 2);
    assert_eq!(house.status("one")["state"], "fresh");
    assert_eq!(
        server.presentations().len(),
        1,
        "nothing was presented twice"
    );
    assert!(
        forced(&house).status.success(),
        "the refresh token that came late works"
    );
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed_and_leaves_doubt() {
    let (server, house, first) = settled(Rotation::default()).await;
    server.queue_fault(Some("one"), Fault::LoginRedirect { performed: false });
    let _daemon = house.daemon();
    assert_eq!(forced(&house).status.code(), Some(69));
    assert_eq!(house.status("one")["state"], "in-doubt");
    assert_eq!(text(&house.run(&["get", "one"]).stdout).trim(), first);
    // Held: presenting it again could revoke the family, so force alone does not.
    let held = forced(&house);
    assert_eq!(held.status.code(), Some(75), "{}", text(&held.stderr));
    assert!(
        text(&held.stderr).contains("in doubt"),
        "{}",
        text(&held.stderr)
    );
    assert_eq!(server.presentations().len(), 1);
    let risked = house.run(&["refresh", "one", "--force", "--accept-risk"]);
    assert!(risked.status.success(), "{}", text(&risked.stderr));
    assert_eq!(house.status("one")["state"], "fresh");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_captive_portal_costs_nothing_where_the_old_token_stays_good() {
    let rotation = Rotation {
        old_valid: OldValid::For(Duration::from_secs(60)),
        ..Rotation::default()
    };
    let (server, house, _) = settled(rotation).await;
    server.queue_fault(Some("one"), Fault::HtmlPage { performed: true });
    let _daemon = house.daemon();
    assert_eq!(forced(&house).status.code(), Some(69));
    wait_for("the token to be presented again", || {
        house.status("one")["generation"] == 2
    });
    assert_eq!(house.status("one")["state"], "fresh");
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_of_the_environment_are_not_used() {
    let (_server, house, _) = settled(Rotation::default()).await;
    let log = std::fs::File::create(house.path("log")).unwrap();
    let mut run = house.command(&["run"]);
    for name in [
        "http_proxy",
        "HTTP_PROXY",
        "https_proxy",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "all_proxy",
    ] {
        run.env(name, "http://127.0.0.1:1");
    }
    let mut daemon = run.stderr(log).spawn().unwrap();
    wait_for("the daemon to be ready", || {
        std::fs::read_to_string(house.path("log"))
            .is_ok_and(|log| log.contains("refreshd is ready"))
    });
    let refreshed = forced(&house);
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    assert!(refreshed.status.success(), "{}", text(&refreshed.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_cannot_be_reached_spends_nothing() {
    let (server, house, first) = settled(Rotation::default()).await;
    let _daemon = house.daemon();
    let address = server.address();
    server.stop().await;
    assert_eq!(forced(&house).status.code(), Some(69));
    let status = house.status("one");
    assert_eq!(
        (status["state"].as_str(), status["generation"].as_u64()),
        (Some("retrying"), Some(1))
    );
    assert_eq!(
        status["last_outcome"]["kind"], "not-sent",
        "nobody listens at {address}"
    );
    assert_eq!(text(&house.run(&["get", "one"]).stdout).trim(), first);
}
