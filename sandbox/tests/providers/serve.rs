//! `sandbox serve` as a person runs it.

use crate::ask::Ask;
use crate::scene::Scene;
use sandbox::Kind;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn one_provider_is_served_with_its_lifetimes_scaled() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandbox"));
    command.args(["serve", "--provider", "vcita", "--scale", "5000000"]);
    let mut served = Served(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(served.0.stdout.take().unwrap()).lines();
    let mut line = |beginning: &str| {
        let found = lines
            .by_ref()
            .map(Result::unwrap)
            .find(|l| l.starts_with(beginning));
        found.unwrap_or_else(|| panic!("no line {beginning:?}"))
    };
    let url = line("listening on ").replace("listening on ", "");
    assert_eq!(
        line("token.url"),
        format!("token.url = \"{url}/oauth/token\"")
    );
    assert_eq!(line("lifetime.access"), "lifetime.access = \"126230ms\"");

    // Only the client and the shape of the request are this scene's.
    let scene = Scene::of(Kind::Vcita).await;
    let code = scene.http.post(format!("{url}/admin/codes"));
    let code = code.header("content-type", "application/json");
    let code = code.body(r#"{"grant":"a","redirect_uri":"https://a.example/"}"#);
    let origin = code.send().await.unwrap().text().await.unwrap();
    let exchange: Ask = scene.exchange(&serde_json::from_str(&origin).unwrap());
    let answered = scene.send(&exchange.to(format!("{url}/oauth/token"))).await;
    assert_eq!(answered.status, 200, "{answered:?}");
    assert!(answered.body.contains("\"expires_in\":126"), "{answered:?}");
}
