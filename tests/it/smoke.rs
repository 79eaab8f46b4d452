//! The shortest way through: import, refresh, file, stop.

use crate::support::{House, text, wait_for};
use sandbox::Options;
use sandbox::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_is_imported_refreshed_and_published() {
    let server = Server::start(Options::default()).await.unwrap();
    let house = House::new(
        r#"
        [clients.pretend]
        provider = "pretend"
        client_id = "pretend"
        client_secret = { file = "ROOT/secret" }
        [grants.one]
        client = "pretend"
        [[grants.one.outputs]]
        path = "ROOT/tokens/one"
        "#,
    );
    house.secret("pretend-secret", "pretend-secret");
    std::fs::remove_file(house.path("secret")).unwrap();
    std::fs::rename(house.path("pretend-secret"), house.path("secret")).unwrap();
    house.write(
        "providers.d/pretend.toml",
        &format!(
            "name = \"pretend\"\n[token]\nurl = \"{}\"\n[rotation]\nrotates = \"always\"\n",
            server.token_url()
        ),
    );
    let daemon = house.daemon();
    let response = server.make_grant("one").to_string();
    let imported = house.run_with(&["import", "one"], &response);
    assert!(imported.status.success(), "{}", text(&imported.stderr));
    wait_for("the first refresh", || {
        house.status("one")["generation"] == 2
    });
    let refreshed = house.run(&["refresh", "one", "--force"]);
    assert!(refreshed.status.success(), "{}", text(&refreshed.stderr));
    let token = house.run(&["get", "one"]);
    assert_eq!(token.status.code(), Some(0));
    wait_for("the file to follow", || {
        std::fs::read_to_string(house.path("tokens/one"))
            .is_ok_and(|file| file == text(&token.stdout).trim())
    });
    let resource = sandbox::http::client();
    let answer = resource
        .get(server.resource_url())
        .bearer_auth(text(&token.stdout).trim())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(daemon.stop(), Some(0));
}
