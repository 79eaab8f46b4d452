//! `sandbox serve` as a person runs it.

use crate::ask::Ask;
use crate::scene::Scene;
use sandbox::Kind;
use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The command with its output's lines.
fn serve(args: &[&str]) -> (Served, Lines<BufReader<ChildStdout>>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandbox"));
    command.arg("serve").args(args);
    let mut served = Served(command.stdout(Stdio::piped()).spawn().unwrap());
    let lines = BufReader::new(served.0.stdout.take().unwrap()).lines();
    (served, lines)
}

#[tokio::test]
async fn nobody_is_asked_where_that_is_said() {
    let back = "http://127.0.0.1/back";
    let args = [
        "--provider",
        "retently",
        "--auto",
        "allow",
        "--redirect-uri",
    ];
    let (_served, lines) = serve(&[&args[..], &[back]].concat());
    let mut lines = lines.map(Result::unwrap);
    let page = lines.find(|line| line.starts_with("authorize.url = "));
    let page = page
        .unwrap()
        .replace("authorize.url = ", "")
        .replace('"', "");
    let scene = Scene::of(Kind::Retently).await;
    for (uri, status) in [
        ("http://127.0.0.1:50001/back", 302),
        ("http://127.0.0.1/", 400),
    ] {
        let pairs = [
            ("response_type", "code"),
            ("client_id", "pretend"),
            ("redirect_uri", uri),
        ];
        let url = url::Url::parse_with_params(&page, pairs).unwrap();
        assert_eq!(scene.http.get(url).send().await.unwrap().status(), status);
    }
}

#[tokio::test]
async fn one_provider_is_served_with_its_lifetimes_scaled() {
    let (_served, mut lines) = serve(&["--provider", "vcita", "--scale", "5000000"]);
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
